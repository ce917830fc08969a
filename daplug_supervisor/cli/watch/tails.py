"""The end of what attempts print: read again only when it has grown, in bounds, without secrets."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from daplug_supervisor.core.model import Run
from daplug_supervisor.core.secrets import Lines, Mask
from daplug_supervisor.views.live.head import Said
from daplug_supervisor.views.live.said import readable, said
from daplug_supervisor.workspace.files import STDERR, STDOUT, StateDirectory, read_tail

_TAIL = 4096
_LONG_TAIL = 65536
_Seen = tuple[int, ...]


class Tails:
    """What is known of the outputs of running attempts.

    Args:
        directory: where they are.
        mask: takes secrets out of what is shown.
    """

    def __init__(self, directory: StateDirectory, mask: Mask) -> None:
        self._directory, self._mask = directory, mask
        self._known: dict[str, tuple[_Seen, Said]] = {}

    def last(self, run: Run, names: Iterable[str], ahead: float) -> dict[str, Said]:
        """For each of these tasks what its attempt printed last. `ahead`: of our clock is the one that files have."""
        found, known = {}, {}
        for name in names:
            folder = self._folder(run, name)
            if folder is None:
                continue
            seen, at = _changed(folder)
            before = self._known.get(folder)
            line = before[1].line if before is not None and before[0] == seen else self._line(folder)
            known[folder] = seen, Said(None if at is None else at - ahead, line)
            found[name] = known[folder][1]
        self._known = known
        return found

    def _line(self, folder: str) -> str:
        for name in (STDOUT, STDERR):
            text = read_tail(Path(folder, name), _TAIL).decode("utf-8", "replace")
            line = self._mask(said(self._mask(text)))
            if line:
                return line
        return ""

    def lines(self, run: Run, name: str, most: int) -> list[str]:
        """The last lines that a task's latest attempt printed, at most so many."""
        folder = self._folder(run, name) if name in run.tasks else None
        if folder is None:
            return []
        found: list[str] = []
        for part in (STDOUT, STDERR):
            data = read_tail(Path(folder, part), _LONG_TAIL)
            text = data.decode("utf-8", "replace").splitlines()
            if len(data) == _LONG_TAIL:
                text = text[1:] or text  # of the first there is only a part
            masked = Lines(self._mask)
            shown = [readable(masked(line)) for line in text]
            found += [self._mask(line) for line in shown if line]
        return found[-most:]

    def _folder(self, run: Run, name: str) -> str | None:
        attempt = run.tasks[name].attempt
        return None if attempt is None else self._directory.attempt(run.id, name, attempt.number)


def _changed(folder: str) -> tuple[_Seen, float | None]:
    """What changes when something is printed, and when that was last; an agent can set any time but this one."""
    seen: list[int] = []
    at: float | None = None
    for name in (STDOUT, STDERR):
        try:
            stat = os.lstat(f"{folder}/{name}")
        except OSError:
            continue
        seen += [stat.st_ino, stat.st_size, stat.st_ctime_ns]
        if stat.st_size:
            at = stat.st_ctime if at is None else max(at, stat.st_ctime)
    return tuple(seen), at
