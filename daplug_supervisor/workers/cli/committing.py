"""What an agent in a worktree has to write to, beside the worktree, to commit."""

from __future__ import annotations

import os
import re
from pathlib import Path

from daplug_supervisor.core.bundle import Bundle

_POINTER = re.compile(r"gitdir: (?P<git>/.{1,3000}/\.git)/worktrees/(?P<name>[^/\n\0]{1,255})\n?")
_SHARED = ("objects", "refs", "logs")
"""Of the repository's own directory only these: with its hooks and settings one could have others run programs."""


def places(bundle: Bundle) -> tuple[str, ...]:
    """Directories of the repository that a commit in this attempt's worktree writes to; none without a worktree.

    What the worktree says of its repository is believed only if that is the one that the run is about: an agent may
    have written it.
    """
    if not bundle.branch:
        return ()
    folder = bundle.cwd.removesuffix(f"/{bundle.spec.cwd}") if bundle.spec.cwd else bundle.cwd
    try:
        # It may have put a fifo there, on which we would wait for ever.
        file = os.open(f"{folder}/.git", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(file, "rb") as pointer:
            found = _POINTER.fullmatch(pointer.read(4096).decode())
    except (OSError, ValueError):
        return ()
    target = Path(bundle.target)
    if (
        found is None
        or Path(found["git"]).parent not in {target, *target.parents}
        or found["name"] in {".", ".."}
    ):
        return ()
    git = found["git"]
    return (f"{git}/worktrees/{found['name']}", *(f"{git}/{name}" for name in _SHARED))
