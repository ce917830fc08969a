"""The real supervisor in virtual time, its crashes, and what must hold whatever happens."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import anyio

from daplug_supervisor import Settings, Supervisor
from daplug_supervisor.core import events as ev
from daplug_supervisor.core.machine import ENDED, Status
from daplug_supervisor.core.plan import Plan, Provider, Retry, Task
from daplug_supervisor.core.results import Exit
from daplug_supervisor.core.state import Run, State, fold
from daplug_supervisor.journal.memory import MemoryJournal
from daplug_supervisor.ports import Launch
from daplug_supervisor.testing import CrashError, FakeLauncher, Script, VirtualClock, VirtualLoop, World, run
from daplug_supervisor.workers.command import CommandWorker

E = TypeVar("E", bound=ev.Event)
Meanwhile = Callable[[Supervisor, World], Coroutine[Any, Any, None]]


class Simulation:
    """A state directory, the processes and the journal of one plan, which outlive every supervisor."""

    def __init__(self, directory: Path, plan: Plan, scripts: dict[str, list[Script]], seed: int = 0) -> None:
        self.directory, self.plan, self.scripts = directory, plan, scripts
        self.world = World(self.launched)
        self.durable: list[tuple[int, str, float, bytes]] = []
        self.time, self.steps, self.crashes = 0.0, 0, 0
        self.seed = seed
        self.tokens = 0

    def launched(self, launch: Launch) -> Script:
        """A gate opens: what does the attempt do? By then it must be in the journal."""
        task, number = launch.env["DAPLUG_TASK"], int(Path(launch.directory).name)
        spawned = [event for event in self.events(ev.AttemptSpawned) if event.task == task]
        assert spawned, f"{task} was let go, and is not in the journal"
        scripts = self.scripts.get(task, [Script()])
        return scripts[min(number, len(scripts)) - 1]

    def token(self) -> str:
        self.tokens += 1
        return f"token{self.tokens}"

    def live(
        self,
        crash_at: int | None = None,
        meanwhile: Meanwhile | None = None,
        *,
        crash_on_leaving: bool = False,
    ) -> bool:
        """One life of a supervisor. True if the run has ended, False if it was killed before.

        How many steps leaving takes may differ by one, for anyio cancels scopes in the order of their addresses.
        """
        self.journal = MemoryJournal(self.durable)
        loop = VirtualLoop(self.seed + self.crashes, start=self.time, crash_at=crash_at)
        supervisor: list[Supervisor] = []

        async def main() -> None:
            supervisor.append(
                Supervisor(
                    self.directory,
                    launcher=FakeLauncher(self.world),
                    journal=self.journal,
                    clock=VirtualClock(),
                    token=self.token,
                    workers={"command": CommandWorker(Settings(target="/"))},
                    inbox=False,
                )
            )
            async with supervisor[0] as entered, anyio.create_task_group() as tasks:
                if meanwhile is not None:
                    tasks.start_soon(meanwhile, entered, self.world)
                if not any(mark.finished for mark in entered.marks):
                    await (await entered.submit(self.plan)).wait()
                if not crash_on_leaving:
                    loop.crash_at = None
                tasks.cancel_scope.cancel()

        try:
            run(main, loop=loop)
        except CrashError:
            self.crashes += 1
            self.durable = list(self.durable)
            self.world.crash()
            loop.abandon()
            for one in supervisor:
                if one._lock is not None:
                    one._lock.release()
            return False
        finally:
            self.time, self.steps = loop.time(), loop.steps
            self.check()
        return True

    def entries(self) -> Iterator[ev.Entry]:
        for seq, owner, at, data in self.durable:
            yield ev.Entry(seq, owner, at, ev.decode(data))

    def events(self, kind: type[E]) -> list[E]:
        return [entry.event for entry in self.entries() if isinstance(entry.event, kind)]

    def state(self) -> State:
        """Folding raises if a transition is not legal."""
        return fold(self.entries())

    def run(self) -> Run:
        [found] = self.state().runs.values()
        return found

    def check(self) -> None:
        """What holds at every moment, also just after a crash."""
        seqs = [seq for seq, *_ in self.durable]
        assert seqs == list(range(1, len(seqs) + 1)), "the journal has no gaps"
        self.state()
        spawned = {event.pid: event for event in self.events(ev.AttemptSpawned)}
        spans: dict[str, list[tuple[float, float]]] = {}
        for process in self.world.launched():
            assert process.launch is not None
            task = process.launch.env["DAPLUG_TASK"]
            assert spawned[process.identity.pid].task == task, "what runs is in the journal"
            spans.setdefault(task, []).append((process.opened_at, process.ends_at))
        for task, found in spans.items():
            found.sort()
            for (_, end), (begin, _) in pairwise(found):
                assert end <= begin, f"two processes of {task} at once"
        directories = Counter(one.launch.directory for one in self.world.launched() if one.launch)
        assert not [name for name, count in directories.items() if count > 1], "one exec an attempt"

    def check_ended(self) -> None:
        """What holds when the run has ended."""
        found = self.run()
        assert found.finished_at is not None
        assert self.world.living(self.time) == []
        for name, task in found.tasks.items():
            satisfied = all(found.tasks[need].status is Status.DONE for need in found.spec(name).needs)
            assert task.status in ENDED if satisfied else task.status is Status.PENDING, name
            assert task.tries <= found.spec(name).retry.attempts

    def trace(self) -> list[object]:
        """Everything that happened, for comparing; but not who we are."""
        told = [
            (seq, owner, at, json.loads(data) | {"pid": 0, "boot": ""})
            for seq, owner, at, data in self.durable
        ]
        return [told, [(one.opened_at, one.ends_at, one.exit) for one in self.world.launched()]]


def plan_at_random(chance: random.Random) -> tuple[Plan, dict[str, list[Script]]]:
    """A small plan, and how its attempts go."""
    tasks: dict[str, Task] = {}
    scripts: dict[str, list[Script]] = {}
    for number in range(chance.randint(1, 7)):
        name = f"t{number}"
        needs = tuple(
            sorted({f"t{chance.randrange(number)}" for _ in range(chance.randint(0, 2))} if number else ())
        )
        tasks[name] = Task(
            command=("true",),
            needs=needs,
            provider=chance.choice(["one", "two"]),
            timeout=chance.choice([None, 50.0, 5000.0]),
            grace=chance.choice([0.0, 10.0]),
            retry=Retry(chance.randint(1, 3), chance.choice([0.0, 30.0])),
            priority=chance.randint(-1, 1),
        )
        ends = [0.0, 1.0, 60.0, 4 * 3600.0] + ([math.inf] if tasks[name].timeout else [])
        scripts[name] = [
            Script(
                chance.choice(ends),
                Exit(chance.choice([0, 0, 0, 1, -11, None])),
                chance.choice([0.0, 3.0, None]),
            )
            for _ in range(3)
        ] + [Script(1.0)]
    providers = {"one": Provider(worker="command", parallel=1), "two": Provider(worker="command", parallel=2)}
    return Plan("p", tasks, providers), scripts
