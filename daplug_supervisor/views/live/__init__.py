"""The screen of ``status --watch``, and the tree of tasks as text."""
