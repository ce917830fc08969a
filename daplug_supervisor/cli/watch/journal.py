"""A run as the journal has it: its state is folded once, and after that only what is new."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

from daplug_supervisor.cli.reading import choose, chosen
from daplug_supervisor.core.model import Run
from daplug_supervisor.core.state import State
from daplug_supervisor.journal.reader import ReadOnlyJournal
from daplug_supervisor.supervisor.clock import SystemClock, clock_of
from daplug_supervisor.supervisor.recovery import replay
from daplug_supervisor.workspace.files import StateDirectory

_ENDINGS = ("", "-wal")
_STEP = 100
_SETTLED = 200
"""Milliseconds: how soon a change is told of, and for how long changes are taken as one."""


class Following:
    """A run, kept up to date.

    Args:
        directory: where the journal is.
        run: which run; None: the latest unfinished one, else the latest.

    Attributes:
        run: its state.
        seq: of its events, the last that is in it.
        others: other runs that are not finished.
        live: whether a supervisor is at work in the directory.

    Raises:
        StateDirectoryError, NotPossibleError, JournalError: as `reading` and `choose`.
    """

    def __init__(self, directory: StateDirectory, run: str | None) -> None:
        self.directory = directory
        self._name = run
        self._journal: ReadOnlyJournal | None = None
        self._open()

    def _open(self) -> None:
        self.close()
        self.directory.require()
        self._seen = self._look()
        self._journal = ReadOnlyJournal(self.directory.journal)
        mark = choose(self._journal.runs(), self._name)
        self._name, self.seq = mark.run, mark.first_seq - 1
        self._state = State()
        self._fold(self._journal, mark.run)

    def close(self) -> None:
        """Let go of the journal."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def _fold(self, journal: ReadOnlyJournal, name: str) -> bool:
        found = journal.read(name, self.seq)
        for entry in found:
            replay(self._state, entry)
            self.seq = entry.seq
        self.run: Run = self._state.runs[name]
        marks = journal.runs()
        chosen(marks, name)  # another run may have begun meanwhile
        self.others = [mark.run for mark in marks if not mark.finished and mark.run != name]
        self.live = self.directory.holder() is not None
        self._clock: SystemClock = clock_of(self.run)
        return bool(found)

    def read(self) -> bool:
        """Take in what is new, if anything was written since; whether there was anything.

        Raises:
            StateDirectoryError, JournalError: it cannot be read any more.
        """
        seen = self._look()
        if self._journal is None or self._name is None or seen[0] != self._seen[0]:
            self._open()  # a repair has put another in its place
            return True
        if seen == self._seen:
            self.live = self.directory.holder() is not None
            return False
        self._seen = seen
        return self._fold(self._journal, self._name)

    def _look(self) -> list[tuple[int, ...]]:
        """Which file it is, and what changes when something is written."""
        found: list[tuple[int, ...]] = []
        for ending in _ENDINGS:
            try:
                stat = Path(f"{self.directory.journal}{ending}").stat()
            except FileNotFoundError:
                found += [(), ()]
            else:
                found += [(stat.st_dev, stat.st_ino), (stat.st_size, stat.st_mtime_ns)]
        return found

    def now(self) -> float:
        """UTC seconds, by the clock that the run's times are of."""
        return self._clock.now()

    def ahead(self) -> float:
        """By how many seconds the times of files are ahead of `now`."""
        return self._clock.ahead()

    @property
    def ticking(self) -> bool:
        """Whether there are clocks to be shown: something is at work."""
        return self.live and self.run.active > 0


async def changes(directory: StateDirectory) -> AsyncIterator[None]:
    """Whenever something in a state directory was written. Ends if the system does not tell of it."""
    import watchfiles  # noqa: PLC0415 (slow to import)

    names = {f"journal.db{ending}" for ending in _ENDINGS} | {"STOP", "lock"}
    try:
        async for _ in watchfiles.awatch(
            directory.path,
            watch_filter=lambda _, path: os.path.basename(path) in names,  # noqa: PTH119 (for each change)
            recursive=False,
            debounce=_SETTLED,
            step=_STEP,
        ):
            yield
    except (
        OSError,
        RuntimeError,
    ):  # no watches left, or a file system that has none: clocks tick all the same
        return
