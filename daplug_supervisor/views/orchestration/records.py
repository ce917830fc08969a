"""Orchestrations as records: what is to be done in which stages, how far that is, and what it came to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from daplug_supervisor.core.claims import claim_of
from daplug_supervisor.core.health import Suspect
from daplug_supervisor.core.machine import SATISFIED, Status
from daplug_supervisor.core.model import Run, TaskState
from daplug_supervisor.core.notifying import escalations
from daplug_supervisor.core.plan import Task
from daplug_supervisor.views.derived import DEAD, label
from daplug_supervisor.views.orchestration.course import ENDS, Course, Group
from daplug_supervisor.views.orchestration.events import changes, reason_of
from daplug_supervisor.views.plan.estimate import Estimate, complexity, estimate, minutes
from daplug_supervisor.views.text import stamp

MOST_SUBTASKS = 200
"""Tasks of a run of which records and hand-offs are written. Of a larger one there are the state and the lines."""

_WAITS = "waits for a person"
_LONGEST = 2000
_MOST_LEARNINGS = 100


class Subtask(Struct, frozen=True):
    """A task of an orchestration. Times are those of RFC 3339, estimates null where the plan gives none."""

    subtask_id: str
    parent_task_id: str
    title: str
    description: str
    assigned_to: str
    worker_type: str
    dependencies: tuple[str, ...]
    estimated_duration_minutes: float | None
    estimated_tokens: int | None
    files_affected: tuple[str, ...]
    success_criteria: str
    status: str
    created_at: str
    complexity: str
    complexity_reasons: tuple[str, ...]


class ResourceEstimate(Struct, frozen=True):
    """What all of it will take."""

    total_subtasks: int
    duration_estimate: str
    token_estimate: int | None
    masters: tuple[str, ...]
    workers: int
    parallelization_possible: bool
    bottlenecks: tuple[str, ...]


class Progress(Struct, frozen=True):
    """How far it is. `zombie_subtasks` have shown no sign of work for too long."""

    current_stage: int
    progress_percent: int
    completed_subtasks: tuple[str, ...]
    active_subtasks: tuple[str, ...]
    failed_subtasks: tuple[str, ...]
    zombie_subtasks: tuple[str, ...]


class Retried(Struct, frozen=True):
    """A further try at a task: the how manyth, why, and what it does otherwise."""

    subtask_id: str
    retry_count: int
    retry_reason: str
    retry_modifications: str


class Blocked(Struct, frozen=True):
    """Why an orchestration does not go on by itself, and whether a person was told."""

    orchestration_status: str
    blocking_subtask: str
    failure_reason: str
    escalation: str


class Completion(Struct, frozen=True):
    """What the tasks of an orchestration that has ended came to together.

    `outputs`: what each handed on; `files` that came home; `learnings`, `issues` and `decisions` as they were told.
    """

    completed: int
    of: int
    outputs: dict[str, dict[str, Any]]
    files: tuple[str, ...]
    learnings: tuple[str, ...]
    issues: tuple[str, ...]
    decisions: tuple[str, ...]


class Orchestration(Struct, frozen=True):
    """A run, or a task with its parts. `execution_plan` has ``stage_1`` and so on."""

    orchestration_id: str
    run: str
    parent_task_id: str
    task_title: str
    complexity: str
    complexity_reasons: tuple[str, ...]
    created_at: str
    status: str
    subtasks: tuple[Subtask, ...]
    execution_plan: dict[str, tuple[str, ...]]
    resource_estimate: ResourceEstimate
    progress: Progress
    retries: tuple[Retried, ...] = ()
    blocked: tuple[Blocked, ...] = ()
    completion: Completion | None = None


def orchestrations(course: Course, run: Run, suspects: Sequence[Suspect] = ()) -> dict[str, Orchestration]:
    """The orchestrations of a run by the tasks whose parts they are."""
    return {parent: _record(course, run, group, suspects) for parent, group in course.groups.items()}


def _record(course: Course, run: Run, group: Group, suspects: Sequence[Suspect]) -> Orchestration:
    spec = course.tasks[group.parent] if group.parent else None
    found = _estimate(course, group)
    kind = complexity(group.specs, found.shortest, of=spec)
    status = course.status(group)
    return Orchestration(
        orchestration_id=course.orchestration_id(group.parent),
        run=course.run,
        parent_task_id=group.parent or course.run,
        task_title=label(spec) if spec else course.plan.name,
        complexity=kind.kind,
        complexity_reasons=kind.reasons,
        created_at=stamp(_created(course, group.parent)),
        status=status,
        subtasks=tuple(_subtask(course, name, one) for name, one in group.specs.items()),
        execution_plan={f"stage_{at}": tuple(names) for at, names in enumerate(group.stages, 1)},
        resource_estimate=_resources(found),
        progress=_progress(course, group, suspects),
        retries=tuple(one for name in group.specs for one in _retries(run, name)),
        blocked=tuple(_blocked(course, run, name) for name in course.blocked_by(group)),
        completion=_completion(run, group) if status in ENDS else None,
    )


def _created(course: Course, task: str) -> float:
    return course.added.get(task, course.at)


def _estimate(course: Course, group: Group) -> Estimate:
    limits = {name: provider.parallel for name, provider in course.plan.providers.items()}
    barrier = course.plan.stages == "barrier" and not group.parent
    return estimate(group.specs, limits, barrier=barrier)


def _resources(found: Estimate) -> ResourceEstimate:
    return ResourceEstimate(
        total_subtasks=found.subtasks,
        duration_estimate=minutes(found.shortest, found.longest, found.unknown),
        token_estimate=found.tokens,
        masters=found.owners,
        workers=found.workers,
        parallelization_possible=found.parallel,
        bottlenecks=found.bottlenecks,
    )


def _subtask(course: Course, name: str, spec: Task) -> Subtask:
    parts = course.groups.get(name)
    kind = complexity(parts.specs if parts else {}, None, of=spec)
    provider = course.plan.providers.get(spec.provider or "")
    return Subtask(
        subtask_id=name,
        parent_task_id=spec.parent or course.run,
        title=label(spec)[:_LONGEST],
        description=(spec.instructions or label(spec))[:_LONGEST],
        assigned_to=spec.owner or spec.provider or "",
        worker_type=provider.worker if provider else "",
        dependencies=spec.needs,
        estimated_duration_minutes=None if spec.estimate is None else round(spec.estimate / 60, 1),
        estimated_tokens=spec.estimate_tokens,
        files_affected=spec.files,
        success_criteria="; ".join(one.label for one in spec.accept),
        status=course.statuses[name].value,
        created_at=stamp(_created(course, name)),
        complexity=kind.kind,
        complexity_reasons=kind.reasons,
    )


def _progress(course: Course, group: Group, suspects: Sequence[Suspect]) -> Progress:
    statuses = {name: course.statuses[name] for name in group.specs}
    zombies = {one.task for one in suspects if one.verdict == "zombie"}
    return Progress(
        current_stage=group.current,
        progress_percent=group.percent,
        completed_subtasks=tuple(name for name, status in statuses.items() if status in SATISFIED),
        active_subtasks=course.active(group),
        failed_subtasks=tuple(name for name, status in statuses.items() if status in DEAD),
        zombie_subtasks=tuple(name for name in group.specs if name in zombies and name in course.working),
    )


# --- what went wrong on the way


def _retries(run: Run, name: str) -> Iterator[Retried]:
    """Every try of a task after which there was, or is to be, another one."""
    task = run.tasks.get(name)
    if task is None:
        return
    agent = run.spec(name).command is None
    again = task.status not in DEAD | SATISFIED
    for at, past in enumerate(task.past):
        following = task.past[at + 1].provider if at + 1 < len(task.past) else task.provider if again else ""
        good = past.result.outcome.kind.value in ("completed", "delegated")
        if good or (at + 1 == len(task.past) and not again):
            continue
        found = changes(past.result, following if following != past.provider else "", agent=agent)
        split = (f"split into {', '.join(task.children)}",) if _split(task, at) else ()
        yield Retried(name, at + 1, reason_of(past.result), "; ".join((*found, *split)) or "none")
    for one in task.remarks:
        yield Retried(name, len(task.past), f"{one.of}: {one.text}"[:_LONGEST], "told what a person said")


def _split(task: TaskState, at: int) -> bool:
    """Whether it was divided after this try."""
    return bool(task.children) and at + 1 == len(task.past) and task.status is Status.DELEGATED


def _blocked(course: Course, run: Run, name: str) -> Blocked:
    task = run.tasks.get(name)
    why, tries = course.dead[name], task.tries if task else 0
    reason = f"{why} (failed {tries} times)" if tries > 1 else why
    said = next((one.escalation for one in escalations(run) if one.blocking_subtask == name), _WAITS)
    return Blocked("blocked", name, reason, said)


def _completion(run: Run, group: Group) -> Completion:
    outputs: dict[str, dict[str, Any]] = {}
    files: dict[str, None] = {}
    said: dict[str, dict[str, None]] = {"learnings": {}, "issues": {}, "decisions": {}}
    for task in [run.tasks[name] for name in group.specs if name in run.tasks]:
        claim = claim_of(task.last.outcome.claim) if task.last and task.status is Status.DONE else None
        files |= dict.fromkeys(task.files)
        if claim is not None:
            if claim.outputs:
                outputs[task.id] = claim.outputs
            for word in said:
                said[word] |= dict.fromkeys(line[:_LONGEST] for line in getattr(claim, word))
    told = {word: tuple(lines)[:_MOST_LEARNINGS] for word, lines in said.items()}
    return Completion(group.satisfied, len(group.specs), outputs, tuple(files), **told)
