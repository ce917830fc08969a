"""What a person may tell a run, and the events that follow. Refusals say why, and change nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.lookup import find_provider, find_task
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.queues import sharing
from daplug_supervisor.core.results import RETRYABLE
from daplug_supervisor.core.state import Run, TaskState
from daplug_supervisor.core.surgery.edits import Edit, create, delegate, remove, split, update
from daplug_supervisor.core.surgery.new_tasks import Known, NewTask
from daplug_supervisor.errors import NotPossibleError

Verb = Literal[
    "halt", "resume", "retry", "skip", "cancel", "pause_provider", "resume_provider", "create", "update", "delegate",
    "remove", "split", "approve", "reject", "answer",
]  # fmt: skip

_NOTHING: Final = Known()

FOR_AGENTS: Final = frozenset({"create", "update", "delegate"})
"""What a task may have done by itself; all else is for people."""


class Command(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A command, as it lies in the inbox. `id` is the sender's; the same id twice is answered once.

    `seconds` is for how long to pause a provider; None until it is resumed. `new` are the tasks to create, `edit` is
    what is to be different about `task`. `reason` is what a person says. `sender` is the task on whose behalf it comes
    ('' for a person): who reads it from an agent writes that there, whatever the agent has written.
    """

    id: str
    verb: Verb
    run: str = ""
    task: str = ""
    provider: str = ""
    seconds: Annotated[float, Meta(gt=0, le=366 * 86400)] | None = None
    reason: str = ""
    force: bool = False
    new: tuple[NewTask, ...] = ()
    edit: Edit | None = None
    sender: str = ""


def events_of(run: Run, command: Command, now: float, known: Known = _NOTHING) -> list[ev.Event]:
    """The events that carry a command out, at a time (UTC, seconds).

    Raises:
        NotPossibleError: it cannot be done now; the message says why.
    """
    if command.sender:
        _refuse_sender(run, command)
    surgery = _surgery(run, command, known)
    if surgery is not None:
        return surgery
    if command.verb == "halt":
        return [_halt(run, command)]
    if command.verb == "resume":
        return [ev.Resumed("command")]
    if command.verb in ("pause_provider", "resume_provider"):
        return _provider(run, command, now)
    return _DECISIONS[command.verb](find_task(run, command.task), command)


def _refuse_sender(run: Run, command: Command) -> None:
    """Agents may have done what concerns their own work, while they are at it."""
    if command.verb not in FOR_AGENTS:
        raise NotPossibleError(
            f"an agent cannot {command.verb.replace('_', ' ')} anything: that is for people"
        )
    task = find_task(run, command.sender)
    if task.status is not Status.RUNNING or task.cancelling:
        what = "being cancelled" if task.cancelling else task.status
        raise NotPossibleError(f"task {task.id} is {what}, and has nothing to say any more")


def _surgery(run: Run, command: Command, known: Known) -> list[ev.Event] | None:
    """The events of what changes the plan; None if the command does not."""
    sender = command.sender
    match command.verb:
        case "create":
            if len(command.new) != 1:
                raise NotPossibleError("create makes one task: say which")
            return create(run, command.new[0], sender, known)
        case "update":
            return update(run, command.task, command.edit or Edit(), sender, known)
        case "delegate":
            return delegate(run, command.task, sender)
        case "remove":
            return remove(run, command.task, command.reason, rewire=command.force)
        case "split":
            return split(run, command.task, command.new, known)
    return None


def _provider(run: Run, command: Command, now: float) -> list[ev.Event]:
    pool = find_provider(run, command.provider)
    if run.finished_at is not None:
        raise NotPossibleError(f"run {run.id} has finished: its providers have nothing to do")
    if command.verb == "resume_provider":
        if not (pool.closed(now) or pool.probing):
            raise NotPossibleError(f"provider {pool.name} is not paused, and neither rests nor is stopped")
        # Whoever vouches for a provider vouches for its account; but a pause is of one provider.
        others = [one for one in sharing(run, pool.name) if one is not pool and one.paused_until <= now]
        closed = [one for one in others if one.closed(now) or one.probing]
        return [ev.ProviderResumed(one.name) for one in (pool, *closed)]
    until = None if command.seconds is None else now + command.seconds
    return [ev.ProviderPaused(pool.name, until, command.reason)]


def _halt(run: Run, command: Command) -> ev.Event:
    if run.halt is not None:
        raise NotPossibleError(f"run {run.id} is halted already: {run.halt.reason}")
    if run.finished_at is not None:
        raise NotPossibleError(f"run {run.id} has finished: there is nothing to halt")
    return ev.HaltRequested(command.reason or "asked to halt", "command", run.at_work)


_SEEN: Final = {"approve": "approved", "reject": "rejected"}


def _review(task: TaskState, command: Command) -> list[ev.Event]:
    if task.status is not Status.REVIEWING:
        raise NotPossibleError(
            f"task {task.id} is {task.status}: only what waits for review can be {_SEEN[command.verb]}"
        )
    if command.verb == "approve":
        return [ev.Approved(task.id, remark=command.reason)]
    if not command.reason.strip():
        raise NotPossibleError("say what is to be different: --remark reaches the next attempt")
    return [ev.Rejected(task.id, command.reason)]


def _answer(task: TaskState, command: Command) -> list[ev.Event]:
    if task.status is not Status.STUCK:
        raise NotPossibleError(f"task {task.id} is {task.status}: only a stuck task waits for an answer")
    if not command.reason.strip():
        raise NotPossibleError("the answer is empty: say what the next attempt is to know")
    return [ev.TaskAnswered(task.id, command.reason)]


def _retry(task: TaskState, command: Command) -> list[ev.Event]:
    if task.status not in (Status.FAILED, Status.STUCK, Status.CANCELLED, Status.SKIPPED, Status.DELEGATED):
        raise NotPossibleError(
            f"task {task.id} is {task.status}: only an ended task that is not done can be retried"
        )
    result = task.last
    if task.status is Status.FAILED and result and result.outcome.kind not in RETRYABLE and not command.force:
        raise NotPossibleError(
            f"task {task.id} failed with {result.outcome.kind}: another try cannot help before that is mended "
            "(--force tries all the same)"
        )
    return [ev.TaskReset(task.id, command.reason)]


def _skip(task: TaskState, command: Command) -> list[ev.Event]:
    if task.status is Status.PENDING:
        return [ev.TaskSkipped(task.id, command.reason)]
    if task.status in (Status.FAILED, Status.STUCK, Status.CANCELLED, Status.DELEGATED):
        return [ev.TaskReset(task.id), ev.TaskSkipped(task.id, command.reason)]
    raise NotPossibleError(f"task {task.id} is {task.status}: it cannot be skipped")


def _cancel(task: TaskState, command: Command) -> list[ev.Event]:
    if task.status in (Status.RUNNING, Status.VERIFYING):
        if task.cancelling:
            raise NotPossibleError(f"task {task.id} is being cancelled already")
        return [ev.CancelRequested(task.id, command.reason)]
    if task.status in (Status.PENDING, Status.REVIEWING, Status.DELEGATED):
        return [ev.TaskCancelled(task.id, command.reason)]
    raise NotPossibleError(f"task {task.id} is {task.status}: there is nothing to cancel")


_DECISIONS: Final[dict[str, Callable[[TaskState, Command], list[ev.Event]]]] = {
    "retry": _retry,
    "skip": _skip,
    "cancel": _cancel,
    "approve": _review,
    "reject": _review,
    "answer": _answer,
}
"""What a person decides about one task."""
