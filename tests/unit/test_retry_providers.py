"""Providers that rest or stop because of how an attempt ended, and the fallbacks that take over."""

from __future__ import annotations

import pytest
from core_making import Story, plan_of, result, task

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.decide import Start
from daplug_supervisor.core.plan import Plan, Provider
from daplug_supervisor.core.results import OutcomeKind
from daplug_supervisor.core.retry import REST_FIRST, REST_LONGEST

K = OutcomeKind


def one(*, fallback: tuple[str, ...] = ()) -> Plan:
    """A plan of one task ``a`` in ``codex``, with two more providers."""
    providers = {"codex": Provider(fallback=fallback), "glm": Provider(), "gemini": Provider()}
    return plan_of({"a": task()}, providers)


RESTS = [K.RATE_LIMITED, K.QUOTA, K.OUTAGE]
STOPS = [K.AUTH, K.CONFIGURATION]


@pytest.mark.parametrize("kind", RESTS)
def test_a_provider_rests_until_the_time_it_stated_and_its_task_waits_for_it(kind: OutcomeKind) -> None:
    story = Story(one())
    found = story.attempt("a", kind, retry_at=story.now + 3600)
    assert found == [
        ev.RetryScheduled("a", result(kind, retry_at=story.now + 3600), uses_try=False),
        ev.ProviderRested("codex", story.now + 3600, "why"),
    ]
    assert (story.decide(), story.wake_at()) == (None, story.now + 3600)
    story.now += 3600
    assert story.decide() == Start("a", "codex")


@pytest.mark.parametrize("stated", [None, 0.0, 1000.0])
def test_without_a_time_to_come_a_provider_rests_twice_as_long_each_time(stated: float | None) -> None:
    story, rests = Story(one()), []
    for _ in range(8):
        story.attempt("a", K.OUTAGE, retry_at=stated)
        rests.append(story.pool().rest_until - story.now)
        story.now = story.pool().rest_until
    assert rests == [REST_FIRST, 60.0, 120.0, 240.0, 480.0, REST_LONGEST, REST_LONGEST, REST_LONGEST]
    assert story.task("a").tries == 0
    story.claim("a")
    assert story.pool().rests == 0


@pytest.mark.parametrize("kind", RESTS)
def test_attempts_that_meet_the_same_outage_tell_of_one_rest(kind: OutcomeKind) -> None:
    story = Story(plan_of(["a", "b", "c"]))
    story.start("a", "b", "c")
    for name in ("a", "b", "c"):
        story.end(name, kind)
        story.now += 1
    assert (story.pool().rests, story.pool().rest_until) == (1, 1000 + REST_FIRST)


def test_a_long_rest_is_not_cut_short_by_a_shorter_one() -> None:
    story = Story(plan_of(["a", "b"]))
    story.start("a", "b")
    story.end("a", K.QUOTA, retry_at=9000.0)
    story.end("b", K.RATE_LIMITED, retry_at=1100.0)
    assert story.pool().rest_until == 9000.0


def test_after_an_outage_one_probe_at_a_time_is_started() -> None:
    story = Story(plan_of(["a", "b", "c"]))
    story.attempt("a", K.OUTAGE)
    story.now += REST_FIRST
    story.start("a")
    assert story.decide() is None
    story.end("a", K.OUTAGE)
    story.now = story.pool().rest_until
    story.claim("b")
    assert story.decide() == Start("a", "codex")
    story.start("a")
    assert story.decide() == Start("c", "codex")


@pytest.mark.parametrize("kind", [K.LOST, K.INTERRUPTED, K.TIMEOUT, K.CRASHED])
def test_a_probe_that_tells_nothing_is_followed_by_another_one(kind: OutcomeKind) -> None:
    story = Story(plan_of(["a", "b", "c"]))
    story.attempt("a", K.OUTAGE)
    story.now += REST_FIRST
    story.attempt("a", kind)
    story.start("b")
    assert story.decide() is None


def test_a_person_who_resumes_a_provider_vouches_for_it() -> None:
    story = Story(plan_of(["a", "b"]))
    story.attempt("a", K.OUTAGE)
    story.record(ev.ProviderResumed("codex"))
    assert story.start_all() == ["a", "b"]


def test_after_a_rate_limit_all_places_are_used_again() -> None:
    story = Story(plan_of(["a", "b"]))
    story.attempt("a", K.RATE_LIMITED)
    story.now += REST_FIRST
    story.start("a")
    assert story.decide() == Start("b", "codex")


@pytest.mark.parametrize("kind", STOPS)
def test_a_provider_that_refuses_us_stops_until_a_person_resumes_it(kind: OutcomeKind) -> None:
    story = Story(one())
    found = story.attempt("a", kind)
    assert found == [ev.RetryScheduled("a", result(kind), uses_try=False), ev.ProviderStopped("codex", "why")]
    assert story.task("a").tries == 0
    story.record(ev.ProviderResumed("codex"))
    assert story.decide() == Start("a", "codex")


@pytest.mark.parametrize("kind", [*RESTS, *STOPS])
def test_the_first_fallback_that_is_open_takes_over(kind: OutcomeKind) -> None:
    story = Story(one(fallback=("glm", "gemini")))
    story.record(ev.ProviderRested("glm", story.now + 5))
    story.attempt("a", kind)
    assert story.decide() == Start("a", "gemini")
    assert story.task("a").moved


@pytest.mark.parametrize("kind", [*RESTS, *STOPS])
def test_when_no_fallback_is_open_the_task_waits_where_it_is(kind: OutcomeKind) -> None:
    story = Story(one(fallback=("glm",)))
    story.record(ev.ProviderStopped("glm", "401"))
    story.attempt("a", kind)
    assert (story.task("a").provider, story.task("a").moved) == ("codex", False)
