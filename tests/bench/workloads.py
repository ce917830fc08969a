"""What is run: graphs of ``/bin/true``."""

from __future__ import annotations

import random
from dataclasses import dataclass

Needs = dict[str, list[str]]
"""For each task the tasks that it needs, in an order in which each comes after those."""

SEED = 1000
LAYERS = 20
FAN_IN = 3
JOBS = 8
COMMAND = "/bin/true"


@dataclass(frozen=True)
class Workload:
    """One graph. `width` is how many of its tasks can be at work at once."""

    name: str
    needs: Needs
    width: int = JOBS

    @property
    def size(self) -> int:
        return len(self.needs)


def independent(size: int) -> Needs:
    return {f"t{number}": [] for number in range(size)}


def chain(size: int) -> Needs:
    return {f"t{number}": [f"t{number - 1}"] if number else [] for number in range(size)}


def layered(size: int) -> Needs:
    """Layers of equal width; each task needs some of the layer before."""
    chosen = random.Random(SEED)
    width = max(1, size // LAYERS)
    needs: Needs = {}
    before: list[str] = []
    for start in range(0, size, width):
        layer = [f"t{number}" for number in range(start, min(start + width, size))]
        for name in layer:
            needs[name] = sorted(chosen.sample(before, min(FAN_IN, len(before))))
        before = layer
    return needs


def make(name: str, size: int) -> Workload:
    """W0: one task; W1: independent; W2: a chain; W3: layers; W4: independent and many."""
    if name == "W2":
        return Workload(name, chain(size), width=1)
    if name == "W3":
        return Workload(name, layered(size))
    return Workload(name, independent(1 if name == "W0" else size))
