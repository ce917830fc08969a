"""Orchestrations: their records, stages, hand-offs, state and events: D4, D18, D19, D24, D26, D27, D29, D31, D33."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from core_making import RUN, Story, chain, plan_of, result, task

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.claims import KEY
from daplug_supervisor.core.health import Suspect
from daplug_supervisor.core.plan import Criterion, Provider, Task
from daplug_supervisor.core.results import Exit, Outcome, OutcomeKind, Result
from daplug_supervisor.core.stages import stages_of
from daplug_supervisor.views.orchestration.course import Course
from daplug_supervisor.views.orchestration.events import Line, follow, new_course
from daplug_supervisor.views.orchestration.handoffs import handoff
from daplug_supervisor.views.orchestration.records import Orchestration, orchestrations
from daplug_supervisor.views.orchestration.state import (
    Orchestrations,
    SubtaskHealth,
    health_now,
    state_of_all,
    tally,
)

FAILS = OutcomeKind.FAILED


def told(story: Story) -> tuple[Course, list[Line]]:
    """The course of a story's run, and all that is told of it."""
    course = new_course(story.entries[0])
    assert course is not None
    return course, [line for entry in story.entries for line in follow(course, entry)]


def course_of(story: Story) -> Course:
    return told(story)[0]


def types(story: Story, of: str = "") -> list[str]:
    return [line.type for line in told(story)[1] if of in ("", line.orchestration_id)]


def record(story: Story, parent: str = "", *suspects: Suspect) -> Orchestration:
    return orchestrations(course_of(story), story.run, suspects)[parent]


def diamond(**more: Any) -> Story:
    tasks = {"a": task(), "b": task("a"), "c": task("a"), "d": task("b", "c")}
    return Story(plan_of(tasks, **more))


def family(**more: Any) -> Story:
    """A task that is divided into two parts, one after the other, and one behind it."""
    tasks = {
        "whole": task(title="Build it", owner="development"),
        "one": task(parent="whole", owner="development"),
        "two": task("one", parent="whole", owner="security"),
        "after": task("whole"),
    }
    return Story(plan_of(tasks), **more)


def delegate(story: Story) -> None:
    story.start("whole")
    story.record(ev.DelegationRequested("whole"), ev.Delegated("whole", result(OutcomeKind.DELEGATED)))


def complete(story: Story, name: str) -> None:
    story.record(
        ev.ChildrenDone(name, 2, "token-2", "codex", result(OutcomeKind.COMPLETED)),
        ev.VerificationPassed(name),
        ev.Landed(name),
    )


# --- events


def test_the_lines_of_a_run_from_beginning_to_end() -> None:
    story = diamond()
    story.finish("a", "b", "c", "d")
    story.record(ev.RunFinished())
    _, lines = told(story)
    assert [(line.type, line.subtask_id or line.stage) for line in lines] == [
        ("orchestration_started", None),
        ("stage_started", 1),
        ("subtask_started", "a"),
        ("subtask_completed", "a"),
        ("stage_completed", 1),
        ("stage_started", 2),
        ("subtask_started", "b"),
        ("subtask_completed", "b"),
        ("subtask_started", "c"),
        ("subtask_completed", "c"),
        ("stage_completed", 2),
        ("stage_started", 3),
        ("subtask_started", "d"),
        ("subtask_completed", "d"),
        ("stage_completed", 3),
        ("orchestration_completed", None),
    ]
    assert msgspec.to_builtins(lines[0]) == {
        "timestamp": "1970-01-01T00:16:40.000Z",
        "type": "orchestration_started",
        "orchestration_id": "orch-r1",
        "subtasks": 4,
        "run": "r1",
        "seq": 2,
    }
    assert (lines[2].attempt, lines[2].provider, lines[2].stage) == (1, "codex", 1)
    assert new_course(story.entries[1]) is None


def test_a_run_that_halts_and_goes_on() -> None:
    story = Story(chain("a"))
    story.record(ev.HaltRequested("enough", "command"), ev.Halted())
    assert course_of(story).status(course_of(story).groups[""]) == "halted"
    story.record(ev.Resumed(), ev.RunStarted(), ev.RunStarted(), ev.ProviderRested("codex", 5.0))
    assert types(story) == [
        "orchestration_started",
        "orchestration_halted",
        "orchestration_resumed",
        "orchestration_resumed",
    ]
    assert record(story).status == "in_progress"


def test_tries_are_told_with_why_and_what_is_done_otherwise() -> None:
    story = Story(plan_of({"a": task()}, {"codex": Provider(fallback=("other",)), "other": Provider()}))
    story.start("a")
    story.record(ev.RetryScheduled("a", result(FAILS, "boom"), provider="other"))
    story.start("a")
    story.record(ev.RetryScheduled("a", result(FAILS, "")))
    story.start("a", provider="other")
    story.record(ev.TaskFailed("a", result(FAILS, "again")), ev.RunFinished())
    _, lines = told(story)
    retried = [line for line in lines if line.type == "subtask_retried"]
    assert [(line.retry_count, line.reason, line.modifications) for line in retried] == [
        (1, "boom", ("another provider: other",)),
        (2, "failed", ()),
    ]
    assert [line.type for line in lines[-3:]] == [
        "subtask_failed",
        "orchestration_blocked",
        "orchestration_failed",
    ]
    blocked = lines[-2]
    assert (blocked.orchestration_status, blocked.blocking_subtask) == ("blocked", "a")
    assert (blocked.reason, blocked.attempt) == ("again", 3)


def test_an_agent_is_told_what_was_wrong() -> None:
    agent = task().__class__(instructions="do it", provider="codex")
    story = Story(plan_of({"a": agent}))
    kinds = (
        (OutcomeKind.VERIFY_FAILED, False),
        (OutcomeKind.VERIFY_FAILED, True),
        (OutcomeKind.CONFLICT, False),
        (OutcomeKind.FAILED, False),
    )
    for kind, last in kinds:
        story.start("a")
        story.record(ev.RetryScheduled("a", result(kind), last_fix=last))
    _, lines = told(story)
    assert [line.modifications for line in lines if line.type == "subtask_retried"] == [
        ("told what was found",),
        ("told all that was tried",),
        ("told what it conflicts with",),
        ("told how this one ended",),
    ]
    retries = record(story).retries
    assert [(one.retry_count, one.retry_reason) for one in retries] == [
        (1, "why"),
        (2, "why"),
        (3, "why"),
        (4, "why"),
    ]
    assert retries[0].retry_modifications == "told what was found"


def test_what_people_say_is_told() -> None:
    story = Story(plan_of({"a": task(review="human"), "b": task()}))
    story.claim("a")
    story.record(ev.ReviewRequested("a"), ev.Rejected("a", "not yet"))
    story.claim("a")
    story.record(ev.ReviewRequested("a"), ev.Approved("a", "me", "good"), ev.Landed("a"))
    story.start("b")
    story.record(
        ev.TaskStuck("b", result(OutcomeKind.NEEDS_INPUT, "which?")), ev.TaskAnswered("b", "the second")
    )
    reasons = [(line.type, line.reason) for line in told(story)[1] if line.reason]
    assert reasons == [
        ("subtask_rejected", "not yet"),
        ("subtask_approved", "good"),
        ("subtask_stuck", "which?"),
        ("orchestration_blocked", "which?"),
        ("subtask_answered", "the second"),
    ]
    assert [(one.subtask_id, one.retry_reason) for one in record(story).retries] == [
        ("a", "rejection: not yet"),
        ("b", "which?"),
        ("b", "answer: the second"),
    ]


def test_tasks_that_are_given_up_begin_again() -> None:
    story = Story(plan_of(("a", "b", "c")))
    story.attempt("a", OutcomeKind.PLAN_ERROR)
    story.record(ev.TaskCancelled("b", "no more"), ev.TaskSkipped("c", "go on"))
    assert record(story).progress.failed_subtasks == ("a", "b")
    assert record(story).progress.completed_subtasks == ("c",)
    story.record(ev.RunFinished())
    assert record(story).status == "failed"
    story.record(ev.TaskReset("a"), ev.TaskReset("b"), ev.TaskReset("c"))
    assert record(story).status == "in_progress"
    assert types(story)[-3:] == ["subtask_reset"] * 3
    story.record(ev.RunStarted())
    story.finish("a", "b", "c")
    story.record(ev.RunFinished())
    assert types(story)[-1] == "orchestration_completed"
    assert types(story).count("stage_completed") == 1


def test_a_stage_that_opened_again_is_told_of_again() -> None:
    story = Story(plan_of(("a",)))
    story.record(ev.TaskSkipped("a"), ev.TaskReset("a"))
    story.finish("a")
    assert types(story).count("stage_completed") == 2


def test_what_was_not_asked_for_leaves_a_run_incomplete() -> None:
    story = Story(plan_of({"a": task(), "b": task("a")}), only=("a",))
    assert list(course_of(story).begins()) == ["a"]
    story.finish("a")
    assert list(course_of(story).begins()) == ["a"]
    story.record(ev.RunFinished())
    assert record(story).status == "incomplete"
    assert tally(course_of(story)) == (0, 0, 1)


# --- a task with its parts


def test_a_task_with_its_parts_is_an_orchestration_of_its_own() -> None:
    story = family()
    assert record(story, "whole").status == "planning"
    delegate(story)
    found = record(story, "whole")
    assert (found.orchestration_id, found.parent_task_id, found.task_title) == (
        "orch-r1-whole",
        "whole",
        "Build it",
    )
    assert (found.status, found.execution_plan) == ("in_progress", {"stage_1": ("one",), "stage_2": ("two",)})
    assert record(story).execution_plan == {"stage_1": ("whole",), "stage_2": ("after",)}
    assert record(story).progress.active_subtasks == ("whole",)
    story.finish("one", "two")
    complete(story, "whole")
    assert record(story, "whole").status == "completed"
    story.finish("after")
    story.record(ev.RunFinished())
    of_parts = types(story, "orch-r1-whole")
    assert (of_parts[0], of_parts[-1]) == ("orchestration_started", "orchestration_completed")
    assert types(story)[-1] == "orchestration_completed"
    assert tally(course_of(story)) == (2, 0, 0)


def test_a_part_that_fails_blocks_both() -> None:
    story = family()
    delegate(story)
    story.attempt("one", OutcomeKind.PLAN_ERROR)
    assert record(story).status == record(story, "whole").status == "blocked"
    blocked = record(story).blocked[0]
    assert (blocked.orchestration_status, blocked.blocking_subtask) == ("blocked", "one")
    assert blocked.failure_reason == "why"
    assert "person" in blocked.escalation
    story.record(ev.RunFinished())
    assert tally(course_of(story)) == (0, 2, 0)
    story.record(ev.TaskCancelled("whole"))
    assert record(story, "whole").status == "failed"


def test_a_skipped_or_unfinished_whole_leaves_its_parts_incomplete() -> None:
    story = family()
    story.record(ev.TaskSkipped("whole"))
    assert record(story, "whole").status == "incomplete"
    story = family()
    story.record(ev.RunFinished())
    assert record(story, "whole").status == "incomplete"


def test_parts_that_come_later_and_one_that_goes() -> None:
    story = Story(plan_of({"whole": task(delegate=1)}))
    delegate(story)
    story.now += 60
    story.record(
        ev.TaskAdded("one", task(parent="whole", title="First")),
        ev.TaskAdded("two", task(parent="whole")),
        ev.TaskChanged("two", task("one", parent="whole")),
        ev.TaskAdded("three", task(parent="two")),
        ev.TaskRemoved("two", "not wanted"),
    )
    lines = told(story)[1][-6:]
    assert [(line.type, line.subtask_id) for line in lines] == [
        ("subtask_delegated", "whole"),
        ("subtask_added", "one"),
        ("orchestration_started", ""),
        ("subtask_added", "two"),
        ("subtask_added", "three"),
        ("subtask_removed", "two"),
    ]
    assert lines[1].title == "First"
    assert [one.subtask_id for one in record(story, "whole").subtasks] == ["one"]
    assert [one.subtask_id for one in record(story).subtasks] == ["whole", "three"]
    assert record(story, "whole").subtasks[0].created_at == "1970-01-01T00:17:40.000Z"
    story.record(ev.TaskReset("whole"))
    delegate(story)
    assert types(story)[-1] == "orchestration_resumed"


def test_a_thousand_tasks_that_come_are_not_sorted_a_thousand_times(monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story(plan_of({"whole": task(delegate=1), "gone": task()}))
    delegate(story)
    for at in range(1000):
        story.record(ev.TaskAdded(f"t{at}", task(parent="whole")))
    story.record(ev.TaskRemoved("gone"))
    sorted_anew: list[int] = []

    def counted(tasks: Mapping[str, Task]) -> dict[str, int]:
        sorted_anew.append(len(tasks))
        return stages_of(tasks)

    monkeypatch.setattr("daplug_supervisor.views.orchestration.course.stages_of", counted)
    found = told(story)[1]
    assert [line.type for line in found[-3:]] == ["subtask_added", "subtask_added", "subtask_removed"]
    assert found[-2].orchestration_id == f"orch-{RUN}-whole"
    assert len(sorted_anew) < 5


def test_a_plan_that_was_edited() -> None:
    story = Story(plan_of({"a": task(), "b": task("a")}))
    story.finish("a")
    story.attempt("b", OutcomeKind.PLAN_ERROR)
    changed = plan_of({"a": task(), "c": task("a")})
    story.record(ev.RunFinished(), ev.PlanChanged(changed))
    assert [one.subtask_id for one in record(story).subtasks] == ["a", "c"]
    assert record(story).progress.progress_percent == 50
    assert record(story).status == "in_progress"


def test_a_divided_task_is_tried_again_otherwise() -> None:
    """D25: what failed is split, and its record says so."""
    story = family()
    story.start("whole")
    story.record(ev.RetryScheduled("whole", result(FAILS, "too much")), ev.Delegated("whole"))
    assert [(one.retry_reason, one.retry_modifications) for one in record(story).retries] == [
        ("too much", "split into one, two")
    ]


# --- records


def test_a_record_has_the_documented_fields() -> None:
    spec = task(
        title="Build",
        owner="development",
        estimate=1800.0,
        estimate_tokens=30_000,
        files=("a", "b"),
        accept=(Criterion("true", name="it works"),),
    )
    story = Story(plan_of({"a": spec, "b": task("a")}), start=False)
    found: dict[str, Any] = msgspec.to_builtins(record(story))
    assert list(found) == [
        "orchestration_id", "run", "parent_task_id", "task_title", "complexity", "complexity_reasons", "created_at",
        "status", "subtasks", "execution_plan", "resource_estimate", "progress", "retries", "blocked", "completion",
    ]  # fmt: skip
    assert (found["status"], found["task_title"], found["parent_task_id"]) == ("planning", "p", RUN)
    assert found["subtasks"][0] == {
        "subtask_id": "a",
        "parent_task_id": "r1",
        "title": "Build",
        "description": "Build",
        "assigned_to": "development",
        "worker_type": "executor",
        "dependencies": (),
        "estimated_duration_minutes": 30.0,
        "estimated_tokens": 30_000,
        "files_affected": ("a", "b"),
        "success_criteria": "it works",
        "status": "pending",
        "created_at": "1970-01-01T00:16:40.000Z",
        "complexity": "complex",
        "complexity_reasons": ("over 20000 tokens (30000)",),
    }
    assert found["resource_estimate"] == {
        "total_subtasks": 2,
        "duration_estimate": "at least 30 minutes",
        "token_estimate": 30_000,
        "masters": ("development",),
        "workers": 2,
        "parallelization_possible": False,
        "bottlenecks": ("stage 1: the other task waits for a",),
    }
    assert found["complexity"] == "complex"
    assert list(course_of(story).begins()) == []


def test_progress_lists_zombies_that_still_run() -> None:
    story = Story(plan_of(("a", "b", "c")))
    story.start("a", "b")
    suspects = (
        Suspect("a", 1, "zombie", 1.0),
        Suspect("b", 1, "overdue", 1.0),
        Suspect("c", 1, "zombie", 1.0),
    )
    progress = record(story, "", *suspects).progress
    assert (progress.current_stage, progress.active_subtasks) == (1, ("a", "b"))
    assert progress.zombie_subtasks == ("a",)


def test_a_task_that_failed_three_times_blocks() -> None:
    """D26: the blocking task, why, and that a person has to decide."""
    story = Story(plan_of(("a", "b")))
    while story.task("a").tries < 3:
        story.now += 1000
        story.attempt("a", FAILS)
    found = record(story)
    assert (found.status, len(found.retries)) == ("blocked", 2)
    assert found.blocked[0].failure_reason == "why (failed 3 times)"
    assert types(story).count("orchestration_blocked") == 1
    state = state_of_all([course_of(story)], {}, {}, story.now)
    assert state.current_orchestrations[0].health == "blocked"


def test_what_all_came_to_is_put_together() -> None:
    """D33: outputs, files and learnings of an orchestration that has ended."""
    story = Story(plan_of(("a", "b", "c")))
    for name, said in (
        ("a", {"outputs": {"port": 80}, "learnings": ["x"]}),
        ("b", {"learnings": ["x", "y"]}),
    ):
        story.start(name)
        claim = Outcome(OutcomeKind.COMPLETED, claim={KEY: said})
        story.record(
            ev.AttemptExited(name, Result(claim, Exit(0))),
            ev.VerificationPassed(name),
            ev.Landed(name, "c0ffee", (f"{name}.txt",)),
        )
    assert record(story).completion is None
    story.record(ev.TaskSkipped("c"), ev.RunFinished())
    completion = record(story).completion
    assert completion is not None
    assert (completion.completed, completion.of) == (3, 3)
    assert completion.outputs == {"a": {"port": 80}}
    assert completion.files == ("a.txt", "b.txt")
    assert completion.learnings == ("x", "y")


def test_a_task_that_has_left_the_run_meanwhile() -> None:
    """The course tells what is durable; the run at hand may be further."""
    story = Story(plan_of(("a", "b")))
    story.attempt("b", OutcomeKind.PLAN_ERROR)
    course = course_of(story)
    story.record(ev.TaskReset("b"), ev.TaskRemoved("b"))
    found = orchestrations(course, story.run)[""]
    assert [one.blocking_subtask for one in found.blocked] == ["b"]
    assert found.retries == ()


# --- hand-offs


def test_a_hand_off_says_what_is_around_a_task() -> None:
    tasks = {
        "design": task(),
        "backend": task("design", owner="development", priority=5),
        "frontend": task("design", priority=-1),
        "tests": task("backend", "frontend"),
    }
    story = Story(plan_of(tasks))
    story.finish("design")
    course = course_of(story)
    assert msgspec.to_builtins(handoff(course, "backend", 60.0)) == {
        "handoff_id": "to-development-backend",
        "from": "supervisor",
        "to": "development",
        "run": "r1",
        "subtask_id": "backend",
        "parent_orchestration": "orch-r1",
        "priority": "high",
        "context": {
            "orchestration_context": "Part of p",
            "dependencies_completed": ("design",),
            "next_subtasks": ("tests (waits for this)",),
            "related_subtasks": ("frontend (parallel)",),
        },
        "created_at": "1970-01-01T00:01:00.000Z",
    }
    assert handoff(course, "frontend", 0.0).priority == "low"
    other = handoff(course_of(family()), "one", 0.0)
    assert (other.handoff_id, other.parent_orchestration, other.priority) == (
        "to-development-one",
        "orch-r1-whole",
        "normal",
    )
    assert other.context.orchestration_context == "Part of Build it"
    assert handoff(course_of(Story(chain("a"))), "a", 0.0).handoff_id == "to-codex-a"


def test_hand_offs_come_as_needs_are_met() -> None:
    story = diamond()
    assert list(course_of(story).begins()) == ["a"]
    story.finish("a")
    assert list(course_of(story).begins()) == ["a", "b", "c"]
    story.record(ev.TaskCancelled("b"), ev.HaltRequested("enough", "command"), ev.Halted())
    assert list(course_of(story).begins()) == ["a"]


def test_with_barriers_hand_offs_come_with_their_stage() -> None:
    """D27: the last task of a stage brings the hand-offs of the next."""
    tasks = {"a": task(), "b": task(), "c": task("a"), "d": task("b"), "part": task("a", parent="d")}
    story = Story(plan_of(tasks, stages="barrier"))
    story.finish("a")
    assert list(course_of(story).begins()) == ["a", "b"]
    story.finish("b")
    assert list(course_of(story).begins()) == ["a", "b", "c", "d", "part"]


# --- the state


def seen(name: str, *, alive: bool = True, verdict: str = "") -> SubtaskHealth:
    at = "1970-01-01T00:16:40.000Z"
    return SubtaskHealth(
        name, 1, True, process_alive=alive, last_heartbeat=at, heartbeat_seconds=1.0, heartbeat_ok=True,
        files_changing=True, verdict=verdict,
    )  # fmt: skip


def test_the_state_of_all() -> None:
    going, over = diamond(), Story(plan_of(("a",)))
    going.finish("a")
    going.start("b")
    over.finish("a")
    over.record(ev.RunFinished())
    courses = [course_of(going), course_of(over)]
    courses[1].run = "r2"
    found = state_of_all(courses, {"old-1": (2, 1, 1)}, {"r1": [seen("b")]}, 60.0)
    assert (found.active_orchestrations, found.total_orchestrations) == (1, 6)
    assert (found.completed_orchestrations, found.failed_orchestrations) == (3, 1)
    assert (found.incomplete_orchestrations, found.last_update) == (1, "1970-01-01T00:01:00.000Z")
    one = found.current_orchestrations[0]
    assert (one.orchestration_id, one.status, one.current_stage, one.stages) == (
        "orch-r1",
        "in_progress",
        2,
        3,
    )
    assert (one.progress_percent, one.active_subtasks, one.health) == (25, ("b",), "healthy")
    assert state_of_all(courses, {"r2": (1, 0, 0)}, {}, 0.0).completed_orchestrations == 1
    for bad in (seen("b", alive=False), seen("b", verdict="zombie")):
        doubtful = state_of_all(courses, {}, {"r1": [bad]}, 0.0).current_orchestrations[0]
        assert (doubtful.health, doubtful.subtask_health) == ("suspicious", (bad,))


def test_no_tasks_are_no_progress() -> None:
    story = Story(plan_of(("a",)))
    story.record(ev.TaskRemoved("a"))
    group = course_of(story).groups[""]
    assert (group.percent, group.current) == (0, 0)


def test_the_health_of_a_task_as_it_was_written_down() -> None:
    story = Story(plan_of(("a", "b")))
    story.start("a", "b")
    story.record(ev.AttemptSpawned("b", 7, 8, "boot"))
    state = msgspec.json.encode(state_of_all([course_of(story)], {}, {RUN: [seen("a")]}, 0.0))
    assert health_now(state, story.run, "a", 1000.0, alive=True) == seen("a")
    assert health_now(state, story.run, "a", 1000.0, alive=False) == seen("a", alive=False)
    unseen = health_now(state, story.run, "b", 1200.0, alive=True)
    assert (unseen.worker_registered, unseen.heartbeat_seconds, unseen.heartbeat_ok) == (True, 200.0, False)
    assert not unseen.healthy
    for text in (b"", b"[", b'{"last_update": 5}', msgspec.json.encode(Orchestrations())):
        assert not health_now(text, story.run, "a", 1000.0, alive=True).worker_registered
    fresh = Story(plan_of(("a",)))
    assert health_now(b"", fresh.run, "a", 1000.0, alive=False).attempt == 0
