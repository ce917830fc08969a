"""A task that hands its work to its children: rows C4, C8 and C13-C21 of the behaviours, as the core has them."""

from __future__ import annotations

import pytest
from core_making import Story, plan_of, result, task

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.claims import Claim, kept
from daplug_supervisor.core.decide import Complete, ConfirmHalt, Finish, RequestHalt, Start
from daplug_supervisor.core.delegation import children_done, progress
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.plan import Budget, Provider, Task
from daplug_supervisor.core.queues import selected
from daplug_supervisor.core.results import Exit, Outcome, OutcomeKind, Result, Usage
from daplug_supervisor.core.state import fold
from daplug_supervisor.errors import IllegalTransitionError

K = OutcomeKind
ONE = {"codex": Provider(parallel=1)}
DONE = result(K.DELEGATED, usage=Usage(input=30))


def family(*more: str, providers: dict[str, Provider] | None = None, **options: object) -> Story:
    """``p`` has divided its work among ``c1`` and ``c2``, which needs ``c1``; ``after`` needs ``p``."""
    tasks = {"p": task(delegate=1), "after": task("p"), **{name: task() for name in more}}
    story = Story(plan_of(tasks, providers or ONE, **options))
    story.start("p")
    story.record(ev.TaskAdded("c1", task(parent="p")), ev.TaskAdded("c2", task("c1", parent="p")))
    return story


def delegated(*more: str, providers: dict[str, Provider] | None = None, **options: object) -> Story:
    story = family(*more, providers=providers, **options)
    story.record(ev.DelegationRequested("p"), ev.Delegated("p", DONE, "refs/kept/p"))
    return story


def test_creating_a_child_sets_its_parent_and_the_parents_children_in_one_event() -> None:
    story = family()
    assert story.run.spec("c1").parent == "p"
    assert (story.task("p").children, story.task("p").open) == (["c1", "c2"], 2)


def test_with_one_slot_the_children_run_one_after_the_other_and_then_the_parent_is_done() -> None:
    story = family()
    assert story.decide() is None
    story.record(ev.DelegationRequested("p"))
    assert (story.task("p").delegating, story.pool().running) == (True, 1)
    story.record(ev.Delegated("p", DONE, "refs/kept/p"))
    found = story.task("p")
    assert (found.delegating, story.pool().running, story.run.active) == (False, 0, 0)
    assert (found.kept, found.tries, found.spent.tokens, story.run.spent.tokens) == ("refs/kept/p", 0, 30, 30)
    assert progress(found) == (0, 2)
    assert story.decide() == Start("c1", "codex")
    story.finish("c1")
    assert progress(found) == (1, 2)
    assert story.decide() == Start("c2", "codex")
    story.finish("c2")
    story.complete("p")
    assert story.decide() == Start("after", "codex")
    assert [(one.number, one.of_children) for one in found.past] == [(1, False), (2, True)]
    assert found.attempt is not None
    assert found.attempt.of_children
    assert (found.tries, story.run.spent.attempts) == (1, 2)
    assert fold(story.entries) == story.state


def test_a_parent_is_completed_once_also_if_its_last_child_was_done_while_nobody_looked() -> None:
    story = delegated()
    story.finish("c1", "c2")
    story.record(ev.RunStarted())
    assert story.decide() == Complete("p")
    story.record(children_done(story.run, story.task("p"), "token"))
    assert story.run.whole == {}
    assert story.decide() is None
    with pytest.raises(IllegalTransitionError, match="is verifying: children_done cannot follow"):
        story.record(children_done(story.run, story.task("p"), "token"))


def test_looking_at_what_children_came_to_takes_a_place_but_asks_nothing_of_the_provider() -> None:
    story = delegated("other")
    story.finish("c1", "c2")
    story.record(ev.ProviderRested("codex", 9000.0), ev.ProviderPaused("codex"))
    story.start("other")
    assert story.decide() is None
    story.end("other", K.FAILED)
    assert story.decide() == Complete("p")
    story.record(children_done(story.run, story.task("p"), "token"))
    assert story.pool().running == 1
    story.record(ev.TaskStuck("p", result(K.VERIFY_FAILED)))
    assert (story.pool().answered_at, story.pool().probing) == (1000.0, True)


def test_what_children_came_to_is_looked_at_even_if_no_provider_can_start_anything() -> None:
    story = delegated("other", budget=Budget(attempts=3))
    story.record(ev.ProviderStopped("codex", "401"))
    assert isinstance(story.decide(), RequestHalt)
    story.tell("skip", "c1")
    story.tell("skip", "c2")
    assert story.decide() == Complete("p")
    story.task("other").not_before = 0.0
    story.run.spent.attempts = 3
    story.tell("skip", "other")
    assert story.decide() == Complete("p")


def test_a_budget_of_tries_is_not_spent_by_completing() -> None:
    story = delegated(budget=Budget(attempts=2))
    story.finish("c1", "c2")
    assert story.decide() == Complete("p")


def test_a_run_with_no_place_at_all_waits_with_that_too() -> None:
    story = delegated("other", providers={"codex": Provider(parallel=3)})
    story.finish("c1", "c2")
    story.run.parallel = 1
    story.start("other")
    assert story.decide() is None


def test_nothing_is_completed_once_the_run_is_to_halt() -> None:
    story = delegated(on_failure="halt")
    story.finish("c1", "c2")
    story.run.fresh_failures = 1
    assert isinstance(story.decide(), RequestHalt)
    story.record(ev.HaltRequested("enough", "command"))
    assert story.decide() == ConfirmHalt()


@pytest.mark.parametrize("kind", [K.PLAN_ERROR, K.BLOCKED])
def test_a_child_that_is_not_done_keeps_the_parent_waiting_until_a_person_has_it_done(kind: K) -> None:
    story = delegated()
    story.finish("c1")
    story.attempt("c2", kind)
    assert story.statuses("p", "after") == ["delegated", "pending"]
    assert story.decide() == Finish()
    story.record(ev.RunFinished())
    story.tell("retry", "c2", force=True)
    story.finish("c2")
    story.complete("p")


def test_a_cancelled_child_keeps_it_waiting_too_and_skipping_it_does_not() -> None:
    story = delegated()
    story.finish("c1")
    story.tell("cancel", "c2")
    story.record(ev.RunFinished())
    assert story.decide() is None
    story.tell("skip", "c2")
    assert story.run.finished_at is None
    story.complete("p")


def test_skipping_the_last_child_of_a_finished_run_goes_on_with_it() -> None:
    story = delegated("other")
    story.record(ev.TaskChanged("c2", task("other", parent="p")))
    story.finish("c1")
    story.attempt("other", K.PLAN_ERROR)
    assert story.decide() == Finish()
    story.record(ev.RunFinished())
    story.tell("skip", "c2")
    assert story.run.finished_at is None
    story.complete("p")


def test_a_child_that_is_split_is_done_when_its_parts_are_and_so_on_upwards() -> None:
    story = delegated()
    story.finish("c1")
    story.attempt("c2", K.BLOCKED)
    story.record(ev.TaskAdded("c21", task(parent="c2")), ev.TaskReset("c2"), ev.Delegated("c2"))
    assert story.start_all() == ["c21"]
    story.record(ev.AttemptExited("c21", result(K.COMPLETED)), ev.VerificationPassed("c21"), ev.Landed("c21"))
    story.complete("c2")
    story.complete("p")
    assert story.start_all() == ["after"]


def test_removing_the_parent_leaves_its_children_running() -> None:
    story = delegated()
    story.start("c1")
    story.record(ev.TaskChanged("after", task()), ev.TaskRemoved("p"))
    assert "p" not in story.run.tasks
    assert story.run.spec("c1").parent is None
    assert story.statuses("c1", "c2") == ["running", "pending"]
    assert (story.run.edited["p"], story.run.edited["c1"]) == (task(delegate=1), None)


def test_removing_the_last_open_child_completes_the_parent_and_the_only_one_does_not() -> None:
    story = delegated()
    story.finish("c1")
    story.record(ev.RunFinished(), ev.TaskRemoved("c2"))
    assert story.decide() == Complete("p")
    story = Story(plan_of({"p": task(), "c": task(parent="p")}))
    story.record(ev.Delegated("p"), ev.TaskRemoved("c"))
    assert (story.task("p").open, story.run.whole, story.decide()) == (0, {}, Finish())


def test_a_parent_without_children_is_never_complete() -> None:
    story = Story(plan_of(["p"]))
    story.start("p")
    story.record(ev.Delegated("p"))
    assert story.decide() == Finish()


def test_work_of_children_that_does_not_pass_goes_back_to_the_parents_own_agent() -> None:
    story = Story(plan_of({"p": Task(instructions="do", provider="codex"), "c": task(parent="p")}, ONE))
    story.start("p")
    story.record(ev.Delegated("p", DONE))
    story.finish("c")
    story.record(children_done(story.run, story.task("p"), "token"))
    story.end("p", K.VERIFY_FAILED)
    assert (story.task("p").status, story.task("p").fixes, story.task("p").tries) == (Status.PENDING, 1, 0)
    assert story.decide() == Start("p", "codex")
    story.finish("p")
    assert [one.number for one in story.task("p").past] == [1, 2, 3]


def test_who_asks_for_a_task_asks_for_its_parts() -> None:
    story = Story(plan_of({"p": task(), "c": task(parent="p"), "d": task(parent="c"), "other": task()}))
    story.record(ev.RunStarted(("c",)))
    assert [name for name in story.run.tasks if selected(story.run, name)] == ["c", "d"]
    assert sorted(story.start_all()) == ["c", "d"]


def test_an_attempt_that_ends_with_delegating_is_no_try() -> None:
    story = family()
    assert story.end("p", K.DELEGATED) == [ev.Delegated("p", result(K.DELEGATED))]
    assert story.task("p").tries == 0


def test_a_cancelled_task_is_not_delegated() -> None:
    story = family()
    story.record(ev.CancelRequested("p", "no"))
    assert story.end("p", K.DELEGATED) == [ev.TaskCancelled("p", "no")]


# --- what it hands on ---------------------------------------------------------------------------------------


def handed(story: Story, name: str, **outputs: object) -> None:
    story.start(name)
    claim = kept(Claim(outputs=outputs))
    story.record(ev.AttemptExited(name, Result(Outcome(K.COMPLETED, claim=claim), Exit(0))))
    story.record(ev.VerificationPassed(name), ev.Landed(name))


def test_a_parent_hands_on_what_its_children_do_as_far_as_it_is_to() -> None:
    tasks = {"p": task(outputs=("x", "y", "z"))} | {f"c{n}": task(parent="p") for n in range(4)}
    story = Story(plan_of(tasks, ONE))
    story.record(ev.Delegated("p"))
    handed(story, "c0", x=1, y=1, w=9)
    handed(story, "c1", y=2)
    story.tell("skip", "c2")
    story.record(ev.TaskAdopted("c3"))
    event = children_done(story.run, story.task("p"), "token")
    assert (event.number, event.token, event.provider) == (1, "token", "codex")
    assert event.result.exit == Exit(0)
    assert event.result.outcome == Outcome(
        K.COMPLETED, "its 4 children are done or skipped", claim=kept(Claim(outputs={"x": 1, "y": 2}))
    )


def test_of_one_child_that_is_said_so() -> None:
    story = Story(plan_of({"p": task(), "c": task(parent="p")}, ONE))
    story.record(ev.Delegated("p"))
    story.finish("c")
    outcome = children_done(story.run, story.task("p"), "token").result.outcome
    assert (outcome.detail, outcome.claim) == ("its child is done", None)
