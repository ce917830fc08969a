"""``run-prompt``: daplug prompts without a plan file."""
