"""The supervisor: one event loop, a scheduler, and slots."""
