"""The ``.tasker`` directory of a run while it goes on: its bundles, its state, its log. Done in threads."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import anyio.to_thread

from daplug_supervisor.core.bundle import Bundle
from daplug_supervisor.core.results import OutcomeKind
from daplug_supervisor.core.state import Run, TaskState
from daplug_supervisor.core.tasker.bundle import Integrity, failed
from daplug_supervisor.errors import SupervisorError
from daplug_supervisor.supervisor.attempts.desk import Desk
from daplug_supervisor.supervisor.attempts.preparation import UnpreparedError, unless_full
from daplug_supervisor.supervisor.attempts.tasker_bundles import TaskBundles
from daplug_supervisor.views.text import listing
from daplug_supervisor.workers.text import one_line
from daplug_supervisor.workspace.git import founding
from daplug_supervisor.workspace.git import running as git
from daplug_supervisor.workspace.tasker import home as tasker_home
from daplug_supervisor.workspace.tasker.result import DEPENDENCY

_SHOWN = 5


async def found(run: Run) -> None:
    """See that the target is a git repository: only so can be told what a task has changed.

    Raises:
        UnpreparedError: it cannot be made one.
        NoRoomError: the disk is full.
    """
    if not tasker_home.is_kept(run):
        return
    try:
        await anyio.to_thread.run_sync(founding.ensure_repository, run.target)
    except (git.GitError, OSError) as error:
        unless_full(error, run.target)
        raise UnpreparedError(OutcomeKind.CONFIGURATION, one_line(str(error))) from error


async def begin(desk: Desk, run: Run, task: TaskState, bundle: Bundle) -> None:
    """See that all that a task of a session expects is there before an attempt at it starts.

    Raises:
        UnpreparedError: its bundle may not be used; the others go on.
        NoRoomError: the disk is full.
    """
    if not tasker_home.is_kept(run):
        return
    checked, wrong = await anyio.to_thread.run_sync(_begin, run, task, bundle, desk.clock.now())
    _tell(desk, run, wrong)
    if checked.verdict == "failed":
        raise UnpreparedError(OutcomeKind.PLAN_ERROR, one_line(f"{DEPENDENCY}{_words(checked)}"))


def _begin(run: Run, task: TaskState, bundle: Bundle, now: float) -> tuple[Integrity, str]:
    """Whether the bundle may be used, and what else could not be done."""
    try:
        wrong = [tasker_home.begin(run, task, bundle.cwd)]
        found = _ready(run, task, now, bundle.cwd if bundle.spec.worktree else "")
        if found.verdict != "good":
            level, what = (
                ("ERROR", "may not be used") if found.verdict == "failed" else ("WARN", "was made anew")
            )
            message = f"{bundle.name}: the bundle {what}: {_words(found)}"
            wrong.append(tasker_home.log(run, now, level, "validation", message))
    except OSError as error:
        unless_full(error)
        return failed(task.id, str(error)), ""
    return found, "; ".join(filter(None, wrong))


def _ready(run: Run, task: TaskState, now: float, root: str) -> Integrity:
    try:
        return _bundles(run.target).ready(task.id, now, root)
    except SupervisorError as error:  # what it is made from cannot be read any more
        return failed(task.id, *str(error).splitlines())


@lru_cache(maxsize=8)
def _bundles(target: str) -> TaskBundles:
    """Of a session: it keeps what it has read."""
    return TaskBundles(Path(target))


async def keep(desk: Desk, run: Run) -> None:
    """Bring the state of a session up to date: something has changed that is of no single task."""
    if not tasker_home.is_kept(run):
        return
    try:
        wrong = await anyio.to_thread.run_sync(tasker_home.saved, run)
    except OSError as error:  # a full disk; it is brought up to date with what happens next
        wrong = str(error)
    _tell(desk, run, wrong)


def _tell(desk: Desk, run: Run, wrong: str) -> None:
    about = f"the session of {run.id}"
    desk.notices.tell(about, f"{about} could not be brought up to date: {wrong}" if wrong else "")


def _words(found: Integrity) -> str:
    return listing((found.problems or found.changed)[:_SHOWN])
