"""``task``: one task at a time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec.structs import replace

from daplug_supervisor.cli import options
from daplug_supervisor.cli.inspect import now, seen_of, wait_for_change
from daplug_supervisor.cli.output import mask, print_data, width
from daplug_supervisor.cli.reading import load_run
from daplug_supervisor.cli.task import changes as task_changes
from daplug_supervisor.cli.task import decisions as task_decisions
from daplug_supervisor.cli.task.attach import attach
from daplug_supervisor.cli.task.following import copy
from daplug_supervisor.cli.task.result import complete, fail
from daplug_supervisor.core.lookup import find_task
from daplug_supervisor.core.machine import ACTIVE, Status
from daplug_supervisor.core.secrets import Lines
from daplug_supervisor.core.state import Run
from daplug_supervisor.errors import NotPossibleError
from daplug_supervisor.ports import Identity
from daplug_supervisor.workspace import room, suspects
from daplug_supervisor.workspace.files import STDERR, STDOUT, StateDirectory

if TYPE_CHECKING:
    from daplug_supervisor.views.orchestration.state import SubtaskHealth
    from daplug_supervisor.workspace.git.changes import Work

_LOOKS = 5.0
"""Seconds that a look into a worktree may take."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def task() -> None:
    """Look at tasks, create and change them, and decide about them."""


@task.command("list")
@click.option("--ready", is_flag=True, help="Exactly those that could start now, one 'ID: title' a line.")
@click.option("--status", type=click.Choice([str(status) for status in Status]), help="Only those.")
@click.option(
    "--tree/--flat",
    default=None,
    help="Parts below their tasks, or a column that says whose part each is.  [default: --tree if there are any]",
)
@options.chosen_run
@options.as_json
@options.state_dir
def list_tasks(
    *,
    ready: bool,
    status: str | None,
    tree: bool | None,
    run: str | None,
    as_json: bool,
    state_dir: Path | None,
) -> int:
    """List the tasks of a run. With --json: in the order of the plan, each with its parent and its children."""
    from daplug_supervisor.views import tasks as views  # noqa: PLC0415

    directory = options.directory(state_dir)
    found = load_run(directory, run)
    at = now(found)
    live = directory.holder() is not None
    rows = views.tasks(found, at, live, ready=ready, status=Status(status) if status else None)
    lines = views.ready_lines(found, at) if ready else [views.tasks_text(rows, at, width(), tree=tree)]
    text = "\n".join(lines)
    print_data(rows, text, as_json=as_json)
    return 0


@task.command()
@click.argument("name", metavar="TASK")
@options.chosen_run
@options.as_json
@options.state_dir
def show(name: str, *, run: str | None, as_json: bool, state_dir: Path | None) -> int:
    """Show a task and all its attempts."""
    from daplug_supervisor.views.task_detail import task_detail, task_text  # noqa: PLC0415

    directory = options.directory(state_dir)
    found = load_run(directory, run)
    find_task(found, name)
    at = now(found)
    live, suspicious = directory.holder() is not None, suspects.read(directory.run(found.id))
    seen = seen_of(directory, found).get(name)
    detail = task_detail(found, name, at, live, os.environ, suspicious, _work(directory, found, name), seen)
    detail = replace(detail, health=_health(directory, found, name, at))
    print_data(detail, task_text(detail, at, width()), as_json=as_json)
    return 0


def _health(directory: StateDirectory, run: Run, name: str, at: float) -> SubtaskHealth | None:
    """Whether the running attempt shows that it works, as was seen last; None if none runs."""
    attempt = run.tasks[name].attempt
    if run.tasks[name].status is not Status.RUNNING or attempt is None:
        return None
    from daplug_supervisor.processes.tree import lives  # noqa: PLC0415 (only for what runs)
    from daplug_supervisor.views.orchestration.state import health_now  # noqa: PLC0415
    from daplug_supervisor.workspace.monitoring import read_state  # noqa: PLC0415

    alive = attempt.pid > 0 and lives(Identity(attempt.pid, attempt.start, attempt.boot))
    return health_now(read_state(directory.path), run, run.tasks[name].id, at, alive=alive)


def _work(directory: StateDirectory, run: Run, name: str) -> Work | None:
    """What is in the task's worktree now; None if it has none, or if that cannot be told at once."""
    if not run.spec(name).worktree:
        return None
    from daplug_supervisor.supervisor.closing.reports import owners  # noqa: PLC0415
    from daplug_supervisor.workspace.git.changes import work_of  # noqa: PLC0415

    of = {owner: task for owner, task in owners(directory, run).items() if task == name}
    found = work_of(run.target, of, _LOOKS).get(name)
    if found is None:
        return None
    files, uncommitted = (tuple(map(mask(), names)) for names in (found.files, found.uncommitted))
    return replace(found, files=files, uncommitted=uncommitted)


@task.command()
@click.argument("name", metavar="TASK")
@options.chosen_run
@options.as_json
@options.state_dir
def why(name: str, *, run: str | None, as_json: bool, state_dir: Path | None) -> int:
    """Say in one sentence why a task is not running, and what to type."""
    from daplug_supervisor.views import why as views  # noqa: PLC0415

    directory = options.directory(state_dir)
    found = load_run(directory, run)
    find_task(found, name)
    live = directory.holder() is not None
    answer = views.why(
        found,
        name,
        now(found),
        live=live,
        stop_file=directory.stop_requested(),
        suspects=suspects.read(directory.run(found.id)),
        seen=seen_of(directory, found).get(name),
        lack=room.lack(str(directory.path)),
    )
    print_data(answer, views.why_text(answer, width()), as_json=as_json)
    return 0


@task.command()
@click.argument("name", metavar="TASK")
@click.option("--attempt", type=click.IntRange(1), help="Which attempt.  [default: the latest]")
@click.option("--stderr", is_flag=True, help="Standard error instead of standard output.")
@click.option("--follow", "-f", is_flag=True, help="Go on as it grows, until the task has ended.")
@click.option("--raw", is_flag=True, help="Byte for byte, terminal escapes, secrets and all.")
@options.chosen_run
@options.as_json
@options.state_dir
def logs(
    name: str, *, attempt: int | None, stderr: bool, follow: bool, raw: bool, run: str | None, as_json: bool,
    state_dir: Path | None,
) -> int:  # fmt: skip
    """Print what an attempt wrote, without secrets. Control characters are shown, not obeyed.

    With --json: where the files are.
    """
    directory = options.directory(state_dir)
    found = load_run(directory, run)
    state = find_task(found, name)
    if state.attempt is None:
        raise NotPossibleError(f"task {name} has not been started yet: there is no log")
    number = attempt or state.attempt.number
    folder = Path(directory.attempt(found.id, name, number))
    if not folder.is_dir():
        if number <= state.attempt.number:
            raise NotPossibleError(f"the files of attempt {number} of task {name} are gone (removed by gc?)")
        raise NotPossibleError(f"task {name} has no attempt {number} (latest: {state.attempt.number})")
    path = folder / (STDERR if stderr else STDOUT)
    if as_json:
        files = {"directory": str(folder), "stdout": str(folder / STDOUT), "stderr": str(folder / STDERR)}
        print_data(files, "", as_json=True)
        return 0
    masked = None if raw else Lines(mask())
    offset = copy(path, 0, masked)
    while follow and find_task(found, name).status in ACTIVE:
        wait_for_change(folder, 2.0)
        offset = copy(path, offset, masked)
        found = load_run(directory, found.id)
    copy(path, offset, masked)
    return 0


for _command in (
    *task_changes.COMMANDS,
    *task_decisions.COMMANDS,
    attach,
    complete,
    fail,
):
    task.add_command(_command)
