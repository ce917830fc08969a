"""The state machine of a task, in one table. The documents and the diagram are generated from it."""

from __future__ import annotations

from enum import StrEnum

from daplug_supervisor.core import events as ev
from daplug_supervisor.errors import IllegalTransitionError


class Status(StrEnum):
    """What is stored of a task. Everything else (ready, blocked, backing off, resting) is derived from it."""

    PENDING = "pending"
    RUNNING = "running"
    VERIFYING = "verifying"
    REVIEWING = "reviewing"
    LANDING = "landing"
    DELEGATED = "delegated"
    DONE = "done"
    FAILED = "failed"
    STUCK = "stuck"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


S = Status
_ENDED: dict[type[ev.TaskEvent], Status] = {ev.TaskReset: S.PENDING}
_GIVEN_UP: dict[type[ev.TaskEvent], Status] = {
    ev.RetryScheduled: S.PENDING,
    ev.TaskFailed: S.FAILED,
    ev.TaskStuck: S.STUCK,
}

TRANSITIONS: dict[Status, dict[type[ev.TaskEvent], Status]] = {
    S.PENDING: {
        ev.AttemptStarted: S.RUNNING,
        ev.TaskAdopted: S.DONE,
        ev.Delegated: S.DELEGATED,
        ev.TaskSkipped: S.SKIPPED,
        ev.TaskCancelled: S.CANCELLED,
    },
    S.RUNNING: {
        ev.AttemptSpawned: S.RUNNING,
        ev.CancelRequested: S.RUNNING,
        ev.AttemptExited: S.VERIFYING,
        ev.DelegationRequested: S.RUNNING,
        ev.Delegated: S.DELEGATED,
        ev.TaskCancelled: S.CANCELLED,
        **_GIVEN_UP,
    },
    S.VERIFYING: {
        ev.CancelRequested: S.VERIFYING,
        ev.VerificationStarted: S.VERIFYING,
        ev.VerificationPassed: S.LANDING,
        ev.ReviewRequested: S.REVIEWING,
        ev.TaskCancelled: S.CANCELLED,
        **_GIVEN_UP,
    },
    S.REVIEWING: {ev.Approved: S.LANDING, ev.Rejected: S.PENDING, ev.TaskCancelled: S.CANCELLED},
    S.LANDING: {
        ev.VerificationStarted: S.LANDING,
        ev.StepDone: S.LANDING,
        ev.Landed: S.DONE,
        ev.TaskCancelled: S.CANCELLED,
        **_GIVEN_UP,
    },
    S.DELEGATED: {ev.ChildrenDone: S.VERIFYING, ev.TaskReset: S.PENDING, ev.TaskCancelled: S.CANCELLED},
    S.DONE: {},
    S.FAILED: _ENDED,
    S.STUCK: {**_ENDED, ev.TaskAnswered: S.PENDING},
    S.CANCELLED: _ENDED,
    S.SKIPPED: _ENDED,
}
"""Status, event, next status. What is not here is refused."""

AFTER_CRASH: dict[Status, str] = {
    S.PENDING: "nothing to do",
    S.RUNNING: "live shim: attached again; exit record: read; neither: lost, and tried again",
    S.VERIFYING: "verified again",
    S.REVIEWING: "nothing to do",
    S.LANDING: "landed again (landing twice is landing once)",
    S.DELEGATED: "nothing to do; if all its children are done, it goes on at once",
    S.DONE: "nothing to do",
    S.FAILED: "nothing to do",
    S.STUCK: "nothing to do",
    S.CANCELLED: "nothing to do",
    S.SKIPPED: "nothing to do",
}
"""What a restarted supervisor does about a task in each status."""

ACTIVE = frozenset({S.RUNNING, S.VERIFYING, S.LANDING})
"""Statuses in which a slot is at work on the task."""

SATISFIED = frozenset({S.DONE, S.SKIPPED})
"""Statuses in which a task no longer holds its dependents back."""

ENDED = frozenset({S.DONE, S.FAILED, S.STUCK, S.CANCELLED, S.SKIPPED})
"""Statuses that a task leaves only because a person says so."""


def next_status(status: Status, event: ev.TaskEvent) -> Status:
    """The status that follows.

    Raises:
        IllegalTransitionError: the event does not fit the status.
    """
    found = TRANSITIONS[status].get(type(event))
    if found is None:
        raise IllegalTransitionError(f"task {event.task!r} is {status}: {event.kind} cannot follow")
    return found
