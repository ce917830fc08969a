"""What passing time decides, and when to look again."""

from __future__ import annotations

import pytest
from core_making import Story, chain, plan_of, result, task

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.decide import Finish, RequestHalt
from daplug_supervisor.core.model import PROBE_TRUSTED
from daplug_supervisor.core.plan import Provider


def test_a_run_whose_time_is_over_starts_nothing_more() -> None:
    story = Story(plan_of("ab", {"codex": Provider(parallel=1)}, timeout=60.0))
    assert story.start_all() == ["a"]
    assert story.wake_at() == 1060.0
    story.now = 1059.9
    assert story.decide() is None
    story.now = 1060.0
    assert story.decide() == RequestHalt("the run's timeout of 60 s is over", "timeout")
    assert story.wake_at() is None


def test_the_time_is_over_while_only_an_attempt_is_left() -> None:
    story = Story(plan_of("a", timeout=60.0))
    story.start("a")
    story.now = 1060.0
    assert isinstance(story.decide(), RequestHalt)


def test_time_in_which_nothing_is_at_work_does_not_count() -> None:
    story = Story(plan_of("ab", timeout=60.0))
    story.now = 1100.0
    story.start("a")
    story.now = 1120.0
    story.record(ev.RetryScheduled("a", result(), 9000.0), ev.ProviderRested("codex", 9000.0))
    assert (story.decide(), story.wake_at()) == (None, 9000.0)
    assert story.run.worked(story.now + 5000) == 20.0
    story.now = 9000.0
    assert story.start_all() == ["a"]
    assert story.run.worked(story.now) == 20.0
    assert story.wake_at() == 9040.0
    story.now = 9040.0
    assert isinstance(story.decide(), RequestHalt)


def test_what_is_taken_back_at_a_start_is_at_work_from_then_on() -> None:
    story = Story(plan_of("a", timeout=60.0))
    story.start("a")
    story.now = 5000.0
    story.record(ev.RunStarted())
    assert story.run.worked(5010.0) == 10.0


@pytest.mark.parametrize("event", [ev.HaltRequested("enough", "command"), ev.RunFinished()])
def test_nobody_is_woken_for_a_run_that_is_over(event: ev.Event) -> None:
    story = Story(plan_of("a"))
    story.record(ev.ProviderRested("codex", 1500.0))
    assert story.wake_at() == 1500.0
    story.record(event)
    assert story.wake_at() is None


def test_when_a_rest_is_over_the_waits_count() -> None:
    story = Story(plan_of("a"))
    story.start("a")
    story.record(ev.RetryScheduled("a", result(), 1700.0), ev.ProviderRested("codex", 1500.0))
    story.now = 1500.0
    assert (story.decide(), story.wake_at()) == (None, 1700.0)


def test_a_run_in_which_all_is_done_is_finished_even_if_its_time_is_over() -> None:
    story = Story(chain("a"), now=1000.0)
    story.finish("a")
    late = Story(plan_of(["a"], timeout=60.0))
    late.finish("a")
    late.now += 61
    assert late.decide() == story.decide() == Finish()


def test_a_new_start_gets_the_whole_time_again() -> None:
    story = Story(plan_of("ab", timeout=60.0))
    story.now += 61
    story.record(ev.HaltRequested("timeout", "timeout"), ev.Halted(), ev.RunStarted())
    assert story.start_all() == ["a", "b"]


def test_a_resting_provider_is_looked_at_when_its_rest_is_over() -> None:
    story = Story(plan_of("ab"))
    story.record(ev.ProviderRested("codex", 1500.0))
    assert (story.decide(), story.wake_at()) == (None, 1500.0)
    story.now = 1500.0
    assert story.start_all() == ["a"]
    assert story.wake_at() == 1500.0 + PROBE_TRUSTED
    story.now += PROBE_TRUSTED
    assert story.start_all() == ["b"]


def test_a_resting_provider_without_work_wakes_nobody() -> None:
    story = Story(plan_of("a", {"codex": Provider(), "glm": Provider()}))
    story.start("a")
    story.record(ev.ProviderRested("glm", 1500.0), ev.ProviderRested("codex", 1500.0))
    assert story.wake_at() is None


def test_the_earliest_wait_of_all_providers_counts() -> None:
    tasks = {"a": task(), "b": task(provider="glm")}
    story = Story(plan_of(tasks, {"codex": Provider(), "glm": Provider()}))
    story.start("a", "b")
    story.record(ev.RetryScheduled("a", result(), 1200.0), ev.RetryScheduled("b", result(), 1100.0))
    assert (story.decide(), story.wake_at()) == (None, 1100.0)
    story.record(ev.ProviderStopped("glm", "401"))
    assert (story.decide(), story.wake_at()) == (None, 1200.0)
