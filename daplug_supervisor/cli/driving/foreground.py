"""Driving runs in the foreground: signals, progress, report, exit code."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import anyio
import click

from daplug_supervisor.cli import options
from daplug_supervisor.cli.driving.logs import log_to
from daplug_supervisor.cli.driving.progress import say, show, unless_nobody_reads
from daplug_supervisor.cli.driving.unhurried import takes
from daplug_supervisor.cli.output import print_json, width
from daplug_supervisor.core.events import HaltedBy
from daplug_supervisor.core.machine import SATISFIED
from daplug_supervisor.core.state import Run
from daplug_supervisor.errors import (
    EXIT_DONE,
    EXIT_HALTED,
    EXIT_HUP,
    EXIT_INT,
    EXIT_NOT_ALL_DONE,
    EXIT_QUIT,
    EXIT_RUN_TIMEOUT,
    EXIT_TERM,
    SupervisorError,
)
from daplug_supervisor.supervisor.handle import RunHandle
from daplug_supervisor.supervisor.supervisor import Supervisor
from daplug_supervisor.views.report.contents import Report
from daplug_supervisor.views.report.text import report_text
from daplug_supervisor.views.text import clean

_LOOK = 0.2
"""Seconds between looks at whether a question is still to be asked."""

Begin = Callable[[Supervisor], Awaitable[list[RunHandle]]]
Data = Callable[[Run, Report], object]

_GC_THRESHOLD = 20_000
_CODES = {
    signal.SIGINT: EXIT_INT,
    signal.SIGTERM: EXIT_TERM,
    signal.SIGHUP: EXIT_HUP,
    signal.SIGQUIT: EXIT_QUIT,
}
_LEAVE = frozenset({signal.SIGHUP, signal.SIGQUIT})
_HALT, _STOP, _GO = 1, 2, 3
"""What the first, the second and the third INT or TERM ask for."""

ONE_WISH = 0.1
"""Seconds in which further signals are the same wish, told twice: `timeout` and wrappers pass on what a whole process
group has got already."""


class Ending:
    """How driving came to its end: the reports, and the signal that ended it, if one did."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.runs: list[Run] = []
        self.signal: signal.Signals | None = None
        self.begun = False
        self.detached = False

    @property
    def exit_code(self) -> int:
        """The documented exit code."""
        if self.signal is not None and (
            self.detached or not self.begun or any(run.halt for run in self.runs)
        ):
            return _CODES[self.signal]
        halted_by: set[HaltedBy] = {run.halt.by for run in self.runs if run.halt is not None}
        if "timeout" in halted_by:
            return EXIT_RUN_TIMEOUT
        if halted_by:
            return EXIT_HALTED
        done = all(task.status in SATISFIED for run in self.runs for task in run.tasks.values())
        return EXIT_DONE if done else EXIT_NOT_ALL_DONE


def drive(
    make: Callable[[], Supervisor], begin: Begin, *, quiet: bool, as_json: bool, data: Data | None = None,
    more: Callable[[Run], str] | None = None,
) -> int:  # fmt: skip
    """Run what `begin` starts to its end, print the report, and return the exit code.

    `data` says what is printed as JSON in place of the report, `more` what is printed as text below it.
    """
    ending = anyio.run(_drive, make, begin, quiet)
    with unless_nobody_reads(sys.stdout):  # the report is in the state directory as well
        if as_json:
            reports: list[object] = [*ending.reports]
            if data is not None:
                reports = [data(run, made) for run, made in zip(ending.runs, ending.reports, strict=False)]
            print_json(reports[0] if len(reports) == 1 else reports)
        else:
            for made, run in zip(ending.reports, ending.runs, strict=False):
                below = more(run) if more is not None else ""
                click.echo("\n\n".join(filter(None, (report_text(made, width()), below))))
    if ending.detached and ending.begun:
        say("Detached: agents go on running; run the same command again to take them back.")
    elif ending.signal is not None and not ending.begun:
        say("Ended before anything was started; run the same command again.")
    return ending.exit_code


async def _drive(make: Callable[[], Supervisor], begin: Begin, quiet: bool) -> Ending:  # noqa: FBT001 (anyio.run)
    gc.freeze()  # modules and plan stay: looking at them again and again would find nothing
    gc.set_threshold(_GC_THRESHOLD)
    gc.enable()
    ending = Ending()
    with anyio.CancelScope() as scope, _Listening(ending, scope) as listening:
        supervisor = make()
        supervisor.notices.listen = _say
        async with supervisor:
            log_to(supervisor.directory.log)
            if ending.signal is not None:
                return ending
            handles = await begin(supervisor)
            ending.runs, ending.begun = [handle.state for handle in handles], True
            for line in (line for handle in handles for line in handle.edits if quiet):
                _say(f"plan edited: {line}")
            async with anyio.create_task_group() as tasks:
                listening.attend(supervisor, tasks.cancel_scope)
                if not quiet:
                    tasks.start_soon(show, supervisor, handles)
                for handle in handles:
                    ending.reports.append(await handle.wait())
                tasks.cancel_scope.cancel()
            listening.over = True
    return ending


class _Listening:
    """Obeys signals while a supervisor is entered, at work and left.

    First INT or TERM: no new starts. Second: stop the agents. Third, or HUP or QUIT at any time: leave them running
    and go. A signal that is ignored by whoever started us stays ignored: so `nohup` does what it says.

    Attributes:
        over: all runs have come to their end; signals mean nothing any more.
    """

    def __init__(self, ending: Ending, scope: anyio.CancelScope) -> None:
        self._ending = ending
        self._scope = scope
        self._supervisor: Supervisor | None = None
        self._wishes = self._obeyed = 0
        self.over = False
        self._last = -ONE_WISH
        self._loop = asyncio.get_running_loop()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        # Not the loop's own handlers: those hear of a signal only after the loop has gone round, and begun something.
        for number in _CODES:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            if handler is not None:  # None: one that Python does not know, and cannot give back
                signal.signal(number, handler)

    def attend(self, supervisor: Supervisor, scope: anyio.CancelScope) -> None:
        """There are runs now: carry out what was asked for meanwhile. From now on leaving cancels `scope` only."""
        self._supervisor, self._scope = supervisor, scope
        if self._wishes:
            self._obey()

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        heard, now = signal.Signals(number), time.monotonic()
        if self.over:
            return  # it is leaving already
        if heard not in _LEAVE and now - self._last < ONE_WISH:
            return
        self._last = now
        self._ending.signal = heard
        self._wishes = _GO if heard in _LEAVE else self._wishes + 1
        self._loop.call_soon_threadsafe(self._obey)

    def _obey(self) -> None:
        if self._wishes >= _GO:
            self._ending.detached = True
            self._scope.cancel()
            return
        if self._supervisor is None or self._ending.signal is None or self._obeyed == self._wishes:
            return  # nothing has begun, and nothing will (see `_drive`); or it is done
        self._obeyed = self._wishes
        with contextlib.suppress(SupervisorError):  # a journal that has failed ends the supervisor by itself
            self._supervisor.halt(f"interrupted by {self._ending.signal.name}", "signal")
            if self._wishes == _STOP:
                self._supervisor.stop()
        if self._wishes == _HALT:
            _say("halting: nothing more is started, what runs may finish; once more stops the agents")
        else:
            _say("stopping the agents; once more leaves at once")


def _say(text: str) -> None:
    if takes(sys.stderr):
        say(f"daplug-supervise: {clean(text)}")


def make_confirm() -> Callable[[Run, str], Awaitable[bool]]:
    """Ask at the terminal before each start. A halt takes the question back; the end of input means no."""

    async def confirm(run: Run, task: str) -> bool:
        title = run.spec(task).title
        question = f"Start {task}{f' ({title!a})' if title else ''}? [Y/n]: "
        while run.halt is None:
            say(question, end="")
            line = await _line(run)
            answer = line.strip().lower()
            if answer in ("n", "no") or not line:
                return False
            if answer in ("", "y", "yes"):
                return True
        return False

    if not sys.stdin.isatty():
        raise click.UsageError("--step asks before each start: it needs a terminal")
    return confirm


async def _line(run: Run) -> str:
    """The next line that is typed; empty at the end of input, and when the run is to halt."""
    while run.halt is None:
        with anyio.move_on_after(_LOOK):
            await anyio.wait_readable(sys.stdin)
            return sys.stdin.readline()  # a terminal hands out whole lines: this does not wait
    return ""


def target() -> Path:
    """The directory that a run is about: where the command was given."""
    return options.here()
