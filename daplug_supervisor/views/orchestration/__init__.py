"""Orchestrations as other programs read them: records, state, events, hand-offs."""
