"""The indexes of a run: unmet needs, ranks, stages, the heaps of the pools. They keep a decision at O(log n).

An entry of a heap is valid while its ticket is that of its task; the top of every heap is valid, always.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from typing import Any

from daplug_supervisor.core.graph import Needs, cycle, dependents, ranks
from daplug_supervisor.core.machine import ACTIVE, SATISFIED, Status
from daplug_supervisor.core.model import Lane, Pool, ReadyKey, Run, TaskState, WaitingKey
from daplug_supervisor.core.plan import Plan, Provider
from daplug_supervisor.core.stages import NO_STAGE, held, stages_of


def provider_of(plan: Plan, task: str) -> str:
    """The provider that the plan gives a task. Loaders always write one into the task."""
    name = plan.tasks[task].provider
    assert name is not None, "a loaded plan names a provider for every task"  # noqa: S101
    return name


def flaw(plan: Plan) -> str:
    """Why a plan cannot be indexed, or ''. Loaders refuse such plans, so this speaks of a damaged journal."""
    found = next(filter(None, (flaw_of(plan, name) for name in plan.tasks)), "")
    found = found or next(filter(None, (flaw_of_provider(plan, name) for name in plan.providers)), "")
    return found or circle(waits(plan))


def flaw_of_provider(plan: Plan, name: str) -> str:
    """What one of its providers names and the plan does not have, or ''."""
    gone = [other for other in plan.providers[name].fallback if other not in plan.providers]
    return f"provider {name!r} falls back to {gone[0]!r}, which there is not" if gone else ""


def flaw_of(plan: Plan, name: str) -> str:
    """What one of its tasks names and the plan does not have, or ''."""
    spec = plan.tasks[name]
    if spec.provider not in plan.providers:
        return f"task {name!r} names no provider of the plan"
    for other in spec.needs:
        if other not in plan.tasks:
            return f"task {name!r} needs {other!r}, which there is not"
    if spec.parent is not None and spec.parent not in plan.tasks:
        return f"task {name!r} is a part of {spec.parent!r}, which there is not"
    return ""


def circle(waiting: Needs) -> str:
    """Which tasks wait for each other, or ''."""
    found = cycle(waiting)
    return f"tasks need each other: {' -> '.join(found)}" if found else ""


def waits(plan: Plan) -> dict[str, tuple[str, ...]]:
    """For each task those that it may wait for in the end: its needs, and its children."""
    found = {name: spec.needs for name, spec in plan.tasks.items()}
    for name, children in parts(plan).items():
        found[name] = (*found[name], *children)
    return found


def parts(plan: Plan) -> dict[str, list[str]]:
    """The children of each task that has any, in plan order."""
    found: dict[str, list[str]] = {}
    for name, spec in plan.tasks.items():
        if spec.parent is not None:
            found.setdefault(spec.parent, []).append(name)
    return found


def unmet(run: Run, name: str) -> tuple[str, ...]:
    """What a task waits for before it can start: its needs and, while that is at work, the task that it is a part of.

    That may be about to hand over what it has begun, which is where its parts begin, and where their work comes home.
    """
    spec = run.plan.tasks[name]
    found = [other for other in dict.fromkeys(spec.needs) if run.tasks[other].status not in SATISFIED]
    if spec.parent is not None and run.tasks[spec.parent].status in ACTIVE:
        found.append(spec.parent)
    return tuple(found)


def index(run: Run) -> None:
    """Build all that follows from the plan: states of new tasks, dependents, ranks, pools and their heaps."""
    plan = run.plan
    needs = {name: spec.needs for name, spec in plan.tasks.items()}
    run.after = dependents(needs)
    children = parts(plan)
    rank = ranks(waits(plan) if children else needs, lambda name: weight(plan, name))
    stage = stages_of(plan.tasks) if plan.stages == "barrier" else {}
    run.stages = [[] for _ in range(1 + max(stage.values(), default=NO_STAGE))]
    before = run.tasks
    run.tasks = {}
    run.counts = dict.fromkeys(Status, 0)
    for order, name in enumerate(plan.tasks):
        named = provider_of(plan, name)
        task = before.get(name) or TaskState(name, order, named, changed_at=run.submitted_at)
        if task.provider not in plan.providers:
            task.provider, task.moved = named, False
        elif task.status is Status.PENDING and not task.moved:
            task.provider = named
        task.order, task.rank, task.stage = order, rank[name], stage.get(name, NO_STAGE)
        task.children, task.open = children.get(name, []), 0
        run.tasks[name] = task
        run.counts[task.status] += 1
        if task.stage != NO_STAGE:
            run.stages[task.stage].append(name)
    for name, task in run.tasks.items():
        task.unmet = len(unmet(run, name))
    run.whole = {}
    for name in children:
        task = run.tasks[name]
        task.open = sum(run.tasks[child].status not in SATISFIED for child in task.children)
        note_whole(run, task)
    run.left = [sum(run.tasks[name].status not in SATISFIED for name in names) for names in run.stages]
    run.stage = next((number for number, left in enumerate(run.left) if left), len(run.left))
    requeue(run)


def weight(plan: Plan, task: str) -> float:
    """What a task counts in the chains that it is in."""
    return plan.tasks[task].estimate or 1.0


def note_whole(run: Run, task: TaskState) -> None:
    """Keep in mind whether a task only waits to hear that its children are done. One without children never is."""
    if task.status is Status.DELEGATED and task.children and not task.open:
        run.whole[task.id] = run.finished_at = None
    else:
        run.whole.pop(task.id, None)


def selected(run: Run, task: str) -> bool:
    """Whether a run is to do a task: all, or those that were asked for, and their parts."""
    name: str | None = task
    while run.only and name is not None and name not in run.only:
        name = run.plan.tasks[name].parent
    return name is not None


def requeue(run: Run) -> None:
    """Build the pools and fill their heaps anew."""
    before = run.pools
    run.pools = {}
    for name, provider in run.plan.providers.items():
        pool = run.pools[name] = before.get(name) or new_pool(name, provider)
        pool.limit, pool.running, pool.bound, pool.free = provider.parallel, 0, Lane(), Lane()
        pool.account, pool.fallback = provider.account or "", provider.fallback
    for task in run.tasks.values():
        if task.status in ACTIVE and task.attempt is not None:
            run.pools[task.attempt.provider].running += 1
        elif task.status is Status.PENDING:
            queue(run, task)


def new_pool(name: str, provider: Provider) -> Pool:
    """The pool of a provider, empty."""
    return Pool(name, provider.parallel, provider.account or "", provider.fallback)


def queue(run: Run, task: TaskState) -> None:
    """Put a pending task whose needs are met where its pool finds it; then the run is not finished."""
    if task.unmet or held(run, task) or not selected(run, task.id):
        return
    run.finished_at = None
    lane = lane_of(run, task)
    task.ticket += 1
    if task.not_before:
        heappush(lane.waiting, (task.not_before, task.order, task.ticket, task.id))
    else:
        heappush(lane.ready, ready_key(run, task))


def unqueue(run: Run, task: TaskState) -> None:
    """Make the entry of a task invalid, if it has one."""
    task.ticket += 1
    lane = lane_of(run, task)
    _settle(run, lane.ready)
    _settle(run, lane.waiting)


def satisfy(run: Run, task: TaskState, change: int) -> None:
    """Tell the dependents of a task that it no longer holds them back (1) or does so again (-1)."""
    if not change:
        return
    parent = run.plan.tasks[task.id].parent
    if parent is not None:
        run.tasks[parent].open -= change
        note_whole(run, run.tasks[parent])
    turn(run, task, change)
    release(run, run.after[task.id], change)


def release(run: Run, names: Iterable[str], change: int) -> None:
    """Tell tasks that something no longer holds them back (1) or does so (-1)."""
    for name in names:
        other = run.tasks[name]
        was_ready = not other.unmet
        other.unmet -= change
        if other.status is Status.PENDING:
            if not other.unmet:
                queue(run, other)
            elif was_ready:
                unqueue(run, other)


def turn(run: Run, task: TaskState, change: int) -> None:
    """Count a task among those that its stage waits for (-1), or no longer (1); with barriers that may open others.

    What a barrier lets go is put into its queue once each time that happens: a stage costs as much as its tasks.
    """
    if task.stage == NO_STAGE:
        return
    before = run.stage
    run.left[task.stage] -= change
    if change < 0:
        run.stage = min(before, task.stage)
    while run.stage < len(run.left) and not run.left[run.stage]:
        run.stage += 1
    if before == run.stage:
        return
    first, last = sorted((before, run.stage))
    for names in run.stages[first + 1 : last + 1]:
        for name in names:
            other = run.tasks[name]
            if other.status is Status.PENDING and not other.unmet:
                (unqueue if change < 0 else queue)(run, other)


def sharing(run: Run, provider: str) -> list[Pool]:
    """The pools that share the account of a provider, itself among them."""
    pool = run.pools[provider]
    if not pool.account:
        return [pool]
    return [other for other in run.pools.values() if other.account == pool.account]


def promote(run: Run, pool: Pool, now: float) -> None:
    """Move the tasks whose wait is over among the ready ones."""
    for lane in pool.lanes:
        while lane.waiting and lane.waiting[0][0] <= now:
            *_, ticket, name = heappop(lane.waiting)
            task = run.tasks[name]
            if task.ticket == ticket:
                heappush(lane.ready, ready_key(run, task))
        _settle(run, lane.waiting)


def first(run: Run, lane: Lane, now: float) -> ReadyKey | None:
    """The best of the ready tasks of a lane and of those whose wait is over."""
    best = lane.ready[0] if lane.ready else None
    for *_, ticket, name in _due(lane.waiting, now):
        task = run.tasks[name]
        if task.ticket == ticket:
            key = ready_key(run, task)
            best = key if best is None or key < best else best
    return best


def lane_of(run: Run, task: TaskState) -> Lane:
    """Where a task waits: whether one of its pool's fallbacks may start it."""
    pool = run.pools[task.provider]
    return pool.free if pool.fallback and run.plan.tasks[task.id].fallback else pool.bound


def ready_key(run: Run, task: TaskState) -> ReadyKey:
    """The place of a task among the ready ones."""
    return -run.plan.tasks[task.id].priority, -task.rank, task.order, task.ticket, task.id


def _due(heap: list[WaitingKey], now: float) -> Iterator[WaitingKey]:
    """The entries not after `now`, in no order: they are a subtree at the top of the heap."""
    places = [0]
    while places:
        place = places.pop()
        if place < len(heap) and heap[place][0] <= now:
            yield heap[place]
            places += 2 * place + 1, 2 * place + 2


def _settle(run: Run, heap: list[Any]) -> None:
    """Drop what is no longer valid from the top of a heap."""
    while heap and run.tasks[heap[0][-1]].ticket != heap[0][-2]:
        heappop(heap)
