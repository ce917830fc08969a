"""Progress while runs are driven: a live picture on a terminal, plain lines anywhere else."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import anyio
import click

from daplug_supervisor.cli.driving.unhurried import takes, terminal
from daplug_supervisor.core.machine import ACTIVE
from daplug_supervisor.core.state import Run
from daplug_supervisor.supervisor.handle import RunHandle
from daplug_supervisor.supervisor.supervisor import Supervisor
from daplug_supervisor.views.live.said import said
from daplug_supervisor.views.log import log_text
from daplug_supervisor.workspace.files import STDERR, STDOUT, read_tail
from daplug_supervisor.workspace.room import FULL

_TICK = 1.0
_LATER = 0.2
_TAIL = 2048
_SHOWN = frozenset(
    {
        "run_submitted", "plan_changed", "attempt_started", "landed", "retry_scheduled", "task_failed", "task_stuck",
        "task_cancelled", "task_skipped", "halt_requested", "halted", "resumed", "provider_rested",
        "provider_stopped", "provider_paused", "provider_resumed", "run_finished", "delegated", "review_requested",
        "approved", "rejected", "task_answered", "task_added", "task_changed", "task_removed",
    }
)  # fmt: skip


_NOBODY = frozenset({errno.EPIPE, errno.EIO})
"""What writing says when the reader of a pipe, or the terminal, has gone."""


@contextlib.contextmanager
def unless_nobody_reads(stream: TextIO) -> Iterator[None]:
    """Go on if whoever read a stream has gone; what is still to be said there goes nowhere. Also if a disk is full."""
    try:
        yield
        stream.flush()
    except OSError as error:
        if error.errno in FULL:
            return  # its words may get there when there is room, and everything else goes on
        if error.errno not in _NOBODY:
            raise
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())  # or Python fails once more when it flushes at its end
        os.close(null)


def say(text: str, end: str = "\n") -> None:
    """Say something on standard error, if anybody is there to read it."""
    with unless_nobody_reads(sys.stderr):
        click.echo(text + end, err=True, nl=False)


async def show(supervisor: Supervisor, handles: list[RunHandle]) -> None:
    """Show progress on standard error until cancelled."""
    if sys.stderr.isatty():
        await _draw(supervisor, handles)
        return
    async with anyio.create_task_group() as tasks:
        for handle in handles:
            tasks.start_soon(_print, handle)


async def _print(handle: RunHandle) -> None:
    """One line an event that a person cares about."""
    async for entry in handle.events():
        if entry.event.kind in _SHOWN:
            while not takes(sys.stderr):  # noqa: ASYNC110 (not every stream can be waited for)
                await anyio.sleep(_LATER)
            say(log_text(entry))


async def _draw(supervisor: Supervisor, handles: list[RunHandle]) -> None:
    """Redraw once a second, and when something was recorded."""
    from rich.live import Live  # noqa: PLC0415 (slow to import; only terminals need it)

    from daplug_supervisor.cli.driving.picture import Screen, picture  # noqa: PLC0415

    console = Screen(file=terminal(), stderr=True)
    with (
        unless_nobody_reads(sys.stderr),
        Live(console=console, auto_refresh=False, transient=True) as live,
    ):
        while True:
            runs = [handle.state for handle in handles]
            lines = {run.id: last_lines(supervisor, run) for run in runs}
            notices = supervisor.notices.texts
            live.update(picture(runs, supervisor.clock.now(), lines, console.width, notices), refresh=True)
            await anyio.sleep(_TICK)


def last_lines(supervisor: Supervisor, run: Run) -> dict[str, str]:
    """The last line that each running task printed."""
    found = {}
    for name, task in run.tasks.items() if run.active else ():
        if task.status in ACTIVE and task.attempt is not None:
            folder = Path(supervisor.directory.attempt(run.id, name, task.attempt.number))
            data = read_tail(folder / STDOUT, _TAIL) or read_tail(folder / STDERR, _TAIL)
            found[name] = supervisor.mask(said(supervisor.mask(data.decode("utf-8", "replace"))))
    return found
