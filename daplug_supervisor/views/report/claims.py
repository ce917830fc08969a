"""What agents say of themselves, as their workers kept it: shown to people, never believed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import astuple

from daplug_supervisor.core.claims import KEY, claim_of
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.model import Past, Run, TaskState
from daplug_supervisor.core.results import Finding, OutcomeKind
from daplug_supervisor.views.derived import outcome_words
from daplug_supervisor.views.text import clean, listing, wrap

MOST_TEXTS = 20
MOST_LINES = 20
MOST_CHARACTERS = 2000
NEXT_STEPS = "suggested_next_steps"
WARNINGS = "original_checkout_warnings"
_SHOWN_CRITERIA = 3
_UNFINISHED = (OutcomeKind.DELEGATED, OutcomeKind.NEEDS_INPUT)
"""Ends of attempts that claim nothing: others are to go on with the work."""

_SENTENCE = 300


class Said(Struct, frozen=True):
    """What a task's last attempt said beside its result.

    `next_steps` are its own suggestions; `checkout_warnings` are files that changed outside its worktree meanwhile.
    `learnings`, `issues` and `decisions` are those of the result that it handed in.
    """

    task: str
    next_steps: tuple[str, ...]
    checkout_warnings: tuple[str, ...]
    learnings: tuple[str, ...] = ()
    issues: tuple[str, ...] = ()
    decisions: tuple[str, ...] = ()


class ClaimedCriterion(Struct, frozen=True):
    """A criterion of which an attempt says the contrary of what we found: ``PASS`` or ``FAIL``, and why it fails."""

    label: str
    claimed: str
    found: str
    detail: str


class Disagreement(Struct, frozen=True):
    """An attempt that claims one thing where we found another.

    `claimed` and `found`: ``success`` or ``failure`` of the whole; `detail`: what we found; `criteria`: those that it
    named, and wrongly.
    """

    task: str
    attempt: int
    provider: str
    claimed: str
    found: str
    detail: str
    criteria: tuple[ClaimedCriterion, ...] = ()


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
        if not claimed:
            continue
        result = claim_of(claimed)
        row = Said(
            task.id,
            texts(claimed, NEXT_STEPS),
            texts(claimed, WARNINGS),
            _short(result.learnings),
            _short(result.issues),
            _short(result.decisions),
        )
        if any(astuple(row)[1:]):
            found.append(row)
    return tuple(found)


def _short(lines: Sequence[str]) -> tuple[str, ...]:
    return tuple(one[:MOST_CHARACTERS] for one in lines[:MOST_TEXTS] if one.strip())


# --- what does not agree ------------------------------------------------------------------------------------


def disagreements(run: Run) -> tuple[Disagreement, ...]:
    """Every attempt that claims one thing where we found another, in the order of the plan."""
    return tuple(found for task in run.tasks.values() for found in _disagreements(run, task))


def _disagreements(run: Run, task: TaskState) -> Iterator[Disagreement]:
    for past in task.past:
        result = past.result
        if past.of_children or result.outcome.kind in _UNFINISHED:
            continue
        proven = past is task.past[-1] and task.status in (Status.LANDING, Status.DONE)
        findings = task.findings if proven else result.findings
        wrong = tuple(_wrong(one) for one in findings if _contrary(one))
        claims, found = _claims(run, task, past), "success" if _completed(past) else "failure"
        if wrong or (claims and claims != found):
            detail = "" if _completed(past) else result.outcome.detail or outcome_words(result)
            yield Disagreement(task.id, past.number, past.provider, claims or found, found, detail, wrong)


def _completed(past: Past) -> bool:
    return past.result.outcome.kind is OutcomeKind.COMPLETED


def _claims(run: Run, task: TaskState, past: Past) -> str:
    """What an attempt says of the whole of its work: ``success``, ``failure``, or '' if it says nothing."""
    outcome = past.result.outcome
    if KEY in (outcome.claim or {}):
        return "success" if claim_of(outcome.claim).status == "success" else "failure"
    ended_well = outcome.kind in (OutcomeKind.VERIFY_FAILED, OutcomeKind.UNVERIFIED)
    return "success" if ended_well and run.spec(task.id).command is None else ""


def _contrary(finding: Finding) -> bool:
    return finding.claimed in ("PASS", "FAIL") and finding.claimed != finding.status


def _wrong(finding: Finding) -> ClaimedCriterion:
    return ClaimedCriterion(finding.label, finding.claimed, finding.status, finding.detail)


# --- words --------------------------------------------------------------------------------------------------


def together(rows: Sequence[Disagreement]) -> list[list[Disagreement]]:
    """Those of each task in a list."""
    found: dict[str, list[Disagreement]] = {}
    for row in rows:
        found.setdefault(row.task, []).append(row)
    return list(found.values())


def attempts_words(rows: Sequence[Disagreement]) -> str:
    """``#1 and #2 (codex)``: which attempts of a task these are of."""
    providers = listing(list(dict.fromkeys(row.provider for row in rows)))
    return f"{listing([f'#{row.attempt}' for row in rows], 4)} ({providers})"


def claimed_words(row: Disagreement) -> str:
    """``claims success; found: 1 of 3 criteria failed``."""
    found = row.detail if row.claimed != row.found and row.detail else row.found
    return f"claims {row.claimed}; found: {found}"


def disagreement_lines(rows: Sequence[Disagreement], width: int) -> list[str]:
    """What does not agree, for people; what is said of a task's last attempt stands for those before."""
    lines: list[str] = []
    groups = together(rows)
    for group in groups[:MOST_LINES]:
        row = group[-1]
        named = "; ".join(
            f"{one.label}: says {one.claimed}, is {one.found}" for one in row.criteria[:_SHOWN_CRITERIA]
        )
        more = len(row.criteria) - _SHOWN_CRITERIA
        parts = [
            f"{row.task} {attempts_words(group)} {claimed_words(row)}",
            named,
            f"and {more} more" if more > 0 else "",
        ]
        lines += wrap(clean("; ".join(filter(None, parts)), _SENTENCE), width, "  ")
    return [*lines, *_more(len(groups))]


def sections(rows: tuple[Said, ...], width: int) -> dict[str, list[str]]:
    """The parts of a report for people."""
    parts = {
        "Changed outside their worktrees meanwhile, as daplug saw it": "checkout_warnings",
        "Issues that agents found": "issues",
        "Learnings": "learnings",
        "Decisions": "decisions",
        "Next steps that agents suggest": "next_steps",
    }
    return {
        title: _lines([(row.task, one) for row in rows for one in getattr(row, name)], width)
        for title, name in parts.items()
    }


def _lines(found: list[tuple[str, str]], width: int) -> list[str]:
    lines = [clean(f"  {task}: {one}", width) for task, one in found[:MOST_LINES]]
    return [*lines, *_more(len(found))]


def _more(count: int) -> list[str]:
    return [f"  and {count - MOST_LINES} more"] if count > MOST_LINES else []
