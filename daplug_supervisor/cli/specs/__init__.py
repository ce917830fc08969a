"""Running a PLAN.md or a ``.tasker`` directory: finding it, making a plan of it, going on with it, its last steps."""
