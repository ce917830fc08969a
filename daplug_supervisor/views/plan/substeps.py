"""The sub-steps of a PLAN.md, as text: which round each is of, and what it waits for."""

from __future__ import annotations

from collections.abc import Sequence

from daplug_supervisor.formats.todos.substeps import SubStep
from daplug_supervisor.views.text import number, table

MOST_SHOWN = 200


def substep_lines(steps: Sequence[SubStep], width: int = 80) -> list[str]:
    """A line for each sub-step."""
    rows = [
        (f"#{one.id}", str(one.round), one.subject, ", ".join(f"#{other}" for other in one.blockers))
        for one in steps[:MOST_SHOWN]
    ]
    more = len(steps) - MOST_SHOWN
    lines = table(rows, ("id", "round", "sub-step", "blocked by"), width, indent="  ").split("\n")
    return [*lines, *([f"  and {number(more, 'more sub-step')}"] if more > 0 else [])]


def substeps_head(steps: Sequence[SubStep]) -> str:
    """How many there are, in how many rounds."""
    rounds = 1 + max(one.round for one in steps)
    return f"Sub-steps ({len(steps)} in {number(rounds, 'round')}; all of a round may run at once)"
