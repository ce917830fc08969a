"""What is told of orchestrations as they go, a line of JSON each: for dashboards, and for programs that follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.results import OutcomeKind, Result
from daplug_supervisor.views.orchestration.course import ENDS, Course, Group
from daplug_supervisor.views.text import stamp

_LONGEST = 400


class Line(Struct, frozen=True, omit_defaults=True):
    """A line. `seq` is the number of the event in the journal that it tells of.

    `subtasks` counts them; `stage` is from 1; `reason` says why something failed, is tried again or is given up, and
    `modifications` what is done otherwise then.
    """

    timestamp: str
    type: str
    orchestration_id: str
    subtasks: int | None = None
    run: str = ""
    seq: int = 0
    stage: int | None = None
    subtask_id: str = ""
    title: str = ""
    attempt: int | None = None
    provider: str = ""
    retry_count: int | None = None
    reason: str = ""
    modifications: tuple[str, ...] = ()
    orchestration_status: str = ""
    blocking_subtask: str = ""
    escalation: str = ""


Lines = Iterator[Line]


def new_course(entry: ev.Entry) -> Course | None:
    """The course that begins with an entry; None if none does."""
    event = entry.event
    return Course(entry.run, event.plan, entry.at) if isinstance(event, ev.RunSubmitted) else None


def follow(course: Course, entry: ev.Entry) -> list[Line]:
    """Take an entry into the course of its run. Returns what is to be told of it."""
    course.seq, event = entry.seq, entry.event
    if isinstance(event, ev.TaskEvent):
        course.move(event)
        word = _WORDS.get(type(event))
        found = _of_task(course, event, word) if word else None
    else:
        tell = _OF_RUN.get(type(event))
        found = tell(course, entry) if tell else None
    if found is None:
        return []
    lines = list(found)
    at = stamp(entry.at) if lines else ""
    return [replace(line, timestamp=at, run=entry.run, seq=entry.seq) for line in lines]


def _line(course: Course, group: Group, kind: str, **more: Any) -> Line:
    return Line("", kind, course.orchestration_id(group.parent), **more)


# --- of runs


def _started(course: Course, entry: ev.Entry) -> Lines:
    course.starts += 1
    course.only, course.halted, course.ended = frozenset(entry.event.only), False, ""
    if course.starts == 1:
        yield from _begin(course, course.groups[""])
    elif not course.resumed:
        yield _line(course, course.groups[""], "orchestration_resumed")
    course.resumed = False


def _begin(course: Course, group: Group) -> Lines:
    again, group.started, group.told = group.started, True, ""
    kind = "orchestration_resumed" if again else "orchestration_started"
    yield _line(course, group, kind, subtasks=len(group.specs))


def _halted(course: Course, _entry: ev.Entry) -> Lines:
    course.halted = True
    yield _line(course, course.groups[""], "orchestration_halted")


def _resumed(course: Course, _entry: ev.Entry) -> Lines:
    course.halted, course.resumed = False, True
    yield _line(course, course.groups[""], "orchestration_resumed")


def _finished(course: Course, _entry: ev.Entry) -> Lines:
    course.finish()
    for group in reversed(course.groups.values()):
        yield from _end(course, group)


def _end(course: Course, group: Group) -> Lines:
    """Say what an orchestration came to, if that is new."""
    status = course.status(group)
    if group.started and status in ENDS and group.told != status:
        group.told = status
        yield _line(course, group, f"orchestration_{status}", subtasks=len(group.specs))


def _changed(course: Course, entry: ev.Entry) -> Lines:
    course.take_over(entry.event.plan)
    yield from ()


def _edited(course: Course, entry: ev.Entry) -> Lines:
    event = entry.event
    if isinstance(event, ev.TaskRemoved):
        of = course.orchestration_id(course.tasks[event.id].parent or "")
        yield Line("", "subtask_removed", of, subtask_id=event.id)
    course.edit(event, entry.at)
    if isinstance(event, ev.TaskAdded):
        title, parent = event.spec.title[:_LONGEST], event.spec.parent or ""
        of = course.orchestration_id(parent)
        yield Line("", "subtask_added", of, subtask_id=event.id, title=title)
        if parent and not course.begun(parent) and course.statuses[parent] is Status.DELEGATED:
            yield from _begin(course, course.groups[parent])


_OF_RUN: dict[type[ev.Event], Callable[[Course, ev.Entry], Lines]] = {
    ev.RunStarted: _started,
    ev.Halted: _halted,
    ev.Resumed: _resumed,
    ev.RunFinished: _finished,
    ev.PlanChanged: _changed,
    ev.TaskAdded: _edited,
    ev.TaskChanged: _edited,
    ev.TaskRemoved: _edited,
}

# --- of tasks

_WORDS: dict[type[ev.TaskEvent], str] = {
    ev.AttemptStarted: "subtask_started",
    ev.Landed: "subtask_completed",
    ev.TaskAdopted: "subtask_completed",
    ev.RetryScheduled: "subtask_retried",
    ev.TaskFailed: "subtask_failed",
    ev.TaskStuck: "subtask_stuck",
    ev.TaskCancelled: "subtask_cancelled",
    ev.TaskSkipped: "subtask_skipped",
    ev.TaskReset: "subtask_reset",
    ev.TaskAnswered: "subtask_answered",
    ev.ReviewRequested: "subtask_reviewing",
    ev.Approved: "subtask_approved",
    ev.Rejected: "subtask_rejected",
    ev.Delegated: "subtask_delegated",
}


def _of_task(course: Course, event: ev.TaskEvent, word: str) -> Lines:
    group = course.group_of(event.task)
    at = group.stage[event.task]
    if isinstance(event, ev.AttemptStarted) and at not in group.begun:
        group.begun.add(at)
        yield _line(course, group, "stage_started", stage=at + 1, subtasks=len(group.stages[at]))
    yield _line(course, group, word, subtask_id=event.task, stage=at + 1, **_more(course, event))
    parts = course.groups.get(event.task)
    if parts is not None:
        yield from _begin(course, parts) if isinstance(event, ev.Delegated) else _end(course, parts)
    if event.task in course.dead and isinstance(event, ev.TaskFailed | ev.TaskStuck):
        yield _line(course, group, "orchestration_blocked", **_blocked(course, event))
    if not group.left[at] and at not in group.over:
        group.over.add(at)
        yield _line(course, group, "stage_completed", stage=at + 1)


def _blocked(course: Course, event: ev.TaskFailed | ev.TaskStuck) -> dict[str, Any]:
    tries = course.tries.get(event.task, 0) + 1
    return {
        "orchestration_status": "blocked",
        "blocking_subtask": event.task,
        "reason": course.dead[event.task][:_LONGEST],
        "attempt": tries,
        "escalation": "a person has to decide",
    }


def _more(course: Course, event: Any) -> dict[str, Any]:
    if isinstance(event, ev.AttemptStarted):
        return {"attempt": event.number, "provider": event.provider}
    if isinstance(event, ev.RetryScheduled):
        return {
            "retry_count": course.tries[event.task],
            "reason": reason_of(event.result),
            "modifications": changes(
                event.result,
                event.provider or "",
                agent=course.tasks[event.task].command is None,
                last=event.last_fix,
            ),
        }
    if isinstance(event, ev.TaskFailed | ev.TaskStuck):
        return {"reason": reason_of(event.result)}
    if isinstance(event, ev.Delegated):
        parts = course.groups.get(event.task)
        return {"subtasks": len(parts.specs) if parts else 0}
    reason = getattr(event, "reason", "") or getattr(event, "remark", "") or getattr(event, "answer", "")
    return {"reason": reason[:_LONGEST]}


def reason_of(result: Result) -> str:
    """Why an attempt was not enough."""
    return (result.outcome.detail or result.outcome.kind.value)[:_LONGEST]


def changes(result: Result, provider: str, *, agent: bool, last: bool = False) -> tuple[str, ...]:
    """What the attempt after this one does otherwise. `provider`: who else makes it, if anybody."""
    found = [f"another provider: {provider}"] if provider else []
    kind = result.outcome.kind
    if agent and kind is OutcomeKind.VERIFY_FAILED:
        found.append("told all that was tried" if last else "told what was found")
    elif agent and kind is OutcomeKind.CONFLICT:
        found.append("told what it conflicts with")
    elif agent:
        found.append("told how this one ended")
    return tuple(found)
