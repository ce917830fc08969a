"""Looking at what runs: its health, and the files that tell others of it."""
