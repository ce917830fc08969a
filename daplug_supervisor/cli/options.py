"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from daplug_supervisor.errors import UsageError
from daplug_supervisor.workspace.files import NAME, StateDirectory

Decorated = Callable[..., Any]


def as_json(function: Decorated) -> Decorated:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print data as JSON on standard output.")(
        function
    )


def state_dir(function: Decorated) -> Decorated:
    """``--state-dir``."""
    return click.option(
        "--state-dir", type=click.Path(path_type=Path, file_okay=False), envvar="DAPLUG_STATE_DIR",
        help=f"Where everything durable is kept.  [default: {NAME} in the working directory]",
    )(function)  # fmt: skip


def run_id(function: Decorated) -> Decorated:
    """An optional run."""
    return click.argument("run", required=False)(function)


def chosen_run(function: Decorated) -> Decorated:
    """``--run``, for commands whose argument is a task."""
    return click.option(
        "--run", "run", help="Which run.  [default: the latest unfinished one, else the latest]"
    )(function)


def driving(function: Decorated) -> Decorated:
    """What everything that drives runs can be told."""
    for option in (
        click.option("--executor", metavar="PATH", help="daplug's executor.py, or a checkout of daplug."),
        click.option("--quiet", "-q", is_flag=True, help="No progress, only the report."),
    ):
        function = option(function)
    return function


def here() -> Path:
    """The working directory.

    Raises:
        UsageError: it is gone.
    """
    try:
        return Path.cwd()
    except OSError as error:
        raise UsageError("the working directory is gone: go to one that exists") from error


def directory(given: Path | None) -> StateDirectory:
    """The state directory that was asked for.

    Raises:
        UsageError: it is meant to be in the working directory, and that is gone; or nothing can have such a name.
    """
    place = Path(NAME) if given is None else given
    place = place if place.is_absolute() else here() / place
    try:
        place.lstat()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass  # what is to be done about that depends on what is to be done at all
    except (OSError, ValueError) as error:
        raise UsageError(f"--state-dir: {getattr(error, 'strerror', None) or error}") from error
    return StateDirectory(place)
