"""The report of a run: B58, B71-B73, D33."""

from __future__ import annotations

import json

import msgspec
from build import T0, Provider, World, plan, result, task

from daplug_supervisor.core import events as ev
from daplug_supervisor.views.report.contents import metrics_only, report
from daplug_supervisor.views.report.metrics import Attempts, metrics_text
from daplug_supervisor.views.report.text import report_text


def mixed() -> World:
    """Of everything one, then finished."""
    specs = {
        "db": task(title="Schema"),
        "api": task("db", title="API"),
        "bench": task(title="Bench"),
        "after": task("bench", title="After"),
        "later": task("after", title="Later"),
        "ask": task(title="Ask", provider="gemini"),
        "no": task(title="No"),
        "skip": task(title="Skip"),
        "had": task(title="Had"),
    }
    world = World(plan(specs, {"codex": Provider(), "gemini": Provider(), "spare": Provider()}))
    world.done("db", seconds=100).retried("api").done("api", seconds=50)
    world.failed("bench", result("crashed", "killed by signal 9", -9, seconds=7)).stuck("ask")
    world.begin("no").tick(1).say(ev.TaskCancelled("no", "not wanted"))
    world.say(ev.TaskSkipped("skip"), ev.TaskAdopted("had"), ev.RunFinished())
    return world.tick(1000)


TEXT = """\
Run r1 of plan add-oauth: FINISHED
9 tasks: 3 done, 1 failed, 1 stuck, 1 cancelled, 1 skipped, 2 blocked
in /target
submitted 2026-11-21 01:22:03Z, ended 2026-11-21 01:24:49Z, 2m 46s in all

Failures
  bench: Bench
    Failed 16m 46s ago, at 01:24:43Z, tried 1 of 3 (crashed: killed by signal
    9): read the log, mend the cause, then retry the task. Blocks 2 tasks.
    | Traceback:
    | MemoryError\\x1b[0m
  ask: Ask
    Stuck since 01:24:48Z, tried 1 of 3 (blocked: needs a decision): a person
    must decide.

Numbers
  done at first attempt  50% of the done tasks
  attempts               6, 4 wasted (2 completed, 1 crashed, 1 failed, 1
                         blocked)
  time                   2m 46s in all, 2m 47s of attempts, 3.0s cpu
  longest                db 1m 40s, api 55s, bench 7.0s, ask 5.0s
  used                   unknown (none of 5 attempts reports it)
  provider codex         4 attempts, 2 ok, 2m 42s
  provider gemini        1 attempt, 0 ok, 5.0s
  provider spare         not used

Next
  daplug-supervise task logs bench
  daplug-supervise task retry bench
  daplug-supervise task logs ask
  daplug-supervise task retry ask
  daplug-supervise resume"""


def test_text() -> None:
    world = mixed()
    assert (
        report_text(report(world.run, world.at, tails={"bench": ["Traceback:", "MemoryError\x1b[0m"]}))
        == TEXT
    )


def test_data() -> None:
    world = mixed()
    found = json.loads(msgspec.json.encode(report(world.run, world.at, tails={"bench": ["boom"]})))
    assert found["counts"] == {
        "total": 9,
        "done": 3,
        "failed": 1,
        "stuck": 1,
        "cancelled": 1,
        "skipped": 1,
        "blocked": 2,
        "reviewing": 0,
        "delegated": 0,
        "in_progress": 0,
        "not_started": 0,
    }
    assert found["first_attempt_success_rate"] == 0.5
    assert found["durations"]["longest"][0] == {"task": "db", "seconds": 100.0, "attempts": 1}
    codex = found["providers"][0]
    assert (codex["name"], codex["attempts"], codex["completed"], codex["seconds"]) == ("codex", 4, 2, 162.0)
    assert (codex["used"]["attempts"], codex["used"]["unknown"], codex["used"]["tokens"]) == (4, 4, None)
    bench = found["failures"][0]
    assert (bench["kind"], bench["detail"], bench["blocks"], bench["tail"]) == (
        "crashed",
        "killed by signal 9",
        2,
        ["boom"],
    )
    assert (found["started_at"], found["ended_at"], found["state"]) == (T0, T0 + 166, "finished")


def test_metrics_only() -> None:
    world = mixed()
    full = report(world.run, world.at)
    numbers = metrics_only(full)
    assert set(json.loads(msgspec.json.encode(numbers))) == {
        "run",
        "plan",
        "state",
        "started_at",
        "ended_at",
        "counts",
        "first_attempt_success_rate",
        "attempts",
        "durations",
        "providers",
        "used",
        "tasks_used",
        "budget",
        "planning",
        "criteria_planned",
        "criteria",
        "proof",
        "rounds",
    }
    assert metrics_text(numbers) == metrics_text(full)
    assert metrics_text(numbers) in report_text(full)


def test_of_a_run_that_goes_on() -> None:
    world = World(plan({"a": (), "b": (), "c": ("b",), "d": task(parent="b")})).begin("a").tick(5)
    world.say(ev.AttemptExited("a", result())).begin("b").tick(5)
    world.say(ev.Delegated("b", result("delegated")))
    found = report(world.run, world.at)
    assert (found.state, found.ended_at, found.durations.wall) == ("running", None, 10.0)
    assert found.attempts == Attempts(2, 1, 0, {"delegated": 1})
    assert [found.counts[word] for word in ("in_progress", "delegated", "not_started")] == [1, 1, 2]
    assert found.first_attempt_success_rate is None
    assert found.next == ()
    text = report_text(found)
    assert "not ended, 10s in all" in text
    assert "  done at first attempt  no task was done by an attempt" in text
    assert "  attempts               2, 0 wasted (1 delegated)\n" in text
    left = report(world.run, world.at, live=False)
    assert (left.state, left.next) == ("interrupted", ("daplug-supervise resume",))


def test_halted() -> None:
    world = World(plan({"a": ()})).begin("a").tick(5).say(ev.HaltRequested("enough", "command", ("a",)))
    lines = report_text(report(world.run, world.at)).splitlines()
    start = lines.index("Halt")
    assert lines[start + 1 : start + 3] == [
        "  requested 2026-11-21 01:22:08Z by command, not yet halted: enough",
        "  at work then: a",
    ]
    world.say(ev.RetryScheduled("a", result("interrupted")), ev.Halted())
    assert report(world.run, world.at + 99).durations.wall == 5.0
    idle = World(plan({"a": ()})).say(ev.HaltRequested("enough", "timeout"), ev.Halted())
    text = report_text(report(idle.run, idle.at))
    assert "  requested 2026-11-21 01:22:03Z by timeout, halted 2026-11-21 01:22:03Z: enough\n" in text
    assert "  nothing was at work then" in text


def test_all_done_has_nothing_to_type() -> None:
    world = World(plan({"a": ()})).done("a").say(ev.RunFinished())
    found = report(world.run, world.at)
    assert found.next == ()
    assert found.first_attempt_success_rate == 1.0
    assert "Next" not in report_text(found)


def test_nothing_to_do() -> None:
    world = World(plan({}))
    assert "0 tasks: nothing to do" in report_text(report(world.run, world.at))


def test_many_failures_are_cut_in_the_text() -> None:
    world = World(plan({f"t{i}": () for i in range(30)}))
    for i in range(30):
        world.failed(f"t{i}")
    found = report(world.run, world.at)
    assert len(found.failures) == 30
    assert "  and 10 more" in report_text(found)
    assert found.next[-2:] == ("daplug-supervise task list --status failed", "daplug-supervise resume")
    assert len(found.next) == 8


def test_a_provider_that_left_the_plan_is_still_counted() -> None:
    world = World(plan({"a": task(provider="gemini")}, {"codex": Provider(), "gemini": Provider()}))
    world.done("a").say(ev.PlanChanged(plan({"a": ()})))
    assert [use.name for use in report(world.run, world.at).providers] == ["codex", "gemini"]


def test_a_failure_without_a_result_does_not_break_the_report() -> None:
    world = World(plan({"a": ()})).failed("a")
    world.run.tasks["a"].past, world.run.tasks["a"].attempt = (), None
    [failure] = report(world.run, world.at).failures
    assert (failure.kind, failure.detail, failure.attempts) == ("", "exit code 1: boom", 0)
