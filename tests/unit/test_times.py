"""A run's times when the machine's clock was set between two lives of its supervisor."""

from __future__ import annotations

import pytest
from core_making import Story, chain, plan_of, result

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.decide import Start
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.retry import after_attempt

YEAR = 365 * 86400.0
BOOT = 400.0
"""When the machine was started; stories begin at 1000."""


def waiting(boot: str = "b") -> Story:
    """At 1010 a task waits until 1040 and its provider until 1030; the story began at 1000."""
    story = Story(plan_of("ab"), boot=boot, booted=BOOT if boot else 0.0)
    story.start("a", "b")
    story.now = 1010.0
    story.record(ev.RetryScheduled("a", result(), 1040.0), ev.ProviderRested("codex", 1030.0))
    return story


@pytest.mark.parametrize("by", [YEAR, -900.0, -3.0])
@pytest.mark.parametrize("downtime", [0.5, 5.0, 100.0])
def test_within_a_boot_no_wait_gets_longer_or_shorter(by: float, downtime: float) -> None:
    story = waiting()
    story.now = 1010.0 + downtime + by
    story.record(ev.RunStarted(boot="b", booted=BOOT + by))
    task, run = story.task("a"), story.run
    assert task.not_before == 1040.0 + by
    assert story.pool().rest_until == 1030.0 + by
    assert (run.submitted_at, run.started_at) == (1000.0 + by, story.now)
    assert task.past[0].at == 1000.0 + by
    assert task.past[0].ended_at == task.changed_at == 1010.0 + by
    assert story.task("b").attempt is not None
    assert story.task("b").attempt.at == 1000.0 + by  # type: ignore[union-attr]
    story.now = 1040.0 + by - 0.1 if downtime < 30 else story.now
    assert isinstance(story.decide(), Start) == (downtime >= 30)
    story.now = max(story.now, 1040.0 + by)
    assert story.decide() == Start("a", "codex")


def test_after_a_reboot_a_wait_is_never_longer_than_it_was_decided() -> None:
    story = waiting()
    story.now = 1010.0 - YEAR
    story.record(ev.RunStarted(boot="other", booted=900.0 - YEAR))
    assert story.task("a").not_before == story.now + 30.0
    assert story.pool().rest_until == story.now + 20.0


def test_after_a_reboot_time_that_has_passed_counts() -> None:
    story = waiting()
    story.now = 1035.0
    story.record(ev.RunStarted(boot="other", booted=1030.0))
    assert (story.task("a").not_before, story.pool().rest_until) == (1040.0, 1030.0)


@pytest.mark.parametrize("at", [1009.5, 900.0, 2000.0])
def test_histories_of_before_boots_were_kept_are_moved_only_if_time_went_back(at: float) -> None:
    story = waiting(boot="")
    story.now = at
    story.record(ev.RunStarted())
    assert story.task("a").not_before == (1040.0 if at > 1000 else 1040.0 - 110.0)


def test_what_is_not_waited_for_stays_unset() -> None:
    story = Story(chain("a", "b"), boot="b", booted=BOOT)
    story.finish("a")
    story.finish("b")
    story.record(ev.RunFinished())
    story.now += YEAR
    story.record(ev.TaskAdded("c", story.run.spec("a")))
    story.record(ev.RunStarted(boot="b", booted=BOOT + YEAR))
    assert (story.pool().rest_until, story.task("c").not_before) == (0.0, 0.0)
    assert story.task("c").status is Status.PENDING


def test_a_finished_run_that_is_begun_again_moves_as_well() -> None:
    story = Story(chain("a"), boot="b", booted=BOOT)
    story.finish("a")
    story.record(ev.RunFinished())
    story.now += YEAR
    story.record(ev.RunStarted(boot="b", booted=BOOT + YEAR))
    assert story.run.finished_at is None
    assert story.run.submitted_at == 1000.0 + YEAR


def test_a_time_that_a_provider_states_is_of_the_machines_clock() -> None:
    story = Story(plan_of("a"))
    story.start("a")
    said = result(ev.OutcomeKind.QUOTA, "until then", 1000.0 + YEAR + 60.0)
    events = after_attempt(story.run, story.task("a"), said, story.now, ahead=YEAR)
    assert events[1] == ev.ProviderRested("codex", 1060.0, "until then")
