"""Whether a decision costs the same in a large plan as in a small one, and what a large plan takes to load."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from .contenders import write_plan
from .measure import HERE, MIB, FailedError, environment, fresh
from .tables import number, table, verdict
from .workloads import make

FLAT = 1.5
"""A task of the largest plan costs at most so many times one of the smallest."""

_SHAPES = {"W1": "independent", "W3": "20 layers"}


def run(sizes: Sequence[int], place: Path, times: int) -> list[dict[str, Any]]:
    """Figures of `core.py` for each shape and size."""
    found = []
    for shape, words in _SHAPES.items():
        for size in sizes:
            path = fresh(place, "scale")
            plan = write_plan(make(shape, size), path)
            runs = [_once(plan) for _ in range(times)]
            merged = {key: median(one[key] for one in runs) for key in runs[0]}
            found.append({"shape": words, **merged})
    return found


def _once(plan: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, str(HERE / "core.py"), str(plan)],
        capture_output=True, text=True, check=False, env=environment({}),
    )  # fmt: skip
    if done.returncode:
        raise FailedError(f"core.py: {done.stderr[-300:]}")
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def text(found: Sequence[dict[str, Any]]) -> str:
    """The table and the verdicts."""
    rows = [
        [
            one["shape"], f"{one['tasks']:,.0f}", number(one["load"] * 1000, 0), number(one["index"] * 1000, 0),
            number(one["first_half"] * 1e6, 1), number(one["second_half"] * 1e6, 1), number(one["rss"] / MIB, 0), "",
        ]
        for one in found
    ]  # fmt: skip
    head = ("", "tasks", "load ms", "take on ms", "us/task, 1st half", "us/task, 2nd half", "rss MiB", "")
    lines = [
        table(head, rows),
        "  us/task: 1 decision to start it, 5 events folded, and the decisions that wait",
    ]
    for shape in dict.fromkeys(one["shape"] for one in found):
        mine = [one for one in found if one["shape"] == shape]
        cost = [(one["first_half"] + one["second_half"]) / 2 for one in mine]
        size = mine[-1]["tasks"] / mine[0]["tasks"]
        lines.append(
            f"  target: flat ({shape}): {size:g} times the tasks, {cost[-1] / cost[0]:.2f} times the cost of each: "
            f"{verdict(cost[-1] / cost[0], FLAT)}"
        )
    return "\n".join(lines)
