"""The boxes of a PLAN.md and the journal of a run: where they do not agree, and the plan that goes on from both.

A box is the truth about a TODO that this run has not done; the journal is about what it has. Neither is overruled
without a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.machine import SATISFIED, Status
from daplug_supervisor.core.model import Run
from daplug_supervisor.core.plan import Plan, Task
from daplug_supervisor.core.pulls import BEGIN_TASK

PREFIX: Final = "todo-"
"""What the id of a TODO's task begins with; its number follows."""

BY_HAND: Final = "its box was ticked, and not by this run"
_TAKEN = frozenset({Status.PENDING, Status.FAILED, Status.STUCK, Status.CANCELLED})


class Disagreement(Struct, frozen=True):
    """A TODO whose box says one thing and the journal another."""

    task: str
    ticked: bool
    status: Status

    @property
    def name(self) -> str:
        """``TODO 1``."""
        return f"TODO {self.task.removeprefix(PREFIX)}"

    @property
    def taken(self) -> bool:
        """Whether it is taken as done because its box says so."""
        return self.ticked and self.status in _TAKEN


def disagreements(run: Run, boxes: Mapping[str, bool]) -> tuple[Disagreement, ...]:
    """Where boxes, by number, and journal do not agree, in the order of the plan.

    A TODO that is landing may be ticked already: that is a step of it.
    """
    return tuple(_disagreements(run, boxes))


def _disagreements(run: Run, boxes: Mapping[str, bool]) -> Iterator[Disagreement]:
    tasks = _tasks(boxes)
    for name, task in run.tasks.items():
        ticked = tasks.get(name.lower())
        if ticked is None:
            continue  # it is no TODO, or one that is not in the file any more
        fits = task.status in SATISFIED | {Status.LANDING} if ticked else task.status is not Status.DONE
        if not fits:
            yield Disagreement(name, ticked, task.status)


def _tasks(boxes: Mapping[str, bool]) -> dict[str, bool]:
    """Boxes by the id of their task, without regard to case."""
    return {f"{PREFIX}{number}".lower(): ticked for number, ticked in boxes.items()}


def words(found: Disagreement, path: str, run: str) -> str:
    """What does not agree, and what follows, in one line."""
    if not found.ticked:
        return f"{found.name}: run {run} has done it, and its box in {path} is not ticked"
    follows = "it is taken as done" if found.taken else "the attempt at it goes on"
    return f"{found.name}: its box in {path} is ticked, and run {run} has it as {found.status}: {follows}"


def taking(found: Disagreement) -> tuple[ev.TaskEvent, ...]:
    """What is recorded of a TODO that is taken as done because its box says so."""
    if not found.taken:
        return ()
    again = () if found.status is Status.PENDING else (ev.TaskReset(found.task, BY_HAND),)
    return (*again, ev.TaskAdopted(found.task, BY_HAND))


def going_on(run: Run, plan: Plan, boxes: Mapping[str, bool]) -> Plan:
    """The plan of a file as it is now, for a run that has done a part of it.

    A file is read without what is ticked in it. So what this run has done of that is put back, and what waits for it
    waits for it again: or each tick of ours would look like an edit of the plan.
    """
    old, ticked = run.plan, _tasks(boxes)
    back = {name for name in old.tasks if name not in plan.tasks and ticked.get(name.lower())}
    tasks = {name: spec for name, spec in old.tasks.items() if name in back}
    for name, spec in plan.tasks.items():
        before = old.tasks.get(name)
        tasks[name] = spec if before is None else _waiting_again(spec, before, back)
    handed_on = {name: value for name, value in plan.saved_outputs.items() if not _handed_on(run, name)}
    return replace(plan, tasks=tasks, saved_outputs=handed_on)


def _waiting_again(spec: Task, before: Task, back: set[str]) -> Task:
    needs = tuple(name for name in before.needs if name in spec.needs or name in back)
    # What waits for TODOs waits for what these wait for.
    added = tuple(name for name in spec.needs if name not in needs and not (needs and name == BEGIN_TASK))
    return replace(spec, needs=(*needs, *added))


def _handed_on(run: Run, name: str) -> bool:
    """Whether the journal has what a task hands on."""
    task = run.tasks.get(name)
    return task is not None and bool(task.past) and task.reason != BY_HAND
