"""The sub-steps of a plan made of a PLAN.md: what each waits for, and whether a run kept to that. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from msgspec import Struct

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.plan import Plan, Task

BEGIN: Final = "state-begin"
REST: Final = "residual-commit"
COMPLETE: Final = "state-complete"
REPORT: Final = "report"
"""The tasks that are no TODO."""

Kind = Literal["begin", "worker", "verify", "context", "checkbox", "commit", "rest", "complete", "report"]

_TODO = "todo-"
_OTHERS: Final[dict[str, tuple[Kind, str]]] = {
    BEGIN: ("begin", "Init:State Begin"),
    REST: ("rest", "Finalize:Residual Commit"),
    COMPLETE: ("complete", "Finalize:State Complete"),
    REPORT: ("report", "Finalize:Report"),
}
_CHAIN: Final[tuple[tuple[Kind, str], ...]] = (
    ("worker", "Worker"),
    ("verify", "Verify"),
    ("context", "Context"),
    ("checkbox", "Checkbox"),
    ("commit", "Commit"),
)


class SubStep(Struct, frozen=True):
    """A sub-step. `id` counts from 1 in the order of the plan, `round` from 0: all of a round may run at once."""

    id: int
    round: int
    subject: str
    blockers: tuple[int, ...]
    task: str
    kind: Kind


def is_one(plan: Plan) -> bool:
    """Whether a plan has sub-steps: it was made of a PLAN.md."""
    return plan.origin is not None and plan.origin.format == "checklist"


def substeps(plan: Plan) -> tuple[SubStep, ...]:
    """The sub-steps of a plan, in the order of their ids."""
    steps: list[SubStep] = []
    numbers = _numbers(plan)
    for name, task in plan.tasks.items():
        blockers = tuple(sorted(numbers[other][-1] for other in task.needs if other in numbers))
        for number, (kind, subject) in zip(numbers[name], _named(name, task), strict=True):
            steps.append(SubStep(number, 0, subject, blockers, name, kind))
            blockers = (number,)
    rounds = _rounds(steps)
    return tuple(
        SubStep(one.id, rounds[one.id], one.subject, one.blockers, one.task, one.kind) for one in steps
    )


def _numbers(plan: Plan) -> dict[str, range]:
    """The ids of each task's sub-steps."""
    found: dict[str, range] = {}
    number = 1
    for name, task in plan.tasks.items():
        count = len(_named(name, task))
        found[name] = range(number, number + count)
        number += count
    return found


def _named(name: str, task: Task) -> list[tuple[Kind, str]]:
    """The sub-steps of a task, with their subjects."""
    if not name.startswith(_TODO):
        return [_OTHERS.get(name, ("report", name))]
    number = name.removeprefix(_TODO)
    chain = _CHAIN if task.commit is not None else _CHAIN[:-1]
    words = [f"{number}.{place}:{subject}" for place, (_, subject) in enumerate(chain, 1)]
    words[0] += f" — {task.title}"
    return [(kind, word) for (kind, _), word in zip(chain, words, strict=True)]


def _rounds(steps: list[SubStep]) -> dict[int, int]:
    """The round of each sub-step: one after the last of those that block it."""
    blockers = {one.id: one.blockers for one in steps}
    found: dict[int, int] = {}
    waiting = [one.id for one in reversed(steps)]
    while waiting:
        number = waiting[-1]
        missing = [other for other in blockers[number] if other not in found]
        if missing:
            waiting += missing
        else:
            waiting.pop()
            found[number] = 1 + max((found[other] for other in blockers[number]), default=-1)
    return found


def done(steps: Iterable[SubStep], events: Iterable[ev.Event]) -> tuple[int, ...]:
    """The ids of the sub-steps that a run's events show to be done, in the order in which they were done for good.

    What a new attempt, or going back to a worker, undoes is not counted until it is done again.
    """
    known = {(one.task, one.kind): one.id for one in steps}
    order: dict[int, None] = {}
    for event in events:
        if isinstance(event, ev.AttemptStarted | ev.TaskReset):
            for kind, _ in _CHAIN:
                order.pop(known.get((event.task, kind), 0), None)
        for key in _shown(event):
            number = known.get(key, 0)
            if number and number not in order:
                order[number] = None
    return tuple(order)


def _shown(event: ev.Event) -> list[tuple[str, Kind]]:
    """Which sub-steps, by task and kind, an event shows to be done."""
    if isinstance(event, ev.AttemptExited):
        return [(event.task, "worker")]
    if isinstance(event, ev.VerificationPassed):
        return [(event.task, "verify")]
    if isinstance(event, ev.StepDone) and event.step != "merge":
        return [(event.task, event.step)]
    if isinstance(event, ev.Landed) and event.task in _OTHERS:
        return [(event.task, _OTHERS[event.task][0])]
    return []


def broken(steps: Iterable[SubStep], events: Iterable[ev.Event]) -> tuple[str, ...]:
    """Where a run did not keep to its sub-steps, in words; nothing if it did.

    Looked at when something is done, and when a worker or a step of the end is started: all that blocks it is done.
    """
    steps = tuple(steps)
    known = {(one.task, one.kind): one for one in steps}
    subjects = {one.id: one.subject for one in steps}
    finished: set[int] = set()
    found: list[str] = []

    def look(one: SubStep | None, verb: str) -> None:
        if one is not None:
            early = (other for other in one.blockers if other not in finished)
            found.extend(f"#{one.id} {one.subject} {verb} before #{n} {subjects[n]} was done" for n in early)

    for event in events:
        if isinstance(event, ev.AttemptStarted):
            look(_first(known, event.task), "was started")
        if isinstance(event, ev.AttemptStarted | ev.TaskReset):
            finished -= {known[event.task, kind].id for kind, _ in _CHAIN if (event.task, kind) in known}
        for key in _shown(event):
            look(known.get(key), "was done")
            finished |= {known[key].id} if key in known else set()
    return tuple(found)


def _first(known: dict[tuple[str, Kind], SubStep], task: str) -> SubStep | None:
    kind: Kind = _OTHERS[task][0] if task in _OTHERS else "worker"
    return known.get((task, kind))
