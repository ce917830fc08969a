"""Foreign plan formats to Plan: YAML, JSON, daplug prompts."""
