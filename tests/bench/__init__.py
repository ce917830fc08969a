"""Benchmarks: ``python -m tests.bench``. What they measure and how to read them: docs/benchmarks.md."""
