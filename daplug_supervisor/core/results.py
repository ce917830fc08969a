"""What an attempt was worth: the kinds of outcome, and for each kind what follows (design section 9)."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from msgspec import Struct

from daplug_supervisor.core.plan import Category

Lack = Literal["", "memory", "disk", "processes", "files", "directory"]
"""What a machine can have too little of."""

Blame = Literal["", "code", "environment", "unknown"]
"""What a criterion that does not hold speaks against: the work, the place where it is looked at, or nobody can tell."""

Follow = Literal["verify", "fix", "retry", "other", "rest", "stop", "halt", "stuck", "fail", "delegate"]
"""What follows an outcome.

verify: the attempt claims success, which is looked at; fix: the work goes back with what was found wrong in it, for
a bounded number of rounds; retry: tried again after a backoff; other: tried again by another provider, once, else
stuck; rest: its provider rests until a time, then it is tried again; stop: its provider takes nothing more until a
person resumes it; halt: nothing more is started in the run, and it is tried again when that is resumed; stuck: a
person must decide; fail: never again by itself; delegate: it waits for its children.
"""


class OutcomeKind(StrEnum):
    """How an attempt ended, as the worker reads it from the evidence."""

    COMPLETED = "completed"
    RATE_LIMITED = "rate_limited"
    QUOTA = "quota"
    OUTAGE = "outage"
    AUTH = "auth"
    CONFIGURATION = "configuration"
    TIMEOUT = "timeout"
    SILENT = "silent"
    CRASHED = "crashed"
    FAILED = "failed"
    LOST = "lost"
    INTERRUPTED = "interrupted"
    MAX_ITERATIONS = "max_iterations"
    NO_RESULT = "no_result"
    STALLED = "stalled"
    UNVERIFIED = "unverified"
    BLOCKED = "blocked"
    VERIFY_FAILED = "verify_failed"
    CONFLICT = "conflict"
    PLAN_ERROR = "plan_error"
    BUDGET = "budget"
    NEEDS_INPUT = "needs_input"
    DELEGATED = "delegated"


class Rule(Struct, frozen=True):
    """What a kind of outcome is worth: whether it uses up a try, what follows, and what a person can do."""

    uses_try: bool
    follow: Follow
    remedy: str = ""


_LOOK = "read the log, mend the cause, then retry the task"

RULES: dict[OutcomeKind, Rule] = {
    OutcomeKind.COMPLETED: Rule(uses_try=True, follow="verify"),
    OutcomeKind.RATE_LIMITED: Rule(uses_try=False, follow="rest"),
    OutcomeKind.QUOTA: Rule(uses_try=False, follow="rest"),
    OutcomeKind.OUTAGE: Rule(uses_try=False, follow="rest"),
    OutcomeKind.AUTH: Rule(uses_try=False, follow="stop", remedy="log in to the provider, then resume"),
    OutcomeKind.CONFIGURATION: Rule(uses_try=False, follow="stop", remedy="mend the set-up, then resume"),
    OutcomeKind.TIMEOUT: Rule(uses_try=True, follow="retry", remedy="raise the task's timeout, or split it"),
    OutcomeKind.SILENT: Rule(uses_try=True, follow="retry", remedy=_LOOK),
    OutcomeKind.CRASHED: Rule(uses_try=True, follow="retry", remedy=_LOOK),
    OutcomeKind.FAILED: Rule(uses_try=True, follow="retry", remedy=_LOOK),
    OutcomeKind.LOST: Rule(
        uses_try=False, follow="retry", remedy="find out what kills it, then retry the task"
    ),
    OutcomeKind.INTERRUPTED: Rule(uses_try=False, follow="retry"),
    OutcomeKind.MAX_ITERATIONS: Rule(
        uses_try=True, follow="retry", remedy="allow more iterations, or split it"
    ),
    OutcomeKind.NO_RESULT: Rule(uses_try=True, follow="retry", remedy=_LOOK),
    OutcomeKind.STALLED: Rule(
        uses_try=True, follow="other", remedy="change the prompt or the model, then retry"
    ),
    OutcomeKind.UNVERIFIED: Rule(
        uses_try=True, follow="other", remedy="look at the work, then skip or retry"
    ),
    OutcomeKind.BLOCKED: Rule(
        uses_try=True, follow="stuck", remedy="remove what blocks the agent, then retry"
    ),
    OutcomeKind.VERIFY_FAILED: Rule(
        uses_try=False,
        follow="fix",
        remedy="look at what was found, mend the work or the criterion, then retry",
    ),
    OutcomeKind.CONFLICT: Rule(uses_try=True, follow="stuck", remedy="resolve the conflict, then retry"),
    OutcomeKind.PLAN_ERROR: Rule(
        uses_try=True, follow="fail", remedy="mend the plan or the prompt, then run it"
    ),
    OutcomeKind.BUDGET: Rule(uses_try=False, follow="halt", remedy="raise the budget, then resume"),
    OutcomeKind.NEEDS_INPUT: Rule(
        uses_try=False, follow="stuck", remedy="answer its question, and it goes on with the answer"
    ),
    OutcomeKind.DELEGATED: Rule(uses_try=False, follow="delegate"),
}
"""One rule a kind; `core.retry` applies them."""


def uses_try(kind: OutcomeKind, *, command: bool) -> bool:
    """Whether an attempt that ended so uses up a try of its task: an agent's rounds of mending are counted apart."""
    return RULES[kind].uses_try or (command and RULES[kind].follow == "fix")


RETRYABLE = frozenset(kind for kind, rule in RULES.items() if rule.follow != "fail")
"""Kinds after which `task retry` needs no ``--force``."""

ANSWERED = frozenset(
    {
        OutcomeKind.COMPLETED,
        OutcomeKind.FAILED,
        OutcomeKind.MAX_ITERATIONS,
        OutcomeKind.NO_RESULT,
        OutcomeKind.STALLED,
        OutcomeKind.UNVERIFIED,
        OutcomeKind.BLOCKED,
        OutcomeKind.VERIFY_FAILED,
        OutcomeKind.NEEDS_INPUT,
        OutcomeKind.DELEGATED,
    }
)
"""Kinds that show that the provider was there and worked."""


LIMITS = frozenset({OutcomeKind.RATE_LIMITED, OutcomeKind.QUOTA})
"""Kinds that tell of a limit of the account, and so of all providers that share it."""


class Usage(Struct, frozen=True, omit_defaults=True):
    """What an attempt cost, as its CLI reports it. None is not known, which is not the same as nothing.

    `input` counts all tokens sent, of which `cached` were cheaper; `output` all that came back, of which `reasoning`
    were not shown. `cost` is in US dollars.
    """

    input: int | None = None
    cached: int | None = None
    output: int | None = None
    reasoning: int | None = None
    cost: float | None = None

    @property
    def tokens(self) -> int | None:
        """Tokens in both directions."""
        return None if self.input is None and self.output is None else (self.input or 0) + (self.output or 0)


class Outcome(Struct, frozen=True, omit_defaults=True):
    """How an attempt ended, and why in one line.

    `retry_at` is a time stated by the provider (UTC, seconds since the epoch). `claim` is what the agent says of
    itself, kept as it is and never believed. `usage` is what its CLI reports, None if it reports nothing.
    """

    kind: OutcomeKind
    detail: str = ""
    retry_at: float | None = None
    claim: dict[str, object] | None = None
    usage: Usage | None = None


class Exit(Struct, frozen=True, omit_defaults=True):
    """How a process tree ended: the exit code, or minus the signal's number; None if it is not known.

    `stopped` says why the shim ended it: ``request`` (the supervisor asked), ``deadline`` (the hard deadline),
    ``silence`` (the supervisor asked because nothing moved), or empty. `error` says why it could not be started.
    Times are seconds, `max_rss` is bytes. `lack` says of what the machine had too little, if that is why the system
    killed it, or why it could not be started.
    """

    code: int | None
    stopped: Literal["", "request", "deadline", "silence"] = ""
    error: str = ""
    seconds: float = 0.0
    cpu: float = 0.0
    max_rss: int = 0
    lack: Lack = ""

    @property
    def known(self) -> bool:
        """Whether there is an exit record; without one the attempt is lost."""
        return self.code is not None or bool(self.error)


class Finding(Struct, frozen=True, omit_defaults=True):
    """What we found when we ran a criterion: evidence.

    `criterion` is its place in the task's list, from 0; -1 for what is looked at in every task (`core.acceptance`).
    `label` is what it is called, `code` its exit code, `seconds` how long it took. `detail` says in one line why it
    does not hold, '' if it does. `claimed` is what the attempt's own result said of it (``PASS``, ``FAIL``, ``SKIP``,
    '' for nothing).
    """

    criterion: int
    label: str
    category: Category = "functional"
    code: int | None = None
    seconds: float = 0.0
    detail: str = ""
    blame: Blame = ""
    claimed: str = ""

    @property
    def holds(self) -> bool:
        """Whether it is proven."""
        return not self.detail

    @property
    def status(self) -> str:
        """``PASS`` or ``FAIL``."""
        return "PASS" if self.holds else "FAIL"


class Result(Struct, frozen=True, omit_defaults=True):
    """What the journal keeps of an ended attempt: the facts and what they were read as.

    `findings` are what we found when we ran the task's criteria, and `tree` says in one short text what was there then
    ('' if that is not known). `flags` are things that a person should know of it, one line each.
    """

    outcome: Outcome
    exit: Exit
    findings: tuple[Finding, ...] = ()
    tree: str = ""
    flags: tuple[str, ...] = ()
