"""Driving runs in the foreground: signals, progress, report, exit code."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import anyio
import click

from daplug_supervisor.cli import options
from daplug_supervisor.cli.logs import log_to
from daplug_supervisor.cli.output import print_json, width
from daplug_supervisor.cli.progress import show
from daplug_supervisor.core.events import HaltedBy
from daplug_supervisor.core.machine import SATISFIED
from daplug_supervisor.core.state import Run
from daplug_supervisor.errors import (
    EXIT_DONE,
    EXIT_HALTED,
    EXIT_HUP,
    EXIT_INT,
    EXIT_NOT_ALL_DONE,
    EXIT_RUN_TIMEOUT,
    EXIT_TERM,
)
from daplug_supervisor.supervisor.handle import RunHandle
from daplug_supervisor.supervisor.supervisor import Supervisor
from daplug_supervisor.views.report import Report, report_text
from daplug_supervisor.views.text import clean

_LOOK = 0.2
"""Seconds between looks at whether a question is still to be asked."""

Begin = Callable[[Supervisor], Awaitable[list[RunHandle]]]

_GC_THRESHOLD = 20_000
_CODES = {signal.SIGINT: EXIT_INT, signal.SIGTERM: EXIT_TERM, signal.SIGHUP: EXIT_HUP}


class Ending:
    """How driving came to its end: the reports, and the signal that ended it, if one did."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.runs: list[Run] = []
        self.signal: signal.Signals | None = None
        self.detached = False

    @property
    def exit_code(self) -> int:
        """The documented exit code."""
        if self.signal is not None and (self.detached or any(run.halt for run in self.runs)):
            return _CODES[self.signal]
        halted_by: set[HaltedBy] = {run.halt.by for run in self.runs if run.halt is not None}
        if "timeout" in halted_by:
            return EXIT_RUN_TIMEOUT
        if halted_by:
            return EXIT_HALTED
        done = all(task.status in SATISFIED for run in self.runs for task in run.tasks.values())
        return EXIT_DONE if done else EXIT_NOT_ALL_DONE


def drive(make: Callable[[], Supervisor], begin: Begin, *, quiet: bool, as_json: bool) -> int:
    """Run what `begin` starts to its end, print the report, and return the exit code."""
    ending = anyio.run(_drive, make, begin, quiet)
    if as_json:
        reports = ending.reports
        print_json(reports[0] if len(reports) == 1 else reports)
    else:
        for made in ending.reports:
            click.echo(report_text(made, width()))
    if ending.detached:
        click.echo("Detached: agents go on running; run the same command again to take them back.", err=True)
    return ending.exit_code


async def _drive(make: Callable[[], Supervisor], begin: Begin, quiet: bool) -> Ending:  # noqa: FBT001 (anyio.run)
    gc.freeze()  # modules and plan stay: looking at them again and again would find nothing
    gc.set_threshold(_GC_THRESHOLD)
    gc.enable()
    ending = Ending()
    with anyio.open_signal_receiver(*_CODES) as signals:
        async with make() as supervisor:
            log_to(supervisor.directory.log)
            handles = await begin(supervisor)
            for line in (line for handle in handles for line in handle.edits if quiet):
                _say(f"plan edited: {line}")
            ending.runs = [handle.state for handle in handles]
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_obey, signals, supervisor, ending, tasks.cancel_scope)
                if not quiet:
                    tasks.start_soon(show, supervisor, handles)
                for handle in handles:
                    ending.reports.append(await handle.wait())
                tasks.cancel_scope.cancel()
    return ending


async def _obey(
    signals: AsyncIterator[signal.Signals],
    supervisor: Supervisor,
    ending: Ending,
    scope: anyio.CancelScope,
) -> None:
    """First INT or TERM: no new starts. Second: stop the agents. Third, or HUP: leave them running and go."""
    times = 0
    async for number in signals:
        ending.signal = number
        times += 1
        if number == signal.SIGHUP or times > 2:  # noqa: PLR2004
            ending.detached = True
            scope.cancel()
        elif times == 1:
            supervisor.halt(f"interrupted by {number.name}", "signal")
            _say("halting: nothing more is started, what runs may finish; once more stops the agents")
        else:
            supervisor.stop()
            _say("stopping the agents; once more leaves at once")


def _say(text: str) -> None:
    click.echo(f"daplug-supervise: {clean(text)}", err=True)


def make_confirm() -> Callable[[Run, str], Awaitable[bool]]:
    """Ask at the terminal before each start. A halt takes the question back; the end of input means no."""

    async def confirm(run: Run, task: str) -> bool:
        title = run.spec(task).title
        question = f"Start {task}{f' ({title!a})' if title else ''}? [Y/n]: "
        while run.halt is None:
            click.echo(question, err=True, nl=False)
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
