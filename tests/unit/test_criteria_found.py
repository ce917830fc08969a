from __future__ import annotations

import pytest

from daplug_supervisor.core.acceptance import (
    Look,
    Verification,
    category,
    claimed,
    finding,
    items,
    looked_at,
    outside,
    summary,
)
from daplug_supervisor.core.claims import ClaimedCriterion
from daplug_supervisor.core.plan import Criterion
from daplug_supervisor.core.results import Blame, Finding

TEST = Criterion(run="pytest -q tests/test_schema.py", name="the schema is right")
RUNTIME = Criterion(run=("curl", "localhost"), category="runtime")


def found(criterion: Criterion, look: Look, output: bytes = b"", said: str = "") -> Finding:
    return finding(0, criterion, look, output, said)


def test_it_holds_with_the_code_and_the_text_that_the_plan_asks_for() -> None:
    assert found(TEST, Look(0, 1.23456)) == Finding(0, TEST.name, "functional", 0, 1.235)
    assert found(Criterion(run="x", expect_exit=3), Look(3)).holds
    assert not found(Criterion(run="x", expect_exit=3), Look(0)).holds
    assert found(Criterion(run="x", expect_output="ok"), Look(0, printed=True)).status == "PASS"
    missing = found(Criterion(run="x", expect_output="ok"), Look(0, printed=False))
    assert (missing.status, missing.detail, missing.blame) == ("FAIL", "it did not print 'ok'", "code")


@pytest.mark.parametrize(
    ("look", "output", "blame"),
    [
        (Look(1), b"E   AssertionError: 3 != 4\n1 failed", "code"),
        (Look(2), b"src/a.ts(4,2): error TS2322", "code"),
        (Look(1), b"", "code"),
        (Look(127), b"sh: 1: tsc: not found", "environment"),
        (Look(126), b"", "environment"),
        (Look(1), b"open: Permission denied", "environment"),
        (Look(1), b"Error: API key is missing", "environment"),
        (Look(1), b"getaddrinfo ENOTFOUND registry", "environment"),
        (Look(1), b"AssertionError: got 'permission denied'\n1 failed", "code"),
        (Look(None, error="no such file"), b"", "environment"),
        (Look(late=True), b"", "unknown"),
        (Look(-9), b"", "unknown"),
    ],
)
def test_what_a_failure_speaks_against(look: Look, output: bytes, blame: Blame) -> None:
    one = found(TEST, look, output)
    assert (one.holds, one.blame) == (False, blame)


def test_at_run_time_a_bare_exit_code_speaks_against_nobody() -> None:
    assert found(RUNTIME, Look(7), b"curl: (7)").blame == "unknown"
    assert found(RUNTIME, Look(1), b"Traceback (most recent call last)").blame == "code"


def test_a_killed_criterion_that_should_be_killed_holds() -> None:
    assert found(Criterion(run="x", expect_exit=0), Look(-9)).detail == "it was killed (signal 9)"


def test_words() -> None:
    bad = [found(TEST, Look(1), said=f"line {number}") for number in range(5)]
    assert bad[0].detail == "exit code 1 instead of 0: line 0"
    assert summary([found(TEST, Look(0))]) == ""
    assert summary(bad).startswith("5 of 5 criteria failed: the schema is right: exit code 1")
    assert summary(bad).endswith(" and 2 more")
    assert summary(bad[:1]) == f"1 of 1 criteria failed: {TEST.name}: {bad[0].detail}"
    extra = Finding(-1, "files of the result", detail="not there", blame="code")
    assert items([TEST], [bad[0], extra, found(TEST, Look(0))]) == (
        "the schema is right:functional:pytest -q tests/test_schema.py",
        "files of the result:functional:-",
    )


@pytest.mark.parametrize(
    ("blames", "expected"),
    [
        (["code", "code"], "code_error"),
        (["environment"], "env_error"),
        (["code", "environment"], "unknown"),
        (["unknown"], "unknown"),
    ],
)
def test_the_category_for_people(blames: list[Blame], expected: str) -> None:
    good = Finding(9, "good")
    assert category([good, *(Finding(0, "x", detail="no", blame=one) for one in blames)]) == expected


def test_a_verification() -> None:
    good, bad = Finding(0, "a"), Finding(1, "b", detail="no")
    assert (Verification((good,)).status, Verification((good,)).failed) == ("VERIFIED", ())
    assert (Verification((good, bad)).status, Verification((good, bad)).failed) == ("FAILED", (bad,))


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        (ClaimedCriterion(id=TEST.name, status="pass"), "PASS"),
        (ClaimedCriterion(description=TEST.name, status=" FAIL "), "FAIL"),
        (ClaimedCriterion(command=TEST.line, status="SKIP"), "SKIP"),
        (ClaimedCriterion(command=TEST.line, status="splendid"), ""),
        (ClaimedCriterion(id="another", status="PASS"), ""),
    ],
)
def test_what_is_claimed_of_a_criterion(claim: ClaimedCriterion, expected: str) -> None:
    assert claimed(TEST, [ClaimedCriterion(), claim]) == expected


def test_files_that_decide_what_criteria_say() -> None:
    criteria = [
        Criterion(run="grep -q a app.py && ./check.sh; bash -e tools/look"),
        Criterion(run=("pytest", "-q")),
    ]
    files = (
        "app.py", "check.sh", "tools/look", "tests/test_a.py", "src/b_test.go", "web/c.spec.ts", "Makefile",
        "docs/latest.md", "contest.py",
    )  # fmt: skip
    assert looked_at(criteria, files) == (
        "check.sh", "tools/look", "tests/test_a.py", "src/b_test.go", "web/c.spec.ts", "Makefile",
    )  # fmt: skip
    assert looked_at([], files) == ()
    assert looked_at([Criterion(run=" ; ")], ("a",)) == ()


def test_files_outside_of_what_a_task_may_change() -> None:
    files = ("src/a.py", "src/deep/b.py", "docs/c.md", "setup.py")
    assert outside((), files) == ()
    assert outside(("src/", "*.md"), files) == ("setup.py",)
    assert outside(("setup.py", "src/deep"), files) == ("src/a.py", "docs/c.md")


def test_a_criterion_can_be_a_line_or_words() -> None:
    assert (RUNTIME.argv, RUNTIME.line, RUNTIME.label) == (
        ("curl", "localhost"),
        "curl localhost",
        "curl localhost",
    )
    assert TEST.argv == ("/bin/sh", "-c", TEST.line)
