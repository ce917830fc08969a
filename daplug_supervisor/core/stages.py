"""Stages: the levels of the graph of needs. With ``stages: barrier`` one begins when all before it are done.

A part belongs to the stage of the task that it is a part of, whatever its siblings need of each other: that stage is
done when both are. So parts that are created while a stage goes on are not held back, and the next stage waits for
them. What is in a circle through its parts (they need each other's wholes) belongs to no stage, and is not held back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from daplug_supervisor.core.graph import MOST_STAGES, levels
from daplug_supervisor.core.machine import SATISFIED, Status
from daplug_supervisor.core.model import Run, TaskState
from daplug_supervisor.core.plan import Plan, Task

NO_STAGE: Final = -1


def stages_of(tasks: Mapping[str, Task]) -> dict[str, int]:
    """The stage of each task, from 0: after those of all that it and its parts need."""
    top = _tops(tasks)
    if not top:
        level = levels({name: spec.needs for name, spec in tasks.items()})
        return {name: level[name] for name in tasks}
    needs: dict[str, list[str]] = {}
    for name, spec in tasks.items():
        whole = top.get(name, name)
        others = (top.get(other, other) for other in spec.needs)
        needs.setdefault(whole, []).extend(other for other in others if other != whole)
    level = levels(needs)
    return {name: level.get(top.get(name, name), NO_STAGE) for name in tasks}


def _tops(tasks: Mapping[str, Task]) -> dict[str, str]:
    """For each part the task that it belongs to and that is no part itself."""
    found: dict[str, str] = {}
    for name, spec in tasks.items():
        if spec.parent is None:
            continue
        way = [name]
        while (above := tasks[way[-1]].parent) is not None and above not in found:
            way.append(above)
        top = way.pop() if above is None else found[above]
        found |= dict.fromkeys(way, top)
    return found


def too_many(plan: Plan) -> Iterator[tuple[str, int]]:
    """What has more than `MOST_STAGES` stages, and how many: the parts of a task, or with barriers the plan ('').

    Only for plans in which tasks do not wait for each other.
    """
    if plan.stages == "barrier":
        count = 1 + max(stages_of(plan.tasks).values(), default=NO_STAGE)
        if count > MOST_STAGES:
            yield "", count
    children: dict[str, list[str]] = {}
    for name, spec in plan.tasks.items():
        if spec.parent is not None:
            children.setdefault(spec.parent, []).append(name)
    for parent, names in children.items():
        count = stages_among(plan.tasks, names)
        if count > MOST_STAGES:
            yield parent, count


def stages_among(tasks: Mapping[str, Task], names: Iterable[str]) -> int:
    """How many stages some tasks form by what they need of each other."""
    some = dict.fromkeys(names)
    level = levels({name: [other for other in tasks[name].needs if other in some] for name in some})
    return 1 + max(level.values(), default=NO_STAGE)


def held(run: Run, task: TaskState) -> bool:
    """Whether a task waits for the stages before its own. Without barriers none is in any."""
    return task.stage > run.stage


def holding(run: Run, task: TaskState) -> tuple[int, list[str]]:
    """The stage (from 0) that a task waits for, and which tasks of it are neither done nor skipped, in plan order.

    An empty list: it waits for none. Of several stages it is the first: the others wait for that one too.
    """
    if task.status is not Status.PENDING or not held(run, task):
        return NO_STAGE, []
    left = [name for name in run.stages[run.stage] if run.tasks[name].status not in SATISFIED]
    return run.stage, left
