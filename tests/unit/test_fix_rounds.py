"""Rounds of mending: work that does not pass goes back, so often as that is allowed and makes a difference."""

from __future__ import annotations

from typing import Any

from core_making import Story, plan_of
from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.plan import Provider, Retry, Task
from daplug_supervisor.core.results import Blame, Exit, Finding, Outcome, OutcomeKind, Result
from daplug_supervisor.core.retry import after_attempt

K = OutcomeKind
S = Status


def agent(**options: Any) -> Story:
    one = Task(instructions="do it", provider="codex", **options)
    return Story(plan_of({"a": one, "b": Task(instructions="then", provider="codex", needs=("a",))}))


def found(*bad: int, blame: Blame = "code", tree: str = "t") -> Result:
    findings = tuple(
        Finding(
            number, f"c{number}", detail="no" if number in bad else "", blame=blame if number in bad else ""
        )
        for number in range(3)
    )
    return Result(Outcome(K.VERIFY_FAILED, "1 of 3"), Exit(0), findings, tree)


def fails(story: Story, result: Result, name: str = "a") -> ev.Event:
    """An attempt claims success, and is found wrong."""
    story.claim(name)
    follows = after_attempt(story.run, story.task(name), result, story.now)
    story.record(*follows)
    return follows[0]


def test_three_rounds_then_one_last_fix_then_it_has_failed() -> None:
    story = agent()
    for number in range(3):
        event = fails(story, found(0, tree=f"t{number}"))
        assert event == ev.RetryScheduled("a", found(0, tree=f"t{number}"), uses_try=False)
    assert (story.task("a").fixes, story.task("a").tries, story.task("a").last_fix) == (3, 0, False)
    event = fails(story, found(0, tree="t3"))
    assert isinstance(event, ev.RetryScheduled)
    assert event.last_fix
    assert story.task("a").last_fix
    event = fails(story, found(0, tree="t4"))
    assert isinstance(event, ev.TaskFailed)
    assert "after 4 rounds" in event.result.outcome.detail
    assert story.task("a").status is S.FAILED
    assert [past.number for past in story.task("a").past] == [1, 2, 3, 4, 5]


def test_a_round_that_helps_makes_what_waits_for_it_ready() -> None:
    story = agent()
    fails(story, found(0))
    story.finish("a")
    assert (story.task("a").status, story.task("b").unmet) == (S.DONE, 0)
    assert story.start_all() == ["b"]


def test_the_last_fix_may_help_as_well() -> None:
    story = agent(fix_rounds=1)
    fails(story, found(0))
    fails(story, found(0, tree="other"))
    assert story.task("a").last_fix
    story.finish("a")
    assert story.task("b").unmet == 0


def test_the_same_failure_on_the_same_files_is_not_tried_again_unchanged() -> None:
    story = agent()
    fails(story, found(0, 1))
    event = fails(story, found(0, 1))
    assert isinstance(event, ev.RetryScheduled)
    assert event.last_fix, "the last fix is told more than the rounds before it"
    event = fails(story, found(0, 1))
    assert isinstance(event, ev.TaskFailed)
    assert "the same as before, on the same files" in event.result.outcome.detail


def test_another_failure_or_other_files_are_worth_another_round() -> None:
    story = agent()
    fails(story, found(0, 1))
    assert not fails(story, found(0)).last_fix  # type: ignore[attr-defined]
    assert not fails(story, found(0, tree="u")).last_fix  # type: ignore[attr-defined]


def test_where_nobody_can_tell_what_is_there_all_rounds_are_used() -> None:
    story = agent()
    for _ in range(3):
        assert not fails(story, found(0, tree="")).last_fix  # type: ignore[attr-defined]
    assert fails(story, found(0, tree="")).last_fix  # type: ignore[attr-defined]


def test_what_is_missing_around_the_work_is_for_a_person() -> None:
    for blame, words in (("environment", "a program, a key"), ("unknown", "mend the work or the criterion")):
        story = agent(fix_rounds=1)
        fails(story, found(0, blame=blame))  # type: ignore[arg-type]
        event = fails(story, found(0, blame=blame, tree="u"))  # type: ignore[arg-type]
        assert isinstance(event, ev.TaskStuck)
        assert words in event.remedy
        assert story.task("a").status is S.STUCK


def test_without_rounds_it_has_failed_at_once() -> None:
    story = agent(fix_rounds=0)
    event = fails(story, found(0))
    assert isinstance(event, ev.TaskFailed)
    story = agent(fix_rounds=0)
    assert isinstance(fails(story, found(0, blame="unknown")), ev.TaskStuck)


def test_rounds_begin_anew_when_a_person_retries() -> None:
    story = agent(fix_rounds=0)
    fails(story, found(0))
    story.record(ev.TaskReset("a"))
    task = story.task("a")
    assert (task.fixes, task.last_fix, task.conflicts) == (0, False, 0)


def test_a_command_that_does_not_pass_uses_a_try_each_time() -> None:
    plan = plan_of({"a": Task(command=("true",), provider="codex", retry=Retry(attempts=2, backoff=0.0))})
    story = Story(plan)
    assert fails(story, found(0)).uses_try  # type: ignore[attr-defined]
    assert isinstance(fails(story, found(0)), ev.TaskFailed)
    assert story.task("a").tries == 2


def test_what_does_not_fit_goes_back_once_and_then_to_a_person() -> None:
    story = agent()
    clash = Result(Outcome(K.CONFLICT, "a.txt"), Exit(0))
    for number in range(2):
        story.claim("a")
        story.record(ev.VerificationPassed("a"))
        follows = after_attempt(story.run, story.task("a"), clash, story.now)
        story.record(*follows)
        assert isinstance(follows[0], ev.TaskStuck if number else ev.RetryScheduled)
    assert (story.task("a").conflicts, story.task("a").status) == (1, S.STUCK)


def test_budgets_hold_for_rounds_as_well() -> None:
    from daplug_supervisor.core.plan import Budget

    one = Task(instructions="do it", provider="codex", budget=Budget(attempts=1))
    story = Story(plan_of({"a": one}, {"codex": Provider()}))
    event = fails(story, found(0))
    assert isinstance(event, ev.TaskStuck), "a round uses no try, but it is paid for"
    assert "raise the task's budget" in event.remedy


def test_who_looks_at_it_and_what_came_home_is_kept() -> None:
    story = agent()
    story.claim("a")
    story.record(ev.VerificationStarted("a", 1, 7, 8, "boot"))
    task = story.task("a")
    assert (task.checks, task.check and task.check.pid) == (1, 7)
    findings = (Finding(0, "c"),)
    story.record(ev.VerificationPassed("a", findings, ("look at this",)))
    assert (task.check, task.checks, task.findings, task.flags) == (None, 1, findings, ("look at this",))
    story.record(ev.VerificationStarted("a", 2, 9, 10, "boot"), ev.StepDone("a", "commit", "c0ffee"))
    assert (task.checks, task.steps) == (2, {"commit": "c0ffee"})
    story.record(ev.Landed("a", "c0ffee", ("x.py",)))
    assert (task.commit, task.files, task.status) == ("c0ffee", ("x.py",), S.DONE)


def test_hooks_are_kept_until_the_task_begins_again() -> None:
    story = agent(fix_rounds=0)
    fails(story, found(0))
    story.record(ev.HookRan("post_task", "a"), ev.HookRan("post_run"))
    assert set(story.run.hooks) == {("post_task", "a"), ("post_run", "")}
    story.record(ev.TaskReset("a"))
    assert set(story.run.hooks) == {("post_run", "")}


def test_a_halt_that_stops_waits_only_for_what_runs() -> None:
    from daplug_supervisor.core.decide import ConfirmHalt

    story = agent()
    story.claim("a")
    story.record(ev.HaltRequested("enough", "signal"))
    assert story.decide() is None, "what is being verified may finish"
    story.record(ev.HaltRequested("stopped", "caller", now=True))
    assert story.run.halt is not None
    assert (story.run.halt.reason, story.run.halt.now) == ("enough", True)
    assert story.decide() == ConfirmHalt()
    assert replace(story.run.halt, now=False).requested_at == story.now
