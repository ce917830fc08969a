"""``task``: looking at one task, deciding about it, changing the plan, handing in a result."""
