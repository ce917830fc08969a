"""INT, TERM and HUP to the command, once, twice and three times."""

from __future__ import annotations

import signal
import subprocess

import pytest
from cli import HOLD, MARKING, Place, alive, finish, opened, plan_of, press, sh, until

from daplug_supervisor.core import events as ev

place = pytest.fixture(opened)

PLAN = plan_of({"a": sh(MARKING + HOLD), "b": sh(MARKING, "a")})
DEAF = plan_of({"a": sh(f"trap '' TERM; {MARKING} {HOLD}", grace=30.0), "b": sh(MARKING, "a")})
ENDS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


def at_work(place: Place, plan: object = PLAN) -> subprocess.Popen[str]:
    process = place.start(place.write(plan))  # type: ignore[arg-type]
    place.started("a")
    return process


def halting(place: Place, process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Send a first signal, and wait until it has counted."""
    process.send_signal(number)
    until(lambda: place.events(ev.HaltRequested), "a halt requested")


def goes_on(place: Place, starts: int) -> None:
    """The same command ends the run; so often was an attempt started in all."""
    place.go()
    ran = place.run("plan.json")
    assert ran.code == 0, ran
    assert place.statuses() == {"a": "done", "b": "done"}
    assert len(place.lines()) == starts
    place.nothing_left()


@pytest.mark.parametrize(("number", "code"), ENDS)
def test_once_nothing_more_is_started_and_what_runs_finishes(
    place: Place, number: signal.Signals, code: int
) -> None:
    process = at_work(place)
    halting(place, process, number)
    [asked] = place.events(ev.HaltRequested)
    assert (asked.by, asked.running) == ("signal", ("a",))
    assert process.poll() is None
    place.go()
    ran = finish(process)
    assert ran.code == code
    assert "HALTED" in ran.out
    assert "once more stops the agents" in ran.err
    assert place.statuses() == {"a": "done", "b": "pending"}
    goes_on(place, starts=2)


@pytest.mark.parametrize(("number", "code"), ENDS)
def test_twice_the_agents_are_stopped_and_it_costs_no_try(
    place: Place, number: signal.Signals, code: int
) -> None:
    process = at_work(place)
    halting(place, process, number)
    press(process, number)
    ran = finish(process)
    assert ran.code == code
    assert place.processes(attempts=True) == []
    [retried] = place.events(ev.RetryScheduled)
    assert (retried.result.outcome.kind, retried.uses_try) == ("interrupted", False)
    assert (place.task("a").status, place.task("a").tries) == ("pending", 0)
    goes_on(place, starts=3)


@pytest.mark.parametrize(("number", "code"), ENDS)
def test_thrice_it_leaves_at_once_and_agents_are_taken_back(
    place: Place, number: signal.Signals, code: int
) -> None:
    process = at_work(place, DEAF)
    halting(place, process, number)
    press(process, number)
    assert process.stderr is not None
    while "stopping the agents" not in process.stderr.readline():
        pass
    press(process, number)
    ran = finish(process)
    assert (ran.code, "Detached" in ran.err) == (code, True)
    [spawned] = place.events(ev.AttemptSpawned)
    assert alive(spawned.pid)
    place.go()
    ran = place.run("plan.json")
    assert ran.code == 0, ran
    assert place.statuses() == {"a": "done", "b": "done"}
    place.nothing_left()


def test_hup_leaves_the_agents_running_and_the_next_start_takes_them_back(place: Place) -> None:
    process = at_work(place)
    process.send_signal(signal.SIGHUP)
    ran = finish(process)
    assert (ran.code, "Detached: agents go on running" in ran.err) == (129, True)
    [spawned] = place.events(ev.AttemptSpawned)
    assert alive(spawned.pid)
    assert place.events(ev.SupervisorStopped) == [ev.SupervisorStopped(1)]
    assert place.events(ev.HaltRequested) == []
    goes_on(place, starts=2)
    assert [event.pid for event in place.events(ev.AttemptSpawned, task="a")] == [spawned.pid]


def test_a_signal_between_two_tries_ends_at_once(place: Place) -> None:
    from daplug_supervisor import Retry

    plan = plan_of({"a": sh(f"{MARKING} exit 1", retry=Retry(attempts=3, backoff=600.0))})
    process = place.start(place.write(plan))
    until(lambda: place.events(ev.RetryScheduled), "the first try over")
    process.send_signal(signal.SIGTERM)
    assert finish(process).code == 143
    assert place.statuses() == {"a": "pending"}


def test_a_signal_while_events_are_followed(place: Place) -> None:
    process = at_work(place)
    following = place.start("events", "--follow")
    assert following.stdout is not None
    following.stdout.readline()
    following.send_signal(signal.SIGINT)
    assert finish(following).code == 130
    place.go()
    assert finish(process).code == 0
