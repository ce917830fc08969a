"""What holds whatever happens: as an attempt starts, after every life, and when the runs have ended."""

from __future__ import annotations

import copy
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from story import decoded

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.machine import ENDED, SATISFIED, Status
from daplug_supervisor.core.model import Run
from daplug_supervisor.core.results import RULES
from daplug_supervisor.ports import Launch
from daplug_supervisor.testing import FakeProcess, Faults, Script, World

if TYPE_CHECKING:
    from simulated import Simulation

EPSILON = 1e-6
UNSEEN = 5.0
"""Seconds of work just before a silence that are too few to be seen between two looks."""
BLOCKED = {Status.PENDING, Status.SKIPPED, Status.CANCELLED}


class Watched(World):
    """The world, with somebody who looks at each moment at which the supervisor has an effect on it."""

    def __init__(self, simulation: Simulation, faults: Faults | None) -> None:
        super().__init__(self._script, faults=faults)
        self._simulation = simulation
        self._known = 0
        self._spawned: dict[int, tuple[str, ev.AttemptSpawned]] = {}
        self._started: dict[tuple[str, str], ev.AttemptStarted] = {}
        self._cancelled: set[tuple[str, str]] = set()
        self._provider: dict[int, str] = {}

    def fork(self, simulation: Simulation) -> Watched:
        """Another world that was the same until now."""
        other = copy.copy(self)
        other._simulation = simulation
        other.script = other._script
        other.processes = {pid: replace(one, watchers={}) for pid, one in self.processes.items()}
        other._known = 0
        other._spawned, other._started, other._cancelled = {}, {}, set()
        other._provider = dict(self._provider)
        return other

    def _read(self) -> None:
        """Take in what has become durable since."""
        rows = self._simulation.durable
        for _, run, _, data in rows[self._known :]:
            event = decoded(data)
            if isinstance(event, ev.AttemptSpawned):
                self._spawned[event.pid] = run, event
            elif isinstance(event, ev.AttemptStarted):
                self._started[run, event.task] = event
            elif isinstance(event, ev.CancelRequested):
                self._cancelled.add((run, event.task))
        self._known = len(rows)

    def _script(self, launch: Launch) -> Script:
        scripts = self._simulation.story.scripts.get(launch.env["DAPLUG_TASK"], [Script()])
        return scripts[min(int(Path(launch.directory).name), len(scripts)) - 1]

    def opened(self, process: FakeProcess) -> None:
        """What runs is in the journal by then, and there are not too many of it."""
        self._read()
        run, task = key_of(process)
        assert process.launch is not None
        assert process.identity.pid in self._spawned, f"{task} was let go, and is not in the journal"
        assert self._spawned[process.identity.pid][0] == run
        assert self._spawned[process.identity.pid][1].task == task
        started = self._started[run, task]
        assert process.launch.env["DAPLUG_SUP_ATTEMPT"] == started.token
        assert int(Path(process.launch.directory).name) == started.number
        self._provider[process.identity.pid] = started.provider
        self._count(process, run, started.provider)

    def _count(self, process: FakeProcess, run: str, provider: str) -> None:
        """Limits hold among living processes, not only in the journal."""
        living = [one for one in self.living(process.opened_at) if key_of(one)[0] == run]
        assert not [one for one in living if one is not process and key_of(one) == key_of(process)], "twice"
        [plan] = [one for one in self._simulation.plans() if one.name == run.rpartition("-")[0]]
        limit = plan.providers[provider].parallel
        assert sum(self._provider[one.identity.pid] == provider for one in living) <= limit, provider
        parallel = self._simulation.story.parallel
        assert parallel is None or len(living) <= parallel

    def stopped(self, process: FakeProcess) -> None:
        """An agent is stopped for a reason that is in the journal: its deadline, or that its task is cancelled."""
        self._read()
        assert process.launch is not None
        deadline = process.launch.deadline
        now = self._simulation.clock.monotonic()
        late = deadline is not None and now >= deadline - EPSILON
        asked = key_of(process) in self._cancelled or self._simulation.stopped
        assert late or asked or self._silent(process, now), f"{key_of(process)} was stopped for no reason"

    def _silent(self, process: FakeProcess, now: float) -> bool:
        """Whether it has shown nothing for as long as its task allows; of what is found again half of that is taken."""
        run, task = key_of(process)
        [plan] = [one for one in self._simulation.plans() if one.name == run.rpartition("-")[0]]
        idle = plan.tasks[task].idle_timeout
        hangs = process.opened_at - self.booted_at + process.script.works
        seen = 1 if self._simulation.lives == 1 else 2
        return idle is not None and now >= hangs + idle / seen - UNSEEN


def key_of(process: FakeProcess) -> tuple[str, str]:
    """The run and the task that a process works for."""
    assert process.launch is not None
    return process.launch.env["DAPLUG_RUN"], process.launch.env["DAPLUG_TASK"]


def check(simulation: Simulation) -> None:
    """What holds at every moment, also just after a crash."""
    seqs = [row[0] for row in simulation.durable]
    assert seqs == list(range(1, len(seqs) + 1)), "the journal has no gaps"
    _check_processes(simulation)
    _check_answers(simulation)
    assert len(simulation.told) == len(set(simulation.told)), "each event is told once"
    for run in simulation.state().runs.values():
        check_run(run)
        if run.finished_at is not None:
            folder = simulation.directory / "runs" / run.id
            assert (folder / "report.json").is_file(), "the report of a finished run is there"
            assert (folder / "report.txt").is_file()


def check_run(run: Run) -> None:
    """The retry budget, as the journal has it."""
    for name, task in run.tasks.items():
        assert task.tries <= run.spec(name).retry.attempts, f"{name} was tried too often"
        tries = sum(RULES[past.result.outcome.kind].uses_try for past in task.past)
        assert task.tries <= tries, "lost attempts use up no try"
        numbers = [past.number for past in task.past]
        assert numbers == sorted(set(numbers)), "each attempt ends once"


def _check_processes(simulation: Simulation) -> None:
    spans: defaultdict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    directories: Counter[str] = Counter()
    for process in simulation.world.launched():
        assert process.launch is not None
        directories[process.launch.directory] += 1
        spans[key_of(process)].append((process.opened_at, process.ends_at))
    for key, found in spans.items():
        found.sort()
        for (_, end), (begin, _) in pairwise(found):
            assert end <= begin, f"two processes of {key} at once"
    assert not [name for name, count in directories.items() if count > 1], "one exec an attempt"


def _check_answers(simulation: Simulation) -> None:
    answers = Counter(
        (entry.run, entry.event.id)
        for entry in simulation.entries()
        if isinstance(entry.event, ev.CommandAnswered)
    )
    assert not [key for key, count in answers.items() if count > 1], "a command is answered once"


def _check_finishes(simulation: Simulation) -> None:
    """A run finishes once, unless a person opens it again."""
    last: dict[str, ev.Event] = {}
    for entry in simulation.entries():
        if isinstance(entry.event, ev.RunFinished):
            assert not isinstance(last.get(entry.run), ev.RunFinished), "a run finishes once"
        if isinstance(entry.event, ev.RunFinished | ev.TaskReset | ev.TaskSkipped):
            last[entry.run] = entry.event


def check_ended(simulation: Simulation) -> None:
    """What holds when all runs have ended."""
    runs = list(simulation.state().runs.values())
    assert len(runs) == len(simulation.story.plans)
    assert simulation.world.living(simulation.time) == []
    _check_finishes(simulation)
    for run in runs:
        assert run.finished_at is not None
        for name, task in run.tasks.items():
            satisfied = all(run.tasks[need].status in SATISFIED for need in run.spec(name).needs)
            assert task.status in (ENDED if satisfied else BLOCKED), name
    answered = {event.id for event in simulation.events(ev.CommandAnswered)}
    assert {command.id for _, command in simulation.story.orders} <= answered, "every command is answered"
