"""Deliberate bugs that the tests must catch: ``python -m tests.mutants [NAME ...]``."""
