"""Stages, and barriers between them: rows D11-D15 and D27 of the behaviours."""

from __future__ import annotations

import re

import pytest
from core_making import Story, plan_of, result, task

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.decide import Finish, Start
from daplug_supervisor.core.graph import MOST_STAGES
from daplug_supervisor.core.plan import Plan, Provider, Task
from daplug_supervisor.core.results import OutcomeKind
from daplug_supervisor.core.stages import NO_STAGE, held, holding, stages_of, too_many
from daplug_supervisor.core.surgery.edits import Edit
from daplug_supervisor.core.surgery.new_tasks import NewTask
from daplug_supervisor.errors import NotPossibleError

WIDE = {"codex": Provider(parallel=9)}
K = OutcomeKind

SIX = {
    "design": task(),
    "backend": task("design"),
    "frontend": task("design"),
    "tests": task("backend", "frontend"),
    "audit": task("tests"),
    "docs": task("audit"),
}


def barrier(tasks: dict[str, Task]) -> Plan:
    return plan_of(tasks, WIDE, stages="barrier")


def line(count: int, **options: str) -> dict[str, Task]:
    return {f"t{n:02}": task(*[f"t{n - 1:02}"][: n > 0], **options) for n in range(count)}


def two_stages() -> Story:
    """``a`` and ``b`` in the first stage; ``c`` needs ``a`` only."""
    return Story(barrier({"a": task(), "b": task(), "c": task("a")}))


# --- which stage --------------------------------------------------------------------------------------------


def test_stages_follow_from_what_is_needed() -> None:
    assert stages_of(SIX) == {"design": 0, "backend": 1, "frontend": 1, "tests": 2, "audit": 3, "docs": 4}


def test_a_part_is_in_the_stage_of_its_whole_which_comes_after_all_that_its_parts_need() -> None:
    found = stages_of(
        {
            "a": task(),
            "whole": task(),
            "one": task(parent="whole"),
            "two": task("one", "a", parent="whole"),
            "inner": task("two", parent="two"),
            "after": task("one"),
        }
    )
    assert found == {"a": 0, "whole": 1, "one": 1, "two": 1, "inner": 1, "after": 2}


def test_what_needs_parts_of_each_other_belongs_to_no_stage_nor_does_what_comes_after() -> None:
    tasks = {
        "p": task(),
        "p1": task(parent="p"),
        "p2": task("q1", parent="p"),
        "q": task(),
        "q1": task("p1", parent="q"),
        "after": task("q"),
        "other": task(),
    }
    assert stages_of(tasks) == {**dict.fromkeys(tasks, NO_STAGE), "other": 0}
    story = Story(barrier(tasks))
    assert not any(held(story.run, one) for one in story.run.tasks.values())
    story.finish("p1", "q1", "p2")
    assert story.decide() is not None
    story.record(ev.TaskAdded("new", task("after")))
    assert story.task("new").stage == NO_STAGE


def test_without_barriers_nothing_is_held_back() -> None:
    story = Story(plan_of({"a": task(), "b": task(), "c": task("a")}, WIDE))
    assert holding(story.run, story.task("c")) == (NO_STAGE, [])
    story.start("b")
    story.finish("a")
    assert story.decide() == Start("c", "codex")


# --- barriers -----------------------------------------------------------------------------------------------


def test_a_stage_begins_when_all_of_the_one_before_are_done_or_skipped() -> None:
    story = two_stages()
    story.finish("a")
    assert holding(story.run, story.task("c")) == (0, ["b"])
    assert story.decide() == Start("b", "codex")
    story.start("b")
    assert story.decide() is None
    story.end("b", K.BLOCKED)
    assert story.decide() == Finish()
    story.record(ev.RunFinished())
    story.tell("skip", "b")
    assert story.run.finished_at is None
    assert holding(story.run, story.task("c")) == (NO_STAGE, [])
    assert story.decide() == Start("c", "codex")


def test_the_last_task_of_a_stage_lets_the_whole_next_one_go_and_no_other() -> None:
    story = Story(barrier(SIX))
    started = [story.start_all()]
    for last in ("design", "backend", "frontend", "tests"):
        story.record(ev.AttemptExited(last, result(K.COMPLETED)))
        story.record(ev.VerificationPassed(last), ev.Landed(last))
        started.append(story.start_all())
    assert started == [["design"], ["backend", "frontend"], [], ["tests"], ["audit"]]
    assert (story.run.stage, story.run.left) == (3, [0, 0, 0, 1, 1])


def test_what_is_tried_again_holds_the_later_stages_back_again() -> None:
    story = two_stages()
    story.tell("skip", "b")
    story.finish("a")
    assert story.decide() == Start("c", "codex")
    story.tell("retry", "b")
    assert story.start_all() == ["b"]
    assert [entry[-1] for entry in story.pool().bound.ready] == []


def test_a_task_that_is_added_to_an_earlier_stage_holds_the_later_ones_back() -> None:
    story = two_stages()
    story.finish("a", "b")
    story.record(ev.TaskAdded("late", task()))
    assert story.start_all() == ["late"]
    story.record(ev.TaskAdded("last", task("c")))
    assert [story.task(name).stage for name in ("late", "c", "last")] == [0, 1, 2]
    assert holding(story.run, story.task("last")) == (0, ["late"])
    story.record(ev.TaskRemoved("last"), ev.TaskChanged("c", task()))
    assert story.start_all() == ["c"]


def test_parts_of_a_running_task_are_not_held_back_and_the_next_stage_waits_for_them() -> None:
    story = two_stages()
    story.start("a", "b")
    story.record(ev.TaskAdded("b1", task(parent="b")), ev.TaskAdded("b2", task("b1", parent="b")))
    story.record(ev.Delegated("b", result(K.DELEGATED)))
    assert story.start_all() == ["b1"]
    story.record(ev.AttemptExited("a", result(K.COMPLETED)), ev.VerificationPassed("a"), ev.Landed("a"))
    story.record(ev.AttemptExited("b1", result(K.COMPLETED)), ev.VerificationPassed("b1"), ev.Landed("b1"))
    assert story.start_all() == ["b2"]
    assert holding(story.run, story.task("c")) == (0, ["b", "b2"])
    story.record(ev.AttemptExited("b2", result(K.COMPLETED)), ev.VerificationPassed("b2"), ev.Landed("b2"))
    story.complete("b")
    assert story.start_all() == ["c"]


def test_a_part_that_needs_something_of_a_later_stage_moves_its_whole() -> None:
    story = two_stages()
    story.record(ev.TaskAdded("b1", task("c", parent="b")))
    assert [story.task(name).stage for name in ("a", "c", "b", "b1")] == [0, 1, 2, 2]
    story.record(ev.TaskAdded("b2", task("b1", "a", parent="b")))
    assert story.task("b2").stage == 2
    story.finish("a", "c")
    assert [entry[-1] for entry in sorted(story.pool().bound.ready)] == ["b1", "b"]


# --- ten of them --------------------------------------------------------------------------------------------


def test_more_than_ten_stages_are_too_many_with_barriers_or_of_parts() -> None:
    assert MOST_STAGES == 10
    assert list(too_many(barrier(line(10)))) == []
    assert list(too_many(barrier(line(11)))) == [("", 11)]
    assert list(too_many(plan_of(line(11)))) == []
    whole = {"whole": task(), **line(11, parent="whole")}
    assert list(too_many(plan_of({"p": task(), "c": task(parent="p"), **whole}))) == [("whole", 11)]


def test_no_task_is_created_that_makes_an_eleventh_stage() -> None:
    story = Story(barrier(line(10)))
    new = NewTask("new", "do it", needs=("t09",), provider="codex")
    with pytest.raises(NotPossibleError, match=r"the tasks would form 11 stages, and 10 are the most"):
        story.tell("create", new=(new,))
    story.tell("create", new=(NewTask("other", "do it", needs=("t08",), provider="codex"),))
    with pytest.raises(NotPossibleError, match="11 stages"):
        story.tell("update", "other", edit=Edit(add_needs=("t09",)))
    assert story.task("other").stage == 9
    story.tell("update", "other", edit=Edit(priority=5))


def test_no_part_is_created_that_makes_an_eleventh_stage_of_parts() -> None:
    story = Story(plan_of({"whole": task(), **line(10, parent="whole")}))
    words = re.escape(
        "the parts of task whole would form 11 stages, and 10 are the most: make parts of parts"
    )
    with pytest.raises(NotPossibleError, match=words):
        story.tell("create", new=(NewTask("new", "x", parent="whole", needs=("t09",), provider="codex"),))
    story.tell("create", new=(NewTask("new", "x", parent="t09", needs=("t08",), provider="codex"),))


def test_where_nothing_has_a_stage_a_change_may_give_it_one() -> None:
    tasks = {"p": task(), "p1": task(parent="p"), "p2": task("q", parent="p"), "q": task("p1")}
    story = Story(barrier(tasks))
    assert [story.task(name).stage for name in tasks] == [NO_STAGE] * 4
    story.record(ev.TaskChanged("q", task()))
    assert [story.task(name).stage for name in tasks] == [1, 1, 1, 0]
