"""The result that an attempt hands in: what it says of itself. It is checked in form and size, and never believed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct, field

MOST_BYTES: Final = 256 << 10
"""Of a result file; a longer one is refused."""

MOST_DEPTH: Final = 32
"""Levels of lists and objects in a result."""

_MARK = b"\xef\xbb\xbf"
_LONGEST = 200
_Line = Annotated[str, Meta(max_length=20_000)]
_Lines = Annotated[tuple[_Line, ...], Meta(max_length=1000)]
ErrorCategory = Literal["dependency", "compilation", "test", "validation", "runtime"]


class ClaimedCriterion(Struct, frozen=True, omit_defaults=True):
    """What an attempt says of one of its criteria, by the criterion's `id`, `description` or `command`."""

    id: _Line = ""
    category: _Line = "functional"
    description: _Line = ""
    command: _Line = ""
    status: _Line = ""
    reason: _Line = ""


class ClaimedFiles(Struct, frozen=True, omit_defaults=True):
    """Which files an attempt says that it has made and changed; paths from where it worked, or absolute."""

    created: _Lines = ()
    modified: _Lines = ()
    deleted: _Lines = ()


class ClaimedError(Struct, frozen=True, omit_defaults=True):
    """Why an attempt says that it has failed."""

    category: ErrorCategory = "runtime"
    message: _Line = ""
    retryable: bool = True


class Claim(Struct, frozen=True, omit_defaults=True):
    """What an attempt says of itself. Fields that we do not know are passed over."""

    status: Literal["success", "failed"] = "success"
    outputs: dict[str, Any] = field(default_factory=dict)
    acceptance_criteria: Annotated[tuple[ClaimedCriterion, ...], Meta(max_length=1000)] = ()
    files: ClaimedFiles = ClaimedFiles()
    learnings: _Lines = ()
    issues: _Lines = ()
    decisions: _Lines = ()
    error: ClaimedError | None = None
    notes: _Line = ""


KEY: Final = "result"
"""Under which a worker's claim (`results.Outcome.claim`) keeps it."""


class ClaimError(ValueError):
    """What was handed in is no result. The message says why, and what to write instead."""


def claim_of(said: dict[str, Any] | None) -> Claim:
    """The result in what the journal keeps of an attempt's claim; an empty one if there is none."""
    try:
        return msgspec.convert((said or {}).get(KEY, {}), Claim)
    except msgspec.ValidationError:  # of another version
        return Claim()


def read(data: bytes) -> Claim:
    """The result in a file that an attempt has written.

    Raises:
        ClaimError: it is none.
    """
    if len(data) > MOST_BYTES:
        raise ClaimError(
            f"it is larger than {MOST_BYTES:,} bytes; hand on the names of files instead of their text"
        )
    if not data.strip():
        raise ClaimError("it is empty; write one JSON object")
    try:
        found = msgspec.json.decode(data.removeprefix(_MARK))
    except RecursionError:
        raise _too_deep() from None
    except UnicodeDecodeError as error:
        raise ClaimError(f"it is not UTF-8 (byte {error.start})") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise ClaimError(f"it is not JSON: {error}; write one JSON object and nothing else") from None
    if not isinstance(found, dict):
        raise ClaimError("it is no JSON object; write {...}")
    if _too_nested(found):
        raise _too_deep()
    try:
        # Whoever fills in a form writes null where there is nothing to say.
        given = {key: value for key, value in found.items() if value is not None}
        if "error" in given:
            given.setdefault("status", "failed")
        return msgspec.convert(given, Claim)
    except msgspec.ValidationError as error:
        raise ClaimError(f"{str(error)[:_LONGEST]}{_REMEDIES.get(_field(str(error)), '')}") from None


_TEXTS = "; write a list of texts"
_REMEDIES = {
    "status": '; write "success" or "failed"',
    "outputs": '; write {"name": value}',
    "learnings": _TEXTS,
    "issues": _TEXTS,
    "decisions": _TEXTS,
    "files": '; write {"created": [], "modified": [], "deleted": []}',
    "error": '; write {"category": "dependency", "compilation", "test", "validation" or "runtime", "message": "...",'
    ' "retryable": true}',
    "acceptance_criteria": '; write [{"id": "...", "status": "PASS", "FAIL" or "SKIP"}]',
}


def _field(message: str) -> str:
    """The field that a complaint of msgspec's is about: it ends with a path such as `$.files.created[0]`."""
    return message.rpartition("`$.")[2].split(".")[0].split("[")[0].rstrip("`")


def _too_deep() -> ClaimError:
    return ClaimError(
        f"it has more than {MOST_DEPTH} levels; hand on the name of a file instead of what is in it"
    )


def _too_nested(value: Any) -> bool:
    level = [value]
    for _ in range(MOST_DEPTH):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def lacking(claim: Claim, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """The outputs that a task is to hand on and that its result does not have."""
    return tuple(name for name in wanted if claim.outputs.get(name) is None)


def kept(claim: Claim, said: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What the journal keeps of it, beside what the worker keeps of what the agent said."""
    return {**(said or {}), KEY: msgspec.to_builtins(claim)}
