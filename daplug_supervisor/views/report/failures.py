"""What a run could not do: each failed or stuck task with why, the end of its output, and what to type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from msgspec import Struct

from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.model import Run, TaskState
from daplug_supervisor.core.results import RULES, Finding
from daplug_supervisor.views.derived import blocks, label, tasks_word
from daplug_supervisor.views.review import question, question_lines
from daplug_supervisor.views.rows import AttentionRow
from daplug_supervisor.views.steps import go_on, repairs
from daplug_supervisor.views.text import clean, command, wrap
from daplug_supervisor.views.why import why

Lines = Mapping[str, Sequence[str]]
"""For each task some lines of text."""

NONE: Lines = MappingProxyType({})
MOST_FAILURES = 20
_BUDGET = 1_000_000
_TASKS_IN_NEXT = 3
_MOST_CRITERIA = 5
_SENTENCE = 500


class FailedCriterion(Struct, frozen=True):
    """A criterion that does not hold: what it is called, why, and what that speaks against.

    `blame`: ``code``, ``environment`` or ``unknown``; `tail`: the end of what it printed; `claimed`: what the
    attempt's own result says of it.
    """

    label: str
    category: str
    detail: str
    blame: str
    claimed: str = ""
    tail: tuple[str, ...] = ()


class Failure(Struct, frozen=True):
    """A failed or stuck task. `kind` is its last outcome.

    `blocks` says how many tasks wait behind it (null: not counted); `tail` is the end of its output, `next`
    what to type, `remedy` what else a person can do. `rounds`: how often its work went back; `criteria`: what did not
    hold in the last attempt; `question`: what its agent asks a person, '' if nothing.
    """

    task: str
    title: str
    status: str
    kind: str
    detail: str
    sentence: str
    attempts: int
    blocks: int | None
    tail: tuple[str, ...]
    next: tuple[str, ...]
    remedy: str = ""
    rounds: int = 0
    criteria: tuple[FailedCriterion, ...] = ()
    question: str = ""


Printed = Mapping[str, Mapping[int, Sequence[str]]]
"""For each task the last lines of what its criteria printed, by their places among its findings."""

NOTHING_PRINTED: Printed = MappingProxyType({})


def failures(
    run: Run, now: float, tails: Lines = NONE, printed: Printed = NOTHING_PRINTED, *, live: bool = True
) -> tuple[Failure, ...]:
    """The failed and stuck tasks, in the order of the plan."""
    found = [task for task in run.tasks.values() if task.status in (Status.FAILED, Status.STUCK)]
    blocking = blocks(run, (task.id for task in found), _BUDGET)

    def row(task: TaskState) -> Failure:
        last = task.last
        return Failure(
            task=task.id,
            title=label(run.spec(task.id)),
            status=task.status.value,
            kind=last.outcome.kind.value if last else "",
            detail=last.outcome.detail if last else task.reason,
            sentence=why(run, task.id, now, live=live).sentence,
            attempts=task.attempt.number if task.attempt else 0,
            blocks=blocking.get(task.id),
            tail=tuple(tails.get(task.id, ())),
            next=repairs(task),
            remedy=task.remedy or (RULES[last.outcome.kind].remedy if last else ""),
            rounds=task.fixes,
            criteria=_criteria(last.findings if last else (), printed.get(task.id, {})),
            question=question(task),
        )

    return tuple(row(task) for task in found)


def _criteria(
    findings: Sequence[Finding], printed: Mapping[int, Sequence[str]]
) -> tuple[FailedCriterion, ...]:
    return tuple(
        FailedCriterion(
            one.label, one.category, one.detail, one.blame, one.claimed, tuple(printed.get(place, ()))
        )
        for place, one in enumerate(findings)
        if not one.holds
    )


def next_steps(
    run: Run, found: Sequence[Failure], waiting: Sequence[AttentionRow] = (), *, live: bool
) -> tuple[str, ...]:
    """What to type: to decide about what waits for that, for the first failures, then to go on."""
    lines: list[str] = []
    for row in waiting[:_TASKS_IN_NEXT]:
        lines += [line for line in row.next if line not in lines and line != go_on(run)]
    for failure in found[:_TASKS_IN_NEXT]:
        lines += [line for line in failure.next[:2] if line not in lines]
    if len(found) > _TASKS_IN_NEXT:
        lines.append(command("task", "list", "--status", found[-1].status))
    stands = run.halt is not None or (run.finished_at is None and not live)
    return (*lines, *((go_on(run),) if stands or found or waiting else ()))


def failure_lines(found: Sequence[Failure], width: int) -> list[str]:
    """What failed, for people."""
    lines: list[str] = []
    for failure in found[:MOST_FAILURES]:
        behind = f" Blocks {tasks_word(failure.blocks)}." if failure.blocks else ""
        lines.append(clean(f"  {failure.task}: {failure.title}", width))
        lines += wrap(clean(failure.sentence, _SENTENCE) + behind, width, "    ")
        lines += question_lines(failure.question, width, "    | ")
        for one in failure.criteria[:_MOST_CRITERIA]:
            said = f" (the agent says {one.claimed})" if one.claimed else ""
            lines.append(clean(f"    - {one.label}{said}: {one.detail}", width))
            lines += [f"      | {clean(line, max(20, width - 8))}" for line in one.tail]
        tail = () if failure.question else failure.tail
        lines += [f"    | {clean(line, max(20, width - 6))}" for line in tail]
    more = len(found) - MOST_FAILURES
    return [*lines, f"  and {more} more"] if more > 0 else lines
