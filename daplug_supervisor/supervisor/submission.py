"""Submitting a plan: which of its runs goes on, what of it is tried again, and under which id a new one begins."""

from __future__ import annotations

import os
from collections.abc import Sequence

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.changes import Changes, changes
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.plan import Plan
from daplug_supervisor.core.state import Run, State
from daplug_supervisor.core.surgery.edits import TRIED_AGAIN, with_edits
from daplug_supervisor.errors import HaltedError, PlanError, Problem, UsageError
from daplug_supervisor.ports import RunMark
from daplug_supervisor.workspace.files import StateDirectory


def new_id(plan: Plan, marks: list[RunMark]) -> str:
    """The id of the plan's next run: its name and a number."""
    taken = {mark.run for mark in marks}
    number = 1
    while f"{plan.name}-{number}" in taken:
        number += 1
    return f"{plan.name}-{number}"


def is_of(mark: RunMark, plan: Plan) -> bool:
    """Whether a run is one of the plan, by the plan's name."""
    name, _, number = mark.run.rpartition("-")
    return name == plan.name and number.isdecimal()


def unfinished(state: State, plan: Plan) -> Run | None:
    """The latest unfinished run of a plan, by the plan's name."""
    found = [run for run in state.runs.values() if run.plan.name == plan.name and run.finished_at is None]
    return found[-1] if found else None


def edited(run: Run, plan: Plan, again: Sequence[ev.TaskReset]) -> Changes:
    """What an edited plan changes in a run, of which some is tried `again`; its `plan` is the run's if nothing does.

    Raises:
        PlanError: what has started, or was changed while the run went on, does not go together with it.
    """
    _refuse_misread(run, plan)
    anew = {event.task for event in again}
    started = [
        name for name, task in run.tasks.items() if task.status is not Status.PENDING and name not in anew
    ]
    return changes(run.plan, with_edits(run, plan), started)


def _refuse_misread(run: Run, plan: Plan) -> None:
    """What an attempt at work came to can be read only by the worker, and as that of the CLI, that it began with.

    Raises:
        PlanError: the provider of one has another now.
    """
    for task in run.tasks.values():
        if task.status is not Status.RUNNING or task.attempt is None:
            continue
        name = task.attempt.provider
        old, new = run.plan.providers[name], plan.providers.get(name)
        if new is not None and (old.worker, old.cli) != (new.worker, new.cli):
            told = f"task {task.id} is at work in provider {name}, whose worker or cli is another now"
            remedy = (
                "give the changed provider a name of its own, or let the task end under the plan as it was"
            )
            raise PlanError([Problem(told, remedy, field=f"providers.{name}")])


def tried_again(run: Run, plan: Plan) -> list[ev.TaskReset]:
    """Running a plan again means: try again what failed, if the run was over or the task was edited since."""
    over = run.finished_at is not None
    failed = [task.id for task in run.tasks.values() if task.status in TRIED_AGAIN]
    return [
        ev.TaskReset(name, "the plan was run again")
        for name in failed
        if over or plan.tasks.get(name, run.spec(name)) != run.spec(name)
    ]


def refuse_halted(directory: StateDirectory, run: Run | None) -> None:
    """What a person halted goes on only when a person says so; other halts end with the next start.

    Raises:
        HaltedError: it was a person.
    """
    if directory.stop_requested():
        raise HaltedError(f"{directory.stop_file} is there: 'daplug-supervise resume' removes it and goes on")
    if run is not None and run.halt is not None and run.halt.by in ("command", "stop_file"):
        raise HaltedError(
            f"run {run.id} is halted ({run.halt.reason}): 'daplug-supervise resume' goes on with it"
        )


def refuse_elsewhere(run: Run | None, target: str) -> None:
    """A plan of another directory may have the same name; its tasks are not to be done in this run's.

    Raises:
        UsageError: the run is about another directory, which is there still.
    """
    if run is None or run.target == target or os.path.realpath(run.target) == os.path.realpath(target):
        return
    if os.path.isdir(run.target):  # noqa: PTH112 (never raises); else it was moved, and its run goes on
        raise UsageError(
            f"run {run.id} of plan {run.plan.name} is about {run.target}, and this is {target}: go there to go on "
            "with it; here give the plan a name of its own, or a state directory (--state-dir)"
        )
