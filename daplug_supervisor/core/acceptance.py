"""Acceptance: what running a task's criteria proves, and what a failure speaks against."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Final, Literal

from msgspec import Struct

from daplug_supervisor.core.claims import ClaimedCriterion
from daplug_supervisor.core.plan import Criterion
from daplug_supervisor.core.results import Blame, Finding

ALWAYS: Final = -1
"""The number of a finding that is of no criterion of the plan: what is looked at in every task."""

CANNOT_RUN: Final = frozenset({126, 127})
"""Exit codes of a shell that could not start a program: 127 is not found, 126 not executable (POSIX, 2.8.2)."""

_MOST_NAMED = 3
_BETWEEN = re.compile(r"[;|&()\n]+")
_INTERPRETER = re.compile(r"(?:.*/)?(?:sh|bash|dash|zsh|python[0-9.]*|node|ruby|perl|make|env)")
_IS_TEST = re.compile(
    r"(?:^|/)(?:tests?|specs?|__tests__|e2e)/"
    r"|(?:^|/)(?:test_[^/]*|[^/]*[._-](?:test|spec)s?\.[^/.]*|conftest\.py|Makefile|pytest\.ini|tox\.ini|noxfile\.py)$",
    re.IGNORECASE,
)
"""What tests are called, in the languages that agents write most, and what says how they are run."""
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

    `tails` are the ends of what the criteria printed, one for each finding, safe to be shown. `tree` says in one short
    text what was looked at, `checksum` by which criteria.
    """

    findings: tuple[Finding, ...]
    tails: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    tree: str = ""
    checksum: str = ""

    @property
    def failed(self) -> tuple[Finding, ...]:
        """What does not hold."""
        return tuple(one for one in self.findings if not one.holds)

    @property
    def status(self) -> Literal["VERIFIED", "FAILED"]:
        """Whether all of it holds."""
        return "FAILED" if self.failed else "VERIFIED"


class Look(Struct, frozen=True):
    """How a run of a criterion ended; `printed`: the text that is expected was in what it printed. Seconds."""

    code: int | None = None
    seconds: float = 0.0
    late: bool = False
    printed: bool = True
    error: str = ""


def finding(
    number: int, criterion: Criterion, look: Look, output: bytes, said: str, claimed: str = ""
) -> Finding:
    """What a run of a criterion proves; `output` is the end of what it printed, `said` one line of that to be shown."""
    detail, blame = _judged(criterion, look, output)
    if detail and said:
        detail = f"{detail}: {said}"
    return Finding(
        number, criterion.label, criterion.category, look.code, round(look.seconds, 3), detail, blame, claimed
    )


def _judged(criterion: Criterion, look: Look, output: bytes) -> tuple[str, Blame]:
    """Why it does not hold, and what that speaks against; ('', '') if it does."""
    code = look.code
    if look.late:
        return f"not finished after {criterion.timeout:g} s", "unknown"
    if code is None:
        return f"it could not be run: {look.error or 'nothing is known of its end'}", "environment"
    if code == criterion.expect_exit and look.printed:
        return "", ""
    if code < 0:
        return f"it was killed (signal {-code})", "unknown"
    if code != criterion.expect_exit:
        return f"exit code {code} instead of {criterion.expect_exit}", _blame(criterion, code, output)
    return f"it did not print {criterion.expect_output!r}", "code"


def _blame(criterion: Criterion, code: int, output: bytes) -> Blame:
    """What a failure speaks against: permission, key, network and missing tools against type, lint and test errors."""
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


def claimed(criterion: Criterion, claims: Sequence[ClaimedCriterion]) -> str:
    """What an attempt's result says of a criterion: ``PASS``, ``FAIL``, ``SKIP``, or '' if it says nothing."""
    known = {criterion.label, criterion.line}
    for one in claims:
        if known & {one.id, one.description, one.command}:
            status = one.status.strip().upper()
            return status if status in ("PASS", "FAIL", "SKIP") else ""
    return ""


def looked_at(criteria: Sequence[Criterion], files: Sequence[str]) -> tuple[str, ...]:
    """Those of some files that decide what a criterion says: tests, and programs that criteria run themselves."""
    if not criteria:
        return ()
    run = {name for criterion in criteria for name in _programs(criterion.line)}
    return tuple(name for name in files if name in run or _IS_TEST.search(name))


def _programs(line: str) -> Iterator[str]:
    """The files that a line may run: the first word of each of its commands, or the second after an interpreter."""
    for command in _BETWEEN.split(line):
        words = [word for word in command.split() if not word.startswith("-")]
        for word in words[: 2 if words and _INTERPRETER.fullmatch(words[0]) else 1]:
            yield word.strip("'\"").removeprefix("./")


def outside(allowed: Sequence[str], files: Sequence[str]) -> tuple[str, ...]:
    """Those of some files that match none of the patterns of what a task may change; none if it says nothing."""
    if not allowed:
        return ()
    return tuple(
        name
        for name in files
        if not any(
            name == one.rstrip("/") or name.startswith(f"{one.rstrip('/')}/") or fnmatchcase(name, one)
            for one in allowed
        )
    )
