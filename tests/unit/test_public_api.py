"""The public names, and what is not imported before it is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

import daplug_supervisor
from daplug_supervisor.cli import main

NAMES = [
    "Budget",
    "Bundle",
    "BusyError",
    "Command",
    "Entry",
    "Event",
    "Evidence",
    "Exit",
    "HaltedError",
    "JournalError",
    "LaunchError",
    "Loop",
    "NotPossibleError",
    "Outcome",
    "OutcomeKind",
    "Plan",
    "PlanError",
    "Provider",
    "Report",
    "Retry",
    "Run",
    "RunHandle",
    "Settings",
    "StateDirectoryError",
    "Status",
    "Supervisor",
    "SupervisorError",
    "Task",
    "Usage",
    "UsageError",
    "Worker",
    "__version__",
    "load_plan",
]


def test_the_public_names_are_these() -> None:
    assert daplug_supervisor.__all__ == NAMES
    assert dir(daplug_supervisor) == NAMES
    assert set(daplug_supervisor._PLACES) == set(NAMES) - {"__version__"}


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_can_be_imported_and_has_words(name: str) -> None:
    found = getattr(daplug_supervisor, name)
    assert found is not None
    assert name == "__version__" or found.__doc__


def test_other_names_are_missing_as_names_are() -> None:
    with pytest.raises(AttributeError, match="module 'daplug_supervisor' has no attribute 'nosuch'"):
        daplug_supervisor.nosuch  # noqa: B018


def test_types_are_shipped() -> None:
    assert (Path(daplug_supervisor.__file__).parent / "py.typed").is_file()


def loaded(line: str) -> set[str]:
    """The top-level modules that a fresh interpreter has after a line."""
    program = f"{line}; import sys, json; print(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    made = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    return set(json.loads(made.stdout.splitlines()[-1]))


SLOW = {"rich", "anyio", "yaml", "aiosqlite", "watchfiles", "structlog", "psutil", "asyncio"}


@pytest.mark.parametrize(
    "line",
    [
        "import daplug_supervisor",
        "import daplug_supervisor.cli.main",
        "from daplug_supervisor.cli.main import cli; cli.main(['--help'], standalone_mode=False)",
    ],
)
def test_the_command_line_starts_without_what_it_may_not_need(line: str) -> None:
    assert loaded(line) & SLOW == set()


def test_looking_at_a_run_needs_no_event_loop() -> None:
    line = "import daplug_supervisor.cli.task.group, daplug_supervisor.cli.inspect, daplug_supervisor.views.status"
    assert loaded(line) & SLOW == set()


def test_the_help_names_every_command() -> None:
    assert [words.split()[0] for words in main.HELP] == list(main.COMMANDS)


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_is_there_and_says_what_it_does(name: str) -> None:
    found = main.Group(name="x").get_command(click.Context(main.cli), name)
    assert found is not None
    assert found.help
