"""The journal in memory: the same contract without a disk, for simulations and tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from daplug_supervisor.core import events as ev
from daplug_supervisor.errors import JournalError
from daplug_supervisor.journal.group import Group
from daplug_supervisor.ports import RunMark


class MemoryJournal:
    """`ports.Journal` in a list. `durable` outlives the object: hand it to the next one to simulate a restart.

    What is appended becomes durable after one pass of the event loop, so that a crash can fall in between.
    """

    def __init__(self, durable: list[tuple[int, str, float, bytes]] | None = None) -> None:
        self.durable = [] if durable is None else durable
        self._seq = 0
        self._open = False
        self._waiting: list[tuple[int, str, float, bytes]] = []
        self._group = Group()
        self._flushing = False

    async def open(self) -> None:
        """Go on behind what is durable."""
        self._seq = self.durable[-1][0] if self.durable else 0
        self._open = True

    async def close(self) -> None:
        """Keep what was appended, take nothing more."""
        if self._waiting:
            self._flush()
        self._open = False

    def append(self, run: str, at: float, events: Sequence[ev.Event]) -> tuple[list[ev.Entry], Group]:
        """Queue events; see `ports.Journal.append`."""
        self._require_open()
        entries = [ev.Entry(seq, run, at, event) for seq, event in enumerate(events, self._seq + 1)]
        self._waiting += [(entry.seq, run, at, ev.encode(entry.event)) for entry in entries]
        self._seq += len(entries)
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)
        return entries, self._group

    def _require_open(self) -> None:
        if not self._open:
            raise JournalError("the journal is closed")

    def _flush(self) -> None:
        group, self._group, self._flushing = self._group, Group(), False
        self.durable += self._waiting
        self._waiting = []
        group.finish(None)

    async def runs(self) -> list[RunMark]:
        """All runs, oldest first."""
        self._require_open()
        marks: dict[str, RunMark] = {}
        for seq, run, _, data in self.durable:
            event = ev.decode(data)
            if isinstance(event, ev.MARKS):
                first = marks[run].first_seq if run in marks else seq
                marks[run] = RunMark(run, first, isinstance(event, ev.RunFinished))
        return list(marks.values())

    async def answer(self, command: str) -> ev.CommandAnswered | None:
        """The answer to a command; see `ports.Journal.answer`."""
        self._require_open()
        for *_, data in self.durable:
            event = ev.decode(data)
            if isinstance(event, ev.CommandAnswered) and event.answers(command):
                return event
        return None

    async def read(self, run: str, after: int = 0) -> AsyncIterator[ev.Entry]:
        """The durable entries of a run; see `ports.Journal.read`."""
        self._require_open()
        for seq, owner, at, data in list(self.durable):
            if owner == run and seq > after:
                yield ev.Entry(seq, owner, at, ev.decode(data))
