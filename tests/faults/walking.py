"""Every command of the program, called so that it shows all it can show of a run."""

from __future__ import annotations

import gc
import io
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from cli import Place

from daplug_supervisor import errors
from daplug_supervisor.cli.main import cli, main
from daplug_supervisor.cli.output import mask

CODES = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
"""What the program may exit with."""

TASK = "<task>"
"""Stands for each task of the run in turn."""

CALLS: dict[str, list[list[str]]] = {
    "run": [["plan.json", "--dry-run"], ["nosuch.json"]],
    "run-prompt": [["001", "-m", "glm5", "--dry-run"], ["nosuch", "-m", "glm5"]],
    "resume": [["p-99"]],
    "check": [["plan.json"]],
    "schema": [[]],
    "status": [[]],
    "report": [[], ["--metrics-only"]],
    "events": [[], ["--task", TASK]],
    "halt": [["again"]],
    "check-halt": [[]],
    "halt-status": [[], ["--format", "json"]],
    "doctor": [[]],
    "gc": [["--dry-run"]],
    "task list": [[], ["--ready"], ["--status", "failed"]],
    "task show": [[TASK]],
    "task why": [[TASK]],
    "task logs": [[TASK], [TASK, "--stderr"], [TASK, "--attempt", "1"]],
    "task attach": [["nosuch"]],
    "task create": [["new", "true", "--command", "--dry-run"], ["again", "x", "--provider", "nosuch"]],
    "task update": [[TASK, "--title", "\x1b[2J again", "--dry-run"], ["--status", "done"]],
    "task split": [[TASK, "one=true", "--command", "--dry-run"], ["nosuch", "one=true"]],
    "task remove": [[TASK, "--rewire", "--dry-run"], ["nosuch"]],
    "task approve": [["nosuch"]],
    "task reject": [["nosuch", "--remark", "again"]],
    "task answer": [["nosuch", "why"]],
    "task retry": [["nosuch"]],
    "task skip": [["nosuch"]],
    "task cancel": [["nosuch"]],
    "task complete": [["nosuch"]],
    "task fail": [["nosuch", "why"]],
    "bundle generate": [["nosuch"]],
    "bundle generate-ready": [[]],
    "bundle validate": [[TASK], ["nosuch"]],
    "bundle validate-integrity": [[TASK]],
    "bundle list": [[]],
    "bundle clean": [[]],
    "bundle result-info": [["plan.json"], ["nosuch.json"]],
    "evaluate": [[], ["--metrics-only"]],
    "fsm coverage": [[], ["p-99"]],
    "archive execution": [[]],
    "archive list": [[]],
    "archive restore": [["nosuch/execution/1"]],
    "finish commit-rest": [["p"]],
    "finish report": [[], ["nosuch"]],
    "pr begin": [["nosuch"]],
    "pr pause": [["nosuch", "--reason", "again"]],
    "pr continue": [["nosuch"]],
    "pr complete": [["nosuch"]],
    "provider list": [[]],
    "provider pause": [["nosuch"]],
    "provider resume": [["nosuch"]],
}
"""How each is called. A command that is not here has nobody who looks at what it prints."""


def leaves(command: click.Command, name: str = "") -> Iterator[tuple[str, click.Command]]:
    """All commands below one, with their names."""
    if not isinstance(command, click.Group):
        yield name, command
        return
    context = click.Context(command)
    for child in command.list_commands(context):
        found = command.get_command(context, child)
        assert found is not None
        yield from leaves(found, f"{name} {child}".strip())


def calls(tasks: list[str]) -> Iterator[list[str]]:
    """Every command of the program with its arguments, with and without ``--json``."""
    for name, command in leaves(cli):
        assert name in CALLS, f"{name} is new: add to tests/faults/walking.py how it is called"
        as_json = any("--json" in parameter.opts for parameter in command.params)
        for words in CALLS[name]:
            for task in tasks if TASK in words else [""]:
                filled = [*name.split(), *(task if word == TASK else word for word in words)]
                yield filled
                if as_json:
                    yield [*filled, "--json"]


def said(place: Place, *words: str) -> str:
    """What the program prints on both streams, run within this process: there are hundreds of calls."""
    before = dict(os.environ), Path.cwd(), sys.argv, sys.stdout, sys.stderr
    logger = logging.getLogger("daplug_supervisor")
    logged = list(logger.handlers), logger.level, logger.propagate
    data = io.BytesIO()
    stream = io.TextIOWrapper(data, "utf-8", errors="surrogateescape", write_through=True)
    os.environ.clear()
    os.environ.update(place.environ)
    os.chdir(place.target)
    mask.cache_clear()
    sys.argv, sys.stdout, sys.stderr = ["daplug-supervise", *words], stream, stream
    try:
        with pytest.raises(SystemExit) as end:
            main()
    finally:
        os.environ.clear()
        os.environ.update(before[0])
        os.chdir(before[1])
        sys.argv, sys.stdout, sys.stderr = before[2:]
        mask.cache_clear()
        logger.handlers[:], logger.level, logger.propagate = logged
        gc.enable()
    assert end.value.code in CODES, (words, end.value.code)
    return data.getvalue().decode("utf-8", "surrogateescape")
