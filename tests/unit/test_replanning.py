"""A plan that is changed while it runs, in the fold: what is refused, and what follows for all that hangs on it."""

from __future__ import annotations

from copy import deepcopy

import pytest
from core_making import Story, chain, plan_of, task

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.decide import Finish, Start
from daplug_supervisor.core.plan import Provider
from daplug_supervisor.core.results import OutcomeKind
from daplug_supervisor.core.surgery.replanning import waited_for
from daplug_supervisor.errors import IllegalTransitionError

K = OutcomeKind
TWO = {"codex": Provider(fallback=("glm",)), "glm": Provider()}


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (ev.TaskAdded("a", task()), "has a task 'a' already"),
        (ev.TaskAdded("n", task("zzz")), "task 'n' needs 'zzz', which there is not"),
        (ev.TaskAdded("n", task(parent="zzz")), "task 'n' is a part of 'zzz', which there is not"),
        (ev.TaskAdded("n", task(provider="zzz")), "task 'n' names no provider"),
        (ev.TaskAdded("n", task(provider="new"), Provider(fallback=("zzz",))), "falls back to 'zzz'"),
        (ev.TaskAdded("n", task("a", parent="a")), "tasks need each other: "),
        (ev.TaskChanged("zzz", task()), "has no task 'zzz'"),
        (ev.TaskChanged("a", task("b")), "tasks need each other: "),
        (ev.TaskChanged("a", task(parent="a")), "tasks need each other: a -> a"),
        (ev.TaskChanged("a", task(provider="zzz")), "task 'a' names no provider"),
        (ev.TaskChanged("run", task()), "task 'run' is running: it cannot be changed"),
        (ev.TaskRemoved("zzz"), "has no task 'zzz'"),
        (ev.TaskRemoved("run"), "task 'run' is running"),
        (ev.TaskRemoved("a"), "task 'b' needs 'a', which there is not"),
    ],
    ids=lambda value: value.kind if isinstance(value, ev.Event) else None,
)
def test_what_does_not_fit_is_refused_and_changes_nothing(event: ev.Event, words: str) -> None:
    story = Story(plan_of({"a": task(), "b": task("a"), "run": task()}))
    story.start("run")
    before = deepcopy(story.state)
    with pytest.raises(IllegalTransitionError, match=words):
        story.record(event)
    assert story.state == before


def test_a_new_task_is_ready_when_what_it_needs_is_done_and_reopens_a_finished_run() -> None:
    story = Story(chain("a"))
    story.finish("a")
    story.record(ev.RunFinished(), ev.TaskAdded("n", task("a")), ev.TaskAdded("m", task("n", "n")))
    assert story.run.finished_at is None
    assert (story.task("n").unmet, story.task("m").unmet, story.task("n").changed_at) == (0, 1, 1000.0)
    assert story.decide() == Start("n", "codex")


def test_a_task_with_many_behind_it_now_goes_first() -> None:
    story = Story(plan_of({"a": task(estimate=5.0), "b": task(), "c": task()}))
    assert story.decide() == Start("a", "codex")
    story.record(ev.TaskAdded("n", task("c", estimate=9.0)))
    assert (story.decide(), story.task("c").rank) == (Start("c", "codex"), 10.0)
    story.record(ev.TaskChanged("n", task("b", estimate=9.0)))
    assert (story.decide(), story.task("c").rank) == (Start("b", "codex"), 1.0)
    story.record(ev.TaskChanged("n", task(estimate=2.0)))
    assert (story.decide(), story.task("n").rank) == (Start("a", "codex"), 2.0)


def test_a_task_that_no_longer_needs_another_is_ready_and_the_other_way_round() -> None:
    story = Story(chain("a", "b", "c"))
    story.record(ev.TaskChanged("c", task()))
    assert sorted(entry[-1] for entry in story.pool().bound.ready) == ["a", "c"]
    story.record(ev.TaskChanged("a", task("c")))
    assert story.start_all() == ["c"]
    assert story.run.after == {"a": ["b"], "b": [], "c": ["a"]}


def test_dependents_stay_in_the_order_of_the_plan() -> None:
    story = Story(plan_of({"a": task(), "b": task(), "c": task("a")}))
    story.record(ev.TaskChanged("b", task("a")))
    assert story.run.after["a"] == ["b", "c"]


def test_what_has_failed_can_be_given_other_needs_and_is_not_started_by_that() -> None:
    story = Story(chain("a", "b"))
    story.attempt("a", K.PLAN_ERROR)
    story.record(ev.TaskChanged("a", task(title="A")))
    story.record(ev.TaskAdded("n", task()), ev.TaskChanged("a", task("n")))
    assert story.statuses("a") == ["failed"]
    story.tell("retry", "a", force=True)
    assert story.start_all() == ["n"]


def test_whoever_names_a_provider_means_it_whatever_took_the_task_over() -> None:
    story = Story(plan_of({"a": task()}, TWO))
    story.start("a")
    story.end("a", K.STALLED)
    assert (story.task("a").provider, story.task("a").moved) == ("glm", True)
    story.record(ev.TaskChanged("a", task(priority=3)))
    assert story.task("a").provider == "glm"
    story.record(ev.TaskChanged("a", task(provider="new"), provider=Provider(parallel=1)))
    found = story.task("a")
    assert (found.provider, found.moved, found.rerouted) == ("new", False, False)
    assert story.decide() == Start("a", "new")


def test_a_provider_that_the_plan_has_stays_as_it_is() -> None:
    story = Story(plan_of({"a": task()}, TWO))
    story.record(ev.TaskAdded("n", task(provider="glm"), Provider(parallel=9)))
    assert (story.pool("glm").limit, list(story.run.plan.providers)) == (3, ["codex", "glm"])


def test_what_was_changed_is_kept_in_mind_with_its_first_form() -> None:
    story = Story(chain("a", "b"))
    story.record(ev.TaskChanged("b", task("a", priority=1)), ev.TaskChanged("b", task("a", priority=2)))
    story.record(ev.TaskAdded("n", task()), ev.TaskRemoved("n"))
    assert story.run.edited == {"b": task("a"), "n": None}
    story.record(ev.PlanChanged(plan_of({"a": task(), "b": task("a", priority=7)})))
    assert story.run.edited == {"n": None}


def test_a_task_that_is_taken_out_is_forgotten() -> None:
    story = Story(chain("a", "b", "c"))
    story.record(*(ev.Notified("needs_person", f"needs_person/{name}/1") for name in "ab"))
    story.record(*(ev.HookRan("post_task", name) for name in "ab"))
    story.record(ev.TaskChanged("c", task()), ev.TaskRemoved("b", "not wanted"))
    assert (list(story.run.tasks), story.run.after) == (["a", "c"], {"a": [], "c": []})
    assert list(story.run.hooks) == [("post_task", "a")], "another task of that id has a hook of its own"
    assert list(story.run.notified) == ["needs_person/a/1"]
    story.finish("a", "c")
    assert story.decide() == Finish()


def test_what_a_change_makes_wait_is_found_without_a_look_at_the_rest() -> None:
    story = Story(plan_of({"a": task(), "p": task(), "c": task("a", parent="p"), "far": task("p")}))
    assert waited_for(story.run, {"n": task("p")}) == {"n": ("p",), "p": ("c",), "c": ("a",), "a": ()}
    assert waited_for(story.run, {"n": task(parent="a"), "far": task("a")}) == {
        "n": (),
        "far": ("a",),
        "a": ("n",),
    }
