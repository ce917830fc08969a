"""What a slot does for one attempt, from its worktree and its prompt to the landing of its work."""
