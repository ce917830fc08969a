"""``status --watch``: the screen that a person keeps open."""
