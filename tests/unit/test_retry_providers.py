"""Providers that rest or stop because of how an attempt ended, and the fallbacks that take over."""

from __future__ import annotations

import pytest
from core_making import Story, plan_of, result, task

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.decide import RequestHalt, Start
from daplug_supervisor.core.model import PROBE_TRUSTED
from daplug_supervisor.core.plan import Budget, Plan, Provider
from daplug_supervisor.core.results import LIMITS, Exit, Outcome, OutcomeKind, Result
from daplug_supervisor.core.retry import MAX_OUTAGES, MAX_SILENT, REST_FIRST, REST_LONGEST, after_attempt

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
    story.now = story.task("a").not_before
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


@pytest.mark.parametrize("kind", RESTS)
def test_a_probe_that_goes_on_shows_that_its_provider_works(kind: OutcomeKind) -> None:
    story = Story(plan_of(["a", "b", "c"]))
    story.start("b")
    story.attempt("a", kind)
    story.now += REST_FIRST
    assert story.start_all() == ["a"]
    assert (story.decide(), story.wake_at()) == (None, story.now + PROBE_TRUSTED)
    story.now += PROBE_TRUSTED
    assert story.start_all() == ["c"]


def test_who_has_worked_through_an_outage_shows_that_it_is_over() -> None:
    story = Story(plan_of(["a", "b", "c"]))
    story.start("b", "c")
    story.attempt("a", K.OUTAGE)
    story.record(ev.AttemptExited("b", result(K.COMPLETED)))
    assert story.pool().probing, "its last answer may be from before"
    story.now += REST_FIRST
    story.record(ev.AttemptExited("c", result(K.COMPLETED)))
    assert not story.pool().probing


def test_a_late_end_does_not_bring_a_second_probe() -> None:
    story = Story(plan_of(["a", "b", "c"]))
    story.start("a", "b")
    story.end("a", K.OUTAGE)
    story.now += REST_FIRST
    assert story.start_all() == ["a"]
    story.end("b", K.OUTAGE)
    story.now = story.pool().rest_until
    assert story.start_all() == []


def test_a_cancelled_probe_is_followed_by_another_one() -> None:
    story = Story(plan_of(["a", "b"]))
    story.attempt("a", K.OUTAGE)
    story.now += REST_FIRST
    assert story.start_all() == ["a"]
    story.record(ev.CancelRequested("a"), ev.TaskCancelled("a"))
    assert story.start_all() == ["b"]


def test_beside_a_trusted_probe_all_places_are_filled() -> None:
    story = Story(plan_of(["a", "b", "c"]))
    story.attempt("a", K.QUOTA)
    story.now += REST_FIRST
    story.start("a")
    story.now += PROBE_TRUSTED
    assert story.start_all() == ["b", "c"]
    assert story.pool().rests == 1, "if that is wrong, the next rest is longer"


@pytest.mark.parametrize("kind", RESTS)
def test_a_limit_is_the_accounts_and_anything_else_is_the_providers(kind: OutcomeKind) -> None:
    providers = {name: Provider(account=account) for name, account in (("p", "x"), ("q", "x"), ("r", "y"))}
    story = Story(plan_of({name: task(provider=name) for name in "pqr"}, providers))
    story.attempt("p", kind, retry_at=5000.0)
    both = kind in LIMITS
    assert [pool.rest_until for pool in story.run.pools.values()] == [5000.0, 5000.0 * both, 0.0]
    assert [pool.probing for pool in story.run.pools.values()] == [True, both, False]
    story.now = 5000.0
    story.claim("q")
    assert (story.pool("p").probing, story.pool("q").probing) == (True, False)
    story.attempt("p", K.AUTH)
    assert [pool.stopped for pool in story.run.pools.values()] == [True, False, False]


def test_a_stated_time_that_does_not_help_is_believed_less_each_time() -> None:
    story, rests = Story(plan_of(["a", "b"])), []
    for _ in range(4):
        story.start("a")
        story.end("a", K.RATE_LIMITED, retry_at=story.now + 20)
        rests.append(story.pool().rest_until - story.now)
        story.now = story.pool().rest_until
    assert rests == [20.0, REST_FIRST, 2 * REST_FIRST, 4 * REST_FIRST]


def test_a_stated_time_that_does_not_end_an_outage_is_believed_less_each_time() -> None:
    story, rests = Story(plan_of(["a"])), []
    for _ in range(4):
        story.attempt("a", K.OUTAGE, retry_at=story.now + 2)
        rests.append(story.pool().rest_until - story.now)
        story.now = story.pool().rest_until
    assert rests == [2.0, REST_FIRST, 2 * REST_FIRST, 4 * REST_FIRST]


def test_what_this_machine_lacks_is_looked_at_again_as_soon_as_it_said() -> None:
    story, rests = Story(plan_of(["a"])), []
    for _ in range(3):
        story.start("a")
        at = story.now + 5
        found = Result(Outcome(K.OUTAGE, "no processes", at), Exit(None, error="fork", lack="processes"))
        story.record(*after_attempt(story.run, story.task("a"), found, story.now))
        rests.append(story.pool().rest_until - story.now)
        assert story.task("a").not_before == 0.0
        story.now = at
    assert rests == [5.0, 5.0, 5.0]


def met_by_one(story: Story, kind: OutcomeKind, rounds: int) -> list[str]:
    """What is started while one task always ends so, and all others do not."""
    started: list[str] = []
    for _ in range(rounds):
        for name in story.start_all():
            started.append(name)
            story.now += 5
            if name == "a":
                story.end(name, kind)
            else:
                story.record(ev.AttemptExited(name, result(K.COMPLETED)), ev.VerificationPassed(name))
                story.record(ev.Landed(name))
        story.now = story.wake_at() or story.now
    return started


@pytest.mark.parametrize("kind", RESTS)
def test_a_task_that_alone_meets_trouble_does_not_keep_the_others_from_starting(kind: OutcomeKind) -> None:
    names = ["a", *(f"b{number}" for number in range(9))]
    story = Story(
        plan_of({name: task(priority=name == "a") for name in names}, {"codex": Provider(parallel=1)})
    )
    assert set(names) <= set(met_by_one(story, kind, 40))


def test_a_task_that_alone_meets_an_outage_for_hours_is_stuck_and_a_person_can_begin_it_again() -> None:
    names = ["a", *(f"b{number}" for number in range(99))]
    story = Story(
        plan_of({name: task(priority=name == "a") for name in names}, {"codex": Provider(parallel=1)})
    )
    began = story.now
    found = met_by_one(story, K.OUTAGE, 300)
    assert (story.task("a").status, found.count("a")) == ("stuck", MAX_OUTAGES)
    assert "others were answered" in story.task("a").remedy
    assert story.task("a").changed_at - began > 2 * 3600
    story.record(ev.TaskReset("a"))
    story.attempt("a", K.OUTAGE)
    assert story.task("a").status == "pending"


def test_a_long_outage_of_all_is_no_task_s_fault() -> None:
    story = Story(plan_of(["a", "b"]))
    story.claim("b")
    for _ in range(3 * MAX_OUTAGES):
        story.now = max(story.task("a").not_before, story.pool().rest_until, story.now + 1)
        story.attempt("a", K.OUTAGE)
    assert (story.task("a").status, story.task("a").tries) == ("pending", 0)


def test_who_stalls_goes_to_a_provider_that_is_open() -> None:
    providers = {"codex": Provider(fallback=("glm", "gemini")), "glm": Provider(), "gemini": Provider()}
    story = Story(plan_of({"a": task(), "b": task(), "c": task()}, providers))
    story.record(ev.ProviderRested("glm", 5000.0))
    story.attempt("a", K.STALLED)
    story.record(ev.ProviderStopped("gemini", "401"))
    story.attempt("b", K.STALLED)
    assert [story.task(name).provider for name in "ab"] == ["gemini", "glm"]
    story.record(ev.ProviderStopped("glm", "401"))
    story.attempt("c", K.STALLED)
    assert story.task("c").status == "stuck", "there is nobody to try it"


def test_work_that_is_found_wrong_later_does_not_vouch_for_its_provider() -> None:
    story = Story(plan_of(["a", "b", "c"]))
    story.claim("a")
    story.attempt("b", K.OUTAGE)
    story.now = story.pool().rest_until
    story.start("b")
    answered = story.pool().answered_at
    story.record(ev.RetryScheduled("a", result(K.VERIFY_FAILED), uses_try=False))
    assert (story.pool().probing, story.pool().answered_at) == (True, answered)
    assert story.decide() is None


def test_what_a_fallback_takes_over_comes_after_its_own_tasks() -> None:
    providers = {"codex": Provider(fallback=("glm",)), "glm": Provider(parallel=1)}
    story = Story(plan_of({"a": task(), "b": task("a"), "c": task(provider="glm")}, providers))
    story.record(ev.ProviderRested("codex", 5000.0))
    assert story.decide() == Start("c", "glm")
    story.record(ev.ProviderStopped("codex", "401"))
    assert story.decide() == Start("a", "glm"), "its own provider does not come back by itself"


# --- silence --------------------------------------------------------------------------------------------


def test_a_silent_provider_rests_and_costs_no_try_and_another_task_is_the_next_probe() -> None:
    story = Story(plan_of(["a", "b"]))
    found = story.attempt("a", K.SILENT)
    assert found == [
        ev.RetryScheduled("a", result(K.SILENT), story.now + 2 * REST_FIRST, uses_try=False),
        ev.ProviderRested("codex", story.now + REST_FIRST, "why"),
    ]
    story.now += REST_FIRST
    assert story.decide() == Start("b", "codex")


@pytest.mark.parametrize(("idle", "used"), [(None, 1), (600.0, 0), (900.0, 1)])
def test_who_is_silent_while_others_are_answered_uses_a_try(idle: float | None, used: int) -> None:
    story = Story(plan_of({"a": task(idle_timeout=idle), "b": task()}))
    story.start("a", "b")
    story.now += 600
    story.record(ev.AttemptExited("b", result(K.COMPLETED)))
    story.now += 400
    story.end("a", K.SILENT)
    assert (story.task("a").tries, story.pool().rests) == (used, 1 - used)


def test_who_is_silent_for_hours_is_silent_itself() -> None:
    story = Story(plan_of(["a"]))
    for number in range(MAX_SILENT + 3):
        assert story.task("a").tries == max(0, number - MAX_SILENT)
        story.now = max(story.task("a").not_before, story.pool().rest_until)
        story.attempt("a", K.SILENT)
    assert story.task("a").status == "failed"


def test_a_silent_provider_uses_up_no_budget_of_tries() -> None:
    story = Story(plan_of({"a": task(budget=Budget(attempts=1))}))
    story.attempt("a", K.SILENT)
    assert story.task("a").status == "pending"


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
    assert (story.task("a").provider, story.task("a").moved) == ("codex", False)


@pytest.mark.parametrize("kind", RESTS)
def test_what_waits_for_a_closed_provider_goes_to_its_fallback_until_that_is_full(kind: OutcomeKind) -> None:
    providers = {"codex": Provider(parallel=1, fallback=("glm",)), "glm": Provider(parallel=2)}
    tasks = {name: task(fallback=name != "b") for name in "abcd"}
    story = Story(plan_of(tasks, providers))
    story.attempt("a", kind)
    assert story.start_all() == ["a", "c"]
    assert [story.task(name).attempt.provider for name in "ac"] == ["glm", "glm"]  # type: ignore[union-attr]
    story.now += REST_FIRST
    assert story.start_all() == ["b"]


def test_a_limit_of_a_fallback_rests_the_fallback() -> None:
    story = Story(one(fallback=("glm",)))
    story.attempt("a", K.QUOTA, retry_at=9000.0)
    assert story.start_all() == ["a"]
    story.end("a", K.QUOTA, retry_at=5000.0)
    assert [story.pool(name).rest_until for name in ("codex", "glm")] == [9000.0, 5000.0]
    assert (story.decide(), story.wake_at()) == (None, 5000.0)
    story.now = 5000.0
    assert story.decide() == Start("a", "glm")


def test_what_waits_between_tries_may_go_to_the_fallback_when_its_wait_is_over() -> None:
    story = Story(one(fallback=("glm",)))
    story.attempt("a", K.CRASHED)
    story.record(ev.ProviderRested("codex", 9000.0))
    waits = story.task("a").not_before
    assert (story.decide(), story.wake_at()) == (None, waits)
    story.now = waits
    assert story.decide() == Start("a", "glm")


def test_a_stopped_provider_halts_the_run_only_if_no_fallback_can_help() -> None:
    story = Story(one(fallback=("glm",)))
    story.record(ev.ProviderRested("glm", 5000.0), ev.ProviderStopped("codex", "401"))
    assert (story.decide(), story.wake_at()) == (None, 5000.0)
    story.record(ev.ProviderStopped("glm", "401"))
    assert isinstance(story.decide(), RequestHalt)


def test_a_probing_fallback_is_waited_for() -> None:
    story = Story(plan_of({"a": task(), "b": task(provider="glm")}, one(fallback=("glm",)).providers))
    story.attempt("b", K.OUTAGE)
    story.now += REST_FIRST
    story.start("b")
    story.record(ev.ProviderStopped("codex", "401"))
    assert (story.decide(), story.wake_at()) == (None, story.now + PROBE_TRUSTED)


def test_a_pause_lasts_until_its_time_or_until_a_person_ends_it() -> None:
    story = Story(one())
    story.record(ev.ProviderPaused("codex", 1500.0, "lunch"))
    assert (story.decide(), story.wake_at()) == (None, 1500.0)
    story.record(ev.ProviderPaused("codex"), ev.RunStarted(), ev.Resumed())
    story.now = 1e9
    assert (story.decide(), story.wake_at()) == (None, None)
    story.record(ev.ProviderResumed("codex"))
    assert story.decide() == Start("a", "codex")


@pytest.mark.parametrize("kind", [*RESTS, *STOPS])
def test_when_no_fallback_is_open_the_task_waits_where_it_is(kind: OutcomeKind) -> None:
    story = Story(one(fallback=("glm",)))
    story.record(ev.ProviderStopped("glm", "401"))
    story.attempt("a", kind)
    assert (story.task("a").provider, story.task("a").moved) == ("codex", False)


def test_a_stopped_fallback_wakes_nobody() -> None:
    story = Story(one(fallback=("glm",)))
    story.record(ev.ProviderStopped("glm", "401"), ev.ProviderRested("codex", 5000.0))
    assert (story.decide(), story.wake_at()) == (None, 5000.0)


def test_a_command_that_hangs_has_no_provider_to_blame() -> None:
    story = Story(plan_of(["a"], {"codex": Provider(worker="command")}))
    [event] = story.attempt("a", K.SILENT)
    assert isinstance(event, ev.RetryScheduled)
    assert event.uses_try


def test_a_task_that_was_moved_for_its_own_outcome_stays_where_it_is() -> None:
    story = Story(one(fallback=("glm",)))
    story.attempt("a", K.STALLED)
    story.attempt("a", K.CRASHED)
    assert (story.task("a").provider, story.task("a").moved) == ("glm", True)
