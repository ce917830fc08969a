"""What whoever submitted a run holds of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import anyio
import anyio.lowlevel

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.state import Run
from daplug_supervisor.ports import Clock
from daplug_supervisor.supervisor.recorder import Recorder
from daplug_supervisor.views.report.contents import Report, report

Confirm = Callable[[Run, str], Awaitable[bool]]
"""Asked before a task starts (run, task); False halts the run."""


class RunHandle:
    """One run in a supervisor: its events, its state, its end."""

    def __init__(self, run: Run, recorder: Recorder, clock: Clock) -> None:
        self.confirm: Confirm | None = None
        self.edits: tuple[str, ...] = ()
        self._clock = clock
        self._run = run
        self._recorder = recorder
        self._over = anyio.Event()
        self._report: Report | None = None

    @property
    def id(self) -> str:
        """The run's id."""
        return self._run.id

    @property
    def state(self) -> Run:
        """The run's state. To be read only."""
        return self._run

    async def events(self) -> AsyncIterator[ev.Entry]:
        """The run's entries from now on, each once it is durable.

        Ends with the run, when it is halted, and when the supervisor is left.
        """
        subscription = self._recorder.subscribe(self._run.id)
        if self._over.is_set():  # what is on its way to the disk, and then nothing
            await self._recorder.settle()
            await anyio.lowlevel.checkpoint()
            subscription.end()
        try:
            async for entry in subscription:
                yield entry
                if isinstance(entry.event, ev.RunFinished | ev.Halted):
                    return
        finally:
            subscription.close()

    async def wait(self) -> Report:
        """Wait until the run has finished or is halted, durably, and return its report."""
        await self._over.wait()
        await self._recorder.settle()
        return self._report or report(self._run, self._clock.now())

    def begin(self) -> None:
        """The supervisor says that it drives the run (again)."""
        if self._over.is_set():
            self._over = anyio.Event()

    def end(self, final: Report | None = None) -> None:
        """The supervisor says that nothing more will happen by itself."""
        self._report = final
        self._over.set()

    def leave(self) -> None:
        """The supervisor says that it is left: nobody will hear anything more."""
        self.end()
        self._recorder.end()
