"""What a simulated night came to, in figures. As a program it prints those of twenty nights."""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from statistics import fmean

from night import NightSimulation, make_night
from night_bound import foreseen, lower_bound
from weather import HOUR

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.machine import SATISFIED, Status
from daplug_supervisor.core.model import Pool, Run
from daplug_supervisor.core.results import RULES
from daplug_supervisor.core.state import State, apply
from daplug_supervisor.testing.virtual import EPOCH

NIGHTS = 20


@dataclass(frozen=True)
class Figures:
    """One night in numbers; all are of the time before the person came.

    Attributes:
        night: the seed.
        done: tasks that were done.
        failed: tasks that failed by themselves, and cannot do otherwise.
        wait: tasks that wait for a person, or for such a one.
        attempts: all that were started.
        met: attempts that were running when their provider closed.
        probes: attempts that were started while it was closed.
        least: how many of those one cannot do without: nobody ran who could tell.
        wasted: tries that were used up by what was not the task's fault.
        held: hours that slots of working providers stayed empty beside ready tasks, because that was not known.
        hours: from the beginning until nothing more could be done.
        bound: hours that nobody could have been faster than.
        foreseen: hours that it takes if the whole night is known beforehand, and nobody kills the supervisor.
    """

    night: int
    done: int
    failed: int
    wait: int
    attempts: int
    met: int
    probes: int
    least: int
    wasted: int
    held: float
    hours: float
    bound: float
    foreseen: float

    @property
    def ratio(self) -> float:
        """How many times as long as the bound it took."""
        return self.hours / self.bound

    def row(self) -> str:
        """A line of the table."""
        return _row(getattr(self, field.name) for field in fields(self)) + f" {self.ratio:.2f} |"


def over_at(entries: list[ev.Entry]) -> int:
    """The first entry after which nothing more could be done without a person."""
    ends = (ev.Halted, ev.RunFinished)
    return next(number for number, entry in enumerate(entries) if isinstance(entry.event, ends))


def figures(simulation: NightSimulation, seed: int) -> Figures:
    """The figures of a night that is over."""
    entries = list(simulation.entries())
    over = over_at(entries)
    state, held = State(), 0.0
    for entry, following in pairwise(entries[: over + 1]):
        apply(state, entry)
        for run in state.runs.values():
            held += sum(_held(simulation, run, pool, entry.at, following.at) for pool in run.pools.values())
    [run] = state.runs.values()
    tasks = run.tasks.values()
    past = [(simulation.past.met[task.id, one.number], one.at - EPOCH) for task in tasks for one in task.past]
    running = [spell for spell, at in past if spell and at < spell.begin]
    started = [spell for spell, at in past if spell and at >= spell.begin]
    done = [task.id for task in tasks if task.status is Status.DONE]
    return Figures(
        night=seed,
        done=len(done),
        failed=sum(task.status is Status.FAILED for task in tasks),
        wait=sum(task.status is Status.PENDING for task in tasks),
        attempts=len(past),
        met=len(running),
        probes=len(started),
        least=len(set(started) - set(running)),
        wasted=wasted_tries(simulation, entries),
        held=held / HOUR,
        hours=(entries[over].at - entries[0].at) / HOUR,
        bound=lower_bound(simulation.night, done) / HOUR,
        foreseen=foreseen(simulation.night, done) / HOUR,
    )


def wasted_tries(simulation: NightSimulation, entries: Iterable[ev.Entry]) -> int:
    """Tries that attempts used up which met a spell."""
    number: dict[str, int] = {}
    found = 0
    for event in (entry.event for entry in entries):
        if isinstance(event, ev.AttemptStarted):
            number[event.task] = event.number
        elif isinstance(event, ev.RetryScheduled):
            found += event.uses_try and simulation.past.met.get((event.task, number[event.task])) is not None
        elif isinstance(event, ev.TaskFailed | ev.TaskStuck) and event.task in number:
            met = simulation.past.met.get((event.task, number[event.task]))
            found += RULES[event.result.outcome.kind].uses_try and met is not None
    return found


def _held(simulation: NightSimulation, run: Run, pool: Pool, begin: float, end: float) -> float:
    """Seconds that slots of a pool could have worked from one event to the next, and were kept empty."""
    if not (pool.closed(begin) or pool.probing):
        return 0.0
    ready = (
        task.status is Status.PENDING
        and task.provider == pool.name
        and task.not_before <= begin
        and all(run.tasks[need].status in SATISFIED for need in run.spec(task.id).needs)
        for task in run.tasks.values()
    )
    places = max(0, min(sum(ready), pool.limit - pool.running))
    weather = simulation.night.weather
    worked = (weather.capacity(pool.name, places, time - EPOCH) for time in (end, begin))
    return next(worked) - next(worked)


# --- the table -------------------------------------------------------------------------------------------


def _row(values: Iterable[object]) -> str:
    return "| " + " | ".join(f"{one:.1f}" if isinstance(one, float) else str(one) for one in values) + " |"


def table(told: list[Figures]) -> str:
    """All nights, and what they come to on average."""
    names = [field.name for field in fields(Figures)]
    mean = ["mean", *(fmean(getattr(one, name) for one in told) for name in names[1:])]
    lines = [
        "| " + " | ".join([*names, "ratio"]) + " |",
        "|" + " ---: |" * (len(names) + 1),
        *(one.row() for one in told),
        _row(mean) + f" {fmean(one.ratio for one in told):.2f} |",
    ]
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    logging.disable()
    told = []
    for seed in range(NIGHTS):
        with tempfile.TemporaryDirectory(prefix="night-") as folder:
            simulation = NightSimulation(Path(folder), make_night(seed), seed)
            simulation.through()
            told.append(figures(simulation, seed))
    sys.stdout.write(table(told) + "\n")


if __name__ == "__main__":
    main()
