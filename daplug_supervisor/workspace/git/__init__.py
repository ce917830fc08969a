"""Repositories: worktrees, snapshots, commits, and the branch of a run."""
