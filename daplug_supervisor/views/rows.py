"""The rows of a status: providers, tasks at work, tasks that need a person, the halt record."""

from __future__ import annotations

from collections.abc import Container, Mapping
from types import MappingProxyType
from typing import Literal, get_args

from msgspec import Struct

from daplug_supervisor.core.machine import ACTIVE, ENDED, Status
from daplug_supervisor.core.model import Run, TaskState
from daplug_supervisor.core.queues import selected
from daplug_supervisor.core.stages import NO_STAGE, held, stages_of
from daplug_supervisor.views.derived import blocks, deadline_of, is_dead_end, label
from daplug_supervisor.views.review import Seen, asks
from daplug_supervisor.views.usage import Used
from daplug_supervisor.views.waits import PoolState, closed_until, pool_state, pool_words
from daplug_supervisor.views.why import why

_BUDGET = 300_000

SeenOf = Mapping[str, Seen]
"""For each task what is in its own worktree, as far as that is known."""

NOTHING_SEEN: SeenOf = MappingProxyType({})

Wants = Literal["repair", "answer", "review", "parts"]
"""What a person is to do: get on with what failed, answer, look at work, or get on with parts of a delegated task."""


class ProviderRow(Struct, frozen=True):
    """A pool. `ready` tasks could start now, `waiting` ones back off; `closed_until` (UTC) while it rests or pauses.

    `state`: open, full, probing, resting, paused or stopped, and `sentence` says so with times and reason. `probing`:
    after a limit or an outage it is tried with one task, `probe`, before it gets more.
    """

    name: str
    running: int
    limit: int
    ready: int
    waiting: int
    closed_until: float | None
    probing: bool
    stopped: bool
    reason: str
    state: PoolState
    probe: str
    sentence: str
    used: Used | None


class RunningRow(Struct, frozen=True):
    """A task with a slot. `since`: when its status began; `deadline`: when it is stopped (both UTC)."""

    task: str
    title: str
    status: str
    attempt: int
    provider: str
    since: float
    elapsed: float
    deadline: float | None


class AttentionRow(Struct, frozen=True):
    """A task that waits for a person. `blocks`: how many tasks wait behind it (null: not counted).

    `wants`: ``repair`` (it failed or is stuck), ``answer`` (to its `question`), ``review`` or ``parts`` (it is
    delegated, and a part of it cannot go on).
    """

    task: str
    title: str
    status: str
    sentence: str
    blocks: int | None
    next: tuple[str, ...]
    wants: Wants = "repair"
    question: str = ""


class HaltRow(Struct, frozen=True):
    """A requested halt. `running`: the tasks at work at that time; `halted_at`: when the last had ended."""

    requested_at: float
    requested_by: str
    reason: str
    halted_at: float | None
    running: tuple[str, ...]


def halt_row(run: Run) -> HaltRow | None:
    """The halt record of a run, if it was asked to halt."""
    halt = run.halt
    return (
        None
        if halt is None
        else HaltRow(halt.requested_at, halt.by, halt.reason, halt.halted_at, halt.running)
    )


def updates(run: Run) -> list[float]:
    """When something happened in the run (UTC seconds)."""
    halt = [run.halt.requested_at, run.halt.halted_at or 0.0] if run.halt else []
    times = [run.submitted_at, run.started_at, run.finished_at or 0.0, *halt]
    return [*times, *(task.changed_at for task in run.tasks.values())]


def tally(run: Run, now: float, used: Mapping[str, Used]) -> tuple[tuple[ProviderRow, ...], dict[str, int]]:
    """The pools, and how many tasks are in each status, with what `pending` consists of. `used`: by provider."""
    ready = dict.fromkeys(run.pools, 0)
    waiting = dict.fromkeys(run.pools, 0)
    blocked = unselected = staged = 0
    for task in run.tasks.values():
        if task.status is not Status.PENDING:
            continue
        if task.unmet:
            blocked += 1
        elif not selected(run, task.id):
            unselected += 1
        elif held(run, task):
            staged += 1
        elif task.not_before > now:
            waiting[task.provider] += 1
        else:
            ready[task.provider] += 1
    states = {pool.name: pool_state(pool, now) for pool in run.pools.values()}
    rows = tuple(
        ProviderRow(
            name=pool.name,
            running=pool.running,
            limit=pool.limit,
            ready=ready[pool.name],
            waiting=waiting[pool.name],
            closed_until=closed_until(pool, now),
            probing=pool.probing,
            stopped=pool.stopped,
            reason=(pool.pause if states[pool.name] == "paused" else pool.reason) if pool.closed(now) else "",
            state=states[pool.name],
            probe=pool.probe,
            sentence=f"{pool.name} {pool_words(run, pool, now)}",
            used=used.get(pool.name),
        )
        for pool in run.pools.values()
    )
    counts = {status.value: run.counts[status] for status in Status}
    counts |= {"ready": sum(ready.values()), "backing_off": sum(waiting.values())}
    return rows, counts | {"blocked": blocked, "not_selected": unselected, "waiting_for_stage": staged}


def stage(run: Run) -> tuple[int, int]:
    """The first stage with a task that has not ended (the last, if all have), and how many there are."""
    level = stages_of(run.plan.tasks)
    count = 1 + max(level.values(), default=NO_STAGE)
    left = (level[name] for name, task in run.tasks.items() if task.status not in ENDED)
    return 1 + min((one for one in left if one != NO_STAGE), default=count - 1), count


def running_rows(run: Run, now: float) -> tuple[RunningRow, ...]:
    """The tasks with a slot, in plan order."""

    def row(task: TaskState) -> RunningRow:
        number, provider = (
            (task.attempt.number, task.attempt.provider) if task.attempt else (0, task.provider)
        )
        title, since = label(run.spec(task.id)), task.changed_at
        elapsed, deadline = max(0.0, now - since), deadline_of(run, task)
        return RunningRow(task.id, title, task.status.value, number, provider, since, elapsed, deadline)

    return tuple(row(task) for task in run.tasks.values() if task.status in ACTIVE)


def wanted(run: Run, task: TaskState) -> Wants | None:
    """What a person is to do about a task; None if nothing. What was cancelled was cancelled by a person."""
    if task.status is Status.REVIEWING:
        return "review"
    if task.status in (Status.STUCK, Status.FAILED):
        return "answer" if asks(task) else "repair"
    if task.status is Status.DELEGATED:
        held = is_dead_end(task) or any(is_dead_end(run.tasks[name]) for name in task.children)
        return "parts" if held else None
    return None


def attention_rows(
    run: Run,
    now: float,
    *,
    live: bool,
    seen: SeenOf = NOTHING_SEEN,
    wants: Container[Wants] = get_args(Wants),
) -> tuple[AttentionRow, ...]:
    """The tasks that wait for a person, in plan order; those of which one of `wants` is to be done.

    `seen`: what is in their worktrees.
    """
    every = ((task, wanted(run, task)) for task in run.tasks.values())
    tasks = [(task, what) for task, what in every if what is not None and what in wants]
    blocking = blocks(run, (task.id for task, _ in tasks), _BUDGET)

    def row(task: TaskState, what: Wants) -> AttentionRow:
        found = why(run, task.id, now, live=live, seen=seen.get(task.id))
        title, behind = label(run.spec(task.id)), blocking.get(task.id)
        return AttentionRow(
            task.id, title, found.status, found.sentence, behind, found.next, what, found.question
        )

    return tuple(row(*each) for each in tasks)
