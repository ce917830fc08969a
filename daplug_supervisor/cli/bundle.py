"""``bundle``: what the executors of tasks get, and whether it still fits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from msgspec import Struct

from daplug_supervisor.cli import options
from daplug_supervisor.cli.output import mask, print_data, print_harmless, width
from daplug_supervisor.cli.reading import load_run
from daplug_supervisor.core.lookup import find_task
from daplug_supervisor.core.model import Run, TaskState
from daplug_supervisor.core.tasker.bundle import Integrity
from daplug_supervisor.core.tasker.records import DIRECTORY, OVER
from daplug_supervisor.errors import BundleError, NotPossibleError
from daplug_supervisor.views.text import clean, table
from daplug_supervisor.workspace import attempt_bundles
from daplug_supervisor.workspace.files import StateDirectory
from daplug_supervisor.workspace.tasker import bundles as task_bundles
from daplug_supervisor.workspace.tasker.bundles import ResultInfo


class Generated(Struct, frozen=True):
    """A bundle that was made: of which task, and where it is."""

    task: str
    path: str


class Validated(Struct, frozen=True):
    """A bundle whose form is right."""

    task: str
    path: str
    valid: bool = True


class Removed(Struct, frozen=True):
    """Whose bundles were removed."""

    tasks: tuple[str, ...]


def _target(function: options.Decorated) -> options.Decorated:
    return click.option(
        "--target",
        type=click.Path(path_type=Path, file_okay=False),
        help="The directory that has .tasker.  [default: the working directory]",
    )(function)


def _of_runs(function: options.Decorated) -> options.Decorated:
    """Options of commands that look at the bundles of attempts as well."""
    return options.state_dir(options.chosen_run(_target(function)))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def bundle() -> None:
    """Make and check the bundles of tasks: those in .tasker, or those that a run's attempts got.

    They are those of a .tasker directory if there is one here (or in --target) and no --run is given.
    """


@bundle.command()
@click.argument("task")
@_target
@options.as_json
def generate(task: str, *, target: Path | None, as_json: bool) -> int:
    """Make the bundle of TASK."""
    return _generate(_session(target), (task,), as_json=as_json)


@bundle.command("generate-ready")
@_target
@options.as_json
def generate_ready(*, target: Path | None, as_json: bool) -> int:
    """Make the bundles of all tasks that could start now."""
    from daplug_supervisor.formats.tasker.home import home  # noqa: PLC0415 (slow to import)

    session = _session(target)
    found = home(session.parent)
    waits = OVER | {"running", "failed", "blocked"}
    ready = tuple(
        name
        for name, one in found.tasks.items()
        if found.status(name) not in waits and all(found.status(other) in OVER for other in one.needs)
    )
    return _generate(session, ready, as_json=as_json)


def _generate(session: Path, tasks: Sequence[str], *, as_json: bool) -> int:
    from daplug_supervisor.formats.tasker.home import home  # noqa: PLC0415 (as above)
    from daplug_supervisor.supervisor.clock import SystemClock  # noqa: PLC0415
    from daplug_supervisor.views.text import stamp  # noqa: PLC0415

    found, created = home(session.parent), stamp(SystemClock().now())
    rows, problems = list[Generated](), list[str]()
    for task in tasks:
        try:
            task_bundles.generate(found, task, created)
            rows.append(Generated(task, str(task_bundles.path_of(str(session), task))))
        except BundleError as error:
            problems += [f"{task}: {reason}" for reason in error.reasons]
    if problems and not rows:
        raise BundleError(problems)
    text = "\n".join(clean(f"{row.task}: {row.path}") for row in rows) or "No task is ready."
    print_data(rows, text, as_json=as_json)
    print_harmless("\n".join(problems))
    return 1 if problems else 0


@bundle.command()
@click.argument("task")
@_of_runs
@options.as_json
def validate(
    task: str, *, target: Path | None, run: str | None, state_dir: Path | None, as_json: bool
) -> int:
    """Check the form of TASK's bundle. Exit 1, with the place in it, if it is wrong."""
    session = None if run else _session_if_any(target)
    if session is not None:
        task_bundles.read(str(session), task)
        path = task_bundles.path_of(str(session), task)
    else:
        directory, of, state = _attempt(task, run, state_dir)
        path = attempt_bundles.path_of(directory, of, state, attempt_bundles.last_of(of, state))
        attempt_bundles.read(path)
    print_data(Validated(task, str(path)), clean(f"{task}: its bundle has the right form"), as_json=as_json)
    return 0


@bundle.command("validate-integrity")
@click.argument("task")
@_of_runs
@options.as_json
def validate_integrity(
    task: str, *, target: Path | None, run: str | None, state_dir: Path | None, as_json: bool
) -> int:
    """Compare TASK's bundle with what it was made from.

    Exit 0 if it is good, 2 if something has changed since (drift: make it anew), 1 if it may not be used.
    """
    session = None if run else _session_if_any(target)
    if session is not None:
        found = task_bundles.integrity(str(session), task)
    else:
        directory, of, state = _attempt(task, run, state_dir)
        found = attempt_bundles.integrity(directory, of, state, attempt_bundles.last_of(of, state))
    print_data(found, _integrity_text(found), as_json=as_json)
    return found.code


def _integrity_text(found: Integrity) -> str:
    told = {
        "good": "it is what it was made from",
        "drift": "what it was made from has changed since; make it anew",
        "failed": f"it may not be used ({found.category})",
    }
    lines = [f"{found.task}: {found.verdict.upper()}: {told[found.verdict]}"]
    return "\n".join(
        clean(line) for line in (*lines, *(f"  {one}" for one in (*found.problems, *found.changed)))
    )


@bundle.command("list")
@_of_runs
@options.as_json
def list_bundles(*, target: Path | None, run: str | None, state_dir: Path | None, as_json: bool) -> int:
    """List the bundles that there are, and whether they still fit."""
    session = None if run else _session_if_any(target)
    if session is not None:
        rows = task_bundles.listing(str(session))
        cells = [(row.task, row.verdict, row.created, row.detail or row.name) for row in rows]
        text = table(cells, ("TASK", "VERDICT", "MADE", "WHAT"), width())
        print_data(rows, text if rows else "There are no bundles.", as_json=as_json)
        return 0
    directory = options.directory(state_dir)
    found = attempt_bundles.listing(directory, load_run(directory, run))
    cells = [(row.name, row.verdict, row.path, row.detail) for row in found]
    text = table(cells, ("ATTEMPT", "VERDICT", "PATH", "WHAT"), width(), keep=3)
    print_data(found, text if found else "There are no bundles: only agents get one.", as_json=as_json)
    return 0


@bundle.command("clean")
@_target
@options.as_json
def clean_bundles(*, target: Path | None, as_json: bool) -> int:
    """Remove all bundles in .tasker. Results stay."""
    names = task_bundles.clean(str(_session(target)))
    listed = ", ".join(names) or "none"
    print_data(Removed(names), clean(f"removed the bundles of: {listed}"), as_json=as_json)
    return 0


@bundle.command("result-info")
@click.argument("path", type=click.Path(path_type=Path))
@options.as_json
def result_info(path: Path, *, as_json: bool) -> int:
    """Say what the result in PATH says: that of a .tasker task, or what an attempt handed in. Exit 1 if it is none."""
    found = task_bundles.result_info(path)
    print_data(found, mask()(_result_text(found)), as_json=as_json)
    return 0


def _result_text(found: ResultInfo) -> str:
    """One fact a line, as scripts read it: ``status:success``."""
    facts: dict[str, str] = {
        "task_id": found.task,
        "name": found.name,
        "status": found.status,
        "verdict": found.verdict,
        "criteria": f"{found.passed} of {found.criteria} pass",
        "created": ", ".join(found.created),
        "modified": ", ".join(found.modified),
        "error": f"{found.category}: {found.message}" if found.category else "",
        "retryable": "" if found.retryable is None else str(found.retryable).lower(),
        "notes": found.notes,
    }
    return "\n".join(clean(f"{name}:{value}") for name, value in facts.items() if value)


# --- which ones are meant -----------------------------------------------------------------------------------


def _session_if_any(target: Path | None) -> Path | None:
    """The ``.tasker`` that is meant, if there is one."""
    place = target or options.here()
    session = place.absolute() / DIRECTORY
    if session.is_dir():
        return session
    if target is not None:
        raise NotPossibleError(f"{place} has no {DIRECTORY} directory")
    return None


def _session(target: Path | None) -> Path:
    found = _session_if_any(target)
    if found is None:
        raise NotPossibleError(
            f"there is no {DIRECTORY} directory here: give --target; bundles of other plans are made when an attempt "
            "starts, and are kept in its directory"
        )
    return found


def _attempt(task: str, run: str | None, state_dir: Path | None) -> tuple[StateDirectory, Run, TaskState]:
    directory = options.directory(state_dir)
    found = load_run(directory, run)
    return directory, found, find_task(found, task)
