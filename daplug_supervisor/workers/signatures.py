"""What the errors of the provider CLIs mean: the one place that knows their wording.

A table for each CLI, and one for all. Within a table the first pattern that matches counts, so what is narrower comes
first: a quota is also a 429. Only what a CLI says of itself is looked at, and only after it has failed: its error
events, and those of its last plain lines that begin as its errors do. An agent may write about limits as it likes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Final, NamedTuple

from daplug_supervisor.core.results import OutcomeKind

EXECUTOR: Final = "executor"
"""The table of daplug's executor.py: what it says of itself, not of the CLI that it runs."""

LONGEST = 16 << 10
"""Characters of one text that are searched."""

_QUOTA, _LIMIT, _OUTAGE = OutcomeKind.QUOTA, OutcomeKind.RATE_LIMITED, OutcomeKind.OUTAGE
_AUTH, _CONFIGURATION, _PLAN = OutcomeKind.AUTH, OutcomeKind.CONFIGURATION, OutcomeKind.PLAN_ERROR

RESTING = frozenset({_QUOTA, _LIMIT, _OUTAGE})
"""Kinds for which a stated time says when to try again."""


class Signature(NamedTuple):
    """A pattern, what it shows, and what that means in words."""

    pattern: str
    kind: OutcomeKind
    meaning: str


class Known(NamedTuple):
    """What an error was recognised as; its first line, which is what people are shown, and all of it."""

    kind: OutcomeKind
    meaning: str
    line: str
    text: str


_SPENT = "the quota of this account is used up"
_LIMITED = "the provider limits the rate"
_DOWN = "the provider has a fault of its own"
_UNREACHED = "the provider cannot be reached"
_LOGIN = "the provider does not accept the login"
_NO_LOGIN = "nobody is logged in"
_LONG = "the prompt is too long for this model"
_MODEL = "the provider does not know this model"
_FLAGS = "the CLI does not take these flags"

SIGNATURES: Final[dict[str, tuple[Signature, ...]]] = {
    "codex": (
        Signature(r"hit your usage limit|usage_limit_reached|usage limit has been reached", _QUOTA, _SPENT),
        Signature(r"insufficient_quota|exceeded your current quota|out of credits", _QUOTA, _SPENT),
        Signature(r"ran out of room in the model.s context window|context_length_exceeded", _PLAN, _LONG),
        Signature(r"(unexpected|last) status:? 40[13]\b", _AUTH, _LOGIN),
        Signature(r"access token could not be refreshed|log out and sign in again", _AUTH, _LOGIN),
        Signature(r"Not logged in|codex login", _AUTH, _NO_LOGIN),
        Signature(r"Missing environment variable", _CONFIGURATION, "an API key is missing"),
        Signature(r"model.{0,120}(is not supported|does not exist|not found)", _CONFIGURATION, _MODEL),
        Signature(r"unexpected status 404\b", _CONFIGURATION, _MODEL),
        Signature(
            r"Error loading config|Not inside a trusted directory", _CONFIGURATION, "codex is not set up"
        ),
        Signature(
            r"(unexpected|last) status:? 429\b|[Rr]ate limit reached|rate_limit_exceeded", _LIMIT, _LIMITED
        ),
        Signature(
            r"currently experiencing high demand|model is at capacity|server_is_overloaded", _OUTAGE, _DOWN
        ),
        Signature(r"(unexpected|last) status:? 5\d\d\b|stream disconnected|response stream", _OUTAGE, _DOWN),
        Signature(
            r"waiting for network|error sending request|[Cc]onnection (refused|reset|failed)",
            _OUTAGE,
            _UNREACHED,
        ),
        Signature(r"idle timeout|request timed out|timeout waiting for", _OUTAGE, _UNREACHED),
    ),
    "opencode": (
        Signature(
            r"insufficient_quota|exceeded your current quota|UsageLimitError|\"statusCode\": 402\b",
            _QUOTA,
            _SPENT,
        ),
        Signature(
            r"[Uu]sage limit (has been )?reached|[Uu]sage [Ee]xceeded|[Ii]nsufficient (balance|credits)",
            _QUOTA,
            _SPENT,
        ),
        Signature(r"[Cc]redit balance is too low|[Qq]uota exceeded|quota will reset", _QUOTA, _SPENT),
        Signature(r"ContextOverflowError|context_length_exceeded", _PLAN, _LONG),
        Signature(r"ProviderAuthError|\"statusCode\": 40[13]\b", _AUTH, _LOGIN),
        Signature(r"ModelNotFoundError|Model not found|\"statusCode\": 404\b", _CONFIGURATION, _MODEL),
        Signature(
            r"ConfigInvalidError|ConfigJsonError", _CONFIGURATION, "opencode's configuration is not valid"
        ),
        Signature(
            r"\"statusCode\": 429\b|rate_limit_(exceeded|error)|[Tt]oo many requests", _LIMIT, _LIMITED
        ),
        Signature(r"\"statusCode\": 5\d\d\b|[Oo]verloaded", _OUTAGE, _DOWN),
        Signature(
            r"Cannot connect to API|Unable to connect|socket connection was closed", _OUTAGE, _UNREACHED
        ),
        Signature(r"[Tt]imed out|stream (ended|stalled|closed)", _OUTAGE, _UNREACHED),
        # Where it was never run before, two that start at once are in each other's way.
        Signature(
            r"Unexpected error\s+(database is locked|Failed query)", _OUTAGE, "opencode's database is in use"
        ),
    ),
    "gemini": (
        # It calls a fault of the provider's a quota error, too.
        Signature(r"\"code\": ?5\d\d\b|status:? 5\d\d\b|UNAVAILABLE|model is overloaded", _OUTAGE, _DOWN),
        Signature(r"RetryableQuotaError|(reset|retry) (after|in) [0-9.]+s\b", _LIMIT, _LIMITED),
        Signature(
            r"TerminalQuotaError|exhausted your (daily|capacity)|daily .{0,40}quota limit", _QUOTA, _SPENT
        ),
        Signature(r"exceeded your current quota|Usage limit reached for|quota will reset", _QUOTA, _SPENT),
        Signature(r"(prompt|input).{0,40}(too long|exceeds)|context window will overflow", _PLAN, _LONG),
        Signature(r"Please set an Auth method|Invalid auth method", _AUTH, _NO_LOGIN),
        Signature(r"\"code\": ?40[13]\b|UNAUTHENTICATED|PERMISSION_DENIED|API key not valid", _AUTH, _LOGIN),
        Signature(r"\"code\": ?404\b|ModelNotFoundError", _CONFIGURATION, _MODEL),
        Signature(r"Unknown arguments?:|Invalid values:", _CONFIGURATION, _FLAGS),
        Signature(
            r"not running in a trusted|sandbox.{0,80}(not found|failed|missing)",
            _CONFIGURATION,
            "gemini is not set up",
        ),
        Signature(r"\"code\": ?429\b|RESOURCE_EXHAUSTED|status:? 429\b", _LIMIT, _LIMITED),
        Signature(
            r"fetch failed|ECONN|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|[Ss]tream (timeout|ended)", _OUTAGE, _UNREACHED
        ),
    ),
    "claude": (
        Signature(r"usage limit reached|hit your .{0,30}limit|limit reached .{0,9}resets", _QUOTA, _SPENT),
        Signature(r"[Cc]redit balance is too low|out of (extra )?usage|limit will reset at", _QUOTA, _SPENT),
        Signature(r"Prompt is too long|prompt_too_long", _PLAN, _LONG),
        Signature(r"Not logged in|Invalid API key", _AUTH, _NO_LOGIN),
        Signature(r"Failed to authenticate|Please run /login|API Error:? \(?40[13]\b", _AUTH, _LOGIN),
        Signature(r"\"api_error_status\": 40[13]\b", _AUTH, _LOGIN),
        Signature(r"issue with the selected model|\"api_error_status\": 404\b", _CONFIGURATION, _MODEL),
        Signature(r"cannot be used with root", _CONFIGURATION, "claude does not skip permissions as root"),
        Signature(
            r"Request rejected \(429\)|API Error:? \(?429\b|\"api_error_status\": 429\b", _LIMIT, _LIMITED
        ),
        Signature(r"API Error:? \(?5\d\d\b|\"api_error_status\": 5\d\d\b|Overloaded", _OUTAGE, _DOWN),
        Signature(r"Unable to connect to API|API Error: (Connection|Request timed out)", _OUTAGE, _UNREACHED),
        Signature(r"API Error: .{0,60}(ECONN|ENOTFOUND|EAI_AGAIN|fetch failed|socket)", _OUTAGE, _UNREACHED),
        Signature(r"API Error: .{0,60}empty or malformed response", _OUTAGE, _DOWN),
    ),
    EXECUTOR: (
        Signature(r"Argument list too long", _PLAN, "the prompt is too long for this CLI"),
        Signature(r"No prompts? (found for|files found|folder|directory)", _PLAN, "unknown prompt"),
        Signature(r"Prompt file not found", _PLAN, "unknown prompt"),
        Signature(r"Ambiguous prompt", _PLAN, "ambiguous prompt"),
        Signature(r"Unknown model shorthand", _PLAN, "unknown model"),
        Signature(r"--(variant|cli) \S+ is not supported", _PLAN, "the model does not go with these options"),
        Signature(r"Unsupported (--variant|CLI)", _PLAN, "the model does not go with these options"),
        Signature(r"not authenticated", _AUTH, "the CLI is not logged in"),
        Signature(
            r"codec can't decode",
            OutcomeKind.UNVERIFIED,
            "the agent's log cannot be read, so its end is unknown",
        ),
        Signature(r"'git', .*'worktree'", OutcomeKind.CRASHED, "git worktree failed"),
        Signature(r"Broken pipe", OutcomeKind.CRASHED, "the CLI ended without reading its prompt"),
        Signature(r"No such file or directory: '[^/']+'$", _CONFIGURATION, "the CLI is not installed"),
        Signature(r"Permission denied: '[^/']+'$", _CONFIGURATION, "the CLI cannot be started"),
        Signature(r"not found in PATH", _CONFIGURATION, "a program is not installed"),
        Signature(r"API_KEY is required", _CONFIGURATION, "an API key is missing"),
        Signature(
            r"bubblewrap|--sandbox|Sandbox (launch|workspace)",
            _CONFIGURATION,
            "the sandbox does not work here",
        ),
        Signature(r"execution_cwd", _CONFIGURATION, "the working directory is missing"),
        Signature(r"No space left on device", _CONFIGURATION, "the disk is full"),
        Signature(r"[Mm]odel registry", _CONFIGURATION, "daplug's model registry is damaged"),
        Signature(r"can't open file", _CONFIGURATION, "executor.py is gone"),
    ),
}
"""By CLI: what its errors mean, the narrowest first."""

GENERIC: Final[tuple[Signature, ...]] = (
    Signature(
        r"(?i)^error: (unexpected argument|unknown option|invalid value|unrecognized)", _CONFIGURATION, _FLAGS
    ),
    Signature(
        r"(?i)^error: .{0,200}(cannot be used (with|multiple)|required arguments)", _CONFIGURATION, _FLAGS
    ),
    Signature(r"(?i)no space left on device|ENOSPC", _CONFIGURATION, "the disk is full"),
)
"""For every CLI, and for those without a table."""


class _Speech(NamedTuple):
    """How a CLI's own errors begin, and among how many of its last lines to look for them."""

    errors: re.Pattern[str]
    lines: int


_SPEECH: Final[dict[str, _Speech]] = {
    "codex": _Speech(re.compile(r"(?i)error[: ]"), 12),
    "opencode": _Speech(re.compile(r"(?i)(\x1b\[[0-9;]*m)*error: "), 30),
    "gemini": _Speech(
        re.compile(
            r"Error when talking|\[API Error|\[?ERROR|_ApiError|\w+Error: |Please set|Invalid auth|Unknown arg"
        ),
        60,
    ),
    # In text mode an error is all that it prints.
    "claude": _Speech(
        re.compile(
            r"(?i)error|.{0,60}\blimit\b|Credit|Prompt is|Not logged|Invalid API|Failed to|--dangerously"
        ),
        3,
    ),
}
_REPORT = re.compile(r"Full report available at: \S+ ")
_TRACE = re.compile(r"\s+at .")
_ANY_SPEECH = _Speech(re.compile(r"(?i)error[: ]"), 12)


def classify(cli: str, texts: Iterable[str]) -> Known | None:
    """What the first of the texts means that a CLI's signatures know, the most telling text first; else None."""
    for text in texts:
        for pattern, signature in _compiled(cli):
            found = pattern.search(text, 0, LONGEST)
            if found:
                line = _REPORT.sub("", text.partition("\n")[0])
                return Known(signature.kind, signature.meaning, line, text)
    return None


def spoken(cli: str, lines: Iterable[str]) -> list[str]:
    """What a CLI's own errors say among its last lines, the last one first; each with the lines that go with it."""
    speech = _SPEECH.get(cli, _ANY_SPEECH)
    told = [line for line in lines if line.strip() and not _TRACE.match(line)][-speech.lines :]
    found: list[str] = []
    for line in told:
        if speech.errors.match(line):
            found.append(line[:LONGEST])
        elif found:
            found[-1] = f"{found[-1]}\n{line}"[:LONGEST]
    return found[::-1]


@cache
def _compiled(cli: str) -> tuple[tuple[re.Pattern[str], Signature], ...]:
    found = (*SIGNATURES.get(cli, ()), *GENERIC)
    return tuple((re.compile(each.pattern, re.MULTILINE), each) for each in found)
