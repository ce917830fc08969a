"""The real supervisor in virtual time: its lives, its crashes, and the person who uses it."""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import anyio
import pytest
from branches import Branch, without_git
from invariants import Watched, check
from story import CodeWorker, Story, decoded

from daplug_supervisor import RunHandle, Supervisor
from daplug_supervisor.core import events as ev
from daplug_supervisor.core.plan import Plan
from daplug_supervisor.core.state import Run, State, fold
from daplug_supervisor.errors import HaltedError
from daplug_supervisor.supervisor import supervisor as supervising
from daplug_supervisor.supervisor.commands import inbox
from daplug_supervisor.supervisor.monitoring.orchestrations import Monitor
from daplug_supervisor.testing import (
    Commit,
    CrashError,
    FakeLauncher,
    Faults,
    FaultyJournal,
    VirtualClock,
    VirtualLoop,
    run,
)
from daplug_supervisor.testing.virtual import EPOCH

E = TypeVar("E", bound=ev.Event)
Meanwhile = Callable[["Simulation", Supervisor], Coroutine[Any, Any, None]]
DAY = 86400.0
PAUSE = 60.0
"""Seconds that a person takes."""


async def _told(_monitor: Monitor, *_runs: object) -> bool:
    """Nothing is written down, and nothing is left to be."""
    return True


class Simulation:
    """A state directory, the processes and the journal of one story, which outlive every supervisor.

    Args:
        directory: the state directory; one story after another may use it.
        story: what is to happen.
        seed: which interleaving.
        commits: how the groups of a life get to the disk.
        faults: what goes wrong with processes.
    """

    def __init__(
        self,
        directory: Path,
        story: Story,
        seed: int = 0,
        *,
        commits: Callable[[int], Commit] | None = None,
        faults: Faults | None = None,
    ) -> None:
        self.directory, self.story, self.seed, self.commits = directory, story, seed, commits
        self.world = Watched(self, faults)
        self.branch = Branch()
        self.durable: list[tuple[int, str, float, bytes]] = []
        self.time, self.wall, self.steps = 0.0, EPOCH, 0
        self.lives = self.tokens = 0
        self.sent: set[str] = set()
        self.doubted: set[str] = set()
        self.told: list[int] = []
        self.stopped = False
        self.leaving = 0.0
        self.unwritten: list[tuple[int, str, float, bytes]] = []
        self._files: dict[Path, bytes] | None = None
        self._restore({})

    def fork(self, *, kept: bool = False) -> Simulation:
        """The same just after a crash, to go on from there in another way.

        Args:
            kept: what was on its way to the disk has got there.
        """
        if self._files is None:
            self._files = {path: path.read_bytes() for path in self._outside()}
        other = copy.copy(self)
        other.world, other.branch = self.world.fork(other), self.branch.fork()
        other.durable = self.durable + (self.unwritten if kept else [])
        other.sent, other.doubted, other.told = set(self.sent), set(self.doubted), list(self.told)
        other._restore(self._files)
        return other

    def _outside(self) -> list[Path]:
        return [*self.directory.glob("inbox/*.json"), *self.directory.glob("runs/*/report.*")]

    def _restore(self, files: dict[Path, bytes]) -> None:
        """Make the directory as it was: other stories, and other ends of this one, have been there meanwhile."""
        for path in self._outside():
            if path not in files:
                path.unlink()
        for path, data in files.items():
            path.write_bytes(data)

    # --- lives

    def live(self, crash_at: int | None = None, meanwhile: Meanwhile | None = None) -> bool:
        """One life of a supervisor. True if all runs have ended, False if it was killed before.

        Args:
            crash_at: the step of the loop before which it is killed, with SIGKILL.
            meanwhile: what else goes on.
        """
        loop, made = self._new_life(crash_at), list[Supervisor]()
        try:
            with self._without_threads():
                run(lambda: self._main(made, loop, meanwhile), loop=loop)
        except CrashError:
            self.unwritten = self.journal.unwritten
            self.durable = list(self.durable)
            self.world.crash()
            loop.abandon()
            assert loop.strays == []
            for one in made:
                if one._lock is not None:
                    one._lock.release()
            return False
        finally:
            self._end_of_life(loop)
        return True

    def cancelled(self, at: int, how: str, meanwhile: Meanwhile | None = None) -> bool:
        """One life in somebody's program, of which the task is cancelled before a step. True if it was, before its end.

        Args:
            at: the step.
            how: ``task`` (asyncio's way, once), ``twice`` (and again three steps later) or ``scope`` (anyio's way).
            meanwhile: what else goes on.
        """
        loop, near, ended, asked = self._new_life(), list[bool](), list[bool](), list[float]()

        async def program(scope: anyio.CancelScope) -> None:
            with scope:
                await self._main([], loop, meanwhile)
                await anyio.sleep(0.001)
                near.append(True)  # what is cancelled from here on may end before it hears of it
                await anyio.sleep(0.001)
                ended.append(True)

        async def main() -> None:
            scope = anyio.CancelScope()
            task = loop.create_task(program(scope))

            def cancel() -> None:
                if not task.done() and not near:
                    asked.append(loop.time())
                    scope.cancel() if how == "scope" else task.cancel()

            loop.before = dict.fromkeys([at, at + 3] if how == "twice" else [at], cancel)
            await asyncio.wait([task])
            assert [one for one in loop.unfinished() if one is not asyncio.current_task()] == []
            assert bool(asked) is not bool(ended), "a cancellation was swallowed"
            self.leaving = loop.time() - asked[-1] if asked else 0.0
            if how == "scope":
                task.result()
            else:
                assert task.cancelled() is bool(asked)

        try:
            with self._without_threads():
                run(main, loop=loop)
        finally:
            self._end_of_life(loop)
        return not ended

    @contextmanager
    def _without_threads(self) -> Iterator[None]:
        """Orders come and git is there, both without threads and processes."""
        with mock.patch.object(supervising, "watch", self._send_orders), without_git(self):
            yield

    def _new_life(self, crash_at: int | None = None) -> VirtualLoop:
        self.journal = FaultyJournal(self.durable, self.commits)
        self.lives += 1
        loop = VirtualLoop(self.seed * 1000 + self.lives, start=self.time, crash_at=crash_at)
        self.now: Callable[[], float] = loop.time
        booted = self.world.booted_at
        self.clock = VirtualClock(loop, wall=self.wall, booted_at=booted, tick=self.story.tick)
        return loop

    def _end_of_life(self, loop: VirtualLoop) -> None:
        self.time, self.steps, self.wall = loop.time(), loop.steps, self.clock.wall
        self._files = None
        check(self)

    async def _main(self, made: list[Supervisor], loop: VirtualLoop, meanwhile: Meanwhile | None) -> None:
        # Files for dashboards take real time, each virtual second anew.
        with mock.patch.object(Monitor, "flush", _told):
            await self._live(made, loop, meanwhile)

    async def _live(self, made: list[Supervisor], loop: VirtualLoop, meanwhile: Meanwhile | None) -> None:
        supervisor = Supervisor(
            self.directory,
            environ={},
            launcher=FakeLauncher(self.world),
            journal=self.journal,
            clock=self.clock,
            token=self.token,
            workers={"command": CodeWorker(), "agent": CodeWorker()},
        )
        made.append(supervisor)
        async with supervisor, anyio.create_task_group() as tasks:
            if meanwhile is not None:
                tasks.start_soon(meanwhile, self, supervisor)
            done = {mark.run.rpartition("-")[0] for mark in supervisor.marks if mark.finished}
            handles = [await self._begin(supervisor, plan) for plan in self.plans() if plan.name not in done]
            for handle in handles:
                tasks.start_soon(self._listen, handle)
            while True:
                for handle in handles:
                    await self._to_the_end(supervisor, handle)
                if len(self.sent) == len(self.story.orders) and all(map(_is_over, handles)):
                    break
                await anyio.sleep(PAUSE)
            tasks.cancel_scope.cancel()

    def plans(self) -> tuple[Plan, ...]:
        edited = self.story.edited
        return (edited,) if edited is not None and self.lives > 1 else self.story.plans

    def token(self) -> str:
        self.tokens += 1
        return f"token{self.tokens}"

    # --- the person

    async def _send_orders(self, supervisor: inbox.Receiver) -> None:
        """Put commands into the inbox when it is time, and have them seen."""
        for at, command in self.story.orders:
            if command.id not in self.sent:
                await anyio.sleep(max(0.0, at - anyio.current_time()))
                inbox.send(supervisor.directory, command)
                self.sent.add(command.id)
                await inbox.take(supervisor)

    async def _begin(self, supervisor: Supervisor, plan: Plan) -> RunHandle:
        """Run the plan; if it was halted, and no order comes that lifts that, say `resume` a minute later."""
        confirm = None if self.story.doubts is None else self._confirm
        while True:
            try:
                return await supervisor.submit(plan, parallel=self.story.parallel, confirm=confirm)
            except HaltedError:
                await anyio.sleep(PAUSE)
                if len(self.sent) == len(self.story.orders):
                    await supervisor.resume(parallel=self.story.parallel)

    async def _to_the_end(self, supervisor: Supervisor, handle: RunHandle) -> None:
        """Wait for the end; what is halted is resumed a minute later, unless an order comes that does it."""
        while (await handle.wait()).state != "finished":
            await anyio.sleep(PAUSE)
            if handle.state.halt is not None and len(self.sent) == len(self.story.orders):
                await supervisor.resume(handle.id, parallel=self.story.parallel)
        finished = [entry.run for entry in self.entries() if isinstance(entry.event, ev.RunFinished)]
        assert handle.id in finished, "whoever waited for the end is told when it is durable"

    async def _confirm(self, _run: Run, task: str) -> bool:
        await anyio.sleep(3.0)
        first = task not in self.doubted
        self.doubted.add(task)
        return not (first and task in (self.story.doubts or ()))

    async def _listen(self, handle: RunHandle) -> None:
        """What subscribers are told is durable."""
        async for entry in handle.events():
            seq, owner, _, data = self.durable[entry.seq - 1]
            assert (seq, owner, data) == (entry.seq, entry.run, ev.encode(entry.event))
            self.told.append(entry.seq)

    # --- what can be seen

    def entries(self) -> Iterator[ev.Entry]:
        for seq, owner, at, data in self.durable:
            yield ev.Entry(seq, owner, at, decoded(data))

    def events(self, kind: type[E]) -> list[E]:
        return [entry.event for entry in self.entries() if isinstance(entry.event, kind)]

    def state(self) -> State:
        """Folding raises if a transition is not legal."""
        return fold(self.entries())

    def run(self) -> Run:
        [found] = self.state().runs.values()
        return found

    def trace(self) -> list[object]:
        """Everything that happened, for comparing; but not who we are."""
        told = [
            (seq, owner, at, json.loads(data) | {"pid": 0, "boot": ""})
            for seq, owner, at, data in self.durable
        ]
        spans = [(one.opened_at, one.ends_at, one.exit) for one in self.world.launched()]
        return [told, spans, self.time, self.steps]


def without_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A fixture for all simulations: nothing needs the disk, and rubbish is collected seldom, as in the program."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    before = gc.get_threshold()
    gc.set_threshold(20_000)
    yield
    gc.set_threshold(*before)


def _is_over(handle: RunHandle) -> bool:
    return handle.state.finished_at is not None
