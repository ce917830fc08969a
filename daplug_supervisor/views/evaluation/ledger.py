"""What a run's directory says of the run beside its report: plan, dispatch, tasks, proof, merges, one file each."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from daplug_supervisor.core.machine import ACTIVE, Status
from daplug_supervisor.core.model import Run, TaskState
from daplug_supervisor.core.plan import assignment
from daplug_supervisor.core.results import Finding
from daplug_supervisor.views.derived import label
from daplug_supervisor.views.family import Progress, parts_used, progress_of
from daplug_supervisor.views.review import Remarked, said_of
from daplug_supervisor.views.usage import Used, uses

_UNDER_WAY = ACTIVE | {Status.REVIEWING, Status.DELEGATED}


class Dispatched(Struct, frozen=True):
    """An attempt: who was given which task, when, and how it ended (null and '' as long as it has not).

    Times are UTC seconds.
    """

    task: str
    attempt: int
    provider: str
    model: str
    worktree: bool
    started_at: float
    ended_at: float | None
    outcome: str
    detail: str


class TaskStatus(Struct, frozen=True):
    """Where a task stands: what the report of one task is.

    `parent`: the task of which it is a part; `children`: its own parts, and `progress` how many of those are done
    (null: it has none). `remarks`: what people said of it.
    """

    task: str
    title: str
    status: str
    needs: tuple[str, ...]
    attempts: int
    rounds: int
    reason: str
    remedy: str
    seconds: float
    commit: str
    files: tuple[str, ...]
    findings: tuple[Finding, ...]
    flags: tuple[str, ...]
    used: Used | None
    parent: str | None = None
    children: tuple[str, ...] = ()
    progress: Progress | None = None
    parts_used: Used | None = None
    remarks: tuple[Remarked, ...] = ()


class Verified(Struct, frozen=True):
    """What was found when a task's criteria were run last: how many hold, what was found, what is worth a look."""

    task: str
    status: str
    held: int
    findings: tuple[Finding, ...]
    flags: tuple[str, ...]


class Merged(Struct, frozen=True):
    """How a task's work came home: the steps with their details, the commit, the files, how often it conflicted."""

    task: str
    status: str
    steps: dict[str, str]
    commit: str
    files: tuple[str, ...]
    conflicts: int


class Ledger(Struct, frozen=True):
    """All of it."""

    dispatch: tuple[Dispatched, ...]
    tasks: tuple[TaskStatus, ...]
    verification: tuple[Verified, ...]
    merge: tuple[Merged, ...]


def ledger(run: Run) -> Ledger:
    """What a run came to so far, task by task, in the order of the plan."""
    used = uses(run).tasks
    below = parts_used(run, used)
    tasks = tuple(run.tasks.values())
    return Ledger(
        dispatch=tuple(one for task in tasks for one in _dispatched(run, task)),
        tasks=tuple(_status(run, task, used.get(task.id), below.get(task.id)) for task in tasks),
        verification=tuple(_verified(task) for task in tasks if task.findings or task.flags),
        merge=tuple(
            _merged(task) for task in tasks if task.steps or task.commit or task.files or task.conflicts
        ),
    )


def _dispatched(run: Run, task: TaskState) -> Iterator[Dispatched]:
    worktree = run.spec(task.id).worktree
    for past in task.past:
        if past.of_children:
            continue
        outcome = past.result.outcome
        yield Dispatched(
            task.id,
            past.number,
            past.provider,
            _model(run, task.id, past.provider),
            worktree,
            past.at,
            past.ended_at,
            outcome.kind.value,
            outcome.detail,
        )
    attempt = task.attempt
    if (
        attempt is not None
        and task.status in _UNDER_WAY
        and all(past.number != attempt.number for past in task.past)
    ):
        model = _model(run, task.id, attempt.provider)
        yield Dispatched(task.id, attempt.number, attempt.provider, model, worktree, attempt.at, None, "", "")


def _model(run: Run, task: str, provider: str) -> str:
    known = provider in run.plan.providers
    return assignment(run.plan, run.spec(task), provider).model if known else ""


def _status(run: Run, task: TaskState, used: Used | None, below: Used | None) -> TaskStatus:
    spec = run.spec(task.id)
    return TaskStatus(
        task=task.id,
        title=label(spec),
        status=task.status.value,
        needs=spec.needs,
        attempts=task.attempt.number if task.attempt else 0,
        rounds=task.fixes,
        reason=task.reason,
        remedy=task.remedy,
        seconds=sum(past.result.exit.seconds for past in task.past),
        commit=task.commit,
        files=task.files,
        findings=task.findings,
        flags=task.flags,
        used=used,
        parent=spec.parent,
        children=tuple(task.children),
        progress=progress_of(task),
        parts_used=below,
        remarks=said_of(task),
    )


def _verified(task: TaskState) -> Verified:
    held = sum(one.holds for one in task.findings)
    return Verified(task.id, task.status.value, held, task.findings, task.flags)


def _merged(task: TaskState) -> Merged:
    return Merged(task.id, task.status.value, dict(task.steps), task.commit, task.files, task.conflicts)
