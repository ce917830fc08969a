"""What a change would affect: its events are folded into a copy of the run, and the two are compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy

from msgspec import Struct

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.changes import differences
from daplug_supervisor.core.machine import SATISFIED, Status
from daplug_supervisor.core.model import Run, State
from daplug_supervisor.core.queues import selected
from daplug_supervisor.core.state import apply


class Difference(Struct, frozen=True):
    """What would be different about a task, in words."""

    task: str
    what: str


class Moved(Struct, frozen=True):
    """A task that would get another status."""

    task: str
    before: str
    after: str


class Waiting(Struct, frozen=True):
    """A task that would wait for others than before: those that have to be done first, parts included."""

    task: str
    before: tuple[str, ...]
    after: tuple[str, ...]


class Affected(Struct, frozen=True):
    """What a change would do to a run, in the order of its plan.

    `ready` are the tasks that could start then and could not before, `blocked` those that could not start then and
    were not blocked before. Tasks that are new are in both senses not there before.
    """

    added: tuple[str, ...] = ()
    changed: tuple[Difference, ...] = ()
    removed: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    statuses: tuple[Moved, ...] = ()
    ready: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    waits: tuple[Waiting, ...] = ()


def affected(run: Run, events: Sequence[ev.Event], now: float) -> Affected:
    """What these events would do to a run, which stays as it is."""
    after = _after(run, events, now)
    old, new = run.tasks, after.tasks
    both = [name for name in new if name in old]
    waits = [
        Waiting(name, waits_for(run, name) if name in old else (), waits_for(after, name)) for name in new
    ]
    return Affected(
        added=tuple(name for name in new if name not in old),
        changed=tuple(
            Difference(name, _what(run, after, name)) for name in both if run.spec(name) != after.spec(name)
        ),
        removed=tuple(name for name in old if name not in new),
        providers=tuple(name for name in after.plan.providers if name not in run.plan.providers),
        statuses=tuple(
            Moved(name, old[name].status, new[name].status)
            for name in both
            if old[name].status is not new[name].status
        ),
        ready=tuple(name for name in new if _ready(after, name) and not _ready(run, name)),
        blocked=tuple(name for name in new if _blocked(after, name) and not _blocked(run, name)),
        waits=tuple(one for one in waits if one.after and one.after != one.before),
    )


def waits_for(run: Run, name: str) -> tuple[str, ...]:
    """What has to be done before a task can go on: its open needs, or its open parts if it is delegated.

    In the place of another delegated task stand the parts that this one waits for.
    """
    task = run.tasks[name]
    if task.status is Status.PENDING:
        return _first(run, run.spec(name).needs)
    return _first(run, task.children) if task.status is Status.DELEGATED else ()


def _first(run: Run, names: Iterable[str]) -> tuple[str, ...]:
    left, found, seen = list(reversed(list(names))), dict[str, None](), set[str]()
    while left:
        name = left.pop()
        task = run.tasks[name]
        if name in seen or task.status in SATISFIED:
            continue
        seen.add(name)
        parts = task.children if task.status is Status.DELEGATED else []
        open_parts = [part for part in parts if run.tasks[part].status not in SATISFIED]
        if open_parts:
            left += reversed(open_parts)
        else:
            found[name] = None
    return tuple(found)


def _ready(run: Run, name: str) -> bool:
    task = run.tasks.get(name)
    return task is not None and task.status is Status.PENDING and not task.unmet and selected(run, name)


def _blocked(run: Run, name: str) -> bool:
    task = run.tasks.get(name)
    return task is not None and task.status is Status.PENDING and task.unmet > 0


def _what(run: Run, after: Run, name: str) -> str:
    return ", ".join(text for _, text in differences(run.spec(name), after.spec(name)))


def _after(run: Run, events: Sequence[ev.Event], now: float) -> Run:
    """The run as it would be. The plan is shared: nothing changes it."""
    copy = deepcopy(run, {id(run.plan): run.plan})
    state = State({run.id: copy})
    for number, event in enumerate(events, 1):
        apply(state, ev.Entry(number, run.id, now, event))
    return copy
