"""The user's own commands after a task and after a run: told how it went, bounded in time, and asked about nothing.

Each runs at least once: what a crash interrupted is run again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.bundle import ATTEMPT_VARIABLE
from daplug_supervisor.core.environment import named
from daplug_supervisor.core.machine import ENDED
from daplug_supervisor.core.results import Exit
from daplug_supervisor.core.state import Run, TaskState
from daplug_supervisor.errors import LaunchError
from daplug_supervisor.ports import Launch
from daplug_supervisor.supervisor import origins, sessions
from daplug_supervisor.supervisor.desk import Desk
from daplug_supervisor.workers.text import ending, last_line, one_line
from daplug_supervisor.workspace.files import STDERR, make_private, read_tail

Hook = Literal["post_task", "post_run"]
_SHOWN = 4 << 10


async def after_task(desk: Desk, run: Run, task: TaskState) -> None:
    """Run the hook of a task that has ended by way of an attempt, unless it has been run."""
    words = run.plan.hooks.post_task
    if words is None or task.attempt is None or task.status not in ENDED:
        return
    async with desk.queue(f"hooks of {run.id}"):
        if ("post_task", task.id) not in run.hooks and task.status in ENDED:
            told = {"DAPLUG_TASK": task.id, "DAPLUG_STATUS": task.status.value, "DAPLUG_COMMIT": task.commit}
            await _run(desk, run, "post_task", task.id, words, told)


async def after_run(desk: Desk, run: Run) -> None:
    """Run the hooks of tasks that were missed, and that of the run, which is over or halted."""
    await sessions.keep(desk, run)
    for task in list(run.tasks.values()):
        await origins.ended(desk, run, task)
        await after_task(desk, run, task)
    words = run.plan.hooks.post_run
    if words is not None:
        status = "halted" if run.finished_at is None else "finished"
        counts = {f"DAPLUG_{name.value.upper()}": str(count) for name, count in run.counts.items()}
        await _run(desk, run, "post_run", "", words, {"DAPLUG_STATUS": status, **counts})


async def _run(
    desk: Desk, run: Run, hook: Hook, of: str, words: tuple[str, ...], told: dict[str, str]
) -> None:
    directory = f"{desk.directory.run(run.id)}/hooks/{hook}{f'-{of}' if of else ''}"
    seconds = run.plan.hooks.timeout
    mark = f"{run.id}-{hook}-{of}"
    launch = Launch(
        directory=directory,
        argv=words,
        cwd=run.target,
        env={**named(desk.environ, run.plan.pass_env), "DAPLUG_RUN": run.id, **told, ATTEMPT_VARIABLE: mark},
        deadline=desk.clock.monotonic() + seconds,
        grace=2.0,
    )
    try:
        make_private(Path(directory))
        gate = desk.launcher.idle() or await desk.launcher.reserve()
    except (LaunchError, OSError) as error:
        desk.record(run.id, ev.HookRan(hook, of, None, one_line(f"it could not be started: {error}")))
        return
    found = await gate.open(launch).wait() or Exit(None)
    desk.record(
        run.id, ev.HookRan(hook, of, found.code, desk.mask(one_line(_wrong(found, directory, seconds))))
    )
    desk.launcher.release(gate)


def _wrong(found: Exit, directory: str, seconds: float) -> str:
    """What went wrong, '' if nothing."""
    if found.stopped == "deadline":
        return f"not finished after {seconds:g} s"
    if found.code == 0:
        return ""
    said = last_line(read_tail(Path(directory) / STDERR, _SHOWN))
    what = ending(found.code) if found.code is not None else found.error or "nothing is known of its end"
    return f"{what}: {said}" if said else what
