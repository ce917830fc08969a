"""The last steps, which YAML and JSON share: a tree to a checked plan, and findings to a `PlanError`."""

from __future__ import annotations

import json
import re
from itertools import chain
from typing import TYPE_CHECKING

from msgspec import Struct

from daplug_supervisor.errors import PlanError, Problem
from daplug_supervisor.formats.checks import check
from daplug_supervisor.formats.findings import (
    MAX_PROBLEMS,
    Blame,
    FieldPath,
    Finding,
    Findings,
    Lines,
    dotted,
)
from daplug_supervisor.formats.plans.fields import plain_plan
from daplug_supervisor.formats.plans.nodes import Node, locate
from daplug_supervisor.formats.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Iterable

    from daplug_supervisor.core.plan import Plan


class Source(Struct, frozen=True):
    """A plan file: its name for messages (printable), the plan's name if it gives none, and its text."""

    file: str
    default_name: str
    processors: int
    text: str


def checked(root: Node, source: Source, found: Findings) -> Plan:
    """The plan that a tree says; `found` takes everything wrong with it.

    Raises:
        UnreadableError: it cannot be judged further.
    """
    values = plain_plan(root, found)
    tasks = values.pop("tasks", {})
    plan, more = resolve(
        values, tasks.items(), default_name=source.default_name, processors=source.processors
    )
    blame = Blame(found)
    for finding in chain(more, check(plan)):
        if not blame.covers(finding):
            found.note(finding)
    return plan


def _sought(text: str, path: FieldPath) -> int:
    """Where a field of a JSON plan that is too large for a tree is most likely written, or -1."""
    at = -1
    for key in path:
        found = re.compile(rf"{re.escape(json.dumps(key))}\s*:").search(text, at + 1)
        if found is None:
            break
        at = found.start()
    return at


def failure(findings: Iterable[Finding], source: Source, root: Node | None = None) -> PlanError:
    """Findings as problems with their positions, in file order."""
    lines = Lines(source.text)
    placed: list[tuple[int, Problem]] = []
    for finding in findings:
        written_at, path = locate(root, finding.path)
        at = finding.at if finding.at >= 0 else written_at
        if at < 0 and root is None:
            at = _sought(source.text, finding.path)
        line, column = lines.position(at) if at >= 0 else (0, 0)
        placed.append((at, Problem(finding.message, finding.remedy, source.file, line, column, dotted(path))))
    problems = [problem for _, problem in sorted(placed, key=lambda pair: pair[0])]
    if len(problems) >= MAX_PROBLEMS:
        problems.append(Problem("there may be more problems", "correct these first", source.file))
    return PlanError(problems)
