"""What a person may tell a run, and the events that follow. Refusals say why, and change nothing."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Literal

from msgspec import Meta, Struct

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.queues import sharing
from daplug_supervisor.core.results import RETRYABLE
from daplug_supervisor.core.state import Pool, Run, TaskState
from daplug_supervisor.errors import NotPossibleError

Verb = Literal["halt", "resume", "retry", "skip", "cancel", "pause_provider", "resume_provider"]


class Command(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A command, as it lies in the inbox. `id` is the sender's; the same id twice is answered once.

    `seconds` is for how long to pause a provider; None until it is resumed.
    """

    id: str
    verb: Verb
    run: str = ""
    task: str = ""
    provider: str = ""
    seconds: Annotated[float, Meta(gt=0, le=366 * 86400)] | None = None
    reason: str = ""
    force: bool = False


def events_of(run: Run, command: Command, now: float) -> list[ev.Event]:
    """The events that carry a command out, at a time (UTC, seconds).

    Raises:
        NotPossibleError: it cannot be done now; the message says why.
    """
    if command.verb == "halt":
        return [_halt(run, command)]
    if command.verb == "resume":
        return [ev.Resumed("command")]
    if command.verb in ("pause_provider", "resume_provider"):
        return _provider(run, command, now)
    task = find_task(run, command.task)
    if command.verb == "retry":
        return _retry(task, command)
    if command.verb == "skip":
        return _skip(task, command)
    return [_cancel(task, command)]


def find_task(run: Run, name: str) -> TaskState:
    """The task of that id.

    Raises:
        NotPossibleError: there is none; the message names the nearest.
    """
    task = run.tasks.get(name)
    if task is None:
        near = get_close_matches(name, run.tasks, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise NotPossibleError(f"run {run.id} has no task {name!r}{hint}")
    return task


def find_provider(run: Run, name: str) -> Pool:
    """The pool of that name.

    Raises:
        NotPossibleError: there is none; the message names those that there are.
    """
    pool = run.pools.get(name)
    if pool is None:
        raise NotPossibleError(f"run {run.id} has no provider {name!r}; it has {', '.join(run.pools)}")
    return pool


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


def _retry(task: TaskState, command: Command) -> list[ev.Event]:
    if task.status not in (Status.FAILED, Status.STUCK, Status.CANCELLED, Status.SKIPPED):
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
    if task.status in (Status.FAILED, Status.STUCK, Status.CANCELLED):
        return [ev.TaskReset(task.id), ev.TaskSkipped(task.id, command.reason)]
    raise NotPossibleError(f"task {task.id} is {task.status}: it cannot be skipped")


def _cancel(task: TaskState, command: Command) -> ev.Event:
    if task.status in (Status.RUNNING, Status.VERIFYING):
        if task.cancelling:
            raise NotPossibleError(f"task {task.id} is being cancelled already")
        return ev.CancelRequested(task.id, command.reason)
    if task.status in (Status.PENDING, Status.REVIEWING, Status.DELEGATED):
        return ev.TaskCancelled(task.id, command.reason)
    raise NotPossibleError(f"task {task.id} is {task.status}: there is nothing to cancel")
