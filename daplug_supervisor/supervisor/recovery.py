"""Taking up what an earlier supervisor left: which runs go on, and with which plan."""

from __future__ import annotations

from daplug_supervisor.core.changes import Changes, changes
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.plan import Plan
from daplug_supervisor.core.state import Run, State, apply
from daplug_supervisor.ports import Journal, RunMark


async def load(journal: Journal) -> tuple[State, list[RunMark]]:
    """The state of all unfinished runs, and the marks of all runs. Finished runs are not read."""
    state = State()
    marks = await journal.runs()
    for mark in marks:
        if not mark.finished:
            await load_run(journal, state, mark)
    return state, marks


async def load_run(journal: Journal, state: State, mark: RunMark) -> Run:
    """Fold the events of one more run into the state."""
    async for entry in journal.read(mark.run, mark.first_seq - 1):
        apply(state, entry)
    return state.runs[mark.run]


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


def edited(run: Run, plan: Plan) -> Changes:
    """What an edited plan changes in a run; its `plan` equals the run's if nothing does."""
    started = [name for name, task in run.tasks.items() if task.status is not Status.PENDING]
    return changes(run.plan, plan, started)
