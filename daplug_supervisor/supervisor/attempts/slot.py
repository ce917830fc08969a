"""A slot works on one task at a time, as one linear function.

It enters at the step that the task's status names, so a first run and a restart share the code.
"""

from __future__ import annotations

import math
from typing import Literal

import anyio
from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.bundle import Bundle
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.results import Exit, Outcome, OutcomeKind, Result
from daplug_supervisor.core.retry import after_attempt
from daplug_supervisor.core.state import Run, TaskState
from daplug_supervisor.errors import LaunchError
from daplug_supervisor.ports import Attached, Identity, Launch
from daplug_supervisor.supervisor.attempts import differences, origins, sessions
from daplug_supervisor.supervisor.attempts.acceptance import verify
from daplug_supervisor.supervisor.attempts.delegating import release
from daplug_supervisor.supervisor.attempts.desk import Desk
from daplug_supervisor.supervisor.attempts.landing import land
from daplug_supervisor.supervisor.attempts.outcomes import masked, outcome_of
from daplug_supervisor.supervisor.attempts.preparation import (
    NoRoomError,
    UnpreparedError,
    in_worktree,
    make_bundle,
    prepare,
    unless_ours,
)
from daplug_supervisor.views.text import number

_BACKSTOP = 5.0
"""Seconds after the grace before a stop is asked for again, which kills at once."""

_WAITS = "it is started when there is room; free some space"

_AGAIN = 2.0
"""Seconds after which what found no room is tried again."""

_LONG_COMMIT = 10.0
"""Seconds of waiting for the disk that are not taken from an attempt's time."""


async def work(desk: Desk, run: Run, task: TaskState) -> None:
    """Bring a task that has a slot as far as it gets: done, waiting for another try, or given up."""
    if task.status is Status.RUNNING:
        await _attempt(desk, run, task)
    if task.status is Status.VERIFYING:
        await verify(desk, run, task)
    if task.status is Status.LANDING:
        await land(desk, run, task)
    await origins.ended(desk, run, task)


async def _attempt(desk: Desk, run: Run, task: TaskState) -> None:
    """Run the attempt that the task is at, or take it back, and record how it ended."""
    bundle = make_bundle(desk, run, task)
    attempt = task.attempt
    found: Exit | None = None
    taken_back = False
    try:
        if attempt is not None and attempt.pid:
            identity = Identity(attempt.pid, attempt.start, attempt.boot)
            attached = await desk.launcher.attach(identity, bundle.directory)
            found = await _watch(desk, run, task, bundle, attached, found_again=True)
            taken_back = found is not None
        if found is None:
            found = await _launch(desk, run, task, bundle)
        await desk.outboxes.last(run, bundle)
        outcome = await outcome_of(desk, run, task, bundle, found, taken_back=taken_back)
    except UnpreparedError as error:
        found, outcome = Exit(None, error=error.outcome.detail), error.outcome
    found, outcome = masked(desk.mask, found, outcome)
    freed = await release(desk, run, bundle) if task.delegating and not task.cancelling else None
    if freed is not None and not task.cancelling:  # freeing takes its time, and a person may cancel meanwhile
        handed = Outcome(
            OutcomeKind.DELEGATED, f"handed to {number(len(task.children), 'part')}", usage=outcome.usage
        )
        desk.record(run.id, ev.Delegated(task.id, Result(handed, found), freed.kept, freed.reason))
    elif task.cancelling and outcome.kind is not OutcomeKind.COMPLETED:
        desk.record(
            run.id, ev.TaskCancelled(task.id, task.reason)
        )  # finished and paid work is not thrown away
    elif outcome.kind is OutcomeKind.COMPLETED:
        desk.record(run.id, ev.AttemptExited(task.id, Result(outcome, found)))
    else:
        now, ahead = desk.clock.now(), desk.clock.ahead()
        desk.record(run.id, *after_attempt(run, task, Result(outcome, found), now, ahead))


async def _launch(desk: Desk, run: Run, task: TaskState, bundle: Bundle) -> Exit:
    """Start the attempt and wait for its end. A full disk is nobody's fault: it is waited for, and uses up no try."""
    about = f"room for {bundle.name}"
    try:
        while True:
            try:
                return await _start(desk, run, task, bundle)
            except NoRoomError as error:
                desk.notices.tell(about, f"no room on the disk to start {bundle.name}: {error}; {_WAITS}")
                if task.cancelling or desk.stopping or run.halt:
                    raise UnpreparedError(OutcomeKind.INTERRUPTED, f"not started: {error}") from error
            await anyio.sleep(_AGAIN)
    finally:
        desk.notices.tell(about, "")


async def _start(desk: Desk, run: Run, task: TaskState, bundle: Bundle) -> Exit:
    """Start the attempt behind its gate and wait for its end.

    Raises:
        NoRoomError: what it needs could not be written.
    """
    admin = ""
    await sessions.found(run)
    if bundle.spec.worktree:
        bundle, admin = await in_worktree(bundle, run)
    await sessions.begin(desk, run, task, bundle)
    launch = prepare(desk, run, bundle, admin)
    await differences.remember(bundle)
    try:
        gate = desk.launcher.idle() or await desk.launcher.reserve()
    except LaunchError as error:  # too many processes, say: there may be fewer in a while
        raise UnpreparedError(OutcomeKind.OUTAGE, str(error)) from error
    launch = await _recorded(desk, run, task, launch, gate.identity)
    if task.cancelling or task.delegating or desk.stopping:
        found: Exit | None = Exit(None, stopped="request")
    else:
        found = await _watch(desk, run, task, bundle, gate.open(launch))
    desk.launcher.release(gate)  # its next gate opens after this end is durable: events keep their order
    if found is not None and found.error and found.lack == "disk":
        raise NoRoomError(found.error)
    if found is not None and found.error and found.lack == "directory":
        unless_ours(desk, found.error)
    return found or Exit(None)


async def _recorded(desk: Desk, run: Run, task: TaskState, launch: Launch, shim: Identity) -> Launch:
    """Make durable who is about to start. However long that takes (a full disk), the agent has its whole time."""
    began = desk.clock.monotonic()
    await desk.record(run.id, _spawned(task, launch, shim)).wait()
    waited = desk.clock.monotonic() - began
    if launch.deadline is not None and waited >= _LONG_COMMIT:
        launch = replace(launch, deadline=launch.deadline + waited)
        await desk.record(run.id, _spawned(task, launch, shim)).wait()
    return launch


def _spawned(task: TaskState, launch: Launch, shim: Identity) -> ev.AttemptSpawned:
    return ev.AttemptSpawned(task.id, shim.pid, shim.start, shim.boot, launch.deadline)


async def _watch(
    desk: Desk, run: Run, task: TaskState, bundle: Bundle, attached: Attached, *, found_again: bool = False
) -> Exit | None:
    """Wait for the end of a tree; at its deadline, or when it was silent for too long, have it stopped."""
    key = run.id, task.id
    desk.live[key] = attached
    try:
        if task.cancelling or task.delegating:
            await desk.settle()  # nothing is done about it before it is durable
            attached.stop()
        deadline = task.attempt.deadline if task.attempt else None
        left = math.inf if deadline is None else max(0.0, deadline - desk.clock.monotonic())
        with (
            anyio.move_on_after(left) as patience,
            desk.health.over(run, task, attached, patience.cancel, found_again=found_again) as checked,
            desk.outboxes.over(run, bundle),
        ):
            return await attached.wait()
        attached.stop()
        why: Literal["silence", "deadline"] = "silence" if checked.silent else "deadline"
        rest = run.spec(task.id).grace + _BACKSTOP
        while True:  # more than twice only if the agent can stop its shim
            with anyio.move_on_after(rest):
                return _late(desk, await attached.wait(), why)
            attached.stop()
            rest = _BACKSTOP
    finally:
        desk.live.pop(key, None)


def _late(desk: Desk, found: Exit | None, why: Literal["silence", "deadline"]) -> Exit | None:
    """At the deadline shim and supervisor both stop the tree; whoever came first, that was why."""
    if found is None or not found.stopped or desk.stopping:
        return found
    return replace(found, stopped=why)
