from __future__ import annotations

import pytest

from daplug_supervisor.core.results import (
    ANSWERED,
    RETRYABLE,
    RULES,
    Exit,
    Follow,
    OutcomeKind,
    Rule,
    uses_try,
)

NO_TRY = ["rate_limited", "quota", "outage", "auth", "configuration", "lost", "interrupted", "budget"]
NO_TRY += ["needs_input", "delegated"]

FOLLOWS: dict[Follow, list[str]] = {
    "verify": ["completed"],
    "rest": ["rate_limited", "quota", "outage"],
    "stop": ["auth", "configuration"],
    "halt": ["budget"],
    "retry": [
        "timeout",
        "silent",
        "crashed",
        "failed",
        "lost",
        "interrupted",
        "max_iterations",
        "no_result",
    ],
    "fix": ["verify_failed"],
    "other": ["stalled", "unverified"],
    "stuck": ["blocked", "conflict", "needs_input"],
    "fail": ["plan_error"],
    "delegate": ["delegated"],
}


def test_every_kind_of_outcome_has_one_rule() -> None:
    assert list(RULES) == list(OutcomeKind)


@pytest.mark.parametrize("kind", OutcomeKind)
def test_what_is_no_fault_of_the_task_uses_no_try(kind: OutcomeKind) -> None:
    assert uses_try(kind, command=True) is (kind not in NO_TRY)
    assert uses_try(kind, command=False) is (kind not in {*NO_TRY, OutcomeKind.VERIFY_FAILED})


@pytest.mark.parametrize(("follow", "kinds"), FOLLOWS.items())
def test_each_kind_is_followed_as_the_design_says(follow: Follow, kinds: list[str]) -> None:
    assert [kind for kind, rule in RULES.items() if rule.follow == follow] == kinds


@pytest.mark.parametrize(("kind", "rule"), RULES.items())
def test_where_a_person_may_have_to_act_the_rule_says_how(kind: OutcomeKind, rule: Rule) -> None:
    nobody = {"completed", "rate_limited", "quota", "outage", "interrupted", "delegated"}
    assert bool(rule.remedy) is (kind not in nobody)


def test_only_a_faulty_plan_is_not_worth_another_try() -> None:
    assert set(OutcomeKind) - RETRYABLE == {OutcomeKind.PLAN_ERROR}


@pytest.mark.parametrize("kind", sorted(ANSWERED))
def test_a_provider_that_answered_is_neither_resting_nor_stopped(kind: OutcomeKind) -> None:
    assert RULES[kind].follow not in ("rest", "stop", "halt", "fail")


@pytest.mark.parametrize(
    ("found", "known"),
    [(Exit(0), True), (Exit(-9), True), (Exit(None, error="no such program"), True), (Exit(None), False)],
)
def test_without_code_and_without_error_an_exit_is_not_known(found: Exit, known: bool) -> None:
    assert found.known is known
