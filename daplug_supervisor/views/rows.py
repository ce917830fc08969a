"""The rows of a status: providers, tasks at work, tasks that need a person, the halt record."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from daplug_supervisor.core.graph import stages
from daplug_supervisor.core.machine import ACTIVE, ENDED, Status
from daplug_supervisor.core.model import Run, TaskState
from daplug_supervisor.views.derived import blocks, deadline_of, label
from daplug_supervisor.views.usage import Used
from daplug_supervisor.views.waits import PoolState, closed_until, pool_state, pool_words
from daplug_supervisor.views.why import why

_BUDGET = 300_000


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
    """A task that waits for a person. `blocks`: how many tasks wait behind it (null: not counted)."""

    task: str
    title: str
    status: str
    sentence: str
    blocks: int | None
    next: tuple[str, ...]


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
    blocked = unselected = 0
    for task in run.tasks.values():
        if task.status is not Status.PENDING:
            continue
        if task.unmet:
            blocked += 1
        elif run.only and task.id not in run.only:
            unselected += 1
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
    return rows, counts | {"blocked": blocked, "not_selected": unselected}


def stage(run: Run) -> tuple[int, int]:
    """The first stage with a task that has not ended (the last, if all have), and how many there are."""
    levels = stages({name: spec.needs for name, spec in run.plan.tasks.items()})
    for index, level in enumerate(levels, 1):
        if any(run.tasks[name].status not in ENDED for name in level):
            return index, len(levels)
    return len(levels), len(levels)


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


def attention_rows(run: Run, now: float, *, live: bool) -> tuple[AttentionRow, ...]:
    """The tasks that are stuck, failed or to be reviewed, in plan order."""
    wanted = (Status.STUCK, Status.FAILED, Status.REVIEWING)
    tasks = [task for task in run.tasks.values() if task.status in wanted]
    blocking = blocks(run, (task.id for task in tasks), _BUDGET)

    def row(task: TaskState) -> AttentionRow:
        found = why(run, task.id, now, live=live)
        title = label(run.spec(task.id))
        return AttentionRow(task.id, title, found.status, found.sentence, blocking.get(task.id), found.next)

    return tuple(row(task) for task in tasks)
