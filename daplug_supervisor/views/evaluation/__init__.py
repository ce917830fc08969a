"""What a run was worth: figures, text, coverage of state machines, the ledger in its directory."""
