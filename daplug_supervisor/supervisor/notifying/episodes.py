"""Tells people of runs that need them, or are over, once for each episode; nothing of that ever holds a run up.

That they were told is recorded afterwards. So a crash in between tells them once more, and nothing is missed; and what
could not be sent is in the journal as such, and not tried for ever.
"""

from __future__ import annotations

from collections.abc import Iterable
from logging import getLogger
from typing import Protocol

import anyio
import anyio.abc
import anyio.to_thread

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.model import Run
from daplug_supervisor.core.notifying import SOONEST, Episode, began, ending, gap, news, standing, still
from daplug_supervisor.errors import SupervisorError
from daplug_supervisor.ports import Durable
from daplug_supervisor.supervisor.notifying.messengers import Office, Sender, lacking, send
from daplug_supervisor.supervisor.notifying.notices import Notices
from daplug_supervisor.views.told import message
from daplug_supervisor.workspace.files import StateDirectory

log = getLogger(__name__)


class _Desk(Office, Protocol):
    """What this needs of the supervisor."""

    directory: StateDirectory
    notices: Notices

    def record(self, run: str, *events: ev.Event) -> Durable:
        """Record events of a run."""
        ...

    async def settle(self) -> None:
        """Wait until all that was recorded is durable."""
        ...


class _Watched:
    """A run of which people want to be told, and what they are to be told next."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.pending: dict[str, Episode] = {}
        self.underway: set[str] = set()
        self.more = anyio.Event()
        self.sending = anyio.Lock()
        self.scope = anyio.CancelScope()


class Notifier:
    """Hears of what has become durable, gathers for a moment, and sends. Does nothing for plans that tell nobody.

    Args:
        desk: what it works with.
    """

    def __init__(self, desk: _Desk) -> None:
        self._desk = desk
        self._watched: dict[str, _Watched] = {}

    def begin(self, run: Run, tasks: anyio.abc.TaskGroup) -> None:
        """The supervisor drives a run, or goes on with it: what is on, and nobody was told of, is told now."""
        notify = run.plan.notify
        if not notify.wanted:
            self.forget(run.id)
            return
        watched = self._watched.get(run.id)
        if watched is None:
            watched = self._watched[run.id] = _Watched(run)
            tasks.start_soon(self._look_after, watched, name=f"messages of {run.id}")
        self._add(watched, standing(run, self._desk.clock.now()))
        lacks = "; ".join(lacking(notify, self._desk.environ, run.target))
        if lacks:
            self._notice(run, f"not all messages of run {run.id} will arrive: {lacks}")

    def hear(self, entries: list[ev.Entry]) -> None:
        """These have become durable."""
        if not self._watched:
            return
        now = self._desk.clock.now()
        for entry in entries:
            watched = self._watched.get(entry.run)
            if watched is not None:
                self._add(watched, began(watched.run, entry.event, now))

    def forget(self, run: str) -> None:
        """The run is no longer at hand."""
        watched = self._watched.pop(run, None)
        if watched is not None:
            watched.scope.cancel()

    def wanted(self, run: Run) -> bool:
        """Whether people want to be told of a run, and so of its end."""
        return run.id in self._watched

    async def last(self, run: Run, *, halted: bool) -> None:
        """Tell what is left, now that the run is about to be over or halted; then wait for what is on its way."""
        watched = self._watched.get(run.id)
        if watched is None:
            return
        end = self._desk.clock.monotonic() + run.plan.notify.timeout
        self._add(watched, standing(run, self._desk.clock.now()))  # what is not durable yet, too
        final = news(run, [ending(run, halted=halted)])
        await self._tell(watched, [*self._take(watched), *final.values()])
        with anyio.move_on_after(max(0.0, end - self._desk.clock.monotonic())):
            async with watched.sending:
                pass

    def _add(self, watched: _Watched, episodes: Iterable[Episode]) -> None:
        found = news(watched.run, episodes)
        found = {key: one for key, one in found.items() if key not in watched.underway}
        if found:
            watched.pending.update(found)
            watched.more.set()

    def _take(self, watched: _Watched) -> list[Episode]:
        """What is to be told and is still so."""
        found, now = watched.pending, self._desk.clock.now()
        watched.pending, watched.more = {}, anyio.Event()
        return [one for one in found.values() if still(watched.run, one, now)]

    async def _look_after(self, watched: _Watched) -> None:
        """Tell what comes up in a run; the more there is of it, the more goes into one message."""
        clock, wait, told_at = self._desk.clock, SOONEST, -2 * SOONEST
        with watched.scope:
            while True:
                await watched.more.wait()
                wait = gap(wait, clock.monotonic() - told_at)
                await anyio.sleep(
                    wait
                )  # what comes meanwhile goes with it; the end of the run does not wait for this
                found = self._take(watched)
                if found:
                    async with watched.sending:
                        await self._tell(watched, found)
                    told_at = clock.monotonic()

    async def _tell(self, watched: _Watched, episodes: list[Episode]) -> None:
        """Send a message of these, and record that they were told."""
        if not episodes:
            return
        run, desk, keys = watched.run, self._desk, {one.key for one in episodes}
        watched.underway |= keys
        await desk.settle()
        sender = Sender(
            desk, run.plan.notify, desk.directory.run(run.id) / "hooks", run.target, run.plan.pass_env
        )
        try:
            found = await send(sender, message(run, episodes, desk.clock.now(), desk.mask))
        except SupervisorError:
            raise
        except Exception:  # whatever it is, the run goes on
            log.exception("nobody could be told of run %s", run.id)
            found = {"": "a fault in the supervisor itself"}
        wrong = "; ".join(f"{way}: {why}" if way else why for way, why in found.items() if why)
        self._notice(run, f"a message of run {run.id} did not arrive: {wrong}" if wrong else "")
        desk.record(run.id, *(ev.Notified(one.trouble, one.key, wrong) for one in episodes))
        watched.underway -= keys

    def _notice(self, run: Run, text: str) -> None:
        self._desk.notices.tell(f"messages of {run.id}", text)
