"""What is done when a task or a run is over: hooks, reports, evaluation, cleaning up."""
