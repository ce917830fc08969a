"""A program that embeds the supervisor is cancelled: with the real journal, real shims and a real event loop."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import anyio
import pytest
from cli import HOLD, MARKING, Place, ended, opened, plan_of, sh, until
from promises import Proof

from daplug_supervisor import Plan, Report, Supervisor
from daplug_supervisor.core import events as ev
from daplug_supervisor.core.commands import Command
from daplug_supervisor.views.report.contents import report

place = pytest.fixture(opened)

LEAVING = 2.0
"""Seconds in which a cancelled program has left."""


class CountedLoop(asyncio.SelectorEventLoop):
    """A real event loop that calls something before its n-th pass, or a number of seconds after it began."""

    def __init__(self) -> None:
        super().__init__()
        self.passes = 0
        self.at = 0
        self.then: Callable[[], object] = bool
        self.problems: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _, context: self.problems.append(context))

    def _run_once(self) -> None:
        self.passes += 1
        if self.passes == self.at:
            self.then()
        super()._run_once()  # type: ignore[misc]


class Program:
    """Somebody's program with a supervisor in it, of which the task is cancelled."""

    def __init__(self, place: Place, number: int, how: str) -> None:
        self.place, self.how = place, how
        self.a, self.b = f"a{number}", f"b{number}"
        self.plan: Plan = plan_of(
            {self.a: sh(MARKING + HOLD), self.b: sh(MARKING, self.a)}, name=f"c{number}"
        )
        self.asked = 0.0
        self.left = 0.0

    async def body(self) -> None:
        async with Supervisor(self.place.state) as supervisor:
            run = await supervisor.submit(self.plan)
            async for entry in run.events():
                if isinstance(entry.event, ev.AttemptSpawned) and entry.task == self.a:
                    break
            await supervisor.load(run.id)
            await supervisor.command(Command(f"skip {self.b}", "skip", task=self.b))
            supervisor.halt("a pause")
            await supervisor.resume()
            await anyio.sleep(0.1)
            self.place.go(self.a)
            await run.wait()

    async def main(self, at: int, after: float) -> bool:
        """Run it, and cancel it before a pass of the loop or after a time. True if that was before its end."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, CountedLoop)
        scope = anyio.CancelScope()
        over: list[bool] = []

        async def program() -> None:
            with scope:
                await self.body()
                over.append(True)

        task = loop.create_task(program())

        def cancel() -> None:
            if not task.done() and not self.asked:
                self.asked = time.monotonic()
                scope.cancel() if self.how == "scope" else task.cancel()
                if self.how == "twice":
                    loop.at = loop.passes + 2
                    loop.then = task.cancel

        loop.passes, loop.at, loop.then = 0, at, cancel
        timer = loop.call_later(after, cancel) if after else None
        await asyncio.wait([task])
        self.left = time.monotonic()
        if timer is not None:
            timer.cancel()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        if not task.cancelled():
            task.result()
        return not over

    def run(self, at: int = 0, after: float = 0.0) -> bool:
        """Run it on a loop of its own; nothing of it is left afterwards."""
        before = set(threading.enumerate())
        with asyncio.Runner(loop_factory=CountedLoop) as runner:
            loop = runner.get_loop()
            assert isinstance(loop, CountedLoop)
            found = runner.run(self.main(at, after))
            assert loop.problems == []
        until(lambda: set(threading.enumerate()) <= before, "no thread left")
        return found

    def check(self) -> None:
        """The journal is whole, and knows every agent that lives."""
        entries = self.place.entries()
        assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
        kinds = [entry.event.kind for entry in entries if entry.run == f"{self.plan.name}-1"]
        whole(kinds, "run_submitted", "run_started")
        whole(kinds, "attempt_exited", "verification_passed", "landed")
        started = {entry.event.token for entry in entries if isinstance(entry.event, ev.AttemptStarted)}
        known = {line.split()[1] for line in self.place.lines()}
        assert known <= started, "an agent ran that is not in the journal"

    def go_on(self) -> None:
        """The next start takes up what there is, and comes to the end; each task ran once."""

        async def following() -> Report:
            async with Supervisor(self.place.state) as supervisor:
                for run in supervisor.state.runs.values():
                    if run.halt is not None:
                        await supervisor.resume(run.id)
                if any(mark.finished and mark.run == f"{self.plan.name}-1" for mark in supervisor.marks):
                    return report(await supervisor.load(f"{self.plan.name}-1"), 0.0)
                return await ended(await supervisor.submit(self.plan))

        self.place.go(self.a)
        made = asyncio.run(following())
        assert made.counts["done"] + made.counts["skipped"] == 2
        lines = [line.split()[0] for line in self.place.lines()]
        assert lines.count(self.a) == 1
        assert lines.count(self.b) == made.counts["done"] - 1


def whole(kinds: list[str], first: str, *following: str) -> None:
    """What is written in one transaction is there together."""
    for place, kind in enumerate(kinds):
        if kind == first:
            rest = [one for one in kinds[place + 1 :] if one in following]
            assert rest[: len(following)] == list(following)


def attempt(place: Place, proof: Proof, number: int, how: str, **when: float) -> bool:
    program = Program(place, number, how)
    cancelled = program.run(**when)  # type: ignore[arg-type]
    if program.asked:
        proof.count("cancellations")
        proof.measure("cancelled to left", program.left - program.asked, "s", at_most=LEAVING)
    if place.state.exists():
        program.check()
        program.go_on()
    return cancelled


@pytest.mark.promise("P15")
@pytest.mark.parametrize("how", ["task", "twice", "scope"])
def test_cancelled_at_every_pass_of_the_loop(place: Place, proof: Proof, how: str) -> None:
    number = 0
    for at in range(2, 10_000, proof.pick(23, 1)):
        number += 1
        if not attempt(place, proof, number, how, at=at):
            break
    assert number > 3
    place.nothing_left()


@pytest.mark.promise("P15")
def test_cancelled_at_random_instants(place: Place, proof: Proof) -> None:
    chance = random.Random(15)
    for number in range(proof.pick(4, 100)):
        attempt(
            place, proof, number, chance.choice(["task", "twice", "scope"]), after=chance.uniform(0.001, 0.5)
        )
    place.nothing_left()


# --- in debug mode


async def embedding(place: Place) -> Report:
    loop = asyncio.get_running_loop()
    assert loop.get_debug()
    loop.slow_callback_duration = 10.0  # machines are busy
    plan = plan_of({"a": sh(MARKING), "b": sh(MARKING + "exit 1"), "c": sh(MARKING, "a", timeout=30.0)})
    async with Supervisor(place.state) as supervisor:
        run = await supervisor.submit(plan)
        async for _ in run.events():
            pass
        report = await ended(run)
        await supervisor.load(run.id)
    return report


def with_asyncio(main: Callable[[], Coroutine[Any, Any, Report]]) -> Report:
    return asyncio.run(main(), debug=True)


def with_anyio(main: Callable[[], Coroutine[Any, Any, Report]]) -> Report:
    return anyio.run(main, backend="asyncio", backend_options={"debug": True})


@pytest.mark.promise("P15")
@pytest.mark.parametrize("runner", [with_asyncio, with_anyio])
def test_in_debug_mode_nothing_is_complained_of(
    place: Place,
    runner: Callable[[Callable[[], Coroutine[Any, Any, Report]]], Report],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Warnings are errors in all tests: coroutines never awaited, tasks never retrieved, things never closed."""
    before = set(threading.enumerate())
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    with caplog.at_level(logging.WARNING, "asyncio"):
        report = runner(lambda: embedding(place))
        gc.collect()
    assert report.counts["done"] == 2
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []
    until(lambda: set(threading.enumerate()) <= before, "no thread left")
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors
    place.nothing_left()
