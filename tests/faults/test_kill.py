"""The supervisor is killed with SIGKILL while agents are at work: nothing dies with it, nothing is forgotten."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli import PATIENCE, Place, alive, finish, opened, plan_of, sh, until
from promises import Proof

from daplug_supervisor import Plan, Provider, Retry
from daplug_supervisor.core import events as ev
from daplug_supervisor.errors import BusyError
from daplug_supervisor.workspace.files import StateDirectory

place = pytest.fixture(opened)
ONCE = Retry(attempts=1)
START = 'echo "$DAPLUG_TASK $DAPLUG_SUP_ATTEMPT $$" >> starts; '
END = 'echo "$DAPLUG_TASK" >> ends; '
HELD = "read _ < gate || :; "
"""Waits without using the processor until `Gate.open`."""

WAYS = ("supervisor", "its group", "launcher too", "launcher first")


class Gate:
    """Holds any number of agents that read from it."""

    def __init__(self, place: Place) -> None:
        self._path = place.target / "gate"
        os.mkfifo(self._path)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)

    def open(self) -> None:
        """Let all go on, also those who come later."""
        self._path.unlink()
        os.close(self._descriptor)


def launchers(pid: int) -> list[int]:
    """The launchers of a supervisor."""
    found = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(child) for child in file.read_text().split()]
    return found


def kill(process: subprocess.Popen[str], way: str) -> None:
    """Kill a supervisor, alone or with others, and collect it."""
    others = launchers(process.pid) if "launcher" in way else []
    if way == "launcher first":
        end(*others)
    if way == "its group":
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    end(*others)
    process.communicate(timeout=PATIENCE)


def end(*pids: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def watched_by(pid: int) -> Iterator[int]:
    """Whose end a process waits for: those that it has a pidfd of."""
    for file in Path(f"/proc/{pid}/fdinfo").glob("*"):
        with contextlib.suppress(OSError):
            _, found, rest = file.read_text().partition("Pid:\t")
            if found:
                yield int(rest.split()[0])


def agents(number: int, stream: int) -> Plan:
    """Agents that wait at the gate, and a stream of short tasks, so that something is always about to start."""
    tasks = {f"a{count:02}": sh(START + HELD + END) for count in range(number)}
    tasks |= {f"s{count:03}": sh(f"{START} sleep 0.05; {END}", provider="q") for count in range(stream)}
    pools = {"p": Provider(worker="command", parallel=number), "q": Provider(worker="command", parallel=2)}
    return plan_of(tasks, pools)


def waiting(place: Place) -> list[int]:
    """The agents at the gate."""
    return [int(line.split()[2]) for line in place.lines() if line.startswith("a")]


@pytest.mark.promise("P1")
def test_no_agent_dies_and_all_are_taken_back(place: Place, proof: Proof) -> None:
    """Killed at random instants, alone, with its group, and with its launcher."""
    number, kills = proof.pick(8, 50), proof.pick(3, 100)
    chance = random.Random(20261121)
    place.write(agents(number, proof.pick(6, 400)))
    gate = Gate(place)
    for count in range(kills):
        process = place.start("plan.json")
        began = time.monotonic()
        if count == kills // 10:  # until now it was killed while the agents began
            until(lambda: len(waiting(place)) == number, "all agents at work")
        elif count > kills // 10 and count % 2:
            shims = {event.pid for event in place.events(ev.AttemptSpawned) if event.task.startswith("a")}
            until(lambda: shims <= set(watched_by(process.pid)), "all taken back")  # noqa: B023
            proof.measure("all agents taken back after", time.monotonic() - began, "s", at_most=2.0)
            time.sleep(chance.uniform(0, 0.1))
        else:
            time.sleep(chance.uniform(0.05, 0.6))
        kill(process, WAYS[count % len(WAYS)])
        assert all(map(alive, waiting(place))), "an agent died with its supervisor"
        proof.count("kills")
    process = place.start("plan.json")
    until(lambda: len(waiting(place)) == number, "all agents at work")
    assert all(map(alive, waiting(place)))
    gate.open()
    assert finish(process).code == 0
    tasks = list(place.folded().tasks)
    assert sorted(line.split()[0] for line in place.lines()) == sorted(tasks), "each was started once"
    assert sorted(place.lines("ends")) == sorted(tasks), "each came to its end"
    assert set(place.statuses().values()) == {"done"}
    place.nothing_left()


def ends(numbers: list[int]) -> dict[str, int]:
    """Ends of agents by the name of their task: exit codes from 0, or minus a signal."""
    return {f"c{number}" if number >= 0 else f"s{-number}": number for number in numbers}


@pytest.mark.promise("P3")
def test_how_agents_ended_while_nobody_watched_is_known_exactly(place: Place, proof: Proof) -> None:
    deadly = [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 24, 31, 34, 64]
    codes, signals = proof.pick([0, 1, 255], list(range(0, 256, 3))), proof.pick([2, 9], deadly)
    wanted = ends([*codes, *(-number for number in signals)])
    finishes = {task: f"exit {end}" if end >= 0 else f"kill -{-end} $$" for task, end in wanted.items()}
    tasks = {task: sh(f"ulimit -c 0; {START} {HELD} {line}", retry=ONCE) for task, line in finishes.items()}
    gate = Gate(place)
    process = place.start(place.write(plan_of(tasks, {"p": Provider(worker="command", parallel=len(tasks))})))
    until(lambda: len(place.lines()) == len(tasks), "all at work", 60)
    kill(process, "its group")
    gate.open()
    until(lambda: not place.processes(), "all agents ended", 30)
    began = time.time()
    place.run("plan.json")
    told = {entry.task: entry for entry in place.entries() if hasattr(entry.event, "result")}
    assert {task: entry.event.result.exit.code for task, entry in told.items()} == wanted
    assert len(place.lines()) == len(tasks), "none was started again"
    proof.measure("ends known after", max(entry.at for entry in told.values()) - began, "s", at_most=1.0)
    proof.count("kills")


@pytest.mark.promise("P8")
def test_the_lock_is_free_although_agents_live_on(place: Place, proof: Proof) -> None:
    place.write(agents(4, 0))
    gate = Gate(place)
    directory = StateDirectory(place.state)
    for count in range(proof.pick(2, 20)):
        process = place.start("plan.json")
        until(lambda: len(waiting(place)) == 4, "agents at work")
        until(lambda: len(place.events(ev.RunStarted)) > count, "a supervisor")  # noqa: B023
        began = time.monotonic()
        kill(process, WAYS[count % 2])
        while True:
            with contextlib.suppress(BusyError):
                directory.lock().release()
                break
        proof.measure("lock free after", time.monotonic() - began, "s", at_most=0.1)
        assert all(map(alive, waiting(place)))
        for pid in place.processes():
            names = {str(path.readlink()) for path in Path(f"/proc/{pid}/fd").glob("*") if path.is_symlink()}
            kept = {name for name in names if name.startswith(str(place.state)) and "/runs/" not in name}
            assert not kept, f"{pid} keeps {kept} open"
        proof.count("kills")
    gate.open()
    assert place.run("plan.json").code == 0
    place.nothing_left()
