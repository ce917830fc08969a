"""The result that an attempt hands in: read as it is meant, refused with a reason otherwise."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daplug_supervisor.core import claims
from daplug_supervisor.core.claims import Claim, ClaimedCriterion, ClaimError, claim_of, kept, lacking, read

WORKER = {
    "outputs": {"config_path": "./config.json", "count": 3},
    "acceptance_criteria": [
        {
            "id": "file_exists",
            "category": "functional",
            "description": "File exists",
            "command": "test -f ./config.json",
            "status": "PASS",
        },
        {"id": "tsc", "category": "static", "status": "FAIL", "reason": "Type error in line 42"},
    ],
    "learnings": ["Uses ESM"],
    "issues": ["Incomplete type definitions"],
    "decisions": ["Following the pattern that is there"],
}
"""The form that workers of a PLAN.md know."""


def test_the_form_of_a_plan_md_is_taken_as_it_is() -> None:
    found = read(json.dumps(WORKER).encode())
    assert (found.status, found.outputs, found.learnings) == ("success", WORKER["outputs"], ("Uses ESM",))
    first, second = found.acceptance_criteria
    assert (first.id, first.status, first.reason, second.status, second.reason) == (
        "file_exists", "PASS", "", "FAIL", "Type error in line 42",
    )  # fmt: skip


def test_a_failure_with_its_category() -> None:
    found = read(b'{"status": "failed", "error": {"category": "test", "message": "no", "retryable": false}}')
    assert found.error == claims.ClaimedError("test", "no", retryable=False)
    assert read(b'{"error": {"message": "no"}}').status == "failed", "whoever says why has failed"
    assert read(b'{"status": "success", "error": {"message": "once"}}').status == "success"


@pytest.mark.parametrize("category", ["dependency", "compilation", "test", "validation", "runtime"])
def test_the_categories_of_errors(category: str) -> None:
    error = read(json.dumps({"error": {"category": category}}).encode()).error
    assert error is not None
    assert error.category == category


def test_what_is_not_known_or_empty_is_passed_over() -> None:
    found = read(
        b'\xef\xbb\xbf {"version": "1.0", "notes": null, "files": {"created": ["a"], "mode": 3}, "error": null}'
    )
    assert found == Claim(files=claims.ClaimedFiles(created=("a",)))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is empty; write one JSON object"),
        (b" \n", "it is empty"),
        (b"done", "is not JSON: JSON is malformed: invalid character (byte 0)"),
        (b"```json\n{}\n```", "is not JSON"),
        (b"{} {}", "is not JSON"),
        (b'{"a": NaN}', "is not JSON"),
        (b'{"a": Infinity}', "is not JSON"),
        (b'{"a": 1e999}', "is not JSON"),
        (b'{"a": "\\ud800"}', "is not JSON"),
        (b'{"a": "\xff"}', "is not UTF-8 (byte 0)"),
        ("{}".encode("utf-16"), "is not JSON"),
        (b"[]", "is no JSON object; write {...}"),
        (b'"{}"', "is no JSON object"),
        (b"[" * 100_000, "more than 32 levels"),
        (b'{"outputs": ' * 40 + b"1" + b"}" * 40, "more than 32 levels"),
        (b'{"outputs": {"a": ' + b"[" * 31 + b"]" * 31 + b"}}", "more than 32 levels"),
        (b" " * (claims.MOST_BYTES + 1), "larger than 262,144 bytes; hand on the names of files"),
        (b'{"status": "done"}', 'at `$.status`; write "success" or "failed"'),
        (b'{"status": 1}', "at `$.status`; write"),
        (b'{"outputs": ["a"]}', 'at `$.outputs`; write {"name": value}'),
        (b'{"learnings": "x"}', "at `$.learnings`; write a list of texts"),
        (b'{"issues": [1]}', "at `$.issues[0]`; write a list of texts"),
        (b'{"files": {"created": "a"}}', 'at `$.files.created`; write {"created": []'),
        (b'{"error": {"category": "odd"}}', "at `$.error.category`; write"),
        (b'{"acceptance_criteria": [{"id": 1}]}', "at `$.acceptance_criteria[0].id`; write"),
        (json.dumps({"notes": "x" * 20_001}).encode(), "at `$.notes`"),
    ],
)  # fmt: skip
def test_what_is_no_result_is_refused_with_a_reason(data: bytes, words: str) -> None:
    with pytest.raises(ClaimError) as caught:
        read(data)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 500


def test_levels_below_the_limit_are_fine() -> None:
    assert read(b'{"outputs": {"a": ' + b"[" * 30 + b"]" * 30 + b"}}").outputs["a"]


def test_what_a_task_is_to_hand_on_and_does_not() -> None:
    claim = Claim(outputs={"a": "", "b": None, "c": 0})
    assert lacking(claim, ("a", "b", "c", "d")) == ("b", "d")
    assert lacking(claim, ()) == ()


def test_it_is_kept_beside_what_the_worker_says() -> None:
    claim = Claim(outputs={"a": 1}, acceptance_criteria=(ClaimedCriterion("x", status="PASS"),))
    said = kept(claim, {"status": "ok"})
    assert (said["status"], claim_of(said)) == ("ok", claim)
    assert claim_of(kept(claim)) == claim
    assert (claim_of(None), claim_of({}), claim_of({"result": {"status": 3}})) == (Claim(), Claim(), Claim())


anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(sorted(WORKER)), inner),
)


@given(st.binary() | anything.map(lambda value: json.dumps(value).encode()) | st.dictionaries(
    st.sampled_from(["status", "outputs", "files", "error", "learnings", "notes"]), anything
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_whatever_is_handed_in_is_read_or_refused(data: bytes) -> None:
    """And what is read can be kept: as JSON, and read again as the same."""
    try:
        found = read(data)
    except ClaimError:
        return
    assert claim_of(msgspec.json.decode(msgspec.json.encode(kept(found)))) == found
