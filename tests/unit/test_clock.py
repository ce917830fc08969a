"""The real clock: steady within a life, and whose clock a view counts by."""

from __future__ import annotations

import time

import pytest
from core_making import Story, chain

from daplug_supervisor.supervisor import clock as clocks
from daplug_supervisor.supervisor.clock import SystemClock, clock_of

YEAR = 365 * 86400.0


class Machine:
    """Clocks that a test sets: `wall` is UTC, `up` counts since the boot."""

    wall, up, boot = 1_800_000_000.0, 5000.0, "this boot"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(time, "time", lambda: made.wall)
    monkeypatch.setattr(time, "clock_gettime", lambda _which: made.up)
    monkeypatch.setattr(clocks, "boot_id", lambda: made.boot)
    return made


def test_it_begins_with_the_machines_time_and_goes_on_steadily(machine: Machine) -> None:
    clock = SystemClock()
    assert (clock.now(), clock.ahead()) == (machine.wall, 0.0)
    machine.wall += YEAR
    machine.up += 10.0
    assert clock.now() == 1_800_000_010.0
    assert clock.ahead() == YEAR - 10.0
    assert clock.boot() == ("this boot", 1_800_000_000.0 - 5000.0)
    machine.boot = "-"
    assert clock.boot()[0] == ""


def test_it_never_waits_longer_than_it_may_have_slept(machine: Machine) -> None:
    clock = SystemClock()
    assert clock.patience(clock.now() + 3.0) == 3.0
    assert clock.patience(clock.now() - 3.0) == 0.0
    assert clock.patience(clock.now() + 1e6) == 10.0


def test_whoever_looks_at_a_run_counts_as_its_supervisor_does(machine: Machine) -> None:
    assert clock_of(None).now() == machine.wall
    story = Story(chain("a"), now=machine.wall, boot="this boot", booted=machine.wall - machine.up)
    machine.wall -= YEAR
    machine.up += 60.0
    assert clock_of(story.run).now() == story.now + 60.0
    machine.boot = "another"
    assert clock_of(story.run).now() == story.run.last_at, "never earlier than what the run has seen"
    machine.wall += 2 * YEAR
    assert clock_of(story.run).now() == machine.wall
