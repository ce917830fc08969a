"""daplug's prompts: files, groups, hints, and who runs them."""
