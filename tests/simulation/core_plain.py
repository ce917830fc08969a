"""The indexes and decisions of the core, recomputed from scratch by plain searches over all tasks."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from daplug_supervisor.core.machine import ACTIVE, SATISFIED, Status
from daplug_supervisor.core.model import PROBE_TRUSTED
from daplug_supervisor.core.queues import index, ready_key
from daplug_supervisor.core.stages import NO_STAGE

if TYPE_CHECKING:
    from daplug_supervisor.core.model import Pool, Run, TaskState


def satisfied(run: Run, name: str) -> bool:
    return run.tasks[name].status in SATISFIED


def chosen(run: Run, name: str) -> bool:
    """Whether a task, or one that it is a part of, was asked for."""
    parent = run.spec(name).parent
    return not run.only or name in run.only or (parent is not None and chosen(run, parent))


def children(run: Run, name: str) -> list[str]:
    return [other for other, spec in run.plan.tasks.items() if spec.parent == name]


def top(run: Run, name: str) -> str:
    parent = run.spec(name).parent
    return name if parent is None else top(run, parent)


def family(run: Run, name: str) -> list[str]:
    return [other for other in run.plan.tasks if top(run, other) == name]


def wanted(run: Run, whole: str) -> set[str]:
    """The wholes that a task with all its parts needs."""
    return {top(run, need) for one in family(run, whole) for need in run.spec(one).needs} - {whole}


def level(run: Run, whole: str, seen: tuple[str, ...] = ()) -> int:
    """The stage of a whole, or that it has none: something that it needs comes back to itself."""
    if whole in seen:
        return NO_STAGE
    before = [level(run, other, (*seen, whole)) for other in wanted(run, whole)]
    return NO_STAGE if NO_STAGE in before else 1 + max(before, default=NO_STAGE)


def let_go(run: Run, name: str) -> bool:
    """Whether no barrier is before a task."""
    own = level(run, top(run, name))
    if run.plan.stages != "barrier" or own == NO_STAGE:
        return True
    return all(
        satisfied(run, other) or not NO_STAGE < level(run, top(run, other)) < own for other in run.plan.tasks
    )


def holders(run: Run, task: TaskState) -> set[str]:
    """What holds a task back: needs, and the task that it is a part of while that is at work."""
    spec = run.spec(task.id)
    above = {spec.parent} if spec.parent and run.tasks[spec.parent].status in ACTIVE else set[str]()
    return above | {name for name in spec.needs if not satisfied(run, name)}


def startable(run: Run, task: TaskState) -> bool:
    """Whether only time and place can keep a task from starting."""
    return (
        task.status is Status.PENDING
        and not holders(run, task)
        and chosen(run, task.id)
        and let_go(run, task.id)
    )


def wholes(run: Run) -> list[str]:
    """The delegated tasks with children, all of them done or skipped."""
    return [
        name
        for name, task in run.tasks.items()
        if task.status is Status.DELEGATED
        and (found := children(run, name))
        and all(satisfied(run, child) for child in found)
    ]


def urgency(run: Run, task: TaskState) -> tuple[int, float, int]:
    return -run.spec(task.id).priority, -longest(run, task.id), list(run.plan.tasks).index(task.id)


def longest(run: Run, name: str) -> float:
    """The heaviest chain from a task on, by trying all."""
    spec = run.spec(name)
    behind = [other for other, one in run.plan.tasks.items() if name in one.needs or other == spec.parent]
    return (spec.estimate or 1.0) + max((longest(run, other) for other in behind), default=0.0)


def is_open(pool: Pool, now: float) -> bool:
    return not pool.stopped and pool.rest_until <= now and pool.paused_until <= now


def has_place(run: Run, pool: Pool, now: float) -> bool:
    probed = pool.probing and pool.probe and now < pool.probed_at + PROBE_TRUSTED
    return at_work(run, pool) < pool.limit and is_open(pool, now) and not probed


def place_of(run: Run, task: TaskState, now: float) -> str | None:
    """Where a task could start now: in its own pool, or while that is closed in the first fallback with a place."""
    pool = run.pools[task.provider]
    names = [pool.name]
    if not is_open(pool, now) and run.spec(task.id).fallback:
        names += run.plan.providers[pool.name].fallback
    return next((name for name in names if has_place(run, run.pools[name], now)), None)


def at_work(run: Run, pool: Pool) -> int:
    attempts = [task.attempt for task in run.tasks.values() if task.status in ACTIVE]
    return sum(attempt is not None and attempt.provider == pool.name for attempt in attempts)


def is_narrow(run: Run) -> bool:
    """Whether the run takes nothing more at the moment, whatever its pools have."""
    active = sum(task.status in ACTIVE for task in run.tasks.values())
    full = run.parallel is not None and active >= run.parallel
    return bool(run.halt) or run.finished_at is not None or full


def should_complete(run: Run) -> list[str]:
    """The delegated tasks that could be looked at now."""
    if is_narrow(run):
        return []
    return [
        name for name in wholes(run) if at_work(run, pool := run.pools[run.tasks[name].provider]) < pool.limit
    ]


def should_start(run: Run, now: float) -> str | None:
    """The task that a plain search over all of them finds."""
    active, budget = sum(task.status in ACTIVE for task in run.tasks.values()), run.plan.budget
    if is_narrow(run) or should_complete(run):
        return None
    if budget and budget.attempts and run.spent.attempts + active >= budget.attempts:
        return None
    found = [
        t for t in run.tasks.values() if startable(run, t) and t.not_before <= now and place_of(run, t, now)
    ]
    return min(found, key=lambda task: (is_guest(run, task, now), *urgency(run, task))).id if found else None


def is_guest(run: Run, task: TaskState, now: float) -> bool:
    """Whether a fallback would start it for as long as its own pool is closed: then its own tasks go first."""
    pool = run.pools[task.provider]
    return not (is_open(pool, now) or pool.stopped)


def check_indexes(run: Run) -> None:
    tasks = run.tasks.values()
    assert list(run.tasks) == list(run.plan.tasks)
    assert run.counts == {status: sum(task.status is status for task in tasks) for status in Status}
    assert run.active == sum(task.status in ACTIVE for task in tasks)
    for task in tasks:
        assert task.unmet == len(holders(run, task))
        assert task.open == sum(not satisfied(run, name) for name in task.children)
        assert task.lost < 3 or task.status is Status.STUCK
        assert not (task.cancelling or task.delegating) or task.status in ACTIVE
    assert sorted(run.whole) == sorted(wholes(run))
    assert run.left == [sum(not satisfied(run, name) for name in names) for names in run.stages]
    assert run.stage == next((number for number, left in enumerate(run.left) if left), len(run.left))
    assert list(run.pools) == list(run.plan.providers)
    for pool in run.pools.values():
        check_pool(run, pool)


def check_shape(run: Run) -> None:
    """What follows from the plan alone: looked at when that has changed. What grew is as if it was made anew."""
    for order, (name, task) in enumerate(run.tasks.items()):
        behind = [other for other, spec in run.plan.tasks.items() if name in spec.needs]
        assert (task.order, run.after[name], task.children) == (order, behind, children(run, name))
        assert task.rank == longest(run, name)
        assert task.stage == (level(run, top(run, name)) if run.plan.stages == "barrier" else NO_STAGE)
    assert run.stages == [
        [name for name, task in run.tasks.items() if task.stage == stage] for stage in range(len(run.left))
    ]
    anew = deepcopy(run)
    index(anew)
    assert queued(run) == queued(anew)
    for task in anew.tasks.values():
        task.ticket = run.tasks[task.id].ticket
    for name, pool in anew.pools.items():
        pool.bound, pool.free = run.pools[name].bound, run.pools[name].free
    assert anew == run


def queued(run: Run) -> dict[tuple[str, int], list[str]]:
    """What waits in each lane; of what has waited long enough some is among the ready ones already."""
    found: dict[tuple[str, int], list[str]] = {}
    for name, pool in run.pools.items():
        for number, lane in enumerate(pool.lanes):
            entries: list[Any] = [*lane.ready, *lane.waiting]
            found[name, number] = sorted(
                task for *_, ticket, task in entries if run.tasks[task].ticket == ticket
            )
    return found


def check_pool(run: Run, pool: Pool) -> None:
    assert pool.running == at_work(run, pool)
    valid: list[str] = []
    heaps: tuple[list[Any], ...] = (pool.bound.ready, pool.bound.waiting, pool.free.ready, pool.free.waiting)
    for heap in heaps:
        assert all(heap[(i - 1) // 2] <= heap[i] for i in range(1, len(heap)))
        fresh = [run.tasks[entry[-1]].ticket == entry[-2] for entry in heap]
        assert fresh[:1] in ([], [True])
        valid += [entry[-1] for entry, ok in zip(heap, fresh, strict=True) if ok]
    for lane in pool.lanes:
        assert all(
            key == ready_key(run, run.tasks[key[-1]])
            for key in lane.ready
            if run.tasks[key[-1]].ticket == key[-2]
        )
    assert sorted(valid) == sorted(
        t.id for t in run.tasks.values() if startable(run, t) and t.provider == pool.name
    )
