"""Keeping the foreign plan of a run up to date: a PLAN.md with its context folder, or a directory ``.tasker``.

Everything here is made from what the journal says, and may be made again; it is done in threads.
"""

from __future__ import annotations

from logging import getLogger
from pathlib import Path

import anyio.to_thread

from daplug_supervisor.core.acceptance import category, summary
from daplug_supervisor.core.claims import claim_of
from daplug_supervisor.core.machine import ENDED, Status
from daplug_supervisor.core.results import RULES
from daplug_supervisor.core.state import Run, TaskState
from daplug_supervisor.errors import SupervisorError
from daplug_supervisor.formats.todos import context, ticks
from daplug_supervisor.supervisor.attempts import differences
from daplug_supervisor.supervisor.attempts.desk import Desk
from daplug_supervisor.supervisor.attempts.places import of_parts, own, place_of
from daplug_supervisor.workspace.tasker import home as tasker_home

log = getLogger(__name__)

TODO = "todo-"
"""How the task of a TODO begins: the others of such a plan are steps of ours."""

_CONTEXT = "context"


def is_todo(run: Run, task: TaskState) -> bool:
    """Whether a task is a TODO of a PLAN.md."""
    origin = run.plan.origin
    return origin is not None and origin.format == "checklist" and task.id.startswith(TODO)


def _path(run: Run) -> Path:
    origin = run.plan.origin
    assert origin is not None, "only foreign plans are kept up to date"  # noqa: S101
    return Path(run.target) / origin.path


def save_context(run: Run, task: TaskState) -> str | None:
    """Keep what a verified task says where the tasks after it look for it; None if there is no such place.

    Raises:
        SupervisorError, OSError: it could not be kept.
    """
    if is_todo(run, task):
        last = task.last
        return context.save(
            _path(run).parent / _CONTEXT, task.id, claim_of(last.outcome.claim if last else None)
        )
    if tasker_home.is_kept(run):
        return tasker_home.ended(run, task, landing=True) or "result written"
    return None


def tick_boxes(run: Run, task: TaskState) -> str | None:
    """Tick the box of a verified TODO, and those of its criteria that hold; None if there are none.

    Raises:
        SupervisorError, OSError: the file could not be written.
    """
    if not is_todo(run, task):
        return None
    passed = [finding.label for finding in task.findings if finding.holds]
    changed = ticks.tick_file(_path(run), task.id.removeprefix(TODO), passed)
    return "ticked" if changed else "ticked before"


def save_commit(run: Run, task: TaskState, commit: str, message: str) -> None:
    """Write a commit where the users of the foreign plan look for it.

    Raises:
        SupervisorError, OSError: it could not be written.
    """
    if tasker_home.is_kept(run) and commit:
        tasker_home.ended(run, task, landing=True, commit=commit, message=message)


async def ended(desk: Desk, run: Run, task: TaskState) -> None:
    """Tidy up after a task that was given up: its files, and what a person finds in the files of the plan."""
    given_up = task.status in ENDED and task.status is not Status.DONE and bool(task.past)
    if not given_up or _removed(run, task):
        return
    back = run.spec(task.id).rollback and task.status in (Status.FAILED, Status.STUCK)
    if not (back or run.plan.origin):
        return
    about = f"the files of {run.id}/{task.id}"
    try:
        if back and not run.spec(task.id).worktree:
            place = await place_of(desk, run, task)
            last = task.last
            claim, others = claim_of(last.outcome.claim if last else None), of_parts(run, task)

            def mine(files: tuple[str, ...]) -> tuple[str, ...]:
                return tuple(name for name in own(place, claim, files) if name not in others)

            said = await anyio.to_thread.run_sync(differences.put_back, place.bundle, mine)
            if said:
                log.warning("%s: %s", task.id, said)
        wrong = ""
        if run.plan.origin and not _removed(run, task):
            wrong = await anyio.to_thread.run_sync(_end, run, task)
    except (SupervisorError, OSError) as error:
        wrong = str(error)
    desk.notices.tell(about, f"{about} could not be brought up to date: {wrong}" if wrong else "")


def _removed(run: Run, task: TaskState) -> bool:
    """Whether a task was taken out of its run, as a person may do while it is tidied up."""
    return run.tasks.get(task.id) is not task


def _end(run: Run, task: TaskState) -> str:
    if is_todo(run, task) and task.status in (Status.FAILED, Status.STUCK):
        context.halt_entry(_path(run).parent / _CONTEXT, halt(run, task))
    if tasker_home.is_kept(run):
        return tasker_home.ended(run, task)
    return ""


def halt(run: Run, task: TaskState) -> context.Halt:
    """What a person finds in issues.md of a TODO that was given up."""
    last, spec = task.last, run.spec(task.id)
    kind = last.outcome.kind if last else None
    failed = [finding for finding in task.findings if not finding.holds]
    return context.Halt(
        at=task.changed_at,
        todo=f"TODO {task.id.removeprefix(TODO)}: {spec.title}" if spec.title else task.id,
        category=category(failed) if failed else "unknown",
        error=(summary(failed) if failed else "") or task.reason or str(kind),
        retries=max(0, len(task.past) - 1),
        analysis=f"{kind}: {task.reason}" if kind else task.reason,
        suggestion=task.remedy
        or (RULES[kind].remedy if kind else "")
        or f"retry {task.id} when that is mended",
    )
