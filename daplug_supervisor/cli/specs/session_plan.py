"""From a ``.tasker`` directory to what is run; who works on it is said on the command line."""

from __future__ import annotations

import os
from pathlib import Path

import click
from msgspec.structs import replace

from daplug_supervisor.cli.specs.plan import pool
from daplug_supervisor.core.machine import SATISFIED
from daplug_supervisor.core.plan import Plan
from daplug_supervisor.core.tasker.records import OVER
from daplug_supervisor.core.tasker.session_plan import going_on, taken
from daplug_supervisor.formats.imported import AS_DAPLUG, Imported
from daplug_supervisor.formats.tasker import plan as tasker
from daplug_supervisor.supervisor import submission
from daplug_supervisor.supervisor.supervisor import Supervisor
from daplug_supervisor.workspace.files import NAME

_BY_PERSON = ("command", "stop_file")


def load(target: Path, *, provider: str | None, worktree: bool) -> Imported:
    """The plan of the session in a directory.

    Raises:
        NotPlannedError: there is none.
        PlanError, UsageError: it cannot be used.
    """
    task = replace(AS_DAPLUG, worktree=worktree)
    if provider is None:
        return tasker.read(target, tasker.Chosen(task=task))
    name, chosen = pool(provider)
    return tasker.read(target, tasker.Chosen(name, {name: chosen}, task))


def state_of(target: Path, given: Path | None) -> Path | None:
    """Its state directory: the one that was given, else that of the target, wherever the command was."""
    elsewhere = os.path.realpath(target) != os.path.realpath(".")
    return target / NAME if given is None and elsewhere else given


async def before(supervisor: Supervisor, plan: Plan, target: Path) -> Plan:
    """The plan to submit: with what the run has done that a session goes on with, if there is one."""
    run = submission.unfinished(supervisor.state, plan)
    mark = next((one for one in reversed(supervisor.marks) if submission.is_of(one, plan)), None)
    if run is None and mark is not None:
        run = await supervisor.load(mark.run)
    held = supervisor.directory.stop_requested() or (
        run is not None and run.halt is not None and run.halt.by in _BY_PERSON
    )
    ended = run is not None and run.finished_at is not None
    over = ended and run is not None and all(task.status in SATISFIED for task in run.tasks.values())
    if run is None or held or over or run.plan.origin != plan.origin:
        return plan
    home = tasker.home(target)
    every = {name for name in (*home.tasks, *home.session.tasks) if home.status(name) in OVER}
    for event in taken(run, every):
        supervisor.record(run.id, event)
    return going_on(run, plan, every)


def nothing() -> None:
    """Say that all of it is over."""
    click.echo("Nothing is left to be done.", err=True)
