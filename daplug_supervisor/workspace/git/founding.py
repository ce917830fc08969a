"""A repository where there is none: work that nobody can look at as a change cannot be landed."""

from __future__ import annotations

import os
from pathlib import Path

from daplug_supervisor.workspace.git import messages
from daplug_supervisor.workspace.git import running as git

_NONE = "not a git repository"


def ensure_repository(target: str | Path) -> bool:
    """Make a repository with an empty first commit, if the directory is in none; whether that was done.

    Raises:
        GitError: there is one that git does not take for one, or it could not be made.
    """
    place = Path(target).absolute()
    try:
        git.run(place, "rev-parse", "--git-dir")
    except git.GitError as error:
        if _NONE not in str(error):
            raise
        if os.path.lexists(place / ".git"):
            raise git.GitError(
                f"{place}/.git is there, and no repository: mend it or move it away"
            ) from error
        git.run(place, *git.DURABLE, "init", "--quiet")
    found = git.checkout(place)
    if git.commit(found.own, "HEAD") or _used(found):
        return False
    git.keep_out(found)
    tree = git.inside(found.own, *git.DURABLE, "hash-object", "-w", "-t", "tree", "/dev/null")
    words = (*git.DURABLE, "commit-tree", tree, "-m", "Begin")
    first = git.inside(found.own, *words, environ=messages.identity(found.own))
    git.inside(found.own, *git.DURABLE, "update-ref", "HEAD", first, "0" * len(first))
    return True


def _used(found: git.Repository) -> bool:
    """Whether somebody has begun to work in a repository without a commit."""
    return bool(Path(found.own, "index").exists() or git.inside(found.own, "for-each-ref", "--count=1"))
