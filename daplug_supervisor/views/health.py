"""Attempts that run and are suspicious: what a person is told of them."""

from __future__ import annotations

from collections.abc import Iterable

from daplug_supervisor.core.health import Suspect
from daplug_supervisor.core.machine import ACTIVE
from daplug_supervisor.core.model import Run
from daplug_supervisor.views.text import at_clock, duration


def suspect_words(suspect: Suspect, now: float) -> str:
    """Why this attempt is suspicious, to be put behind its name or behind a sentence."""
    since = f"for {duration(now - suspect.since)}, since {at_clock(suspect.since, now)}"
    if suspect.verdict == "overdue":
        return f"has taken over twice its estimate, and written nothing {since}"
    return f"has shown no sign of work {since}"


def still_suspicious(run: Run, found: Iterable[Suspect]) -> tuple[Suspect, ...]:
    """Those of what was found suspicious that run still, each once, in plan order."""
    by_task = {one.task: one for one in found if _runs(run, one)}
    return tuple(sorted(by_task.values(), key=lambda one: run.tasks[one.task].order))


def _runs(run: Run, one: Suspect) -> bool:
    task = run.tasks.get(one.task)
    if task is None or task.attempt is None:
        return False
    return task.status in ACTIVE and task.attempt.number == one.attempt
