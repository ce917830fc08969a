"""What the fold remembers, and what it refuses."""

from __future__ import annotations

from copy import deepcopy

import pytest
from core_making import RUN, Story, chain, others, plan_of, result, samples, task

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.decide import Finish, Start
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.plan import Provider, Task
from daplug_supervisor.core.results import OutcomeKind
from daplug_supervisor.core.state import Attempt, State, apply, fold
from daplug_supervisor.errors import IllegalTransitionError

TWO = {"codex": Provider(), "glm": Provider()}


def refused(story: Story, event: ev.Event, words: str) -> None:
    before = deepcopy(story.state)
    with pytest.raises(IllegalTransitionError, match=words):
        story.record(event)
    assert story.state == before


# --- refusals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", [*others(chain("a"))[5:], ev.Landed("a")], ids=lambda event: event.kind)
def test_an_event_of_an_unknown_run_is_refused(event: ev.Event) -> None:
    state = State()
    with pytest.raises(IllegalTransitionError, match="no run 'r1'"):
        apply(state, ev.Entry(1, RUN, 0.0, event))
    assert state == State()


@pytest.mark.parametrize("event", samples("nobody").values(), ids=lambda event: event.kind)
def test_an_event_of_an_unknown_task_is_refused(event: ev.TaskEvent) -> None:
    refused(Story(chain("a")), event, "no task 'nobody'")


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (ev.RunSubmitted(chain("a"), "/t"), "exists already"),
        (ev.TaskAdded("a", task()), "has a task 'a' already"),
        (ev.Halted(), "was not asked to halt"),
        (ev.ProviderRested("gone", 5.0), "no provider 'gone'"),
        (ev.ProviderStopped("gone", "401"), "no provider 'gone'"),
        (ev.ProviderResumed("gone"), "no provider 'gone'"),
        (ev.AttemptStarted("a", 1, "t", "gone"), "no provider 'gone'"),
        (ev.TaskAdded("new", task("gone")), "needs 'gone'"),
        (ev.TaskAdded("new", task(provider="gone")), "names no provider"),
        (ev.TaskAdded("new", Task(command=("true",))), "names no provider"),
        (ev.PlanChanged(plan_of({"a": task("b"), "b": task("a")})), "a -> b -> a"),
        (ev.PlanChanged(plan_of(["a"], {"codex": Provider(fallback=("gone",))})), "falls back to 'gone'"),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_an_event_that_does_not_fit_its_run_is_refused_and_changes_nothing(
    event: ev.Event, words: str
) -> None:
    refused(Story(chain("a")), event, words)


def test_a_retry_with_an_unknown_provider_is_refused_and_changes_nothing() -> None:
    story = Story(chain("a"))
    story.start("a")
    refused(story, ev.RetryScheduled("a", result(), provider="gone"), "no provider 'gone'")


def test_an_unsound_plan_is_not_taken_on() -> None:
    state = State()
    with pytest.raises(IllegalTransitionError, match="cannot have this plan: task 'a' needs 'b'"):
        apply(state, ev.Entry(1, RUN, 0.0, ev.RunSubmitted(plan_of({"a": task("b")}), "/t")))
    assert state == State()


@pytest.mark.parametrize("status", ["running", "verifying", "landing", "delegated"])
def test_what_is_under_way_cannot_leave_the_plan_nor_lose_its_provider(status: str) -> None:
    story = Story(plan_of({"a": task(), "b": task(provider="glm")}, TWO))
    story.start("a")
    if status == "delegated":
        story.record(ev.Delegated("a"))
    elif status != "running":
        story.record(ev.AttemptExited("a", result(OutcomeKind.COMPLETED)))
        story.record(*[ev.VerificationPassed("a")][: status == "landing"])
    assert story.task("a").status == status
    refused(story, ev.PlanChanged(plan_of({"b": task(provider="glm")}, TWO)), "cannot leave the plan")
    without = plan_of({"a": task(provider="glm"), "b": task(provider="glm")}, {"glm": Provider()})
    refused(story, ev.PlanChanged(without), "with its old provider")


# --- tasks ----------------------------------------------------------------------------------------------


def test_a_spawned_attempt_is_known_by_its_process_and_its_deadline() -> None:
    story = Story(chain("a"))
    story.start("a")
    story.now += 1
    story.record(ev.AttemptSpawned("a", 7, 8, "boot", 99.0))
    assert story.task("a").attempt == Attempt(1, "a-1", "codex", 1000.0, 1001.0, 7, 8, "boot", 99.0)


def test_a_new_attempt_forgets_why_the_last_one_was_repeated_and_until_when() -> None:
    story = Story(chain("a"))
    story.attempt("a", OutcomeKind.FAILED)
    story.start("a")
    assert (story.task("a").not_before, story.task("a").reason) == (0.0, "")


def test_the_results_of_all_attempts_are_kept_the_last_one_being_the_last() -> None:
    story = Story(chain("a"))
    assert story.task("a").last is None
    story.attempt("a", OutcomeKind.CRASHED)
    story.finish("a")
    assert [(past.number, past.result.outcome.kind) for past in story.task("a").past] == [
        (1, OutcomeKind.CRASHED),
        (2, OutcomeKind.COMPLETED),
    ]
    assert story.task("a").last == result(OutcomeKind.COMPLETED)


def test_a_reason_is_kept_until_the_next_one() -> None:
    story = Story(chain("a"))
    story.start("a")
    story.record(ev.CancelRequested("a", "not wanted"), ev.TaskCancelled("a"))
    assert story.task("a").reason == "not wanted"
    story.record(ev.TaskReset("a", "wanted after all"))
    assert story.task("a").reason == "wanted after all"
    story.record(ev.TaskAdopted("a", "found done"))
    assert story.task("a").reason == "found done"


def test_a_reset_forgets_tries_waits_and_remedies_but_not_the_past() -> None:
    story = Story(chain("a"))
    story.attempt("a", OutcomeKind.FAILED)
    story.attempt("a", OutcomeKind.BLOCKED)
    story.record(ev.TaskReset("a"))
    found = story.task("a")
    assert (found.tries, found.lost, found.not_before, found.reason, found.remedy) == (0, 0, 0.0, "", "")
    assert len(found.past) == 2
    assert story.decide() == Start("a", "codex")


def test_a_task_that_was_done_before_satisfies_its_dependents_without_an_attempt() -> None:
    story = Story(chain("a", "b"))
    story.record(ev.TaskAdopted("a"))
    assert story.decide() == Start("b", "codex")


def test_resetting_a_skipped_task_holds_back_only_the_dependents_that_have_not_started() -> None:
    story = Story(plan_of({"a": task(), "ran": task("a"), "runs": task("a"), "waits": task("a")}))
    story.record(ev.TaskSkipped("a"))
    story.finish("ran")
    story.start("runs")
    story.record(ev.TaskReset("a"))
    assert [story.task(name).status.value for name in ("ran", "runs", "waits")] == [
        "done",
        "running",
        "pending",
    ]
    assert [entry[-1] for entry in story.pool().bound.ready] == ["a"]
    story.end("runs", OutcomeKind.INTERRUPTED)
    story.finish("a")
    assert sorted(entry[-1] for entry in story.pool().bound.ready) == ["runs", "waits"]


def test_a_need_that_is_named_twice_counts_once() -> None:
    story = Story(plan_of({"a": task(), "b": task("a", "a")}))
    story.record(ev.TaskSkipped("a"))
    assert story.task("b").unmet == 0
    story.record(ev.TaskReset("a"))
    assert [entry[-1] for entry in story.pool().bound.ready] == ["a"]
    story.finish("a")
    assert story.decide() == Start("b", "codex")


# --- runs and the directory -----------------------------------------------------------------------------


def test_a_halt_keeps_who_asked_when_why_and_what_ran() -> None:
    story = Story(chain("a"))
    story.start("a")
    story.record(ev.HaltRequested("enough", "stop_file", ("a",)), ev.HaltRequested("again", "command"))
    story.now += 5
    story.end("a", OutcomeKind.INTERRUPTED)
    story.record(ev.Halted())
    halt = story.run.halt
    assert halt is not None
    assert (halt.by, halt.reason, halt.running) == ("stop_file", "enough", ("a",))
    assert (halt.requested_at, halt.halted_at) == (1000.0, 1005.0)
    story.record(ev.Resumed())
    assert story.run.halt is None


def test_a_start_lifts_halts_and_stops_and_counts_failures_anew_but_lets_providers_rest() -> None:
    story = Story(plan_of(["a", "b"], TWO, on_failure="halt"))
    story.attempt("a", OutcomeKind.PLAN_ERROR)
    story.record(
        ev.ProviderStopped("codex", "401"),
        ev.ProviderRested("codex", 5000.0),
        ev.ProviderStopped("glm", "401"),
    )
    story.record(ev.HaltRequested("r", "failure"), ev.Halted())
    story.now += 50
    story.record(ev.RunStarted(parallel=1))
    run = story.run
    assert (run.halt, run.fresh_failures, run.starts, run.started_at, run.parallel) == (None, 0, 2, 1050.0, 1)
    assert [pool.stopped for pool in run.pools.values()] == [False, False]
    assert story.pool().rest_until == 5000.0


def test_a_reset_opens_a_finished_run_even_if_the_task_is_blocked() -> None:
    story = Story(chain("a", "b"))
    story.record(ev.TaskCancelled("a"), ev.TaskCancelled("b"), ev.RunFinished(), ev.TaskReset("b"))
    assert story.run.finished_at is None
    assert story.decide() == Finish()


@pytest.mark.parametrize("kind", ["skip", "adopt"])
def test_whatever_makes_a_task_ready_opens_a_finished_run(kind: str) -> None:
    story = Story(chain("a", "b", "c"))
    story.attempt("a", OutcomeKind.BLOCKED)
    assert story.decide() == Finish()
    story.record(ev.RunFinished())
    story.record(ev.TaskSkipped("b") if kind == "skip" else ev.TaskAdopted("b"))
    assert story.run.finished_at is None
    assert story.decide() == Start("c", "codex")


def test_the_directory_knows_who_supervises_it() -> None:
    started, answered = ev.SupervisorStarted(1, "boot", "0.1"), ev.CommandAnswered("c", "halt", applied=True)
    state = fold([ev.Entry(1, "", 0.0, started), ev.Entry(2, "", 0.0, answered)])
    assert (state.supervisor, state.seq) == (started, 2)
    repaired = ev.Entry(3, "", 0.5, ev.JournalRepaired("damaged-1"))
    assert fold([repaired], state).supervisor == started
    assert fold([ev.Entry(4, "", 1.0, ev.SupervisorStopped())], state).supervisor is None


def test_a_run_knows_which_commands_it_has_answered() -> None:
    story = Story(chain("a"))
    story.record(
        ev.CommandAnswered("c1", "halt", applied=True), ev.CommandAnswered("c2", "skip", applied=False)
    )
    assert story.run.answered == {"c1", "c2"}


def test_two_runs_do_not_mix() -> None:
    story = Story(chain("a"))
    before = deepcopy(story.run)
    apply(story.state, ev.Entry(9, "r2", 5.0, ev.RunSubmitted(chain("a"), "/other")))
    apply(story.state, ev.Entry(10, "r2", 5.0, ev.TaskSkipped("a")))
    assert story.run == before
    assert story.state.runs["r2"].tasks["a"].status is Status.SKIPPED
