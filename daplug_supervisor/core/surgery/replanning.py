"""What becomes of a run when its plan is changed while it goes on: a task is added, changed, taken out.

One task is taken in without a look at all the others: agents may create thousands, one by one.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.graph import ordered
from daplug_supervisor.core.machine import ACTIVE, Status
from daplug_supervisor.core.model import Run, TaskState
from daplug_supervisor.core.notifying import without
from daplug_supervisor.core.plan import Plan, Provider, Task
from daplug_supervisor.core.queues import (
    circle,
    flaw,
    flaw_of,
    flaw_of_provider,
    index,
    new_pool,
    note_whole,
    provider_of,
    queue,
    turn,
    unmet,
    unqueue,
    weight,
)
from daplug_supervisor.core.stages import NO_STAGE
from daplug_supervisor.errors import IllegalTransitionError

_SHAPE = ("needs", "parent", "estimate")
"""Fields of a task on which the indexes of others depend."""


def sound(run: str, found: str) -> None:
    """Refuse a plan for what was found wrong with it.

    Raises:
        IllegalTransitionError: so it is.
    """
    if found:
        raise IllegalTransitionError(f"run {run!r} cannot have this plan: {found}")


def added(run: Run, event: ev.TaskAdded, at: float) -> None:
    """Take a new task in.

    Raises:
        IllegalTransitionError: it does not fit; nothing has changed.
    """
    if event.id in run.tasks:
        raise IllegalTransitionError(f"run {run.id!r} has a task {event.id!r} already")
    plan = _with(run, event)
    found = flaw_of(plan, event.id) or _flaw_of_providers(run, plan)
    waiting = {} if found else waited_for(run, {event.id: event.spec})
    sound(run.id, found or circle(waiting))
    stage = _stage_of(run, event.spec) if plan.stages == "barrier" else NO_STAGE
    _take_on(run, plan, (event.id,))
    task = TaskState(event.id, len(run.tasks), provider_of(plan, event.id), changed_at=at)
    if stage is None:
        run.tasks[event.id] = task
        index(run)
        return
    task.stage = stage
    _join(run, task, event.spec)
    _rerank(run, waiting)  # which puts it into its queue


def _join(run: Run, task: TaskState, spec: Task) -> None:
    """Note a new task with all that it has to do with."""
    needs = dict.fromkeys(spec.needs)
    run.tasks[task.id] = task
    run.after[task.id] = []
    run.counts[Status.PENDING] += 1
    for other in needs:
        run.after[other].append(task.id)
    task.unmet = len(unmet(run, task.id))
    if spec.parent is not None:
        parent = run.tasks[spec.parent]
        parent.children.append(task.id)
        parent.open += 1
        note_whole(run, parent)
    if task.stage == NO_STAGE:
        return
    if task.stage == len(run.stages):
        run.stages.append([])
        run.left.append(0)
    turn(run, task, -1)
    run.stages[task.stage].append(task.id)


def _stage_of(run: Run, spec: Task) -> int | None:
    """The stage of a new task; None: it moves that of the task that it is a part of, and of others with it."""
    stages = [run.tasks[other].stage for other in spec.needs]
    if spec.parent is None:
        return NO_STAGE if NO_STAGE in stages else 1 + max(stages, default=NO_STAGE)
    own, top = run.tasks[spec.parent].stage, _top(run, spec.parent)
    fits = all(
        NO_STAGE < stage < own or _top(run, other) == top
        for stage, other in zip(stages, spec.needs, strict=True)
    )
    return own if fits or own == NO_STAGE else None


def _top(run: Run, name: str) -> str:
    """The task that a part, or a part of a part, belongs to in the end."""
    while (above := run.spec(name).parent) is not None:
        name = above
    return name


def _rerank(run: Run, waiting: Mapping[str, tuple[str, ...]]) -> None:
    """Reckon ranks anew: those of tasks, and of all that they wait for (see `waited_for`)."""
    for name in reversed(ordered(waiting)):  # each after those that wait for it
        task, above = run.tasks[name], run.spec(name).parent
        after = run.after[name] if above is None else (*run.after[name], above)
        rank = weight(run.plan, name) + max((run.tasks[other].rank for other in after), default=0.0)
        if rank == task.rank:
            continue
        pending = task.status is Status.PENDING
        if pending:
            unqueue(run, task)
        task.rank = rank
        if pending:
            queue(run, task)


def changed(run: Run, event: ev.TaskChanged) -> None:
    """Give a task that has no slot another form.

    Raises:
        IllegalTransitionError: it does not fit; nothing has changed.
    """
    task = _without_slot(run, event.id)
    plan, old = _with(run, event), run.spec(event.id)
    alike = all(getattr(old, name) == getattr(event.spec, name) for name in _SHAPE)
    found = flaw_of(plan, event.id) or _flaw_of_providers(run, plan)
    sound(run.id, found or ("" if alike else circle(waited_for(run, {event.id: event.spec}))))
    pending = task.status is Status.PENDING
    if pending:
        unqueue(run, task)
    _take_on(run, plan, (event.id,))
    if event.spec.provider != old.provider:  # whoever says so means it, whatever took the task over before
        task.provider, task.moved, task.rerouted = provider_of(plan, event.id), False, False
    if not alike and (plan.stages == "barrier" or old.parent != event.spec.parent):
        index(run)
        return
    if not alike:
        _rewire(run, task, old, event.spec)
    if pending:
        queue(run, task)


def _rewire(run: Run, task: TaskState, old: Task, new: Task) -> None:
    """Note that a task needs others than before. It is in no queue."""
    for other in set(old.needs).difference(new.needs):
        run.after[other].remove(task.id)
    for other in set(new.needs).difference(old.needs):
        insort(run.after[other], task.id, key=lambda name: run.tasks[name].order)
    task.unmet = len(unmet(run, task.id))
    waiting = waited_for(run, {task.id: replace(new, needs=(*old.needs, *new.needs))})
    _rerank(run, waiting)
    unqueue(run, task)


def removed(run: Run, event: ev.TaskRemoved) -> None:
    """Take a task that has no slot out; its children go on without it.

    Raises:
        IllegalTransitionError: it does not fit; nothing has changed.
    """
    task = _without_slot(run, event.id)
    children = task.children
    tasks = {name: spec for name, spec in run.plan.tasks.items() if name != event.id}
    for child in children:
        tasks[child] = replace(tasks[child], parent=None)
    plan = replace(run.plan, tasks=tasks)
    sound(run.id, flaw(plan))
    _take_on(run, plan, (event.id, *children))
    index(run)
    if task.attempt is not None or task.status is Status.DELEGATED:
        run.removed.add(event.id)
    run.notified = without(run.notified, {event.id})
    run.hooks.pop(("post_task", event.id), None)  # of another task with its id it has not been run


def _without_slot(run: Run, task: str) -> TaskState:
    found = run.tasks.get(task)
    if found is None:
        raise IllegalTransitionError(f"run {run.id!r} has no task {task!r}")
    if found.status in ACTIVE:
        raise IllegalTransitionError(f"run {run.id!r}: task {task!r} is {found.status}: it cannot be changed")
    return found


def _with(run: Run, event: ev.TaskAdded | ev.TaskChanged) -> Plan:
    """The plan with a task as an event has it, and its provider if the plan has none of that name."""
    providers: dict[str, Provider] = run.plan.providers
    name = event.spec.provider
    if event.provider is not None and name is not None and name not in providers:
        providers = {**providers, name: event.provider}
    return replace(run.plan, tasks={**run.plan.tasks, event.id: event.spec}, providers=providers)


def _flaw_of_providers(run: Run, plan: Plan) -> str:
    new = (name for name in plan.providers if name not in run.pools)
    return next(filter(None, (flaw_of_provider(plan, name) for name in new)), "")


def _take_on(run: Run, plan: Plan, names: Iterable[str]) -> None:
    """Go on with another plan; what the changed tasks were in it as it was submitted is kept in mind."""
    for name in names:
        run.edited.setdefault(name, run.plan.tasks.get(name))
    run.plan, run.finished_at = plan, None
    for name, provider in plan.providers.items():
        if name not in run.pools:
            run.pools[name] = new_pool(name, provider)


def waited_for(run: Run, specs: Mapping[str, Task]) -> dict[str, tuple[str, ...]]:
    """What tasks, as they are to be, wait for, and what that waits for, and so on: each with what it waits for itself.

    Whoever waits for whom because of a change is in a circle only with one of these.
    """
    parts: dict[str, list[str]] = {}
    for name, spec in specs.items():
        if spec.parent is not None and (name not in run.tasks or run.spec(name).parent != spec.parent):
            parts.setdefault(spec.parent, []).append(name)
    found: dict[str, tuple[str, ...]] = {}
    left = list(specs)
    while left:
        name = left.pop()
        if name in found:
            continue
        spec = specs[name] if name in specs else run.plan.tasks[name]
        known = run.tasks.get(name)
        found[name] = (*spec.needs, *(known.children if known else ()), *parts.get(name, ()))
        left += found[name]
    return found
