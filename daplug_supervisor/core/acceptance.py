"""Acceptance: what running a task's criteria proves, and what a failure speaks against."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct

from daplug_supervisor.core.plan import Criterion
from daplug_supervisor.core.results import Blame, Exit, Finding

ALWAYS: Final = -1
"""The number of a finding that is of no criterion of the plan: what is looked at in every task."""

CANNOT_RUN: Final = frozenset({126, 127})
"""Exit codes of a shell that could not start a program: 127 is not found, 126 not executable (POSIX, 2.8.2)."""

_MOST_NAMED = 3
_PLACE = re.compile(
    rb"permission denied|operation not permitted|EACCES|EPERM|read-only file system|no space left on device|ENOSPC"
    rb"|api[ _-]?key|unauthori[sz]ed|credential|token (?:is )?(?:missing|expired|invalid)|\b401\b|\b403\b"
    rb"|could not resolve host|name or service not known|temporary failure in name resolution|ENOTFOUND|EAI_AGAIN"
    rb"|connection (?:refused|reset|timed out)|ECONNREFUSED|ECONNRESET|ETIMEDOUT|network is unreachable"
    rb"|(?:network|connection|request) time-?d? ?out|command not found|no such file or directory: '?/usr",
    re.IGNORECASE,
)
"""What a program says when it lacks leave, a key, the network or a tool: nothing that an agent's code can give it."""

_WORK = re.compile(
    rb"assert|traceback|syntax ?error|type ?error|error TS\d|\bE\d{3}\b|\d+ (?:failed|failing|errors?)|FAILED|not ok \d"
    rb"|test(?:s)? failed|lint|mypy|does not compile|compilation|undefined (?:reference|name|variable)|import ?error",
    re.IGNORECASE,
)
"""What test, type and lint programs say of code."""


class Verification(Struct, frozen=True, omit_defaults=True):
    """What we found in one look at an attempt's work: what ``verification.json`` holds.

    `tails` are the ends of what the criteria printed, one for each finding, safe to be shown.
    """

    findings: tuple[Finding, ...]
    tails: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    tree: str = ""

    @property
    def failed(self) -> tuple[Finding, ...]:
        """What does not hold."""
        return tuple(one for one in self.findings if not one.holds)

    @property
    def status(self) -> Literal["VERIFIED", "FAILED"]:
        """Whether all of it holds."""
        return "FAILED" if self.failed else "VERIFIED"


def finding(
    number: int, criterion: Criterion, found: Exit, output: bytes, said: str, claimed: str = ""
) -> Finding:
    """What a run of a criterion proves; `output` is what it printed, `said` one line of that, fit to be shown."""
    detail, blame = _judged(criterion, found, output)
    if detail and said:
        detail = f"{detail}: {said}"
    return Finding(
        number,
        criterion.label,
        criterion.category,
        found.code,
        round(found.seconds, 3),
        detail,
        blame,
        claimed,
    )


def _judged(criterion: Criterion, found: Exit, output: bytes) -> tuple[str, Blame]:
    """Why it does not hold, and what that speaks against; ('', '') if it does."""
    code = found.code
    if found.stopped == "deadline":
        return f"not finished after {criterion.timeout:g} s", "unknown"
    if found.error:
        return f"it could not be run: {found.error}", "environment"
    if code is None:
        return "there is no exit record of it", "unknown"
    if code < 0:
        return f"it was killed (signal {-code})", "unknown"
    if code != criterion.expect_exit:
        return f"exit code {code} instead of {criterion.expect_exit}", _blame(criterion, code, output)
    if criterion.expect_output is not None and criterion.expect_output.encode() not in output:
        return f"its output does not contain {criterion.expect_output!r}", "code"
    return "", ""


def _blame(criterion: Criterion, code: int, output: bytes) -> Blame:
    """The category of a failure: of the place, of the code, or neither can be told.

    Sources: seed 4 (permission, key and network against type, lint and test), and what those programs print.
    """
    if code in CANNOT_RUN or (_PLACE.search(output) and not _WORK.search(output)):
        return "environment"
    if criterion.category == "runtime" and not _WORK.search(output):
        return "unknown"
    return "code"


def summary(findings: Sequence[Finding]) -> str:
    """In one line what does not hold; '' if all does."""
    failed = [one for one in findings if not one.holds]
    if not failed:
        return ""
    told = "; ".join(f"{one.label}: {one.detail}" for one in failed[:_MOST_NAMED])
    more = len(failed) - _MOST_NAMED
    return (
        f"{len(failed)} of {len(findings)} criteria failed: {told}{f' and {more} more' if more > 0 else ''}"
    )


def items(criteria: Sequence[Criterion], findings: Sequence[Finding]) -> tuple[str, ...]:
    """What does not hold, as ``name:category:command``."""
    failed = [one for one in findings if not one.holds]
    lines = {number: criterion.line for number, criterion in enumerate(criteria)}
    return tuple(f"{one.label}:{one.category}:{lines.get(one.criterion, '-')}" for one in failed)


def category(findings: Sequence[Finding]) -> Literal["env_error", "code_error", "unknown"]:
    """What a failure is, as it is written down for people."""
    blames = {one.blame for one in findings if not one.holds}
    if blames == {"code"}:
        return "code_error"
    return "env_error" if blames == {"environment"} else "unknown"
