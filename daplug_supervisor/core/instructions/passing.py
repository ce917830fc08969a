"""What the tasks of a run hand on to later ones: their outputs, and what they have learnt, found and decided."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from msgspec import Struct

from daplug_supervisor.core.claims import KEY, Claim, claim_of
from daplug_supervisor.core.instructions.template import Reference
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.model import Run
from daplug_supervisor.core.plan import Plan

MOST_WISDOM: Final = 12_000
"""Characters of each of learnings, issues and decisions that a later task is told: the newest."""

_MOST_LINE = 1000
_MOST_TASKS = 500


class Wisdom(Struct, frozen=True):
    """What tasks before have learnt, which issues they found, what they decided: one line each, the newest first."""

    learnings: str = ""
    issues: str = ""
    decisions: str = ""

    def __bool__(self) -> bool:
        return bool(self.learnings or self.issues or self.decisions)


def passes_on(plan: Plan) -> bool:
    """Whether any task hands on something: in a plan without such a task what looks like a reference is text."""
    return bool(plan.saved_outputs) or any(task.outputs for task in plan.tasks.values())


def meant(plan: Plan, found: Iterable[Reference]) -> tuple[Reference, ...]:
    """Those references in the text of a task that are meant as such."""
    found = tuple(found)
    if not found or passes_on(plan):
        return found
    return tuple(one for one in found if one.task in plan.tasks)


def outputs(run: Run, wanted: Iterable[Reference]) -> dict[str, dict[str, Any]]:
    """What the tasks that are referred to have handed on; those that have not are left out."""
    found: dict[str, dict[str, Any]] = {}
    for name in {one.task for one in wanted}:
        task = run.tasks.get(name)
        if task is not None and task.status is Status.DONE and task.last is not None:
            found[name] = claim_of(task.last.outcome.claim).outputs
        elif name in run.plan.saved_outputs:
            found[name] = run.plan.saved_outputs[name]
    return found


def wisdom(run: Run) -> Wisdom:
    """What the tasks that are done say in their results."""
    claims = list(_claims(run))
    return Wisdom(
        _newest((name, claim.learnings) for name, claim in claims),
        _newest((name, claim.issues) for name, claim in claims),
        _newest((name, claim.decisions) for name, claim in claims),
    )


def _claims(run: Run) -> Iterator[tuple[str, Claim]]:
    """The results of tasks that are done, the newest first."""
    found = []
    for name, task in run.tasks.items():  # there may be many, and most have none
        if task.status is Status.DONE and task.past:
            last = task.past[-1]
            said = last.result.outcome.claim
            if said and KEY in said:
                found.append((-last.ended_at, name, said))
    found.sort(key=lambda one: one[:2])
    found.sort(key=lambda one: one[:2])
    return ((name, claim_of(said)) for _, name, said in found[:_MOST_TASKS])


def _newest(said: Iterable[tuple[str, tuple[str, ...]]]) -> str:
    lines, left = list[str](), MOST_WISDOM
    for name, texts in said:
        for text in texts:
            line = f"{name}: {' '.join(text.split())}"
            line = line if len(line) <= _MOST_LINE else f"{line[:_MOST_LINE]}…"
            left -= len(line)
            if left < 0:
                return "\n".join((*lines, "(older ones are left out)"))
            lines.append(line)
    return "\n".join(lines)
