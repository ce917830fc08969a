"""What goes wrong: in the world by chance, and on a journal's way to the disk as you say it."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from daplug_supervisor.errors import JournalError
from daplug_supervisor.journal.group import Group
from daplug_supervisor.journal.memory import MemoryJournal

Fault = Literal["refused", "at its gate", "just started", "midway", "record"]

Rows = list[tuple[int, str, float, bytes]]


class Faults:
    """What goes wrong with processes, by chance; with the same seed always the same.

    Args:
        seed: which chance.
        chances: how likely each is, from 0 to 1. ``refused``: no shim can be had; ``at its gate``, ``just started``,
            ``midway``: a shim is killed then; ``record``: its exit record cannot be read.

    Attributes:
        injected: how many of each there were.
    """

    def __init__(self, seed: float, chances: dict[Fault, float]) -> None:
        self.chances = chances
        self.injected: Counter[Fault] = Counter()
        self._random = random.Random(seed)  # noqa: S311 (to be the same each time)

    def happens(self, fault: Fault) -> bool:
        """Whether it goes wrong this time."""
        chance = self.chances.get(fault, 0.0)
        found = chance > 0 and self._random.random() < chance
        self.injected[fault] += found
        return found

    def part(self) -> float:
        """How far something gets before it goes wrong, from 0 to 1."""
        return self._random.random()


@dataclass(frozen=True)
class Commit:
    """How one group of events gets to the disk.

    After `write` seconds it is there, and `tell` seconds later those who wait for it know. With an `error` they are
    told that it failed: with `lost` it is not there then, without it is there all the same.
    """

    write: float = 0.0
    tell: float = 0.0
    error: str = ""
    lost: bool = True


class FaultyJournal(MemoryJournal):
    """`ports.Journal` on a slow disk, or on one that fails.

    Between a group's being written and its being told there is always a step of the loop, so that a crash can fall
    between them: what was never acknowledged is on disk then. After an error it takes nothing more.

    Args:
        durable: what outlives it; see `MemoryJournal`.
        commits: how each group gets to the disk, by its number, counted from 1.
    """

    def __init__(self, durable: Rows | None = None, commits: Callable[[int], Commit] | None = None) -> None:
        super().__init__(durable)
        self.commits = 0
        self._how = commits or (lambda _: Commit())
        self._writing: tuple[Rows, Group, Commit] | None = None
        self._timer: asyncio.Handle | None = None
        self._idle = asyncio.Event()
        self._error: JournalError | None = None

    @property
    def unwritten(self) -> Rows:
        """What was appended, and is not on disk: a crash now may lose it, or find it written."""
        return (self._writing[0] if self._writing else []) + self._waiting

    async def close(self) -> None:
        """Wait for what is on its way, and take nothing more; when cancelled, only for what is being written."""
        try:
            while self._open and self._error is None and self._flushing:
                self._idle = asyncio.Event()
                await self._idle.wait()
        finally:
            self._open = False
            if self._writing is not None and self._timer is not None:
                self._timer.cancel()
                self._write()
            self._fail(JournalError("the journal is closed"))

    def _require_open(self) -> None:
        if self._error is not None:
            raise self._error
        super()._require_open()

    def _flush(self) -> None:
        """Begin to write what waits, as one group."""
        if not self._open or self._error is not None:
            return
        rows, self._waiting = self._waiting, []
        group, self._group = self._group, Group()
        self.commits += 1
        how = self._how(self.commits)
        self._writing = rows, group, how
        self._timer = asyncio.get_running_loop().call_later(how.write, self._write)

    def _write(self) -> None:
        assert self._writing is not None, "only what is being written is written"  # noqa: S101
        rows, group, how = self._writing
        self._writing = None
        if not (how.error and how.lost):
            self.durable += rows
        self._timer = asyncio.get_running_loop().call_later(how.tell, self._tell, group, how.error)

    def _tell(self, group: Group, error: str) -> None:
        if error:
            self._fail(JournalError(error))
            group.finish(self._error)
        else:
            group.finish(None)
            if self._waiting:
                asyncio.get_running_loop().call_soon(self._flush)
            else:
                self._flushing = False
        self._idle.set()

    def _fail(self, error: JournalError) -> None:
        """Stop for good."""
        self._error = self._error or error
        self._group.finish(self._error)
