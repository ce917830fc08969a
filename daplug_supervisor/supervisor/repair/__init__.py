"""Repairing a damaged journal, and what its intact events mean."""
