"""What becomes of a run when its plan changes or a task is added."""

from __future__ import annotations

import pytest
from core_making import Story, chain, plan_of, task

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.decide import Start
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.plan import Plan, Provider, Task
from daplug_supervisor.core.results import OutcomeKind
from daplug_supervisor.core.state import provider_of

TWO = {"codex": Provider(), "glm": Provider()}


def test_an_added_task_waits_for_what_it_needs_and_opens_a_finished_run() -> None:
    story = Story(chain("a"))
    story.finish("a")
    story.record(ev.RunFinished(), ev.TaskAdded("b", task("a")), ev.TaskAdded("c", task("b")))
    assert (story.task("b").unmet, story.task("c").unmet) == (0, 1)
    assert story.decide() == Start("b", "codex")


def test_a_changed_plan_moves_what_waits_and_leaves_what_runs_where_it_is() -> None:
    story = Story(plan_of(["runs", "waits"], TWO))
    story.start("runs")
    moved = {name: task(provider="glm") for name in ("runs", "waits")}
    story.record(ev.PlanChanged(plan_of(moved, TWO)))
    assert (story.pool("codex").running, story.pool("glm").running) == (1, 0)
    assert story.decide() == Start("waits", "glm")
    story.end("runs", OutcomeKind.INTERRUPTED)
    assert story.task("runs").provider == "glm"


def test_a_task_at_a_fallback_stays_there_when_the_plan_changes_unless_the_fallback_goes() -> None:
    plan = plan_of(["a"], {"codex": Provider(fallback=("glm",)), "glm": Provider(), "gemini": Provider()})
    story = Story(plan)
    story.attempt("a", OutcomeKind.STALLED)
    story.record(ev.PlanChanged(plan))
    assert (story.task("a").provider, story.task("a").moved) == ("glm", True)
    story.record(ev.PlanChanged(plan_of(["a"])))
    assert (story.task("a").provider, story.task("a").moved) == ("codex", False)
    story.record(ev.PlanChanged(plan_of({"a": task(provider="gemini")}, {**plan.providers})))
    assert story.task("a").provider == "gemini"


def test_a_removed_task_no_longer_holds_anything_back() -> None:
    story = Story(chain("a", "b"))
    story.attempt("a", OutcomeKind.BLOCKED)
    story.record(ev.RunFinished(), ev.PlanChanged(plan_of(["b"])))
    assert story.decide() == Start("b", "codex")
    assert story.run.counts[Status.STUCK] == 0


def test_rests_outlast_a_change_of_the_plan() -> None:
    story = Story(plan_of(["a"]))
    story.record(
        ev.ProviderRested("codex", 2000.0, "429"),
        ev.PlanChanged(plan_of(["a"], {"codex": Provider(parallel=1)})),
    )
    assert (story.pool().limit, story.pool().rest_until, story.wake_at()) == (1, 2000.0, 2000.0)


def test_a_waiting_task_still_waits_after_the_indexes_are_built_anew() -> None:
    story = Story(plan_of(["a"]))
    story.attempt("a", OutcomeKind.FAILED)
    until = story.task("a").not_before
    story.record(ev.RunStarted(only=("a",)))
    assert (story.decide(), story.wake_at()) == (None, until)


def test_only_a_loaded_plan_names_its_providers() -> None:
    with pytest.raises(AssertionError, match="names a provider for every task"):
        provider_of(Plan("p", {"a": Task()}), "a")
