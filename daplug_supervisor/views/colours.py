"""Which few classes the states of tasks and the ends of attempts are drawn in, each with a sign beside its colour."""

from __future__ import annotations

from daplug_supervisor.core.machine import ACTIVE, Status
from daplug_supervisor.core.model import Run
from daplug_supervisor.core.results import RULES, OutcomeKind
from daplug_supervisor.views.derived import blocked_by

SIGNS = {
    "done": "✓",
    "failed": "✗",
    "stuck": "!",
    "blocked": "⊘",
    "cancelled": "-",
    "skipped": "»",
    "reviewing": "?",
    "delegated": "↓",
    "running": "▸",
    "waiting": "·",
}
"""A sign for each state that is drawn."""

ENDS = {
    "ok": "done",
    "fix": "sent back or not proven",
    "bad": "failed",
    "ask": "asked a person",
    "parts": "delegated",
    "limit": "limit or outage",
    "cut": "interrupted or lost",
    "now": "at work",
}
"""What the ends of attempts are drawn as, in words."""

_OWN = {
    OutcomeKind.COMPLETED: "ok",
    OutcomeKind.VERIFY_FAILED: "fix",
    OutcomeKind.UNVERIFIED: "fix",
    OutcomeKind.NO_RESULT: "fix",
    OutcomeKind.CONFLICT: "fix",
    OutcomeKind.NEEDS_INPUT: "ask",
    OutcomeKind.DELEGATED: "parts",
    OutcomeKind.LOST: "cut",
    OutcomeKind.INTERRUPTED: "cut",
    OutcomeKind.BUDGET: "cut",
}
_SHOWN = {
    Status.DONE: "done",
    Status.FAILED: "failed",
    Status.STUCK: "stuck",
    Status.CANCELLED: "cancelled",
    Status.SKIPPED: "skipped",
    Status.REVIEWING: "reviewing",
    Status.DELEGATED: "delegated",
    **dict.fromkeys(ACTIVE, "running"),
}


def end_class(kind: OutcomeKind) -> str:
    """One of `ENDS`."""
    return _OWN.get(kind) or ("limit" if RULES[kind].follow in ("rest", "stop") else "bad")


def state_classes(run: Run) -> dict[str, str]:
    """For each task one of `SIGNS`."""
    behind = blocked_by(run)
    return {
        name: _SHOWN.get(task.status) or ("blocked" if name in behind else "waiting")
        for name, task in run.tasks.items()
    }
