"""What was proven of one task and of a run so far, for those who ask in the middle of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from daplug_supervisor.core.model import Run, TaskState
from daplug_supervisor.core.results import Finding
from daplug_supervisor.views.derived import tasks_word
from daplug_supervisor.views.text import clean, duration, number

SHORT = 10
_NOT_YET = Finding(-1, "")


class CriterionRow(Struct, frozen=True):
    """A criterion of a task and what was found of it last. `status`: ``PASS``, ``FAIL``, or '' if not looked at yet.

    `claimed` is what the attempt's own result says of it, '' for nothing; `detail` why it does not hold.
    """

    label: str
    category: str
    command: str
    status: str
    claimed: str
    exit_code: int | None
    seconds: float
    detail: str
    blame: str


class RunProof(Struct, frozen=True):
    """How much of a run is proven: `passed` and `failed` of the `planned` criteria, as they were found last.

    `rounds`: how often work went back with what was found; `flagged`: tasks of which a person should know something.
    """

    planned: int
    passed: int
    failed: int
    rounds: int
    flagged: tuple[str, ...]


def criterion_rows(run: Run, task: TaskState) -> tuple[CriterionRow, ...]:
    """The criteria of a task, and whatever else was looked at."""
    accept = run.spec(task.id).accept
    found = {one.criterion: one for one in task.findings if 0 <= one.criterion < len(accept)}
    rows = [
        _row(found.get(place, _NOT_YET), one.label, one.category, one.line, looked=place in found)
        for place, one in enumerate(accept)
    ]
    others = [one for one in task.findings if one.criterion not in found]
    return (*rows, *(_row(one, one.label, one.category, "", looked=True) for one in others))


def _row(one: Finding, label: str, category: str, line: str, *, looked: bool) -> CriterionRow:
    status = one.status if looked else ""
    return CriterionRow(
        label, category, line, status, one.claimed, one.code, one.seconds, one.detail, one.blame
    )


def run_proof(run: Run) -> RunProof | None:
    """How much of a run is proven; None if nothing in it is looked at."""
    planned = passed = failed = rounds = 0
    flagged = []
    for task in run.tasks.values():
        planned += len(run.spec(task.id).accept)
        rounds += task.fixes
        for one in task.findings:
            passed += one.criterion >= 0 and one.holds
            failed += not one.holds
        if task.flags:
            flagged.append(task.id)
    return RunProof(planned, passed, failed, rounds, tuple(flagged)) if planned or failed or flagged else None


# --- words --------------------------------------------------------------------------------------------------


def proof_words(found: RunProof) -> str:
    """``20 of 24 criteria verified, 1 fails, 3 fix rounds, 2 tasks flagged``."""
    parts = [f"{found.passed} of {found.planned} criteria verified"]
    parts += [f"{found.failed} not holding"] if found.failed else []
    parts += [number(found.rounds, "fix round")] if found.rounds else []
    parts += [f"{tasks_word(len(found.flagged))} flagged"] if found.flagged else []
    return ", ".join(parts)


def criteria_word(rows: Sequence[CriterionRow]) -> str:
    """``2 of 3 hold``; '' if there are none."""
    held = sum(row.status == "PASS" for row in rows)
    return f"{held} of {len(rows)} hold" if rows else ""


def criteria_lines(rows: Sequence[CriterionRow], width: int, indent: str = "  ") -> list[str]:
    """A line for each criterion: whether it holds, what the agent says of it, and why it does not hold."""
    lines = []
    for row in rows:
        took = f", {duration(row.seconds)}" if row.status else ""
        says = f", the agent says {row.claimed}" if row.claimed and row.claimed != row.status else ""
        why = f": {row.detail}" if row.detail else ""
        text = f"{row.status or 'open':4}  {row.label} ({row.category}{took}{says}){why}"
        lines.append(clean(f"{indent}{text}", width))
    return lines


def rounds_word(count: int, most: int) -> str:
    """``2 of 3 fix rounds``, ``3 of 3 fix rounds and a last one``: how often work went back; '' if it never did."""
    if not count:
        return ""
    return f"{min(count, most)} of {most} fix rounds{' and a last one' if count > most else ''}"


def landed_word(steps: Iterable[str], commit: str) -> str:
    """``commit, merge (1a2b3c4d5e)``: the steps of bringing it home that are done; '' if there are none."""
    done, short = ", ".join(steps), commit[:SHORT]
    return f"{done} ({short})" if done and short else done or short
