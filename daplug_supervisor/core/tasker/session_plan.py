"""The session of a ``.tasker`` directory and the journal of a run: the plan that goes on from both."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.machine import ACTIVE, SATISFIED, Status
from daplug_supervisor.core.model import Run
from daplug_supervisor.core.plan import Plan, Task

BY_HAND: Final = "its session says that it is over, and that is not by this run"


def going_on(run: Run, plan: Plan, over: Collection[str]) -> Plan:
    """The plan of a session as it is now, for a run that has done a part of it. `over`: what the session says of tasks.

    A session is read without what is over. So what this run knows of that is put back, and what waited for it waits
    for it again: or everything that it gets done would look like an edit of the plan.
    """
    old = run.plan.tasks
    back = {name: spec for name, spec in old.items() if name not in plan.tasks and name in over}
    tasks = dict(back)
    for name, spec in plan.tasks.items():
        tasks[name] = _waiting_again(spec, old[name], back) if name in old else spec
    return replace(plan, tasks=tasks)


def _waiting_again(spec: Task, before: Task, back: Collection[str]) -> Task:
    needs = tuple(name for name in before.needs if name in spec.needs or name in back)
    return replace(spec, needs=(*needs, *(name for name in spec.needs if name not in needs)))


def taken(run: Run, over: Collection[str]) -> tuple[ev.TaskEvent, ...]:
    """What is recorded of tasks that are over, as the session says, and that this run has not done."""
    events: list[ev.TaskEvent] = []
    for name, task in run.tasks.items():
        if name in over and task.status not in SATISFIED | ACTIVE:
            again = () if task.status is Status.PENDING else (ev.TaskReset(name, BY_HAND),)
            events += (*again, ev.TaskAdopted(name, BY_HAND))
    return tuple(events)
