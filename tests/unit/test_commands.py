"""What a person may tell a run: the events that follow, and the refusals."""

from __future__ import annotations

from copy import deepcopy

import msgspec
import pytest
from core_making import Story, chain, plan_of, task

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.commands import Command, events_of
from daplug_supervisor.core.decide import Finish, Start
from daplug_supervisor.core.model import Remark
from daplug_supervisor.core.plan import Provider, Retry
from daplug_supervisor.core.results import OutcomeKind
from daplug_supervisor.errors import NotPossibleError

K = OutcomeKind
CLAIMED = ["verifying", "landing", "done"]
STATUSES = [
    "pending",
    "running",
    *CLAIMED,
    "reviewing",
    "delegated",
    "failed",
    "stuck",
    "cancelled",
    "skipped",
]
SKIPPED, RESET = ev.TaskSkipped("a", "why"), ev.TaskReset("a", "why")

FOLLOWS: dict[tuple[str, str], list[ev.Event]] = {
    ("skip", "pending"): [SKIPPED],
    ("skip", "failed"): [ev.TaskReset("a"), SKIPPED],
    ("skip", "stuck"): [ev.TaskReset("a"), SKIPPED],
    ("skip", "cancelled"): [ev.TaskReset("a"), SKIPPED],
    ("cancel", "pending"): [ev.TaskCancelled("a", "why")],
    ("cancel", "delegated"): [ev.TaskCancelled("a", "why")],
    ("cancel", "running"): [ev.CancelRequested("a", "why")],
    ("cancel", "verifying"): [ev.CancelRequested("a", "why")],
    ("retry", "failed"): [RESET],
    ("retry", "stuck"): [RESET],
    ("retry", "cancelled"): [RESET],
    ("retry", "skipped"): [RESET],
    ("retry", "delegated"): [RESET],
    ("skip", "delegated"): [ev.TaskReset("a"), SKIPPED],
    ("cancel", "reviewing"): [ev.TaskCancelled("a", "why")],
}


def story_at(status: str) -> Story:
    story = Story(chain("a", "b"))
    if status in ("cancelled", "skipped"):
        story.record(ev.TaskCancelled("a") if status == "cancelled" else ev.TaskSkipped("a"))
    elif status == "reviewing":
        story.claim("a")
        story.record(ev.ReviewRequested("a"))
    elif status in CLAIMED:
        story.claim("a")
        story.record(*[ev.VerificationPassed("a"), ev.Landed("a")][: CLAIMED.index(status)])
    elif status in ("failed", "stuck"):
        for _ in range(3 if status == "failed" else 1):
            story.attempt("a", K.FAILED if status == "failed" else K.BLOCKED)
    elif status != "pending":
        story.start("a")
        story.record(*[ev.Delegated("a")][: status == "delegated"])
    assert story.task("a").status == status
    return story


def refused(story: Story, command: Command, words: str) -> None:
    before = deepcopy(story.state)
    with pytest.raises(NotPossibleError, match=words):
        events_of(story.run, command, story.now)
    assert story.state == before


@pytest.mark.parametrize("verb", ["skip", "cancel", "retry"])
@pytest.mark.parametrize("status", STATUSES)
def test_a_command_is_carried_out_or_refused_by_the_status_of_its_task(verb: str, status: str) -> None:
    story = story_at(status)
    command = msgspec.convert({"id": "c1", "verb": verb, "task": "a", "reason": "why"}, Command)
    expected = FOLLOWS.get((verb, status))
    if expected is None:
        refused(story, command, f"task a is {status}")
        return
    assert events_of(story.run, command, story.now) == expected
    story.record(*expected)


def test_an_unknown_task_is_refused_with_the_nearest_name() -> None:
    story = Story(plan_of(["build", "test"]))
    refused(story, Command("c1", "skip", task="biuld"), "no task 'biuld'; did you mean build")
    refused(story, Command("c1", "skip", task="xyz"), "no task 'xyz'$")


def test_a_task_is_cancelled_once() -> None:
    story = story_at("running")
    story.record(ev.CancelRequested("a"))
    refused(story, Command("c1", "cancel", task="a"), "is being cancelled already")


def test_a_task_that_another_try_cannot_help_is_tried_again_only_by_force() -> None:
    story = Story(chain("a"))
    story.attempt("a", K.PLAN_ERROR)
    refused(story, Command("c1", "retry", task="a"), "another try cannot help")
    assert events_of(story.run, Command("c1", "retry", task="a", force=True), story.now) == [
        ev.TaskReset("a")
    ]


def test_a_run_is_halted_once_and_says_what_runs() -> None:
    story = story_at("running")
    [event] = events_of(story.run, Command("c1", "halt"), story.now)
    assert event == ev.HaltRequested("asked to halt", "command", ("a",))
    story.record(event)
    refused(story, Command("c2", "halt"), "is halted already: asked to halt")
    assert events_of(story.run, Command("c3", "resume"), story.now) == [ev.Resumed("command")]


def test_a_finished_run_cannot_be_halted() -> None:
    story = story_at("done")
    story.record(ev.RunFinished())
    refused(story, Command("c1", "halt"), "has finished")


def test_a_provider_is_paused_for_a_while_or_until_it_is_resumed() -> None:
    story = Story(plan_of(["a"]))
    for seconds, until in ((None, None), (60.0, story.now + 60)):
        told = Command("c1", "pause_provider", provider="codex", seconds=seconds, reason="lunch")
        assert events_of(story.run, told, story.now) == [ev.ProviderPaused("codex", until, "lunch")]
    refused(story, Command("c1", "resume_provider", provider="codex"), "not paused")
    story.record(ev.ProviderPaused("codex"))
    assert events_of(story.run, Command("c1", "resume_provider", provider="codex"), story.now) == [
        ev.ProviderResumed("codex")
    ]
    refused(story, Command("c1", "pause_provider", provider="gone"), "no provider 'gone'; it has codex")
    story.record(ev.RunFinished())
    refused(story, Command("c1", "pause_provider", provider="codex"), "has finished")


def test_who_resumes_a_provider_resumes_all_of_its_account_but_those_that_are_paused() -> None:
    providers = {name: Provider(account="x") for name in ("codex", "resting", "probing", "paused", "open")}
    story = Story(plan_of(["a"], {**providers, "other": Provider()}))
    for name in ("codex", "resting", "probing", "paused", "other"):
        story.record(ev.ProviderRested(name, 5000.0))
    story.pool("probing").rest_until = 0.0
    story.record(ev.ProviderPaused("paused"))
    found = events_of(story.run, Command("c1", "resume_provider", provider="codex"), story.now)
    assert found == [ev.ProviderResumed(name) for name in ("codex", "resting", "probing")]


# --- review and answers -------------------------------------------------------------------------------------


def test_work_that_is_approved_lands() -> None:
    story = story_at("reviewing")
    assert (story.run.active, story.decide()) == (0, Finish())
    assert story.tell("approve", "a", reason="well done") == [ev.Approved("a", remark="well done")]
    assert (story.task("a").status, story.pool().running) == ("landing", 1)
    assert story.task("a").approval == Remark("approval", "well done", at=story.now)
    refused(story, Command("c2", "approve", task="a"), "only what waits for review can be approved")


def test_work_that_is_rejected_is_done_again_with_all_tries_and_is_told_why() -> None:
    story = story_at("reviewing")
    refused(story, Command("c1", "reject", task="a", reason=" "), "say what is to be different")
    story.tell("reject", "a", reason="no tests")
    found = story.task("a")
    assert found.remarks == (Remark("rejection", "no tests", at=story.now),)
    assert (found.status, found.tries, found.reason) == ("pending", 0, "rejected: no tests")
    assert story.decide() == Start("a", "codex")
    refused(
        story, Command("c2", "reject", task="a", reason="x"), "only what waits for review can be rejected"
    )


def test_a_question_is_answered_and_the_answer_kept_with_it() -> None:
    story = Story(plan_of({"a": task(retry=Retry(1))}, on_failure="halt"))
    refused(story, Command("c1", "answer", task="a", reason="x"), "only a stuck task waits for an answer")
    story.attempt("a", K.NEEDS_INPUT, detail="which one?")
    found = story.task("a")
    assert (found.status, found.tries, found.reason, story.run.fresh_failures) == (
        "stuck", 0, "which one?", 0,
    )  # fmt: skip
    refused(story, Command("c1", "answer", task="a"), "the answer is empty")
    story.tell("answer", "a", reason="the second")
    assert found.remarks == (Remark("answer", "the second", "", "which one?", story.now),)
    assert (found.status, found.reason, found.remedy) == ("pending", "", "")
    assert story.decide() == Start("a", "codex")
