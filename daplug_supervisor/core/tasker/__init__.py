"""What ``.tasker`` directories hold: the session, its tasks, and the bundles of their executors."""
