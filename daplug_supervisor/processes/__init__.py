"""Process trees: start behind a gate, attach, sweep."""
