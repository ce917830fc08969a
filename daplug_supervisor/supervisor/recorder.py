"""The only writer: an event is folded into the state, appended to the journal, and published once it is durable.

Folding comes first so that what an end allows can begin in the same transaction; acting comes last: whoever has an
effect on the world waits for `Durable` before it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

import anyio.lowlevel

from daplug_supervisor.core.events import Entry, Event
from daplug_supervisor.core.state import State, apply
from daplug_supervisor.errors import IllegalTransitionError
from daplug_supervisor.ports import Clock, Durable, Journal


class Recorder:
    """Records events and tells those who subscribe about them.

    Args:
        journal: where they are kept; open.
        state: the fold of what the journal holds of the runs at hand.
        clock: the time that events carry.
        on_change: called after every change of the state; must not block.

    Attributes:
        listeners: each gets all entries once they are durable, of whatever run; it must neither block nor raise.
    """

    def __init__(self, journal: Journal, state: State, clock: Clock, on_change: Callable[[], None]) -> None:
        self.state = state
        self._journal = journal
        self._clock = clock
        self._on_change = on_change
        self._pending: deque[tuple[list[Entry], Durable]] = deque()
        self._more = asyncio.Event()
        self._subscribers: dict[Subscription, None] = {}  # in order, so that a simulation can be repeated
        self.listeners: list[Callable[[list[Entry]], None]] = []

    def now(self) -> float:
        """The time that an event recorded now would carry (UTC, seconds)."""
        return self._clock.now()

    def record(self, run: str, *events: Event) -> Durable:
        """Take events into the state, and on their way to the disk, all in one transaction.

        Raises:
            IllegalTransitionError: an event does not fit; it and those after it were not recorded.
            JournalError: the journal has failed.
        """
        now = self._clock.now()
        for count, event in enumerate(events):
            try:
                apply(self.state, Entry(self.state.seq + 1, run, now, event))
            except IllegalTransitionError:
                if count:
                    self._append(run, now, events[:count])
                raise
        return self._append(run, now, events)

    def _append(self, run: str, now: float, events: Sequence[Event]) -> Durable:
        """Send events that are in the state on their way to the disk."""
        self._on_change()  # before the journal's writer wakes: what follows from this joins the same transaction
        entries, durable = self._journal.append(run, now, events)
        if self._pending and self._pending[-1][1] is durable:
            self._pending[-1][0].extend(entries)
        else:
            self._pending.append((entries, durable))
            self._more.set()
        return durable

    async def publish(self) -> None:
        """Hand out entries as they become durable, for ever.

        Raises:
            JournalError: the journal failed; nothing may go on.
        """
        while True:
            while self._pending:
                entries, durable = self._pending[0]
                await durable.wait()
                self._pending.popleft()
                for listen in self.listeners:
                    listen(entries)
                for subscriber in self._subscribers:
                    subscriber.offer(entries)
            self._more = asyncio.Event()
            await self._more.wait()

    async def settle(self) -> None:
        """Wait until all that was recorded so far is durable."""
        for _, durable in list(self._pending):
            await durable.wait()

    async def handed_out(self) -> None:
        """Wait until all that was recorded so far is durable, and those who listen have it."""
        last = self._pending[-1][0][-1].seq if self._pending else 0
        while self._pending and self._pending[0][0][0].seq <= last:
            await self._pending[0][1].wait()
            await anyio.lowlevel.checkpoint()

    def end(self) -> None:
        """Nothing more will be handed out to anybody."""
        for subscriber in self._subscribers:
            subscriber.end()

    def subscribe(self, run: str) -> Subscription:
        """Entries of a run ('' for the state directory's own), from now on."""
        subscription = Subscription(run, self._subscribers)
        self._subscribers[subscription] = None
        return subscription


class Subscription:
    """Durable entries of one run, in order. Iterate it once; close it when done."""

    def __init__(self, run: str, registry: dict[Subscription, None]) -> None:
        self._run = run
        self._registry = registry
        self._entries: deque[Entry] = deque()
        self._more = asyncio.Event()
        self._over = False

    def offer(self, entries: list[Entry]) -> None:
        """Add what belongs to this run."""
        wanted = [entry for entry in entries if entry.run == self._run]
        if wanted:
            self._entries.extend(wanted)
            self._more.set()

    def end(self) -> None:
        """Nothing more will come."""
        self._over = True
        self._more.set()

    def close(self) -> None:
        """Be told no more."""
        self._registry.pop(self, None)

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Entry:
        while not self._entries:
            if self._over:
                raise StopAsyncIteration
            self._more = asyncio.Event()
            await self._more.wait()
        return self._entries.popleft()
