"""What a plan will do, before it runs."""
