"""What our journal says of a task, in the words of a ``.tasker`` directory: its result. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from daplug_supervisor.core.claims import Claim, ErrorCategory, claim_of
from daplug_supervisor.core.fences import on_one_line, visible
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.model import Run, TaskState
from daplug_supervisor.core.results import RETRYABLE, Finding, OutcomeKind
from daplug_supervisor.core.tasker.bundle import below
from daplug_supervisor.core.tasker.records import (
    VERSION,
    ResultCriterion,
    ResultError,
    ResultFiles,
    ResultGit,
    ResultVerification,
    TaskResult,
    Word,
)

DEPENDENCY: Final = "dependency: "
"""How the detail of an outcome begins that is the bundle's fault."""

_WORDS: dict[Status, Word] = {
    Status.DONE: "complete",
    Status.FAILED: "failed",
    Status.STUCK: "failed",
    Status.CANCELLED: "failed",
    Status.SKIPPED: "skipped",
    Status.PENDING: "pending",
}
GIVEN_UP: Final = frozenset({Status.FAILED, Status.STUCK, Status.CANCELLED})
"""Statuses of tasks that nothing more is done about by itself."""

_BUILDS = re.compile(r"\b(?:build|compile|tsc|javac|cargo check|make)\b")
_TESTS = re.compile(r"(?:\b|_)(?:py)?tests?\b|\bjest\b|\bspec\b|\bcheck\b")
_MOST_TEXT = 4000
_MOST_FILES = 5000


class Ours:
    """A task of a run, as a ``.tasker`` directory sees it.

    Args:
        run: as the journal says it is.
        task: of that run.
        landing: its work is proven and is being brought home: it counts as complete.
        shown: which files its commit has made and changed, where that is known.
    """

    def __init__(
        self, run: Run, task: TaskState, *, landing: bool = False, shown: ResultFiles | None = None
    ) -> None:
        self._shown = shown
        self.run, self.task = run, task
        self.spec = run.spec(task.id)
        last = task.last
        self.claim = claim_of(last.outcome.claim) if last else Claim()
        self.word: Word = "complete" if landing else _WORDS.get(task.status, "running")

    @property
    def attempt(self) -> str:
        """``run/task#number``; '' before the first."""
        return f"{self.run.id}/{self.task.id}#{self.task.attempt.number}" if self.task.attempt else ""

    @property
    def began(self) -> float:
        """When its latest attempt was started."""
        return self.task.attempt.at if self.task.attempt else self.task.changed_at

    @property
    def ended(self) -> float:
        """When that ended, and what it left was judged."""
        return max(self.task.changed_at, self.began)

    def files(self) -> ResultFiles:
        """What it has made and changed: what git shows, else what it says itself."""
        if self._shown is not None:
            return self._shown
        made = {path for path in map(self._below, self.claim.files.created) if path}
        changed = {path for path in map(self._below, self.claim.files.modified) if path}
        if self.task.files:
            return ResultFiles(
                tuple(path for path in self.task.files[:_MOST_FILES] if path in made),
                tuple(path for path in self.task.files[:_MOST_FILES] if path not in made),
            )
        return ResultFiles(tuple(sorted(made)), tuple(sorted(changed - made)))

    def _below(self, path: str) -> str | None:
        found = below(path, self.run.target)
        return found if found and found.isprintable() else None

    def criteria(self) -> Iterator[ResultCriterion]:
        """What we found when we ran its criteria."""
        for one in self._findings():
            criterion = (
                self.spec.accept[one.criterion] if 0 <= one.criterion < len(self.spec.accept) else None
            )
            yield ResultCriterion(
                name=on_one_line(one.label),
                status="PASS" if one.holds else "FAIL",
                evidence=on_one_line(_evidence(one)),
                command=criterion.line if criterion else "",
                exit_code=one.code,
                claimed=on_one_line(one.claimed),
            )

    def _findings(self) -> tuple[Finding, ...]:
        last = self.task.last
        return self.task.findings or (last.findings if last else ())

    def error(self) -> ResultError | None:
        """Why it was given up; None if it was not."""
        if self.task.status not in GIVEN_UP:
            return None
        last = self.task.last
        if last is None or self.task.status is Status.CANCELLED:
            return ResultError(
                "runtime", on_one_line(self.task.reason or "cancelled")[:_MOST_TEXT], retryable=True
            )
        said = self.claim.error
        retryable = last.outcome.kind in RETRYABLE and (said is None or said.retryable)
        return ResultError(self._category(), on_one_line(last.outcome.detail)[:_MOST_TEXT], retryable)

    def _category(self) -> ErrorCategory:
        """What a failure is, in that system's words. What we found counts before what the attempt says."""
        last = self.task.last
        kind, detail = (last.outcome.kind, last.outcome.detail) if last else (None, "")
        if detail.startswith(DEPENDENCY):
            return "dependency"
        if kind is OutcomeKind.VERIFY_FAILED:
            lines = " ".join(one.command for one in self.criteria() if one.status == "FAIL")
            if _TESTS.search(lines):
                return "test"
            return "compilation" if _BUILDS.search(lines) else "validation"
        if kind in {OutcomeKind.NO_RESULT, OutcomeKind.UNVERIFIED, OutcomeKind.CONFLICT}:
            return "validation"
        if self.claim.error is not None:
            return self.claim.error.category
        return "dependency" if kind is OutcomeKind.BLOCKED else "runtime"


def result(ours: Ours, commit: str = "", message: str = "") -> TaskResult:
    """``bundles/T001-result.json`` of a task that is complete or was given up."""
    passed, task = ours.word == "complete", ours.task
    criteria = tuple(ours.criteria())
    notes = [ours.claim.notes, *ours.claim.decisions, *ours.claim.issues, *ours.claim.learnings, *task.flags]
    return TaskResult(
        version=VERSION,
        task_id=task.id,
        name=ours.spec.title,
        status="success" if passed else "failed",
        started_at=iso(ours.began),
        completed_at=iso(ours.ended),
        files=ours.files(),
        verification=ResultVerification("PASS" if passed else "FAIL", criteria),
        duration_seconds=round(ours.ended - ours.began, 3),
        error=None if passed else ours.error(),
        git=ResultGit(committed=True, commit_sha=commit, commit_message=message) if commit else None,
        notes=visible("\n".join(note.strip() for note in notes if note.strip()))[:_MOST_TEXT],
        attempt=ours.attempt,
    )


def _evidence(one: Finding) -> str:
    if one.detail:
        return one.detail
    return "it holds" if one.code is None else f"exit code {one.code} after {one.seconds:g} s"


def iso(time: float) -> str:
    """A time as these files have it: ISO 8601, UTC."""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds")
