"""What people are asked, and what they said: work to be reviewed, questions of agents, remarks."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.model import Remark, Run, TaskState
from daplug_supervisor.core.results import OutcomeKind
from daplug_supervisor.views.proven import criteria_word, criterion_rows
from daplug_supervisor.views.text import at_clock, clean, clock, columns, command, listing, number, wrap

MOST_LINES = 20
_BRIEF = 300
_SENTENCE = 600
_OF = {"rejection": "rejected", "answer": "answered", "approval": "approved"}


class Seen(Protocol):
    """Where a task's own worktree is, and the commit that it began at ('' if that is not known).

    Of a task without one: where it worked, if that is in no git repository.
    """

    @property
    def path(self) -> str: ...  # noqa: D102
    @property
    def branch(self) -> str: ...  # noqa: D102
    @property
    def base(self) -> str: ...  # noqa: D102


class Remarked(Struct, frozen=True):
    """What a person said of a task. `of`: ``rejection``, ``answer`` (to the `question`) or ``approval``.

    `at`: when (UTC seconds); `by`: who, '' if that is not known.
    """

    task: str
    of: str
    text: str
    by: str
    question: str
    at: float


# --- work to be reviewed ------------------------------------------------------------------------------------


def look(run: Run, task: TaskState, seen: Seen | None) -> tuple[str, ...]:
    """The commands that show the work of a task: in its own worktree if it has one, else in the shared checkout.

    There are none if that is no checkout of a repository.
    """
    spec = run.spec(task.id)
    if spec.worktree and seen is None:
        return (command("task", "show", task.id),)
    if not spec.worktree and seen is not None:
        return ()
    git = ("git", "-C", seen.path if seen is not None else run.target)
    files = ("--", *spec.files) if spec.files and seen is None else ()
    base = (seen.base,) if seen is not None and seen.base else ()
    return (shlex.join((*git, "status", "--short", *files)), shlex.join((*git, "diff", *base, *files)))


def review_words(run: Run, task: TaskState, now: float) -> str:
    """What waits for a review: since when, who did it, and what was proven of it."""
    rows = criterion_rows(run, task)
    if task.attempt is None or task.attempt.of_children:
        whose = f"what its {number(len(task.children), 'part')} came to" if task.attempt else "its work"
    else:
        whose = f"attempt {task.attempt.number} by provider {task.attempt.provider}"
    proven = f"criteria: {criteria_word(rows)}" if rows else "it has no criteria"
    flags = f"; flagged: {listing(task.flags)}" if task.flags else ""
    return f"Waits for your review since {at_clock(task.changed_at, now)}: {whose}; {proven}{flags}."


def place_words(run: Run, task: TaskState, seen: Seen | None) -> str:
    """Where the work of a task is; '' if that is not known."""
    if not run.spec(task.id).worktree:
        return f"it is in {run.target}"
    return f"it is in {seen.path}, branch {seen.branch}" if seen is not None else ""


# --- questions ----------------------------------------------------------------------------------------------


def asks(task: TaskState) -> bool:
    """Whether its agent has asked something, and waits for the answer of a person."""
    last = task.last
    return task.status is Status.STUCK and last is not None and last.outcome.kind is OutcomeKind.NEEDS_INPUT


def question(task: TaskState) -> str:
    """What its agent asks, as it was written; '' if it asks nothing."""
    return task.reason if asks(task) else ""


def _brief(text: str) -> str:
    """A text of several lines in one, cut if it is long."""
    return clean(" ".join(text.split()), _BRIEF)


def asks_words(task: TaskState, now: float) -> str:
    """Since when a task waits for an answer, and to what."""
    return f"Stuck since {at_clock(task.changed_at, now)}: its agent asks: {_brief(question(task)) or '(nothing)'}"


def question_lines(text: str, width: int, indent: str) -> list[str]:
    """All of a question that a sentence does not hold: of several lines, or long; cleaned."""
    flat = " ".join(text.split())
    if len(text.splitlines()) <= 1 and columns(clean(flat)) <= _BRIEF:
        return []
    return [line for one in text.splitlines() for line in wrap(one, width, indent) or [indent.rstrip()]]


# --- what was said ------------------------------------------------------------------------------------------


def said_by_people(run: Run) -> tuple[Remarked, ...]:
    """What people said, in the order of time."""
    found = (one for task in run.tasks.values() for one in said_of(task))
    return tuple(sorted(found, key=lambda one: one.at))


def said_of(task: TaskState) -> tuple[Remarked, ...]:
    """What people said of one task."""
    if not task.remarks and task.approval is None:
        return ()
    return tuple(
        Remarked(task.id, one.of, one.text, one.by, one.question, one.at)
        for one in sorted(_remarks(task), key=lambda one: one.at)
    )


def _remarks(task: TaskState) -> tuple[Remark, ...]:
    return (*task.remarks, task.approval) if task.approval is not None else task.remarks


def said_words(one: Remarked) -> str:
    """``rejected by ann, 2026-11-21 01:22:03Z: the tests are too slow``."""
    by = f" by {one.by}" if one.by else ""
    asked = f" (asked: {_brief(one.question)})" if one.question else ""
    text = f": {_brief(one.text)}" if one.text.strip() else ""
    return f"{_OF[one.of]}{by}, {clock(one.at)}{text}{asked}"


def said_lines(rows: Sequence[Remarked], width: int, *, named: bool = True) -> list[str]:
    """What people said, for people, the latest first; `named`: with the task that each is about."""
    lines: list[str] = []
    for one in rows[::-1][:MOST_LINES]:
        about = f"{one.task} " if named else ""
        lines += wrap(clean(f"{about}{said_words(one)}", _SENTENCE), width, "  ")
    more = len(rows) - MOST_LINES
    return [*lines, f"  and {more} more"] if more > 0 else lines
