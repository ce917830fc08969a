"""What is decided next, and when to look again."""

from __future__ import annotations

import pytest
from core_making import FAST, Story, chain, plan_of, result, task

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.decide import ConfirmHalt, Finish, RequestHalt
from daplug_supervisor.core.plan import Plan, Provider, Task
from daplug_supervisor.core.results import OutcomeKind

K = OutcomeKind


# --- which task -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tasks", "order"),
    [
        ({"a": task(), "b": task()}, ["a", "b"]),
        ({"a": task(), "b": task(priority=1)}, ["b", "a"]),
        ({"a": task(priority=-1), "b": task()}, ["b", "a"]),
        ({"a": task(), "b": task(estimate=9.0)}, ["b", "a"]),
        ({"a": task(estimate=9.0), "b": task(priority=1)}, ["b", "a"]),
        ({"a": task(), "long": task(), "x": task("long"), "y": task("x")}, ["long", "a"]),
    ],
    ids=["plan order", "priority", "low priority", "estimate", "priority before estimate", "longest chain"],
)
def test_the_most_urgent_task_goes_first(tasks: dict[str, Task], order: list[str]) -> None:
    assert Story(plan_of(tasks)).start_all() == order


def test_urgency_counts_across_providers_when_the_run_has_one_place() -> None:
    tasks = {"a": task(), "b": task(provider="glm", priority=5)}
    story = Story(plan_of(tasks, {"codex": Provider(), "glm": Provider()}), parallel=1)
    assert story.start_all() == ["b"]


def test_urgency_counts_among_those_whose_wait_is_over() -> None:
    tasks = {"ready": task(), "low": task(priority=1), "high": task(priority=2), "late": task(priority=3)}
    story = Story(plan_of(tasks, {"codex": Provider(parallel=9)}))
    story.start("low", "high", "late")
    for name, until in (("low", 1010.0), ("high", 1020.0), ("late", 1030.0)):
        story.record(ev.RetryScheduled(name, result(), until))
    story.now = 1020.0
    assert story.start_all() == ["high", "low", "ready"]
    assert story.wake_at() == 1030.0
    story.now = 1030.0
    assert story.start_all() == ["late"]


def test_a_task_whose_wait_was_over_is_not_started_after_it_was_skipped() -> None:
    story = Story(plan_of({name: task(retry=FAST) for name in "abc"}))
    story.start("a", "b", "c")
    for name in ("a", "b", "c"):
        story.end(name, K.FAILED)
    story.record(ev.TaskSkipped("b"))
    assert len(story.pool().bound.waiting) == 3
    assert story.start_all() == ["a", "c"]
    assert story.pool().bound.waiting == []


def test_a_task_that_was_skipped_while_it_waited_wakes_nobody() -> None:
    tasks = {"a": task(), "b": task(), "c": task(), "x": task(provider="glm")}
    story = Story(plan_of(tasks, {"codex": Provider(), "glm": Provider()}))
    story.start("a", "b", "c")
    for name, until in (("a", 1010.0), ("b", 1020.0), ("c", 1030.0)):
        story.record(ev.RetryScheduled(name, result(), until))
    story.record(ev.TaskSkipped("b"))
    story.now = 1010.0
    story.start("x")
    assert story.wake_at() == 1030.0


def test_a_task_starts_only_when_all_it_needs_is_done_or_skipped() -> None:
    story = Story(plan_of({"a": task(), "b": task(), "c": task("a", "b")}))
    story.finish("a")
    assert story.start_all() == ["b"]
    story.record(ev.AttemptExited("b", result()), ev.VerificationPassed("b"), ev.Landed("b"))
    assert story.start_all() == ["c"]


# --- how many at once -----------------------------------------------------------------------------------


def test_a_full_provider_does_not_delay_another() -> None:
    tasks = {name: task() for name in "abcde"} | {"x": task(provider="glm")}
    story = Story(plan_of(tasks, {"codex": Provider(), "glm": Provider(parallel=1)}))
    assert story.start_all() == ["a", "b", "c", "x"]
    assert story.wake_at() is None


@pytest.mark.parametrize(("parallel", "count"), [(1, 1), (2, 2), (None, 3)])
def test_the_run_may_be_narrower_than_its_providers(parallel: int | None, count: int) -> None:
    story = Story(plan_of("abcde"), parallel=parallel)
    assert len(story.start_all()) == count
    story.record(ev.AttemptExited("a", result()))
    assert story.decide() is None
    story.record(ev.VerificationPassed("a"), ev.Landed("a"))
    assert len(story.start_all()) == 1


def test_a_lowered_limit_holds_for_what_starts_next() -> None:
    story = Story(plan_of("abcde"))
    story.start_all()
    story.record(ev.PlanChanged(plan_of("abcde", {"codex": Provider(parallel=1)})))
    story.end("a", K.BLOCKED)
    story.end("b", K.BLOCKED)
    assert story.decide() is None
    story.end("c", K.BLOCKED)
    assert story.start_all() == ["d"]


def test_a_delegated_task_needs_no_place() -> None:
    story = Story(plan_of(["parent", "child"], {"codex": Provider(parallel=1)}))
    story.start("parent")
    story.record(ev.Delegated("parent"))
    assert story.start_all() == ["child"]


# --- named tasks ----------------------------------------------------------------------------------------


def test_only_the_named_tasks_are_started() -> None:
    story = Story(plan_of("abc"), only=("b",))
    assert story.start_all() == ["b"]


def test_a_named_task_whose_needs_are_not_named_ends_the_run_instead_of_hanging() -> None:
    story = Story(chain("a", "b"), only=("b",))
    assert story.decide() == Finish()


def test_the_next_start_is_for_all_tasks_again() -> None:
    story = Story(plan_of("ab"), only=("b",))
    story.finish("b")
    assert story.decide() == Finish()
    story.record(ev.RunFinished(), ev.RunStarted())
    assert story.start_all() == ["a"]


def test_a_reset_task_that_is_not_named_ends_the_run_too() -> None:
    story = Story(plan_of("ab"))
    story.attempt("a", K.BLOCKED)
    story.record(ev.RunStarted(only=("b",)))
    story.finish("b")
    story.record(ev.TaskReset("a"))
    assert story.decide() == Finish()


# --- ends -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["done", "failed", "cancelled", "nothing"])
def test_a_run_finishes_when_nothing_more_can_happen(end: str) -> None:
    story = Story(chain("a", "b") if end != "nothing" else Plan("p", {}))
    if end == "done":
        story.finish("a", "b")
    elif end == "failed":
        story.attempt("a", K.PLAN_ERROR)
    elif end == "cancelled":
        story.record(ev.TaskCancelled("a"))
    assert story.decide() == Finish()
    story.record(ev.RunFinished())
    assert (story.decide(), story.wake_at()) == (None, None)


def test_a_run_whose_last_attempt_is_under_way_is_not_finished() -> None:
    story = Story(chain("a"))
    story.start("a")
    assert story.decide() is None


def test_other_ready_tasks_go_on_after_a_failure() -> None:
    story = Story(plan_of({"a": task(), "b": task("a"), "c": task()}))
    story.attempt("a", K.PLAN_ERROR)
    assert story.start_all() == ["c"]


def test_a_plan_may_ask_to_halt_at_the_first_failure() -> None:
    story = Story(plan_of("abc", on_failure="halt"))
    story.start("a", "b")
    story.end("a", K.PLAN_ERROR)
    decision = story.decide()
    assert isinstance(decision, RequestHalt)
    assert (decision.by, "on_failure: halt" in decision.reason) == ("failure", True)
    story.record(ev.HaltRequested(decision.reason, decision.by))
    assert (story.decide(), story.wake_at()) == (None, None)
    story.end("b", K.INTERRUPTED)
    assert story.decide() == ConfirmHalt()
    story.record(ev.Halted())
    assert story.decide() is None
    story.record(ev.Resumed())
    assert story.start_all() == ["b", "c"]


# --- stopped providers ----------------------------------------------------------------------------------


def test_a_run_that_waits_only_for_stopped_providers_halts_and_says_so() -> None:
    tasks = {"a": task(), "b": task(provider="glm")}
    story = Story(plan_of(tasks, {"codex": Provider(), "glm": Provider(), "idle": Provider()}))
    story.attempt("a", K.AUTH, detail="401")
    assert story.start_all() == ["b"]
    assert story.decide() is None
    story.end("b", K.CONFIGURATION, detail="no such model")
    reason = "provider codex is stopped: 401; provider glm is stopped: no such model"
    assert story.decide() == RequestHalt(reason, "provider")


def test_a_stopped_provider_is_waited_for_while_another_one_only_rests() -> None:
    tasks = {"a": task(), "b": task(provider="glm")}
    story = Story(plan_of(tasks, {"codex": Provider(), "glm": Provider()}))
    story.record(ev.ProviderStopped("codex", "401"), ev.ProviderRested("glm", 1300.0))
    assert (story.decide(), story.wake_at()) == (None, 1300.0)


@pytest.mark.parametrize("event", [ev.Resumed(), ev.RunStarted(), ev.ProviderResumed("codex")])
def test_a_person_lets_a_stopped_provider_go_on(event: ev.Event) -> None:
    story = Story(plan_of("a"))
    story.attempt("a", K.AUTH)
    story.record(event)
    assert story.start_all() == ["a"]
