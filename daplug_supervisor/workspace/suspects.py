"""What a supervisor found suspicious, in a file for those who only look; and changed files, in the search for life."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Sequence
from heapq import heappop, heappush
from itertools import islice
from pathlib import Path

import msgspec

from daplug_supervisor.core.health import Suspect
from daplug_supervisor.workspace.files import NAME, make_private, open_output, write_atomically

HEALTH = "health.json"
"""In a run's directory, as long as something in the run is suspicious."""

_LONGEST = 1 << 20
_MOST_ENTRIES = 5_000
_NOT_ENTERED = frozenset({".git", ".hg", "node_modules", ".worktrees", NAME})
"""Directories that change without the agent, or that hold more than one could look at."""


def write(folder: Path, suspects: Sequence[Suspect]) -> None:
    """Say what is suspicious in a run, or no longer that something is.

    Raises:
        OSError: it could not be written.
    """
    if suspects:
        make_private(folder)
        write_atomically(folder / HEALTH, msgspec.json.encode(suspects))
    else:
        (folder / HEALTH).unlink(missing_ok=True)


def read(folder: Path) -> tuple[Suspect, ...]:
    """What the last supervisor of a run has found suspicious; nothing if that cannot be read."""
    with contextlib.suppress(OSError, ValueError), open_output(folder / HEALTH) as file:
        return msgspec.json.decode(file.read(_LONGEST), type=tuple[Suspect, ...])
    return ()


def newest_change(folder: str, until: float, skipped: Collection[str]) -> float:
    """When something in a directory or below it last changed (not later than `until`, both of the machine's clock).

    Of a large tree only a part is looked at, first the directories that changed last. Links are not followed, and
    `skipped` directories not entered.
    """
    newest, left = _changed_at(folder, until), _MOST_ENTRIES
    unseen = [(0.0, folder)]
    while unseen and left > 0:
        with contextlib.suppress(OSError), os.scandir(heappop(unseen)[1]) as entries:
            for entry in islice(entries, left):
                left -= 1
                with contextlib.suppress(OSError):
                    below = entry.is_dir(follow_symlinks=False)
                    if below and (entry.name in _NOT_ENTERED or entry.path in skipped):
                        continue
                    at = _changed_at(entry, until)
                    newest = max(newest, at)
                    if below:
                        heappush(unseen, (-at, entry.path))
    return newest


def _changed_at(what: str | os.DirEntry[str], until: float) -> float:
    """When it last changed, by the time that nobody can set, as everybody can the time of modification; or 0."""
    with contextlib.suppress(OSError):
        found = os.lstat(what) if isinstance(what, str) else what.stat(follow_symlinks=False)
        return found.st_ctime if found.st_ctime <= until else 0.0
    return 0.0
