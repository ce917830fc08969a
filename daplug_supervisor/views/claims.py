"""What agents say of themselves, as their workers kept it: shown to people, never believed."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from daplug_supervisor.core.model import Run, TaskState
from daplug_supervisor.views.text import clean

MOST_TEXTS = 20
MOST_LINES = 20
NEXT_STEPS = "suggested_next_steps"
WARNINGS = "original_checkout_warnings"


class Said(Struct, frozen=True):
    """What a task's last attempt said beside its result.

    `next_steps` are its own suggestions; `checkout_warnings` are files that changed outside its worktree meanwhile.
    """

    task: str
    next_steps: tuple[str, ...]
    checkout_warnings: tuple[str, ...]


def claim(task: TaskState) -> dict[str, Any]:
    """What the last ended attempt claims; empty if nothing."""
    last = task.last
    return dict(last.outcome.claim or {}) if last else {}


def text(said: dict[str, Any], key: str) -> str:
    """The text under a key, '' if there is none."""
    value = said.get(key)
    return value if isinstance(value, str) else ""


def texts(said: dict[str, Any], key: str) -> tuple[str, ...]:
    """The texts in the list under a key."""
    value = said.get(key)
    return tuple(one for one in value[:MOST_TEXTS] if isinstance(one, str)) if isinstance(value, list) else ()


def said(run: Run) -> tuple[Said, ...]:
    """What is worth telling of what attempts said, in the order of the plan."""
    found = []
    for task in run.tasks.values():
        claimed = claim(task)
        steps, warnings = texts(claimed, NEXT_STEPS), texts(claimed, WARNINGS)
        if steps or warnings:
            found.append(Said(task.id, steps, warnings))
    return tuple(found)


def sections(rows: tuple[Said, ...], width: int) -> dict[str, list[str]]:
    """The parts of a report for people."""
    return {
        "Changed outside their worktrees meanwhile, as daplug saw it": _lines(
            [(row.task, one) for row in rows for one in row.checkout_warnings], width
        ),
        "Next steps that agents suggest": _lines(
            [(row.task, one) for row in rows for one in row.next_steps], width
        ),
    }


def _lines(found: list[tuple[str, str]], width: int) -> list[str]:
    more = len(found) - MOST_LINES
    lines = [clean(f"  {task}: {one}", width) for task, one in found[:MOST_LINES]]
    return [*lines, f"  and {more} more"] if more > 0 else lines
