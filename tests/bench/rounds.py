"""W0 to W4: every contender on every workload, in rounds, each round in an order of its own.

Machines are disturbed, and absolute times with them. What is run in the same round met the same machine, so ratios
are taken within a round, and the median of them over the rounds is what counts.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from .contenders import OURS, YARDSTICK, Contender
from .measure import MIB, Cost, FailedError, fresh, measure
from .tables import number, table, verdict
from .workloads import Workload

WALL_AND_CPU = 1.5
"""W1 and W3: at most so many times F3, in wall time and in processor time a task."""

HOP = 2.0
"""W2: at most so many times F3, in wall time a hop."""

MOST_MEMORY = 150
"""W4 with 50,000 tasks: MiB of the whole tree."""

_DURABLE_PEERS = ("parallel", "huey", "doit")


@dataclass
class Sample:
    """One run: its cost, or why there is none."""

    round: int
    workload: str
    contender: str
    size: int
    cost: Cost | None
    error: str = ""


def run(
    contenders: Sequence[Contender],
    loads: Sequence[Workload],
    rounds: int,
    place: Path,
    *,
    patience: float,
    tree: bool,
) -> list[Sample]:
    """All rounds."""
    samples = []
    for number_ in range(rounds):
        pairs = [(one, load) for load in loads for one in contenders if load.name in one.workloads.split()]
        random.shuffle(pairs)
        for one, load in pairs:
            _tell(f"round {number_ + 1}/{rounds}: {load.name} {one.name}")
            samples.append(_once(one, load, number_, place, patience, tree=tree))
    _tell("")
    return samples


def _tell(text_: str) -> None:
    """Where we are, for who waits at a terminal."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{text_:40}\r")
        sys.stderr.flush()


def _once(one: Contender, load: Workload, round_: int, place: Path, patience: float, *, tree: bool) -> Sample:
    path = fresh(place, f"{load.name}-{one.name}")
    try:
        cost = measure(one.prepare(load, path), patience, tree=tree)
    except FailedError as error:
        return Sample(round_, load.name, one.name, load.size, None, str(error))
    return Sample(round_, load.name, one.name, load.size, cost)


class Figures:
    """What the samples of one workload come to."""

    def __init__(self, samples: Sequence[Sample], workload: str) -> None:
        self.of: dict[str, dict[int, Cost]] = {}
        self.errors: dict[str, str] = {}
        self.size = 0
        for sample in samples:
            if sample.workload != workload:
                continue
            self.size = sample.size
            runs = self.of.setdefault(sample.contender, {})
            if sample.cost is None:
                self.errors[sample.contender] = sample.error
            else:
                runs[sample.round] = sample.cost

    def middle(self, name: str, value: Callable[[Cost], float]) -> float | None:
        """The median over the rounds."""
        runs = self.of.get(name)
        return median(value(cost) for cost in runs.values()) if runs else None

    def ratio(self, name: str, other: str, value: Callable[[Cost], float]) -> float | None:
        """The median, over the rounds, of the ratio in the same round."""
        ours, theirs = self.of.get(name, {}), self.of.get(other, {})
        both = [
            value(ours[at]) / value(theirs[at]) for at in ours.keys() & theirs.keys() if value(theirs[at])
        ]
        return median(both) if both else None


def wall(cost: Cost) -> float:
    return cost.wall


def cpu(cost: Cost) -> float:
    return cost.cpu


def text(samples: Sequence[Sample], contenders: Sequence[Contender]) -> str:
    """A table for each workload, and what became of the targets."""
    notes = {one.name: one.note for one in contenders}
    start = Figures(samples, "W0")
    parts = []
    for workload in sorted({sample.workload for sample in samples}):
        figures = Figures(samples, workload)
        parts.append(_one(workload, figures, start, notes) + "\n" + "\n".join(targets(workload, figures)))
    return "\n\n".join(part.rstrip() for part in parts)


_HEAD = (
    "", "runs", "wall s", "tasks/s", "ms/task", "after start", "cpu ms/task", "rss MiB", "tree MiB", "foreign",
    "wall/F3", "cpu/F3", "what it is",
)  # fmt: skip


def _one(workload: str, figures: Figures, start: Figures, notes: dict[str, str]) -> str:
    rows = []
    for name in sorted(figures.of, key=lambda name: figures.middle(name, wall) or 1e9):
        took = figures.middle(name, wall)
        if took is None:
            rows.append([name, "0", *["-"] * 10, figures.errors.get(name, "")])
            continue
        alone = start.middle(name, wall)
        net = None if alone is None or figures.size == 1 else (took - alone) / (figures.size - 1) * 1000
        tree = figures.middle(name, lambda cost: cost.tree)
        rows.append(
            [
                name, str(len(figures.of[name])), number(took, 3), number(figures.size / took, 0),
                number(took / figures.size * 1000), number(net),
                number((figures.middle(name, cpu) or 0) / figures.size * 1000),
                number((figures.middle(name, lambda cost: cost.rss) or 0) / MIB, 0),
                number(tree / MIB, 0) if tree else "-",
                number(figures.middle(name, lambda cost: cost.foreign)),
                number(figures.ratio(name, YARDSTICK, wall)), number(figures.ratio(name, YARDSTICK, cpu)),
                notes.get(name, ""),
            ]
        )  # fmt: skip
    return f"{workload}: {_SAYS[workload].format(figures.size)}\n{table(_HEAD, rows)}"


_SAYS = {
    "W0": "one task: what a start and an end cost",
    "W1": "{:,} independent tasks, 8 at once",
    "W2": "a chain of {:,}; a task is a hop",
    "W3": "{:,} tasks in 20 layers, each needing 3 of the layer before",
    "W4": "{:,} independent tasks, 8 at once",
}


def targets(workload: str, figures: Figures) -> list[str]:
    """The targets of a workload, each with its verdict."""
    found = []

    def say(what: str, value: float | None, most: float) -> None:
        if value is not None:
            found.append(f"  target: {what} {value:.3f}: {verdict(value, most)}")

    wall_ratio = figures.ratio(OURS, YARDSTICK, wall)
    if workload in ("W1", "W3"):
        say("wall a task, times F3:", wall_ratio, WALL_AND_CPU)
        say("cpu a task, times F3:", figures.ratio(OURS, YARDSTICK, cpu), WALL_AND_CPU)
    if workload == "W2":
        say("wall a hop, times F3:", wall_ratio, HOP)
    if workload in ("W1", "W2", "W3"):
        for peer in _DURABLE_PEERS:
            say(f"wall, times {peer}:", figures.ratio(OURS, peer, wall), 1.0)
    if workload == "W4":
        memory = figures.middle(OURS, lambda cost: max(cost.rss, cost.tree) / MIB)
        say("memory in MiB (whole tree, and largest process):", memory, MOST_MEMORY)
    return found


def data(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    return [asdict(sample) for sample in samples]
