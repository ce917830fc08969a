"""Progress while runs are driven: a live picture on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import click

from daplug_supervisor.core.machine import ACTIVE
from daplug_supervisor.core.state import Run
from daplug_supervisor.supervisor.handle import RunHandle
from daplug_supervisor.supervisor.supervisor import Supervisor
from daplug_supervisor.views.log import log_text
from daplug_supervisor.workspace.files import STDERR, STDOUT, read_tail

_TICK = 1.0
_TAIL = 2048
_SHOWN = frozenset(
    {
        "run_submitted", "plan_changed", "attempt_started", "landed", "retry_scheduled", "task_failed", "task_stuck",
        "task_cancelled", "task_skipped", "halt_requested", "halted", "resumed", "provider_rested",
        "provider_stopped", "run_finished",
    }
)  # fmt: skip


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
            click.echo(log_text(entry), err=True)


async def _draw(supervisor: Supervisor, handles: list[RunHandle]) -> None:
    """Redraw once a second, and when something was recorded."""
    from rich.console import Console  # noqa: PLC0415 (slow to import; only terminals need it)
    from rich.live import Live  # noqa: PLC0415

    from daplug_supervisor.cli.picture import picture  # noqa: PLC0415

    console = Console(stderr=True)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            runs = [handle.state for handle in handles]
            lines = {run.id: last_lines(supervisor, run) for run in runs}
            live.update(picture(runs, supervisor.clock.now(), lines, console.width), refresh=True)
            await anyio.sleep(_TICK)


def last_lines(supervisor: Supervisor, run: Run) -> dict[str, str]:
    """The last line that each running task printed."""
    found = {}
    for name, task in run.tasks.items() if run.active else ():
        if task.status in ACTIVE and task.attempt is not None:
            folder = Path(supervisor.directory.attempt(run.id, name, task.attempt.number))
            data = read_tail(folder / STDOUT, _TAIL) or read_tail(folder / STDERR, _TAIL)
            lines = [line for line in data.decode("utf-8", "replace").splitlines() if line.strip()]
            found[name] = lines[-1] if lines else ""
    return found
