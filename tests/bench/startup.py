"""How long the commands that people type take before they say something."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from .contenders import Contender, our_command
from .measure import Call, fresh, measure
from .tables import number, table, verdict
from .workloads import make

MOST = 0.25
MOST_TIMES_BARE = 2.0
_BARE = "python, asyncio, click"


def run(ours: Contender, place: Path, times: int, *, tasks: int = 20) -> dict[str, dict[str, list[float]]]:
    """Wall and processor seconds of each command, one of each a round."""
    commands: dict[str, Sequence[str]] = {
        "python": [sys.executable, "-c", "pass"],
        _BARE: [sys.executable, "-c", "import asyncio, click"],
        "--help": [*our_command(), "--help"],
        "status": [*our_command(), "status"],
    }
    found: dict[str, dict[str, list[float]]] = {name: {"wall": [], "cpu": []} for name in commands}
    path = fresh(place, "startup")
    first = ours.prepare(make("W1", tasks), path)
    subprocess.run(first.argv, cwd=path, capture_output=True, check=True)
    for _ in range(times):
        for name in random.sample(list(commands), len(commands)):
            cost = measure(Call(commands[name], path), 60)
            found[name]["wall"].append(cost.wall)
            found[name]["cpu"].append(cost.cpu)
    return found


def text(found: dict[str, dict[str, list[float]]]) -> str:
    """The table and the verdicts."""

    def ratio(name: str, kind: str) -> float:
        return median(one / two for one, two in zip(found[name][kind], found[_BARE][kind], strict=True))

    rows = [
        [
            name, str(len(times["wall"])), number(median(times["wall"]) * 1000, 0),
            number(median(times["cpu"]) * 1000, 0), number(ratio(name, "wall")), number(ratio(name, "cpu")), "",
        ]
        for name, times in found.items()
    ]  # fmt: skip
    lines = [table(("", "runs", "wall ms", "cpu ms", "wall/bare", "cpu/bare", ""), rows)]
    for name in ("--help", "status"):
        lines.append(
            f"  target: {name}, seconds: {median(found[name]['wall']):.3f}: "
            f"{verdict(median(found[name]['wall']), MOST)}"
        )
        lines.append(
            f"  target: {name}, times {_BARE}: {ratio(name, 'wall'):.2f}: "
            f"{verdict(ratio(name, 'wall'), MOST_TIMES_BARE)}"
        )
    return "\n".join(lines)


def data(found: dict[str, dict[str, list[float]]]) -> Any:
    return found
