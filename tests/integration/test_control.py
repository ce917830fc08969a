"""Halting, going on, and deciding about tasks, while a supervisor is alive and while none is."""

from __future__ import annotations

import json
import subprocess

import pytest
from cli import HOLD, MARKING, Place, Ran, finish, kill, opened, plan_of, sh, until

from daplug_supervisor import Plan, Retry
from daplug_supervisor.core import events as ev

place = pytest.fixture(opened)

HOLDING = plan_of({"a": sh(MARKING + HOLD), "b": sh(MARKING, "a"), "c": sh(MARKING, "b")})
BAD = plan_of({"bad": sh(f"{MARKING} [ -e go-bad ]", retry=Retry(attempts=1)), "next": sh(MARKING, "bad")})


def at_work(place: Place, plan: Plan = HOLDING) -> subprocess.Popen[str]:
    """Start a plan, and wait until its first task is at work."""
    process = place.start(place.write(plan))
    place.started(next(iter(plan.tasks)))
    return process


def halt_state(place: Place) -> dict[str, object]:
    found: dict[str, object] = place.run("halt-status", "--json").json()
    return found


def test_a_stop_file_prevents_the_next_start_until_resume(place: Place) -> None:
    process = at_work(place)
    assert place.run("check-halt").code == 0
    (place.state / "STOP").touch()
    assert place.run("check-halt").code == 1
    place.go()
    ran = finish(process)
    assert (ran.code, "daplug-supervise resume" in ran.out) == (3, True)
    assert place.statuses() == {"a": "done", "b": "pending", "c": "pending"}
    [asked] = place.events(ev.HaltRequested)
    assert asked.by == "stop_file"
    assert place.run("check-halt").code == 1
    refused = place.run("plan.json")
    assert (refused.code, "STOP is there" in refused.err) == (3, True)
    assert place.run("resume").code == 0
    assert (place.run("check-halt").code, (place.state / "STOP").exists()) == (0, False)
    assert set(place.statuses().values()) == {"done"}
    assert place.events(ev.Resumed) == [ev.Resumed("command")]
    place.nothing_left()


def test_a_stop_file_that_was_there_before_lets_nothing_start(place: Place) -> None:
    place.state.mkdir()
    (place.state / "STOP").touch()
    assert place.run(place.write(HOLDING)).code == 3
    assert place.lines() == []
    assert halt_state(place)["stop_file"] is True


def test_a_halt_lets_what_runs_finish_writes_the_report_and_says_how_to_go_on(place: Place) -> None:
    process = at_work(place)
    ran = place.run("halt", "lunch")
    assert (ran.code, "nothing more is started" in ran.out) == (0, True)
    state = halt_state(place)
    halt = state["halt"]
    assert isinstance(halt, dict)
    assert (state["halted"], halt["reason"], halt["requested_by"], halt["running"], halt["halted_at"]) == (
        True,
        "lunch",
        "command",
        ["a"],
        None,
    )
    second = place.run("halt", "again")
    assert (second.code, "halted already: lunch" in second.err) == (2, True)
    place.go()
    assert finish(process).code == 3
    assert "was running: a" in place.run("halt-status").out
    made = json.loads((place.state / "runs" / "p-1" / "report.json").read_text())
    assert (made["state"], made["halt"]["halted_at"] >= made["halt"]["requested_at"]) == ("halted", True)
    assert "daplug-supervise resume" in (place.state / "runs" / "p-1" / "report.txt").read_text()
    assert place.run("resume", "--json").json()["counts"]["done"] == 3
    assert place.run("halt-status").out == "Not halted.\n"


def test_halt_and_resume_without_a_supervisor(place: Place) -> None:
    kill(at_work(place))
    place.go()
    assert place.run("halt").code == 0
    assert place.run("halt").code == 2
    assert place.run("check-halt").code == 1
    assert place.run("resume").code == 0
    assert set(place.statuses().values()) == {"done"}
    assert place.run("halt").code == 2
    ran = place.run("resume")
    assert (ran.code, "Nothing is unfinished" in ran.err) == (0, True)


def test_resume_of_a_halt_while_agents_still_run(place: Place) -> None:
    process = at_work(place)
    assert place.run("halt").code == 0
    assert place.run("resume").code == 0
    place.go()
    assert finish(process).code == 0
    assert len(place.lines()) == 3


def test_tasks_are_decided_about_while_a_supervisor_is_alive(place: Place) -> None:
    tasks = {"long": sh(MARKING + HOLD), "drop": sh("sleep 60", "long"), "after": sh(MARKING, "drop")}
    process = at_work(place, plan_of(tasks | BAD.tasks | {"gone": sh(MARKING + "sleep 60")}))
    place.started("bad", "gone")
    until(lambda: place.statuses()["bad"] == "failed", "bad has failed")
    place.go("bad")
    assert place.run("task", "skip", "drop", "--reason", "not needed").code == 0
    assert place.run("task", "cancel", "gone").code == 0
    until(lambda: place.statuses()["gone"] == "cancelled", "gone is cancelled")
    assert place.run("task", "retry", "bad").code == 0
    place.go()
    assert finish(process).code == 1
    assert place.statuses() == {
        "long": "done",
        "drop": "skipped",
        "after": "done",
        "bad": "done",
        "next": "done",
        "gone": "cancelled",
    }
    answers = place.events(ev.CommandAnswered)
    assert [(answer.verb, answer.applied) for answer in answers] == [
        ("skip", True),
        ("cancel", True),
        ("retry", True),
    ]
    assert list((place.state / "inbox").iterdir()) == []
    place.nothing_left()


def test_tasks_are_decided_about_while_none_is(place: Place) -> None:
    assert place.run(place.write(BAD)).code == 1
    assert "Blocked by failed task bad." in place.run("task", "why", "next").out
    place.go("bad")
    assert place.run("task", "retry", "bad", "--reason", "mended").code == 0
    assert place.run("task", "list", "--ready").out.startswith("bad: ")
    assert place.run("resume").code == 0
    assert place.statuses() == {"bad": "done", "next": "done"}
    refused = place.run("task", "retry", "bad")
    assert (refused.code, "only an ended task that is not done" in refused.err) == (2, True)


def test_a_skipped_task_lets_what_needs_it_go_on(place: Place) -> None:
    assert place.run(place.write(BAD)).code == 1
    assert place.run("task", "skip", "bad", "--reason", "by hand").code == 0
    assert place.run("resume").code == 0
    assert place.statuses() == {"bad": "skipped", "next": "done"}


def test_a_cancelled_task_holds_back_what_needs_it(place: Place) -> None:
    kill(at_work(place))
    assert place.run("task", "cancel", "b").code == 0
    place.go()
    assert place.run("resume").code == 1
    assert place.statuses() == {"a": "done", "b": "cancelled", "c": "pending"}
    assert "cancelled task b" in place.run("task", "why", "c").out


def test_a_task_that_was_cancelled_while_nobody_watched_is_stopped(place: Place) -> None:
    kill(at_work(place))
    assert place.run("task", "cancel", "a").code == 0
    assert place.run("resume").code == 1
    assert place.statuses() == {"a": "cancelled", "b": "pending", "c": "pending"}
    place.nothing_left()


def test_what_cannot_help_needs_force(place: Place) -> None:
    place.write(plan_of({"a": sh("true", cwd="gone")}))
    assert place.run("plan.json").code == 1
    refused = place.run("task", "retry", "a")
    assert (refused.code, "--force" in refused.err) == (2, True)
    (place.target / "gone").mkdir()
    assert place.run("task", "retry", "a", "--force").code == 0
    assert place.run("resume").code == 0


def test_the_ready_tasks_one_a_line(place: Place) -> None:
    tasks = {"x": sh(MARKING + HOLD, title="Long"), "y": sh("true", title="Ready"), "z": sh("true", "x")}
    process = place.start("run", place.write(plan_of(tasks)), "--parallel", "1")
    place.started("x")
    assert place.run("task", "list", "--ready").out == "y: Ready\n"
    assert [row["task"] for row in place.run("task", "list", "--status", "running", "--json").json()] == ["x"]
    place.go()
    assert finish(process).code == 0
    assert place.run("task", "list", "--ready").out.strip() == ""


def test_another_supervisor_is_refused_and_disturbs_nothing(place: Place) -> None:
    process = at_work(place)
    ran = place.run("plan.json", "--json")
    assert (ran.code, ran.json()["error"]["code"]) == (4, "busy")
    assert f"process {process.pid} supervises" in ran.err
    place.go()
    assert finish(process).code == 0
    assert len(place.lines()) == 3


def test_the_time_of_the_run_is_over(place: Place) -> None:
    tasks = {"a": sh(MARKING + "sleep 0.5"), "b": sh(MARKING, "a")}
    assert place.run(place.write(plan_of(tasks, timeout=0.2))).code == 124
    assert place.statuses() == {"a": "done", "b": "pending"}
    assert place.run(place.write(plan_of(tasks, timeout=600.0))).code == 0


def test_a_second_run_does_not_take_commands_for_the_first(place: Place) -> None:
    process = at_work(place)
    ran: Ran = place.run("task", "skip", "b", "--run", "p-9")
    assert (ran.code, "p-9" in ran.err) == (2, True)
    assert place.run("task", "skip", "b", "--run", "p-1").code == 0
    place.go()
    assert finish(process).code == 0
