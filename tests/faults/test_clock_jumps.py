"""Somebody sets the clock by a year, while all is at work or while nobody is; the machine sleeps. Nothing is moved."""

from __future__ import annotations

import re
import signal
import time
from itertools import pairwise, product
from pathlib import Path

import pytest
from cli import HOLD, Place, finish, kill, opened, plan_of, sh, until
from driven import fresh
from promises import Proof
from skewed import Machine

from daplug_supervisor import Plan, Provider, Retry
from daplug_supervisor.core import events as ev

pytestmark = pytest.mark.promise("P22")
place = pytest.fixture(opened)

YEAR = 365 * 86400.0
NONSENSE = re.compile(r"(?<!\S)-\d|\d\dd \d\dh|in \d+h")
"""Durations that nothing here can last."""

STAMP = 'date +%s.%N >> "times-$DAPLUG_TASK"; '
TIMEOUT = 1.5
PLAN = plan_of(
    {
        "slow": sh(f"{STAMP} sleep 60", timeout=TIMEOUT, retry=Retry(attempts=1)),
        "again": sh(f"{STAMP} [ $(wc -l < times-again) -gt 1 ]", retry=Retry(attempts=2, backoff=3.0)),
        "hold": sh(STAMP + HOLD),
    },
    {"p": Provider(worker="command", parallel=3)},
)


def stamps(place: Place, task: str) -> list[float]:
    return [float(line) for line in place.lines(f"times-{task}")]


VIEWS = [
    ["status"],
    ["task", "why", "again"],
    ["task", "list"],
    ["task", "show", "slow"],
    ["task", "show", "again"],
    ["report"],
]


def looked_at(machine: Machine, proof: Proof) -> None:
    """What people are shown makes sense."""
    for words in VIEWS[: proof.pick(1, len(VIEWS))]:
        ran = machine.run(*words)
        assert ran.code == 0, ran
        text = re.sub(r"\d{4}-\d\d-\d\d", "", ran.out)  # dates have such signs as well
        assert not NONSENSE.search(text), f"{words}: {ran.out}"


def errors(place: Place, waited: float) -> tuple[float, float]:
    """By how many seconds the time-out and the second try were early or late."""
    [slow] = [past.result for past in place.task("slow").past]
    assert slow.outcome.kind == "timeout"
    first, second = stamps(place, "again")
    return abs(slow.exit.seconds - TIMEOUT), abs(second - first - waited)


def wait_decided(place: Place) -> float:
    [scheduled] = [entry for entry in place.entries() if isinstance(entry.event, ev.RetryScheduled)]
    return float(scheduled.event.not_before - scheduled.at)


def jumped(machine: Machine, by: float, downtime: bool, proof: Proof) -> tuple[float, float]:
    """A run over which the clock jumps; what the jump moved."""
    place = machine.place
    name = place.write(PLAN)
    process = machine.start(name)
    until(lambda: place.events(ev.RetryScheduled), "the first try over")
    waited = wait_decided(place)
    if downtime:
        kill(process)
    machine.jump(by)
    if downtime:
        looked_at(machine, proof)
        process = machine.start(name)
        until(lambda: len(place.events(ev.RunStarted)) == 2, "started again")
    looked_at(machine, proof)
    until(lambda: len(stamps(place, "again")) == 2, "tried again")
    until(lambda: place.statuses()["slow"] == "failed", "timed out")
    looked_at(machine, proof)
    place.go()
    assert finish(process).code == 1
    assert place.statuses() == {"slow": "failed", "again": "done", "hold": "done"}
    looked_at(machine, proof)
    place.nothing_left()
    return errors(place, waited)


def test_a_jump_of_a_year_moves_nothing(tmp_path: Path, proof: Proof) -> None:
    cases = list(product((YEAR, -YEAR), (False, True)))
    for number, (by, downtime) in enumerate(proof.pick(cases[-1:], cases * 2)):
        with fresh(tmp_path / str(number)) as place:
            late, moved = jumped(Machine(place), by, downtime, proof)
        proof.measure("a time-out moved by a jump of a year", late, "s", at_most=2.0)
        proof.measure("a wait moved by a jump of a year", moved, "s", at_most=2.0)
        proof.count("injected faults")


def test_times_in_the_journal_go_forth_within_a_life(place: Place, proof: Proof) -> None:
    machine = Machine(place)
    process = machine.start(place.write(plan_of({"hold": sh(STAMP + HOLD)})))
    for number, by in enumerate((-YEAR, YEAR, -60.0, 3600.0)):
        machine.jump(by)
        if number == 3:
            place.go("hold")
        until(place.entries, "events")
    until(lambda: place.statuses().get("hold") == "done", "done")
    process.send_signal(signal.SIGTERM)
    finish(process)
    times = [entry.at for entry in place.entries()]
    assert all(before <= after for before, after in pairwise(times))
    proof.count("injected faults", 4)


def test_a_command_without_a_supervisor_counts_as_the_run_does(place: Place, proof: Proof) -> None:
    machine = Machine(place)
    process = machine.start(place.write(PLAN))
    until(lambda: place.events(ev.RetryScheduled), "the first try over")
    kill(process)
    machine.jump(YEAR)
    assert machine.run("halt", "enough").code == 0
    looked_at(machine, proof)
    times = [entry.at for entry in place.entries() if entry.run]
    assert times[-1] - times[0] < 60.0
    proof.count("injected faults")


# --- sleep ------------------------------------------------------------------------------------------------------


def sleeper(timeout: float) -> Plan:
    slow = sh(f"{STAMP} sleep 60", timeout=timeout, retry=Retry(attempts=1))
    again = sh(
        f"{STAMP} [ $(wc -l < times-again) -gt 1 ]",
        retry=Retry(attempts=2, backoff=3000.0, max_backoff=3000.0),
    )
    return plan_of({"slow": slow, "again": again})


def test_a_wait_that_ends_while_the_machine_sleeps_is_over_soon_after(place: Place, proof: Proof) -> None:
    """Deadlines stand still in sleep, as agents do; waits do not."""
    machine = Machine(place)
    timeout = proof.pick(2.0, 14.0)  # its end wakes the supervisor as well
    process = machine.start(place.write(sleeper(timeout)))
    until(lambda: place.events(ev.RetryScheduled), "the first try over")
    assert wait_decided(place) > 30, "or there is nothing to sleep through"
    woke = time.monotonic()
    machine.sleep(3600.0)
    until(lambda: len(stamps(place, "again")) == 2, "tried again", 30)
    proof.measure("a wait's end noticed after sleep", time.monotonic() - woke, "s", at_most=12.0)
    assert finish(process).code == 1
    [slow] = [past.result for past in place.task("slow").past]
    assert slow.outcome.kind == "timeout"
    assert slow.exit.seconds > timeout - 0.5
    proof.count("injected faults")
