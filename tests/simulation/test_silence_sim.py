"""Agents that hang, in virtual time: when they are ended, and what is told of those that nobody has ended."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
from msgspec import structs
from story import CodeWorker, decoded

from daplug_supervisor import Evidence, Outcome, OutcomeKind, Plan, Provider, Retry, Supervisor, Task
from daplug_supervisor.core import events as ev
from daplug_supervisor.core.health import Rules
from daplug_supervisor.core.state import TaskState, fold
from daplug_supervisor.ports import Launch
from daplug_supervisor.testing import (
    FakeLauncher,
    FaultyJournal,
    Script,
    VirtualClock,
    VirtualLoop,
    World,
    run,
)
from daplug_supervisor.workspace import suspects

IDLE = 900.0
LOOK = 120.0
RULES = Rules(interval=LOOK)
HANGS = Script(math.inf, works=600.0)

Durable = list[tuple[int, str, float, bytes]]


def plan_of(*names: str, **more: Any) -> Plan:
    task = Task(command=("agent",), provider="p", grace=5.0, retry=Retry(attempts=2, backoff=10.0), **more)
    tasks = {name: structs.replace(task, command=(name,)) for name in names}
    return Plan("p", tasks, {"p": Provider(worker="agent", parallel=8)})


class Reader(CodeWorker):
    """A worker that reads in the output of a CLI that its provider cannot be reached."""

    output_wanted = 100

    def outcome(self, evidence: Evidence) -> Outcome:
        if evidence.stdout == b"offline":
            return Outcome(OutcomeKind.OUTAGE, "waiting for network")
        return super().outcome(structs.replace(evidence, stdout=b""))


class Night:
    """A state directory, its journal and its agents, which outlive every supervisor.

    `scripts`: what the attempts at each task do, in their order; later ones do as the last.
    """

    def __init__(self, directory: Path, scripts: dict[str, list[Script]]) -> None:
        self.directory, self.time = directory, 0.0
        self.durable: Durable = []
        self.said: list[tuple[float, str]] = []
        self._scripts = scripts
        self.world = World(self._script)

    def _script(self, launch: Launch) -> Script:
        left = self._scripts[launch.argv[0]]
        return left.pop(0) if len(left) > 1 else left[0]

    def live(
        self, plan: Plan, meanwhile: Callable[[Supervisor], Coroutine[Any, Any, None]] | None = None
    ) -> None:
        """One life of a supervisor: until the run has ended, or until `meanwhile` has."""
        loop = VirtualLoop(start=self.time)

        async def main() -> None:
            async with Supervisor(
                self.directory, environ={}, launcher=FakeLauncher(self.world), journal=FaultyJournal(self.durable),
                clock=VirtualClock(loop), workers={"agent": Reader()}, health=RULES, inbox=False,
            ) as supervisor:  # fmt: skip
                supervisor.notices.listen = lambda text: self.said.append((loop.time(), text))
                handle = await supervisor.submit(plan)
                if meanwhile is None:
                    await handle.wait()
                else:
                    await meanwhile(supervisor)

        run(main, loop=loop)
        self.time = loop.time()

    def entries(self) -> list[ev.Entry]:
        return [ev.Entry(seq, name, at, decoded(data)) for seq, name, at, data in self.durable]

    def task(self, name: str) -> TaskState:
        return fold(self.entries()).runs["p-1"].tasks[name]

    def ends(self, task: str) -> list[tuple[str, float, float]]:
        """Of each attempt that has ended: its kind, when it began, when it ended."""
        begin = self.durable[0][2]
        past = self.task(task).past
        return [(str(one.result.outcome.kind), one.at - begin, one.ended_at - begin) for one in past]


def test_who_hangs_is_ended_and_tried_again_and_who_works_in_silence_is_left_alone(tmp_path: Path) -> None:
    night = Night(tmp_path, {"hangs": [HANGS, Script(60.0)], "works": [Script(36_000.0)]})
    night.live(plan_of("hangs", "works", idle_timeout=IDLE))
    first, second = night.ends("hangs")
    assert first[0] == "silent"
    assert 600.0 + IDLE <= first[2] <= 600.0 + IDLE + LOOK
    assert second[0] == "completed"
    assert [kind for kind, _, _ in night.ends("works")] == ["completed"]
    assert night.said == []


def test_who_does_not_listen_either_is_killed_after_its_grace(tmp_path: Path) -> None:
    night = Night(tmp_path, {"a": [replace(HANGS, after_term=None)]})
    night.live(plan_of("a", idle_timeout=IDLE))
    assert {kind for kind, _, _ in night.ends("a")} == {"silent"}
    assert {process.exit.code for process in night.world.launched() if process.exit} == {-9}
    detail = night.task("a").past[0].result.outcome.detail
    assert detail == "no output, no changed file and no processor time for 15m 00s"


def test_after_twice_its_estimate_who_shows_nothing_is_ended_and_who_computes_is_not(tmp_path: Path) -> None:
    night = Night(tmp_path, {"hangs": [HANGS, Script(60.0)], "works": [Script(9000.0)]})
    night.live(plan_of("hangs", "works", estimate=1200.0))
    first, second = night.ends("hangs")
    assert (first[0], second[0]) == ("silent", "completed")
    assert 2400.0 <= first[2] <= 2400.0 + LOOK
    assert "twice its estimate of 20m" in night.task("hangs").past[0].result.outcome.detail
    assert [kind for kind, _, _ in night.ends("works")] == ["completed"]


def test_a_deadline_that_comes_first_counts(tmp_path: Path) -> None:
    night = Night(tmp_path, {"a": [HANGS]})
    night.live(plan_of("a", idle_timeout=IDLE, timeout=1000.0))
    assert [(kind, end - begin) for kind, begin, end in night.ends("a")] == [("timeout", 1000.0)] * 2


def test_a_zombie_without_idle_timeout_is_told_of_once_and_not_ended(tmp_path: Path) -> None:
    night = Night(tmp_path, {"a": [replace(HANGS, seconds=8950.0)], "b": [Script(9000.0)]})
    found = []

    async def look(_supervisor: Supervisor) -> None:
        for _ in range(90):
            await anyio.sleep(100.0)
            found.append(suspects.read(tmp_path / "runs" / "p-1"))

    night.live(plan_of("a", "b"), look)
    assert len(night.said) == 1
    at, text = night.said[0]
    assert 600.0 + RULES.zombie_after <= at <= 600.0 + RULES.zombie_after + LOOK
    assert text.startswith("p-1/a#1: has shown no sign of work for 20m")
    told = [one for one in found if one]
    assert {(one.task, one.attempt, one.verdict) for seen in told for one in seen} == {("a", 1, "zombie")}
    assert 70 <= len(told) <= 72
    assert found[-1] == ()
    assert [kind for kind, _, _ in night.ends("a")] == ["completed"]


def test_over_a_restart_half_of_the_silence_counts_and_nobody_is_ended_at_once(tmp_path: Path) -> None:
    night = Night(tmp_path, {"a": [HANGS, Script(60.0)], "b": [Script(10_000.0)]})
    plan = plan_of("a", "b", idle_timeout=IDLE)
    night.live(plan, lambda _: anyio.sleep(700.0))
    night.time = 3000.0
    night.live(plan)
    first, second = night.ends("a")
    assert (first[0], second[0]) == ("silent", "completed")
    assert 3000.0 + IDLE / 2 <= first[2] <= 3000.0 + IDLE / 2 + LOOK
    assert [kind for kind, _, _ in night.ends("b")] == ["completed"]


def test_what_was_slept_through_does_not_count(tmp_path: Path) -> None:
    night = Night(tmp_path, {"a": [HANGS, Script(60.0)]})

    async def sleep(supervisor: Supervisor) -> None:
        await anyio.sleep(900.0)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.pass_time(7200.0)
        while "p-1" in supervisor.state.runs and not night.task("a").past:
            await anyio.sleep(1.0)

    night.live(plan_of("a", idle_timeout=IDLE), sleep)
    kind, _, end = night.ends("a")[0]
    assert kind == "silent"
    assert 7200.0 + 600.0 + IDLE - LOOK <= end <= 7200.0 + 600.0 + IDLE + 2 * LOOK


def test_an_agent_that_hangs_because_its_provider_does_is_not_to_blame(tmp_path: Path) -> None:
    night = Night(tmp_path, {"a": [replace(HANGS, stdout=b"offline"), Script(60.0)]})
    night.live(plan_of("a", idle_timeout=IDLE))
    assert [kind for kind, _, _ in night.ends("a")] == ["outage", "completed"]
    task = night.task("a")
    assert task.tries == 1
    assert task.past[0].result.outcome.detail.startswith("waiting for network; no output, no changed file")
