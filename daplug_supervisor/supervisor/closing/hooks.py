"""The user's own commands after a task and after a run: told how it went, bounded in time, and asked about nothing.

Each runs at least once: what a crash interrupted is run again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import anyio.to_thread

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.bundle import ATTEMPT_VARIABLE
from daplug_supervisor.core.environment import named
from daplug_supervisor.core.machine import ENDED
from daplug_supervisor.core.pulls import paused
from daplug_supervisor.core.results import Exit
from daplug_supervisor.core.state import Run, TaskState
from daplug_supervisor.errors import LaunchError
from daplug_supervisor.ports import Launch
from daplug_supervisor.supervisor.attempts import origins, sessions
from daplug_supervisor.supervisor.attempts.desk import Desk
from daplug_supervisor.supervisor.closing.execution import write_execution
from daplug_supervisor.workers.text import ending, last_line, one_line
from daplug_supervisor.workspace import github
from daplug_supervisor.workspace.files import STDERR, make_private, read_tail

Hook = Literal["post_task", "post_run"]
_SHOWN = 4 << 10
_PATIENCE = 180.0
"""Seconds that a pull request may take to be told."""


async def after_task(desk: Desk, run: Run, task: TaskState) -> None:
    """Run the hook of a task that has ended by way of an attempt, unless it has been run."""
    words = run.plan.hooks.post_task
    if words is None or task.attempt is None or task.status not in ENDED:
        return
    async with desk.queue(f"hooks of {run.id}"):
        if ("post_task", task.id) not in run.hooks and task.status in ENDED:
            ended_at = task.changed_at
            told = {"DAPLUG_TASK": task.id, "DAPLUG_STATUS": task.status.value, "DAPLUG_COMMIT": task.commit}
            ran = await _run(desk, run, "post_task", task.id, words, told)
            if (
                task.changed_at == ended_at
            ):  # else it began again meanwhile, and its next end has a hook of its own
                desk.record(run.id, ran)


async def after_run(desk: Desk, run: Run) -> None:
    """Run the hooks of tasks that were missed, and that of the run, which is about to be over or halted."""
    await sessions.keep(desk, run)
    for task in list(run.tasks.values()):
        await origins.ended(desk, run, task)
        await after_task(desk, run, task)
    await _pause(desk, run)
    words = run.plan.hooks.post_run
    if words is not None:
        status = "finished" if run.halt is None else "halted"
        counts = {f"DAPLUG_{name.value.upper()}": str(count) for name, count in run.counts.items()}
        desk.record(run.id, await _run(desk, run, "post_run", "", words, {"DAPLUG_STATUS": status, **counts}))
    if run.plan.origin is not None:
        wrong = await anyio.to_thread.run_sync(write_execution, run, desk.mask)
        about = f"what is written of {run.id}"
        desk.notices.tell(about, f"{about} is not all there: {'; '.join(wrong)}" if wrong else "")


async def _pause(desk: Desk, run: Run) -> None:
    """Tell the pull request of a run, if it has one, that it stopped on a failure; that may be told twice."""
    words = paused(run)
    if words is None:
        return
    told = named(desk.environ, (*run.plan.pass_env, *github.CREDENTIALS))
    _, wrong = await _ran(desk, run, "pause", tuple(map(desk.mask, words)), told, _PATIENCE)
    desk.notices.tell(
        f"the pull request of {run.id}", f"the pull request was not paused: {wrong}" if wrong else ""
    )


async def _run(
    desk: Desk, run: Run, hook: Hook, of: str, words: tuple[str, ...], told: dict[str, str]
) -> ev.HookRan:
    name = f"{hook}{f'-{of}' if of else ''}"
    told = {**named(desk.environ, run.plan.pass_env), **told}
    found, wrong = await _ran(desk, run, name, words, told, run.plan.hooks.timeout)
    return ev.HookRan(hook, of, found.code, wrong)


async def _ran(
    desk: Desk, run: Run, name: str, words: tuple[str, ...], told: dict[str, str], seconds: float
) -> tuple[Exit, str]:
    """Run a command in the target, and wait for its end; also what went wrong, '' if nothing."""
    directory = f"{desk.directory.run(run.id)}/hooks/{name}"
    launch = Launch(
        directory=directory,
        argv=words,
        cwd=run.target,
        env={**told, "DAPLUG_RUN": run.id, ATTEMPT_VARIABLE: f"{run.id}-{name}"},
        deadline=desk.clock.monotonic() + seconds,
        grace=2.0,
    )
    try:
        make_private(Path(directory))
        gate = desk.launcher.idle() or await desk.launcher.reserve()
    except (LaunchError, OSError) as error:
        return Exit(None), one_line(f"it could not be started: {error}")
    found = await gate.open(launch).wait() or Exit(None)
    desk.launcher.release(gate)
    return found, desk.mask(one_line(went_wrong(found, directory, seconds)))


def went_wrong(found: Exit, directory: str, seconds: float) -> str:
    """What went wrong with a command of the user's, '' if nothing."""
    if found.stopped == "deadline":
        return f"not finished after {seconds:g} s"
    if found.code == 0:
        return ""
    said = last_line(read_tail(Path(directory) / STDERR, _SHOWN))
    what = ending(found.code) if found.code is not None else found.error or "nothing is known of its end"
    return f"{what}: {said}" if said else what
