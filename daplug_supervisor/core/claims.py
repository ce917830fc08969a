"""The result that an attempt hands in: what it says of itself. It is checked in form and size, and never believed."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct, field

MOST_BYTES: Final = 1 << 20
"""Of a result file; a longer one is refused."""

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


def claim_of(said: dict[str, Any] | None) -> Claim:
    """The result in what the journal keeps of an attempt's claim; an empty one if there is none."""
    try:
        return msgspec.convert((said or {}).get(KEY, {}), Claim)
    except msgspec.ValidationError:  # of another version
        return Claim()
