"""The report of a run: what needs a person, what was done, and how it was proven."""
