"""The files that a run keeps in a ``.tasker`` directory."""
