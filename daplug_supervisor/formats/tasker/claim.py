"""The result that an agent wrote as a ``.tasker`` system has taught it, as what it is: a claim."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from daplug_supervisor.core import claims
from daplug_supervisor.core.claims import Claim, ClaimedCriterion, ClaimedError, ClaimedFiles, ClaimError
from daplug_supervisor.formats.findings import escaped, shown

_Line = Annotated[str, Meta(max_length=20_000)]
_Lines = Annotated[tuple[_Line, ...], Meta(max_length=1000)]
_MARK: Final = b"\xef\xbb\xbf"
_ROW = re.compile(r"\[(\d+|\.\.\.)\]")


class _Files(Struct, frozen=True):
    created: _Lines = ()
    modified: _Lines = ()
    deleted: _Lines = ()


class _Criterion(Struct, frozen=True):
    name: _Line = ""
    status: Literal["PASS", "FAIL", "SKIP", "PARTIAL"] = "FAIL"
    evidence: _Line = ""
    command: _Line = ""


class _Verification(Struct, frozen=True):
    verdict: Literal["PASS", "FAIL", "PARTIAL", "CONDITIONAL"] = "FAIL"
    criteria: Annotated[tuple[_Criterion, ...], Meta(max_length=1000)] = ()


class _Error(Struct, frozen=True):
    category: Literal["dependency", "compilation", "test", "validation", "runtime", "unknown"] = "unknown"
    message: _Line = ""
    retryable: bool = True


class _Result(Struct, frozen=True):
    task_id: str
    status: Literal["success", "failed"]
    version: str = "1.0"
    files: _Files = _Files()
    verification: _Verification | None = None
    error: _Error | None = None
    notes: _Line = ""


def read(data: bytes, task: str) -> Claim:
    """What the result of a task claims.

    Raises:
        ClaimError: it is malformed, of another task, or contradicts itself; the message says how.
    """
    if len(data) > claims.MOST_BYTES:
        raise ClaimError(f"it is larger than {claims.MOST_BYTES:,} bytes")
    try:
        document = msgspec.json.decode(data.removeprefix(_MARK))
        found = msgspec.convert(_without_nulls(document), _Result)
    except RecursionError:
        raise ClaimError("it is nested too deep") from None
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$")
        field = escaped(_ROW.sub(r".\1", where.strip("`.")), 200)
        raise ClaimError(f"{f'{field}: ' if field else ''}{escaped(message, 300)}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ClaimError(f"it is no JSON: {escaped(str(error), 200)}") from None
    if found.task_id != task:
        raise ClaimError(f"task_id: it is of task {shown(found.task_id)}, not of {task}")
    if found.version.split(".")[0] != "1":
        raise ClaimError(f"version: {shown(found.version)} is not known, write 1.0")
    if found.status == "success" and found.verification and found.verification.verdict == "FAIL":
        raise ClaimError("status: it says success, and its own verification says FAIL")
    return _claim(found)


def _claim(found: _Result) -> Claim:
    rows = found.verification.criteria if found.verification else ()
    error = found.error
    if error is None and found.status == "failed":
        error = _Error()
    return Claim(
        status=found.status,
        acceptance_criteria=tuple(
            ClaimedCriterion(
                description=one.name,
                command=one.command,
                status="FAIL" if one.status == "PARTIAL" else one.status,
                reason=one.evidence,
            )
            for one in rows
        ),
        files=ClaimedFiles(found.files.created, found.files.modified, found.files.deleted),
        error=_error(error) if error else None,
        notes=found.notes,
    )


def _error(given: _Error) -> ClaimedError:
    category = "runtime" if given.category == "unknown" else given.category
    return ClaimedError(category, given.message, given.retryable)


def _without_nulls(value: Any) -> Any:
    """Whoever fills in a form writes null where there is nothing to say."""
    if isinstance(value, dict):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value
