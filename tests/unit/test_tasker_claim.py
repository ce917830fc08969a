"""A result in the form of a .tasker system is a claim like any other, or it is refused with a reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from daplug_supervisor.core import claims
from daplug_supervisor.core.claims import Claim, ClaimedCriterion, ClaimedError, ClaimedFiles, ClaimError
from daplug_supervisor.formats.tasker.claim import read

GOOD: dict[str, Any] = {
    "version": "1.0",
    "task_id": "T001",
    "name": "First",
    "status": "success",
    "started_at": "2026-01-01T00:00:00Z",
    "completed_at": "2026-01-01T00:01:00Z",
    "files": {"created": ["a.py"], "modified": ["/t/b.py"]},
    "verification": {
        "verdict": "PASS",
        "criteria": [
            {"name": "it is there", "status": "PASS", "evidence": "exit 0", "command": "test -e a.py", "exit_code": 0},
            {"name": "half", "status": "PARTIAL"},
        ],
    },
    "error": None,
    "notes": "went well",
}  # fmt: skip


def claim(**more: Any) -> Claim:
    return read(json.dumps({**GOOD, **more}).encode(), "T001")


def test_a_success_is_read_as_a_claim() -> None:
    assert claim() == Claim(
        status="success",
        acceptance_criteria=(
            ClaimedCriterion(
                description="it is there", command="test -e a.py", status="PASS", reason="exit 0"
            ),
            ClaimedCriterion(description="half", status="FAIL"),
        ),
        files=ClaimedFiles(("a.py",), ("/t/b.py",)),
        notes="went well",
    )
    assert read(b'\xef\xbb\xbf{"task_id": "T001", "status": "success"}', "T001") == Claim()


def test_a_failure_says_why() -> None:
    error = {"category": "test", "message": "two fail", "retryable": False}
    assert claim(status="failed", error=error).error == ClaimedError("test", "two fail", retryable=False)
    assert claim(status="failed", error={"category": "unknown"}).error == ClaimedError("runtime")
    assert claim(status="failed").error == ClaimedError("runtime")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is no JSON"),
        (b"T001: SUCCESS", "it is no JSON"),
        (b'"\xff"', "it is no JSON"),
        (b"[" * 10_000, "nested too deep"),
        (b" " * (claims.MOST_BYTES + 1), "larger than"),
        (b"[]", "Expected `object`, got `array`"),
        (b"{}", "missing required field `task_id`"),
        (b'{"task_id": "T001"}', "missing required field `status`"),
    ],
)
def test_what_is_no_result_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ClaimError, match=words):
        read(data, "T001")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"task_id": "T002"}, "task_id: it is of task 'T002', not of T001"),
        ({"task_id": "\x1b[2J"}, "not of T001"),
        ({"version": "2.0"}, "version: '2.0' is not known"),
        ({"status": "done"}, "status: Invalid enum value 'done'"),
        ({"files": ["a.py"]}, "files: Expected `object`, got `array`"),
        ({"files": {"created": [1]}}, r"files\.created\.0: Expected `str`, got `int`"),
        ({"verification": {"criteria": [{"status": "OK"}]}}, r"verification\.criteria\.0\.status"),
        ({"verification": {"verdict": "FAIL"}}, "it says success, and its own verification says FAIL"),
        ({"error": {"category": "bad luck"}}, r"error\.category: Invalid enum value 'bad luck'"),
        ({"notes": "x" * 20_001}, "notes: Expected `str` of length <= 20000"),
    ],
)
def test_what_contradicts_the_form_or_itself_is_refused_with_its_field(more: Any, words: str) -> None:
    with pytest.raises(ClaimError, match=words) as caught:
        claim(**more)
    assert str(caught.value).isprintable()
