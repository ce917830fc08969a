"""A ``.tasker`` directory to a plan."""
