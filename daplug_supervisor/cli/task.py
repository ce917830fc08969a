"""``task``: one task at a time."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, get_args

import click
from msgspec.structs import replace

from daplug_supervisor.cli import options
from daplug_supervisor.cli.inspect import now, wait_for_change
from daplug_supervisor.cli.output import mask, print_data, width
from daplug_supervisor.cli.reading import load_run
from daplug_supervisor.cli.result import complete, fail
from daplug_supervisor.core.commands import Verb
from daplug_supervisor.core.lookup import find_task
from daplug_supervisor.core.machine import ACTIVE, Status
from daplug_supervisor.core.secrets import Lines
from daplug_supervisor.core.state import Run
from daplug_supervisor.errors import NotPossibleError
from daplug_supervisor.views.text import clean
from daplug_supervisor.workspace import suspects
from daplug_supervisor.workspace.files import STDERR, STDOUT, StateDirectory, open_output

if TYPE_CHECKING:
    from daplug_supervisor.workspace.changes import Work

_LOOKS = 5.0
"""Seconds that a look into a worktree may take."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def task() -> None:
    """Look at tasks, and decide about them."""


@task.command("list")
@click.option("--ready", is_flag=True, help="Exactly those that could start now, one 'ID: title' a line.")
@click.option("--status", type=click.Choice([str(status) for status in Status]), help="Only those.")
@options.chosen_run
@options.as_json
@options.state_dir
def list_tasks(
    *, ready: bool, status: str | None, run: str | None, as_json: bool, state_dir: Path | None
) -> int:
    """List the tasks of a run."""
    from daplug_supervisor.views import tasks as views  # noqa: PLC0415

    directory = options.directory(state_dir)
    found = load_run(directory, run)
    at = now(found)
    live = directory.holder() is not None
    rows = views.tasks(found, at, live, ready=ready, status=Status(status) if status else None)
    text = "\n".join(views.ready_lines(found, at)) if ready else views.tasks_text(rows, at, width())
    print_data(rows, text, as_json=as_json)
    return 0


@task.command()
@click.argument("name", metavar="TASK")
@options.chosen_run
@options.as_json
@options.state_dir
def show(name: str, *, run: str | None, as_json: bool, state_dir: Path | None) -> int:
    """Show a task and all its attempts."""
    from daplug_supervisor.views import tasks as views  # noqa: PLC0415

    directory = options.directory(state_dir)
    found = load_run(directory, run)
    find_task(found, name)
    at = now(found)
    live, suspicious = directory.holder() is not None, suspects.read(directory.run(found.id))
    detail = views.task_detail(found, name, at, live, os.environ, suspicious, _work(directory, found, name))
    print_data(detail, views.task_text(detail, at, width()), as_json=as_json)
    return 0


def _work(directory: StateDirectory, run: Run, name: str) -> Work | None:
    """What is in the task's worktree now; None if it has none, or if that cannot be told at once."""
    if not run.spec(name).worktree:
        return None
    from daplug_supervisor.supervisor.reports import owners  # noqa: PLC0415
    from daplug_supervisor.workspace.changes import work_of  # noqa: PLC0415

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
    offset = _copy(path, 0, masked)
    while follow and find_task(found, name).status in ACTIVE:
        wait_for_change(folder, 2.0)
        offset = _copy(path, offset, masked)
        found = load_run(directory, found.id)
    _copy(path, offset, masked)
    return 0


def _copy(path: Path, offset: int, masked: Lines | None) -> int:
    """Print a file from an offset on, and return the new offset. Without a mask it is printed as it is."""
    try:
        with open_output(path) as file, open_output(path) as same:
            while (begin := _next_data(same, offset)) is not None:
                if begin > offset:
                    click.echo(f"[... {begin - offset} bytes left out ...]")
                file.seek(begin)
                offset = _copy_piece(file, begin, _end_of_data(same, begin), masked)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise NotPossibleError(f"{path}: {error.strerror}") from error
    sys.stdout.flush()
    return offset


def _copy_piece(file: BinaryIO, offset: int, end: int, masked: Lines | None) -> int:
    while chunk := file.readline(min(65536, end - offset)):
        if masked is None:
            sys.stdout.buffer.write(chunk)
        else:
            click.echo(clean(masked(chunk.decode("utf-8", "replace").rstrip("\r\n"))))
        offset += len(chunk)
    return offset


def _next_data(file: BinaryIO, offset: int) -> int | None:
    """Where there is something from an offset on, or None: the middle of a long log that still grows is a hole."""
    try:
        found = os.lseek(file.fileno(), offset, os.SEEK_DATA)
    except OSError:
        return None
    return found if found < os.fstat(file.fileno()).st_size else None


def _end_of_data(file: BinaryIO, offset: int) -> int:
    return os.lseek(file.fileno(), offset, os.SEEK_HOLE)


def _decision(verb: Verb, text: str, *, forcible: bool = False) -> click.Command:
    """A command that tells the run something about one task."""

    @click.argument("name", metavar="TASK")
    @click.option("--reason", default="", help="Why, for the journal.")
    @options.chosen_run
    @options.as_json
    @options.state_dir
    def decide(
        name: str, *, reason: str, run: str | None, as_json: bool, state_dir: Path | None, force: bool = False
    ) -> int:
        from daplug_supervisor.cli.sending import tell  # noqa: PLC0415

        directory = options.directory(state_dir)
        return tell(directory, verb, run=run or "", task=name, reason=reason, force=force, as_json=as_json)

    if forcible:
        decide = click.option("--force", is_flag=True, help="Even if another try cannot help.")(decide)
    assert verb in get_args(Verb)  # noqa: S101
    return click.command(verb, help=text)(decide)


task.add_command(_decision("retry", "Try an ended task again, with its tries counted anew.", forcible=True))
task.add_command(_decision("skip", "Go on without a task: what needs it may start."))
task.add_command(_decision("cancel", "Stop a task for good: what needs it stays blocked."))
task.add_command(complete)
task.add_command(fail)
