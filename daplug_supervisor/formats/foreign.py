"""Which files are plans of daplug's, known by their keys, and which are a PLAN.md, known by its TODOs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from daplug_supervisor.formats import at_runner, sprint
from daplug_supervisor.formats.imported import Imported, Reading
from daplug_supervisor.formats.tasker import plan as tasker
from daplug_supervisor.formats.todos import checklist

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES = 16 << 20
_MARKS = (b'"sprint_id"', b'"phases"', b'"phase"')


def read(path: Path, root: Path) -> Imported | None:
    """The plan in a file of daplug's, or in a PLAN.md; None if it is another one, or cannot be read.

    Prompts are looked for in `root`; a PLAN.md is about `root` if it is within it. A ``.tasker`` directory, or one that
    has it, is a plan too.

    Raises:
        NotPlannedError: it is a ``.tasker`` directory without a session.
        PlanError: it is such a file, and something in it is wrong.
    """
    session = tasker.find(path)
    if session is not None:
        return tasker.read(session)
    if checklist.is_one(path):
        target = checklist.target_of(path, root)
        found = checklist.read(path, target, finalize=checklist.finalize_of(path))
        return found if target is root else replace(found, target=target)
    if path.suffix != ".json":
        return None
    document = _document(path)
    if isinstance(document, dict) and set(document) >= sprint.KEYS and "tasks" not in document:
        return sprint.read(document, Reading(str(path), root))
    if at_runner.is_one(document):
        return at_runner.read(document, Reading(str(path), root))
    return None


def _document(path: Path) -> Any:
    """What is in a JSON file that may be one of daplug's; None if it is not, or if it is no JSON."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            data = file.read(MOST_BYTES)
        return msgspec.json.decode(data) if any(mark in data for mark in _MARKS) else None
    except (OSError, ValueError, RecursionError):
        return None
