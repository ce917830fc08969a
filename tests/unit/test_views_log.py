"""The journal as a log: B69."""

from __future__ import annotations

import pytest
from build import BOOM, T0, plan, result
from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.views.log import log_line, log_text

OK = result(seconds=250)
PLAN = plan({"a": (), "b": ()})

SAID: list[tuple[ev.Event, str, str, str]] = [
    (
        ev.SupervisorStarted(7, "b", "0.1"),
        "info",
        "supervisor",
        "Supervisor 0.1 took the state directory, process 7.",
    ),
    (
        ev.SupervisorStopped(2),
        "info",
        "supervisor",
        "The supervisor let go of the state directory; 2 attempts still at work.",
    ),
    (
        ev.JournalRepaired("damaged-1", ((3, 5), (9, 9)), (6,)),
        "error",
        "supervisor",
        "The damaged journal was repaired: 4 events lost, 1 left out; the damaged files are in damaged-1.",
    ),
    (ev.CommandAnswered("c1", "halt", applied=True), "info", "supervisor", "Command halt was applied."),
    (
        ev.CommandAnswered("c1", "retry", applied=False, message="it runs"),
        "warning",
        "supervisor",
        "Command retry was refused: it runs.",
    ),
    (ev.RunSubmitted(PLAN, "/t"), "info", "supervisor", "Plan add-oauth was submitted: 2 tasks for /t."),
    (
        ev.RunSubmitted(PLAN, "/t", "p.yaml"),
        "info",
        "supervisor",
        "Plan add-oauth from p.yaml was submitted: 2 tasks for /t.",
    ),
    (
        ev.PlanChanged(PLAN, ("task a: added", "task b: removed")),
        "info",
        "supervisor",
        "The plan was changed: task a: added; task b: removed.",
    ),
    (ev.TaskAdded("a", PLAN.tasks["a"]), "info", "supervisor", "Task a was added."),
    (
        ev.TaskAdded("a", replace(PLAN.tasks["a"], parent="b")),
        "info",
        "supervisor",
        "Task a was added as a part of b.",
    ),
    (
        ev.TaskChanged("a", PLAN.tasks["a"], "priority 0 -> 5"),
        "info",
        "supervisor",
        "Task a was changed: priority 0 -> 5.",
    ),
    (ev.TaskRemoved("a", "not wanted"), "warning", "supervisor", "Task a was removed: not wanted."),
    (ev.RunStarted(), "info", "supervisor", "The run was started."),
    (ev.RunStarted(("a",), 2), "info", "supervisor", "The run was started, only a, at most 2 tasks at once."),
    (
        ev.HaltRequested("enough", "stop_file"),
        "warning",
        "supervisor",
        "Halt requested by stop file: enough.",
    ),
    (ev.Halted(), "warning", "supervisor", "The run is halted: nothing is at work any more."),
    (ev.Resumed(), "info", "supervisor", "The run was resumed."),
    (ev.Resumed("me"), "info", "supervisor", "The run was resumed by me."),
    (
        ev.ProviderRested("codex", T0 + 60, "429"),
        "warning",
        "codex",
        "The provider rests until 2026-11-21 01:23:03Z: 429.",
    ),
    (
        ev.ProviderStopped("codex", "not logged in"),
        "error",
        "codex",
        "The provider is stopped until a person resumes it: not logged in.",
    ),
    (ev.ProviderResumed("codex"), "info", "codex", "The provider takes tasks again."),
    (ev.RunFinished(), "info", "supervisor", "The run is finished: nothing more can happen by itself."),
    (ev.AttemptStarted("a", 2, "t", "codex"), "info", "codex", "Attempt 2 began."),
    (
        ev.AttemptSpawned("a", 7, 1, "b"),
        "info",
        "supervisor",
        "Process 7 holds the attempt at its start gate.",
    ),
    (
        ev.AttemptExited("a", OK),
        "info",
        "supervisor",
        "The attempt ended after 4m 10s (completed) and claims success, which is to be verified.",
    ),
    (
        ev.ProviderPaused("codex", T0, "lunch"),
        "warning",
        "codex",
        "The provider is paused until 2026-11-21 01:22:03Z: lunch.",
    ),
    (
        ev.ProviderPaused("codex"),
        "warning",
        "codex",
        "The provider is paused until a person resumes it.",
    ),
    (
        ev.VerificationStarted("a", 1, 7, 8, "boot"),
        "info",
        "supervisor",
        "Process 7 runs the criteria.",
    ),
    (ev.VerificationPassed("a"), "info", "supervisor", "Verified."),
    (ev.StepDone("a", "merge", "daplug/run/r"), "info", "supervisor", "Landing: merge done: daplug/run/r."),
    (ev.HookRan("post_run"), "info", "supervisor", "Hook post_run: succeeded."),
    (
        ev.HookRan("post_task", "a", 1, "exit code 1"),
        "warning",
        "supervisor",
        "Hook post_task of a: exit code 1.",
    ),
    (ev.Landed("a"), "info", "supervisor", "Done: the work is where the next task finds it."),
    (
        ev.RetryScheduled("a", BOOM, T0 + 24),
        "warning",
        "supervisor",
        (
            "The attempt did not succeed after 5.0s (exit code 1: boom); "
            "tried again not before 2026-11-21 01:22:27Z."
        ),
    ),
    (
        ev.RetryScheduled("a", result("lost", code=None), uses_try=False, provider="opencode"),
        "warning",
        "supervisor",
        (
            "The attempt did not succeed after 5.0s (lost); "
            "tried again as soon as there is a slot, by provider opencode; it uses no try."
        ),
    ),
    (ev.TaskFailed("a", BOOM), "error", "supervisor", "Failed after 5.0s (exit code 1: boom)."),
    (
        ev.TaskStuck("a", result("blocked", "what now?"), "decide"),
        "error",
        "supervisor",
        "Stuck after 5.0s (blocked: what now?): decide.",
    ),
    (ev.CancelRequested("a", "no"), "info", "supervisor", "To be stopped and cancelled: no."),
    (ev.TaskCancelled("a"), "warning", "supervisor", "Cancelled."),
    (ev.TaskSkipped("a", "later"), "info", "supervisor", "Skipped, dependents go on without it: later."),
    (ev.TaskReset("a"), "info", "supervisor", "Begins again with its tries counted anew."),
    (ev.TaskAdopted("a", "ticked"), "info", "supervisor", "Was done already: ticked."),
    (
        ev.DelegationRequested("a"),
        "info",
        "supervisor",
        "Hands its work to its parts: its agent is ended.",
    ),
    (ev.Delegated("a"), "info", "supervisor", "Delegated: waits for its parts, and needs no slot."),
    (
        ev.Delegated("a", OK, "refs/daplug/kept/a"),
        "info",
        "supervisor",
        "Delegated: waits for its parts, and needs no slot; its unfinished work is kept under refs/daplug/kept/a.",
    ),
    (
        ev.ChildrenDone("a", 2, "t", "codex", OK),
        "info",
        "supervisor",
        "All its parts are done: what they came to is looked at.",
    ),
    (ev.ReviewRequested("a"), "warning", "supervisor", "Verified; waits for a person to review it."),
    (ev.Approved("a", "me"), "info", "supervisor", "Approved by me."),
    (ev.Approved("a", remark="well done"), "info", "supervisor", "Approved: well done."),
    (ev.TaskAnswered("a", "the second", "me"), "info", "supervisor", "Answered by me: the second."),
    (
        ev.Notified("over_budget", "r1", ""),
        "info",
        "supervisor",
        "A person was told of r1 (over budget).",
    ),
    (
        ev.Notified("needs_person", "a#2", "exit code 1"),
        "warning",
        "supervisor",
        "A person was told of a#2 (needs person), but that did not work: exit code 1.",
    ),
    (ev.Rejected("a", "No tests!"), "warning", "supervisor", "Rejected: No tests!"),
    (ev.TaskAnswered("a", "The second."), "info", "supervisor", "Answered: The second."),
    (ev.Rejected("a", "no tests", "me"), "warning", "supervisor", "Rejected by me: no tests."),
]


@pytest.mark.parametrize(("event", "level", "agent", "message"), SAID, ids=lambda value: type(value).__name__)
def test_every_event_says_something(event: ev.Event, level: str, agent: str, message: str) -> None:
    line = log_line(ev.Entry(9, "r1", T0, event))
    assert (line.seq, line.run, line.at, line.time) == (9, "r1", T0, "2026-11-21T01:22:03.000Z")
    assert (line.event, line.level, line.agent, line.message) == (event.kind, level, agent, message)
    assert line.task == getattr(event, "task", "")


def test_no_kind_is_missing() -> None:
    assert {event.kind for event, *_ in SAID} == set(ev.KINDS)


def test_a_line() -> None:
    entry = ev.Entry(9, "r1", T0, ev.TaskFailed("a", result("failed", "\x1b[2Jboom\nbang", 1)))
    shown = "2026-11-21 01:22:03Z  error    codex       a: Failed after 5.0s (\\x1b[2Jboom\\nbang)."
    assert log_text(entry, "codex") == shown
    assert log_text(entry, "codex", 30) == shown[:29] + "…"
    started = ev.Entry(1, "r1", T0, ev.RunStarted())
    assert log_text(started) == "2026-11-21 01:22:03Z  info     supervisor  The run was started."
