"""What each kind of outcome is followed by, as events and as the state that they lead to."""

from __future__ import annotations

import pytest
from core_making import Story, plan_of, result, task
from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.decide import ConfirmHalt, Start
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.plan import Plan, Provider, Retry
from daplug_supervisor.core.results import RULES, OutcomeKind
from daplug_supervisor.core.retry import MAX_LOST, delay, fraction

K = OutcomeKind
RETRIED = [kind for kind, rule in RULES.items() if rule.follow == "retry" and rule.uses_try]


def one(attempts: int = 3, *, fallback: tuple[str, ...] = (), parallel: int = 3) -> Plan:
    """A plan of one task ``a`` in ``codex``, with two more providers."""
    codex = Provider(fallback=fallback, parallel=parallel)
    providers = {"codex": codex, "glm": Provider(fallback=("gemini",)), "gemini": Provider()}
    return plan_of({"a": task(retry=Retry(attempts, backoff=8.0, max_backoff=20.0))}, providers)


# --- waiting --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tries", "bound"), [(1, 30), (2, 60), (3, 120), (5, 480), (6, 900), (99, 900), (5000, 900)]
)
def test_the_longest_wait_doubles_up_to_a_limit(tries: int, bound: float) -> None:
    waits = [delay(f"r/t#{n}", tries, Retry()) for n in range(200)]
    assert 0 < min(waits) < bound * 0.1
    assert bound * 0.9 < max(waits) <= bound


def test_a_wait_follows_from_the_name_of_the_attempt_alone() -> None:
    assert delay("r/t#1", 2, Retry()) == delay("r/t#1", 2, Retry())
    assert delay("r/t#1", 2, Retry()) != delay("r/t#2", 2, Retry())
    assert fraction("r/t#1") == pytest.approx(0.639000092736256)  # pinned: a restart must find the same


def test_without_backoff_the_next_try_may_come_at_once() -> None:
    assert delay("r/t#1", 4, Retry(backoff=0)) == 0


# --- kinds that use a try -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in RETRIED if kind is not K.SILENT])
def test_a_try_is_used_and_after_the_last_one_the_task_has_failed(kind: OutcomeKind) -> None:
    story = Story(one())
    for tries, bound in ((1, 8.0), (2, 16.0)):
        [event] = story.attempt("a", kind)
        assert isinstance(event, ev.RetryScheduled)
        assert (event.uses_try, event.provider, story.task("a").tries) == (True, None, tries)
        assert story.now < event.not_before <= story.now + bound
        assert event.not_before == story.now + delay(f"r1/a#{tries}", tries, story.run.spec("a").retry)
        assert (story.task("a").not_before, story.task("a").reason) == (event.not_before, "why")
    [event] = story.attempt("a", kind)
    assert isinstance(event, ev.TaskFailed)
    assert (story.task("a").status, story.task("a").tries) == (Status.FAILED, 3)
    assert [past.number for past in story.task("a").past] == [1, 2, 3]


@pytest.mark.parametrize("kind", RETRIED)
@pytest.mark.parametrize("landing", [False, True], ids=["verifying", "landing"])
def test_a_claim_that_did_not_stand_uses_one_try_not_two(kind: OutcomeKind, landing: bool) -> None:
    story = Story(one(attempts=2))
    for status in (Status.PENDING, Status.FAILED):
        story.claim("a")
        if landing:
            story.record(ev.VerificationPassed("a"))
        story.end("a", kind)
        assert story.task("a").status is status
    assert story.task("a").tries == 2
    assert [past.result.outcome.kind for past in story.task("a").past] == [kind, kind]


@pytest.mark.parametrize("kind", [K.INTERRUPTED, K.LOST, K.RATE_LIMITED, K.OUTAGE, K.AUTH, K.BUDGET])
def test_what_is_no_fault_of_the_task_gives_the_try_of_its_claim_back(kind: OutcomeKind) -> None:
    story = Story(one(attempts=1))
    story.claim("a")
    story.end("a", kind)
    assert (story.task("a").status, story.task("a").tries) == (Status.PENDING, 0)


@pytest.mark.parametrize(
    ("kind", "status"), [(K.BLOCKED, "stuck"), (K.CONFLICT, "stuck"), (K.PLAN_ERROR, "failed")]
)
def test_what_another_try_cannot_help_ends_at_once(kind: OutcomeKind, status: str) -> None:
    story = Story(one())
    [event] = story.attempt("a", kind)
    assert story.task("a").status == status
    assert isinstance(event, ev.TaskFailed) or event == ev.TaskStuck("a", result(kind), RULES[kind].remedy)
    assert story.task("a").remedy == (RULES[kind].remedy if status == "stuck" else "")
    assert story.task("a").reason == "why"


# --- the same again, with another model -----------------------------------------------------------------

OTHER = [K.STALLED, K.UNVERIFIED]


@pytest.mark.parametrize("kind", OTHER)
def test_a_stalled_task_is_tried_once_by_another_provider_and_is_then_stuck(kind: OutcomeKind) -> None:
    story = Story(one(fallback=("glm", "gemini")))
    assert story.attempt("a", kind) == [ev.RetryScheduled("a", result(kind), provider="glm")]
    assert story.decide() == Start("a", "glm")
    [event] = story.attempt("a", kind)
    assert event == ev.TaskStuck("a", result(kind), RULES[kind].remedy)
    assert story.task("a").tries == 2


@pytest.mark.parametrize("kind", OTHER)
@pytest.mark.parametrize(
    ("attempts", "fallback"), [(3, ()), (1, ("glm",))], ids=["no fallback", "no try left"]
)
def test_a_stalled_task_without_other_provider_or_try_is_stuck(
    kind: OutcomeKind, attempts: int, fallback: tuple[str, ...]
) -> None:
    story = Story(one(attempts, fallback=fallback))
    story.attempt("a", kind)
    assert story.task("a").status is Status.STUCK


def test_a_task_that_stalls_in_a_fallback_is_tried_by_its_own_provider() -> None:
    story = Story(one(fallback=("glm",)))
    story.attempt("a", K.RATE_LIMITED)
    assert story.start_all() == ["a"]
    assert story.end("a", K.STALLED) == [ev.RetryScheduled("a", result(K.STALLED), provider="codex")]


def test_a_task_that_stalls_and_may_not_move_is_stuck() -> None:
    plan = one(fallback=("glm",))
    story = Story(replace(plan, tasks={"a": replace(plan.tasks["a"], fallback=False)}))
    story.attempt("a", K.STALLED)
    assert story.task("a").status is Status.STUCK


def test_a_reset_allows_another_model_again_beginning_with_the_planned_one() -> None:
    story = Story(one(fallback=("glm",)))
    story.attempt("a", K.STALLED)
    story.attempt("a", K.STALLED)
    story.record(ev.TaskReset("a"))
    found = story.task("a")
    assert (found.provider, found.moved, found.rerouted, found.tries) == ("codex", False, False, 0)
    story.attempt("a", K.STALLED)
    assert (found.status, found.provider) == (Status.PENDING, "glm")


# --- lost and interrupted -------------------------------------------------------------------------------


def test_three_attempts_lost_in_a_row_make_a_task_stuck_without_using_a_try() -> None:
    story = Story(one(attempts=1))
    for lost in range(1, MAX_LOST):
        [event] = story.attempt("a", K.LOST)
        assert isinstance(event, ev.RetryScheduled)
        assert story.now < event.not_before <= story.now + 8.0 * 2 ** (lost - 1)
        assert story.task("a").lost == lost
    [event] = story.attempt("a", K.LOST)
    assert event == ev.TaskStuck("a", result(K.LOST), RULES[K.LOST].remedy)
    assert story.task("a").tries == 0


@pytest.mark.parametrize("between", [K.FAILED, K.INTERRUPTED, K.RATE_LIMITED])
def test_another_outcome_in_between_begins_the_count_of_lost_ones_anew(between: OutcomeKind) -> None:
    story = Story(one(attempts=9))
    for kind in (K.LOST, K.LOST, between, K.LOST, K.LOST):
        story.attempt("a", kind)
    assert story.task("a").status is Status.PENDING


def test_an_interrupted_attempt_uses_no_try_and_is_repeated_without_a_wait() -> None:
    story = Story(one(attempts=1))
    for _ in range(5):
        assert story.attempt("a", K.INTERRUPTED) == [
            ev.RetryScheduled("a", result(K.INTERRUPTED), uses_try=False)
        ]
    assert story.task("a").tries == 0
    assert story.decide() == Start("a", "codex")


# --- the rest -------------------------------------------------------------------------------------------


def test_a_spent_budget_halts_the_run_and_another_provider_does_not_go_on_spending() -> None:
    story = Story(one(fallback=("glm",)))
    retried, halt = story.attempt("a", K.BUDGET, detail="over 5 USD")
    assert retried == ev.RetryScheduled("a", result(K.BUDGET, "over 5 USD"), uses_try=False)
    assert halt == ev.HaltRequested("over 5 USD: raise the budget, then resume", "failure")
    assert story.decide() == ConfirmHalt()
    story.record(ev.Halted(), ev.Resumed())
    assert story.decide() == Start("a", "codex")


@pytest.mark.parametrize("kind", [kind for kind in K if kind is not K.COMPLETED])
@pytest.mark.parametrize("verifying", [False, True])
def test_an_attempt_that_was_to_be_cancelled_is_not_tried_again(kind: OutcomeKind, verifying: bool) -> None:
    story = Story(one(fallback=("glm",)))
    if verifying:
        story.claim("a")
    else:
        story.start("a")
    story.record(ev.CancelRequested("a", "not wanted"))
    assert story.end("a", kind) == [ev.TaskCancelled("a", "not wanted")]
    assert (story.task("a").status, story.task("a").cancelling) == (Status.CANCELLED, False)


def test_what_was_cancelled_and_does_not_land_is_not_tried_again() -> None:
    story = Story(one())
    story.claim("a")
    story.record(ev.CancelRequested("a"), ev.VerificationPassed("a"))
    story.end("a", K.CONFLICT)
    assert (story.task("a").status, story.task("a").cancelling) == (Status.CANCELLED, False)
