"""Driving runs in the foreground: signals, a live picture, the supervisor's own log."""
