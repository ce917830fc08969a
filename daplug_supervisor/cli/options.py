"""Options that several commands share."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from daplug_supervisor.errors import UsageError
from daplug_supervisor.workspace.files import JOURNAL, NAME, StateDirectory

if TYPE_CHECKING:
    from daplug_supervisor.core.health import Rules

_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
_LONGEST = 366 * 86400.0

Decorated = Callable[..., Any]

_SOONEST, _LATEST = 1.0, 86400.0
"""Seconds between two looks at running agents, at least and at most."""


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
        click.option(
            "--health-interval",
            "health",
            metavar="TIME",
            callback=_rules,
            help="How often running agents are looked at, such as 30s.  [default: 2m]",
        ),
    ):
        function = option(function)
    return function


def _rules(_context: click.Context, _option: click.Parameter, given: str | None) -> Rules | None:
    """By which rules agents are looked at; None if nothing was said."""
    if given is None:
        return None
    from daplug_supervisor.core.health import Rules  # noqa: PLC0415 (not for --help)
    from daplug_supervisor.core.plan import parse_duration  # noqa: PLC0415

    try:
        seconds = parse_duration(given)
    except ValueError as error:
        raise click.BadParameter(f"{error}; write 30s, 2m or 1h") from error
    if not _SOONEST <= seconds <= _LATEST:
        raise click.BadParameter(f"{given}: at least 1s and at most 1d")
    return Rules(interval=seconds)


def seconds(text: str) -> float:
    """The seconds of a time that somebody has typed.

    Raises:
        click.BadParameter: it is none.
    """
    from daplug_supervisor.core.plan import parse_duration  # noqa: PLC0415 (not for --help)

    try:
        found = float(text) if _NUMBER.fullmatch(text) else parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}: write 90s, 45m, 1h30m") from None
    if not 0 < found <= _LONGEST:
        raise click.BadParameter(f"{text}: more than nothing, and at most 366d")
    return found


def here() -> Path:
    """The working directory.

    Raises:
        UsageError: it is gone.
    """
    try:
        return Path.cwd()
    except OSError as error:
        raise UsageError("the working directory is gone: go to one that exists") from error


def directory(given: Path | None, *, new: bool = False) -> StateDirectory:
    """The state directory that was asked for: where one has looked into a worktree, that of its run.

    `new`: it may be made, and so is the one in the working directory.

    Raises:
        UsageError: it is meant to be in the working directory, and that is gone; or nothing can have such a name.
    """
    place = Path(NAME) if given is None else given
    place = place if place.is_absolute() else here() / place
    if given is None and not new and not os.path.lexists(place / JOURNAL):
        from daplug_supervisor.cli import within  # noqa: PLC0415 (seldom needed)

        place = within.state_directory() or place
    try:
        place.lstat()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass  # what is to be done about that depends on what is to be done at all
    except (OSError, ValueError) as error:
        raise UsageError(f"--state-dir: {getattr(error, 'strerror', None) or error}") from error
    return StateDirectory(place)
