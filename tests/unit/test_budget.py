"""Budgets of tasks and of runs: what is counted, and that nothing starts once one is spent."""

from __future__ import annotations

import pytest
from core_making import Story, plan_of, result, task

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.budget import reached
from daplug_supervisor.core.decide import RequestHalt, Start
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.model import Spent
from daplug_supervisor.core.plan import Budget, Provider
from daplug_supervisor.core.results import OutcomeKind, Usage

K = OutcomeKind
TENTH = Usage(input=80, cached=70, output=20, reasoning=5, cost=0.1)


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (None, ""),
        (Budget(), ""),
        (Budget(attempts=3), ""),
        (Budget(attempts=2), "tries: 2 of 2"),
        (Budget(tokens=1001), ""),
        (Budget(tokens=1000), "tokens: 1,000 of 1,000"),
        (Budget(cost=0.51), ""),
        (Budget(cost=0.5), "cost: $0.50 of $0.50"),
    ],
)
def test_what_is_reached(budget: Budget | None, words: str) -> None:
    assert reached(budget, Spent(attempts=2, tokens=1000, cost=0.5)) == words


def test_what_a_cli_does_not_report_is_not_zero_but_unknown() -> None:
    spent = Spent()
    for usage in (None, Usage(), Usage(reasoning=3), Usage(cost=0.25), Usage(output=7), TENTH):
        spent.add(usage)
    assert (spent.unknown, spent.tokens, spent.cost) == (3, 107, 0.35)


def test_what_attempts_cost_is_counted_once_for_the_task_and_for_the_run() -> None:
    story = Story(plan_of(["a", "b"]))
    story.attempt("a", K.CRASHED, usage=TENTH)
    story.attempt("a", K.RATE_LIMITED, usage=TENTH)
    story.record(ev.ProviderResumed("codex"))
    story.start("a")
    story.record(ev.AttemptExited("a", result(K.COMPLETED, usage=TENTH)))
    story.end("a", K.VERIFY_FAILED, usage=TENTH)
    story.attempt("b", K.CRASHED)
    assert (story.run.spent.attempts, story.run.spent.tokens, story.run.spent.unknown) == (3, 300, 1)
    assert (story.task("a").spent.attempts, story.task("a").spent.tokens) == (2, 300)


def test_commands_have_no_cost_that_could_be_unknown() -> None:
    story = Story(plan_of(["a"], {"codex": Provider(worker="command")}))
    story.attempt("a", K.FAILED)
    assert story.run.spent == Spent(attempts=1)


@pytest.mark.parametrize("budget", [Budget(tokens=100), Budget(cost=0.1), Budget(attempts=1)])
def test_a_spent_budget_halts_the_run_before_the_next_start(budget: Budget) -> None:
    story = Story(plan_of(["a", "b", "c"], budget=budget))
    story.start("a")
    story.record(ev.AttemptExited("a", result(K.COMPLETED, usage=TENTH)))
    story.record(ev.VerificationPassed("a"), ev.Landed("a"))
    found = story.decide()
    assert isinstance(found, RequestHalt)
    assert (found.by, "budget is spent" in found.reason) == ("budget", True)
    story.record(ev.HaltRequested(found.reason, found.by), ev.Halted(), ev.Resumed())
    assert isinstance(story.decide(), RequestHalt)
    story.record(ev.PlanChanged(plan_of(["a", "b", "c"])))
    assert story.decide() == Start("b", "codex")


def test_a_spent_budget_with_nothing_left_to_start_is_no_halt() -> None:
    story = Story(plan_of(["a"], budget=Budget(attempts=1)))
    story.finish("a")
    assert not isinstance(story.decide(), RequestHalt)


def test_no_more_attempts_are_at_work_than_the_budget_has_left() -> None:
    story = Story(plan_of(["a", "b", "c"], budget=Budget(attempts=2)))
    assert story.start_all() == ["a", "b"]
    story.end("a", K.LOST)
    story.now = story.task("a").not_before
    assert story.start_all() != []


@pytest.mark.parametrize("kind", [K.CRASHED, K.STALLED, K.RATE_LIMITED, K.AUTH])
def test_a_task_whose_budget_is_spent_is_stuck_and_others_go_on(kind: OutcomeKind) -> None:
    providers = {"codex": Provider(fallback=("glm",)), "glm": Provider()}
    story = Story(plan_of({"a": task(budget=Budget(tokens=150)), "b": task(provider="glm")}, providers))
    story.attempt("a", K.CRASHED, usage=TENTH)
    assert story.task("a").status is Status.PENDING
    found = story.attempt("a", kind, detail="", usage=TENTH)
    assert isinstance(found[0], ev.TaskStuck)
    assert found[0].result.outcome.detail == "its budget is spent (tokens: 200 of 150)"
    assert "raise the task's budget" in found[0].remedy
    assert (len(found) > 1) == (kind in {K.RATE_LIMITED, K.AUTH})
    assert story.decide() == Start("b", "glm")


def test_a_person_who_retries_a_task_gives_it_its_budget_again() -> None:
    story = Story(plan_of({"a": task(budget=Budget(attempts=1))}))
    story.attempt("a", K.CRASHED)
    assert story.task("a").status is Status.STUCK
    story.record(ev.TaskReset("a"))
    assert story.task("a").spent == Spent()
    assert story.run.spent.attempts == 1


def test_what_verification_finds_counts_the_attempt_only_once() -> None:
    story = Story(plan_of({"a": task(budget=Budget(attempts=2))}))
    story.claim("a")
    assert isinstance(story.end("a", K.VERIFY_FAILED)[0], ev.RetryScheduled)
    story.now = story.task("a").not_before
    story.claim("a")
    assert isinstance(story.end("a", K.VERIFY_FAILED)[0], ev.TaskStuck)
