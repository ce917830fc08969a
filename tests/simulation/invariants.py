"""What holds whatever happens: as an attempt starts, after every life, and when the runs have ended."""

from __future__ import annotations

import copy
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from proven import check_proven
from story import decoded

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.machine import ENDED, SATISFIED, Status
from daplug_supervisor.core.model import Run
from daplug_supervisor.core.results import Exit, uses_try
from daplug_supervisor.core.stages import held
from daplug_supervisor.ports import Launch
from daplug_supervisor.testing import FakeProcess, Faults, Script, World, criteria_of, shows

if TYPE_CHECKING:
    from simulated import Simulation

EPSILON = 1e-6
UNSEEN = 5.0
"""Seconds of work just before a silence that are too few to be seen between two looks."""
BLOCKED = {Status.PENDING, Status.SKIPPED, Status.CANCELLED}


class Watched(World):
    """The world, with somebody who looks at each moment at which the supervisor has an effect on it."""

    def __init__(self, simulation: Simulation, faults: Faults | None) -> None:
        super().__init__(self._script, looks=self._looks, faults=faults)
        self._simulation = simulation
        self._known = 0
        self._spawned: dict[int, tuple[str, ev.AttemptSpawned]] = {}
        self._started: dict[tuple[str, str], ev.AttemptStarted] = {}
        self._cancelled: set[tuple[str, str]] = set()
        self._provider: dict[int, str] = {}
        self._checks: dict[int, tuple[str, ev.VerificationStarted]] = {}
        self._below: dict[int, int] = {}
        self.trees: dict[str, str] = {}

    def fork(self, simulation: Simulation) -> Watched:
        """Another world that was the same until now."""
        other = copy.copy(self)
        other._simulation = simulation
        other.script, other.looks = other._script, other._looks
        other.processes = {pid: replace(one, watchers={}) for pid, one in self.processes.items()}
        other._known = 0
        other._spawned, other._started, other._cancelled, other._checks = {}, {}, set(), {}
        other._provider, other._below, other.trees = dict(self._provider), dict(self._below), dict(self.trees)
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
            elif isinstance(event, ev.VerificationStarted):
                self._checks[event.pid] = run, event
            elif isinstance(event, ev.CancelRequested):
                self._cancelled.add((run, event.task))
        self._known = len(rows)

    def _script(self, launch: Launch) -> Script:
        if is_hook(launch):
            return Script()
        scripts = self._simulation.story.scripts.get(launch.env["DAPLUG_TASK"], [Script()])
        return scripts[min(int(Path(launch.directory).name), len(scripts)) - 1]

    def _looks(self, launch: Launch) -> Script:
        """What running the criteria of an attempt shows."""
        run, task, folder = launch.env["DAPLUG_RUN"], launch.env["DAPLUG_TASK"], Path(launch.directory).parent
        simulation, number = self._simulation, int(folder.name)
        seen = simulation.story.seen(task, number)
        self.trees[launch.cwd] = seen.tree
        if len(self.looks_at(str(folder))) < seen.lost:
            return Script(seen.seconds, Exit(None))
        wrong = seen.wrong if simulation.branch.alone(run, task, number) else seen.together
        return shows(launch, wrong, seen.seconds)

    def looks_at(self, folder: str) -> list[FakeProcess]:
        """The processes that were let look at what an attempt has left, oldest first."""
        return [
            one for one in self.launched() if one.launch and one.launch.directory.startswith(f"{folder}/")
        ]

    def looked_at(self, run: str, task: str, number: int) -> FakeProcess | None:
        """The last of them that has run all criteria; None if none has."""
        folder = str(self._simulation.directory / "runs" / run / task / str(number))
        now = self._simulation.now()
        ended = [
            one for one in self.looks_at(folder) if one.ends_at <= now and one.exit and one.exit.code == 0
        ]
        return ended[-1] if ended else None

    def landing(self, attempt: str, tip: int) -> None:
        """What an attempt has left gets on a branch that is there: so, and not otherwise, it was looked at."""
        run, _, name = attempt.partition("/")
        task, _, number = name.rpartition("#")
        [plan] = [one for one in self._simulation.plans() if one.name == run.rpartition("-")[0]]
        if plan.tasks[task].accept:
            found = self.looked_at(run, task, int(number))
            assert found is not None, f"{attempt} lands, and nobody has looked"
            assert self._below[found.identity.pid] == tip, f"{attempt} lands on what it was not looked at on"

    def _opened_look(self, process: FakeProcess, run: str, task: str) -> None:
        assert process.launch is not None
        pid, folder = process.identity.pid, Path(process.launch.directory)
        assert pid in self._checks, f"the criteria of {task} were let go, and are not in the journal"
        started, (of, check) = self._started[run, task], self._checks[pid]
        assert (of, check.task, folder.name) == (run, task, f"accept-{check.number}")
        assert process.launch.env["DAPLUG_SUP_ATTEMPT"] == f"{started.token}-accept-{check.number}"
        assert int(folder.parent.name) == started.number
        self._provider[pid] = started.provider
        self._below[pid] = self._simulation.branch.on(run, task, started.number)
        self._count(process, run, started.provider)

    def opened(self, process: FakeProcess) -> None:
        """What runs is in the journal by then, and there are not too many of it."""
        self._read()
        assert process.launch is not None
        if is_hook(process.launch):
            return
        run, task = key_of(process)
        if criteria_of(process.launch):
            self._opened_look(process, run, task)
            return
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
        living = [one for one in self.living(process.opened_at) if not of_hook(one) and key_of(one)[0] == run]
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
        if criteria_of(process.launch) and self._simulation.lives > 1:
            late = late or self._is_landing(process)
        asked = key_of(process) in self._cancelled or self._simulation.stopped
        assert late or asked or self._silent(process, now), f"{key_of(process)} was stopped for no reason"

    def _is_landing(self, process: FakeProcess) -> bool:
        """Whether somebody looks for a supervisor that is gone, on its way home: who knows at what."""
        run, task = key_of(process)
        return self._simulation.state().runs[run].tasks[task].status is Status.LANDING

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


def is_hook(launch: Launch) -> bool:
    """Whether it is a command of the user's own."""
    return Path(launch.directory).parent.name == "hooks"


def of_hook(process: FakeProcess) -> bool:
    """Whether it is a command of the user's own."""
    return process.launch is not None and is_hook(process.launch)


def check(simulation: Simulation) -> None:
    """What holds at every moment, also just after a crash."""
    seqs = [row[0] for row in simulation.durable]
    assert seqs == list(range(1, len(seqs) + 1)), "the journal has no gaps"
    _check_processes(simulation)
    _check_answers(simulation)
    check_proven(simulation)
    assert len(simulation.told) == len(set(simulation.told)), "each event is told once"
    for run in simulation.state().runs.values():
        check_run(run)
        looked_into = any(spec.worktree for spec in run.plan.tasks.values())  # first, and that takes a while
        if run.finished_at is not None and not looked_into:
            folder = simulation.directory / "runs" / run.id
            assert (folder / "report.json").is_file(), "the report of a finished run is there"
            assert (folder / "report.txt").is_file()


def check_run(run: Run) -> None:
    """The retry budget, as the journal has it."""
    for name, task in run.tasks.items():
        assert task.tries <= run.spec(name).retry.attempts, f"{name} was tried too often"
        command = run.spec(name).command is not None
        tries = sum(uses_try(past.result.outcome.kind, command=command) for past in task.past)
        assert task.tries <= tries, "lost attempts use up no try"
        numbers = [past.number for past in task.past]
        assert numbers == sorted(set(numbers)), "each attempt ends once"


def _check_processes(simulation: Simulation) -> None:
    spans: defaultdict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    directories: Counter[str] = Counter()
    for process in simulation.world.launched():
        assert process.launch is not None
        if of_hook(process):
            continue  # one that a crash interrupted is run again
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
            assert task.status in (ENDED if satisfied and not held(run, task) else BLOCKED), name
    answered = {event.id for event in simulation.events(ev.CommandAnswered)}
    assert {command.id for _, command in simulation.story.orders} <= answered, "every command is answered"
