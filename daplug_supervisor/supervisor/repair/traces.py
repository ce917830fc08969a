"""What attempts have left in their directories: all there is to go by when the journal has lost them."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from daplug_supervisor.processes import tree
from daplug_supervisor.processes.ends import read_record
from daplug_supervisor.workspace.files import BUNDLE, StateDirectory

_DIGITS = 6


def tasks(directory: StateDirectory, run: str) -> list[str]:
    """The tasks of a run that have attempts."""
    found: list[str] = []
    with suppress(OSError):
        found = [task.name for task in directory.run(run).iterdir() if last(directory, run, task.name)]
    return sorted(found)


def last(directory: StateDirectory, run: str, task: str) -> int:
    """The number of the last attempt that was started, 0 for none."""
    numbers = [0]
    with suppress(OSError):
        for folder in (directory.run(run) / task).iterdir():
            mine = folder.name.isdecimal() and len(folder.name) <= _DIGITS
            numbers.append(int(folder.name) if mine and read_record(str(folder)) is not None else 0)
    return max(numbers)


def named(folder: str) -> tuple[str, str]:
    """The token and the provider of an attempt, as its own files tell; empty if they do not."""
    found: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        data = json.loads((Path(folder) / BUNDLE).read_bytes())
        found = data["bundle"] if isinstance(data, dict) and isinstance(data.get("bundle"), dict) else {}
    assignment = found.get("assignment")
    provider = assignment.get("provider") if isinstance(assignment, dict) else ""
    token = found.get("token")
    return token if isinstance(token, str) else "", provider if isinstance(provider, str) else ""


def shim(folder: str) -> int:
    """The process that may still work on an attempt, 0 if there is none."""
    found = read_record(folder)
    pid = found.get("shim") if isinstance(found, dict) else None
    return pid if isinstance(pid, int) and pid > 1 and tree.identity_of(pid) is not None else 0
