"""The table of transitions, and that the fold follows it: every status with every event of a task."""

from __future__ import annotations

from copy import deepcopy

import pytest
from core_making import Story, chain, samples

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.machine import (
    ACTIVE,
    AFTER_CRASH,
    ENDED,
    SATISFIED,
    TRANSITIONS,
    Status,
    next_status,
)
from daplug_supervisor.core.results import OutcomeKind
from daplug_supervisor.errors import IllegalTransitionError

S = Status
SAMPLES = samples()
PAIRS = [(status, event) for status in Status for event in SAMPLES.values()]

TABLE = {
    "pending": "attempt_started>running task_adopted>done delegated>delegated task_skipped>skipped "
    "task_cancelled>cancelled",
    "running": "attempt_spawned>running cancel_requested>running attempt_exited>verifying "
    "delegation_requested>running delegated>delegated task_cancelled>cancelled "
    "retry_scheduled>pending task_failed>failed task_stuck>stuck",
    "verifying": "cancel_requested>verifying verification_started>verifying verification_passed>landing "
    "review_requested>reviewing task_cancelled>cancelled retry_scheduled>pending task_failed>failed task_stuck>stuck",
    "reviewing": "approved>landing rejected>pending task_cancelled>cancelled",
    "landing": "verification_started>landing step_done>landing landed>done task_cancelled>cancelled "
    "retry_scheduled>pending task_failed>failed task_stuck>stuck",
    "delegated": "children_done>verifying task_reset>pending task_cancelled>cancelled",
    "done": "",
    "failed": "task_reset>pending",
    "stuck": "task_reset>pending task_answered>pending",
    "cancelled": "task_reset>pending",
    "skipped": "task_reset>pending",
}


def story_at(status: Status) -> Story:
    """A run of ``a`` and ``b``, which needs it, where ``a`` has come to `status`."""
    story = Story(chain("a", "b"))
    if status is S.SKIPPED:
        story.record(ev.TaskSkipped("a"))
    elif status in (S.VERIFYING, S.REVIEWING, S.LANDING, S.DONE):
        story.claim("a")
        story.record(*[ev.ReviewRequested("a")][: status is S.REVIEWING])
        steps = {S.LANDING: 1, S.DONE: 2}.get(status, 0)
        story.record(*[ev.VerificationPassed("a"), ev.Landed("a")][:steps])
    elif status is not S.PENDING:
        story.start("a")
        ends: dict[Status, type[ev.TaskEvent]] = {
            S.FAILED: ev.TaskFailed,
            S.STUCK: ev.TaskStuck,
            S.CANCELLED: ev.TaskCancelled,
            S.DELEGATED: ev.Delegated,
        }
        if status in ends:
            story.record(SAMPLES[ends[status]])
    assert story.task("a").status is status
    return story


def test_the_table_is_what_the_design_says() -> None:
    found = {
        status.value: " ".join(f"{kind.__struct_config__.tag}>{after}" for kind, after in row.items())
        for status, row in TRANSITIONS.items()
    }
    assert found == TABLE


@pytest.mark.parametrize(("status", "event"), PAIRS, ids=lambda value: getattr(value, "kind", value))
def test_an_event_moves_a_task_as_the_table_says_or_is_refused_and_changes_nothing(
    status: Status, event: ev.TaskEvent
) -> None:
    story = story_at(status)
    before = deepcopy(story.state)
    expected = TRANSITIONS[status].get(type(event))
    if expected is None:
        with pytest.raises(IllegalTransitionError, match=f"'a' is {status}: {event.kind} cannot follow"):
            story.record(event)
        assert story.state == before
        return
    story.record(event)
    run, task = story.run, story.task("a")
    assert task.status is expected is next_status(status, event)
    assert run.counts == {s: sum(t.status is s for t in run.tasks.values()) for s in Status}
    assert story.pool().running == run.active == (expected in ACTIVE)
    assert story.task("b").unmet == (expected not in SATISFIED)


def test_every_status_has_a_row_and_a_way_on_after_a_crash() -> None:
    assert list(TRANSITIONS) == list(AFTER_CRASH) == list(Status)


def test_every_task_event_appears_in_the_table() -> None:
    assert {kind for row in TRANSITIONS.values() for kind in row} == set(SAMPLES)


def test_a_task_leaves_an_end_only_by_a_reset_or_an_answer_and_never_leaves_done() -> None:
    for status in ENDED:
        answered = {ev.TaskAnswered} if status is S.STUCK else set[type[ev.TaskEvent]]()
        assert set(TRANSITIONS[status]) == (set() if status is S.DONE else {ev.TaskReset, *answered})


@pytest.mark.parametrize("status", [S.FAILED, S.STUCK, S.CANCELLED, S.PENDING, S.DELEGATED, S.REVIEWING])
def test_only_done_and_skipped_satisfy_dependents(status: Status) -> None:
    assert status not in SATISFIED
    assert story_at(status).task("b").unmet == 1


def test_a_claim_of_success_is_not_done_before_it_is_verified_and_landed() -> None:
    story = Story(chain("a", "b"))
    seen = []
    story.start("a")
    for event in (
        SAMPLES[ev.AttemptExited],
        ev.VerificationPassed("a"),
        ev.Landed("a"),
    ):
        seen.append((story.task("a").status, story.task("b").unmet))
        story.record(event)
    assert seen == [(S.RUNNING, 1), (S.VERIFYING, 1), (S.LANDING, 1)]
    assert (story.task("a").status, story.task("b").unmet) == (S.DONE, 0)


def test_a_completed_attempt_leaves_its_result_behind() -> None:
    story = story_at(S.DONE)
    found = story.task("a").last
    assert found is not None
    assert found.outcome.kind is OutcomeKind.COMPLETED
