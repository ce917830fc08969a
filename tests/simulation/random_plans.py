"""Plans by chance, and how their attempts go."""

from __future__ import annotations

import math
import random

from stories import ONE
from story import Seen, Story

from daplug_supervisor.core.plan import Plan, Provider, Retry, Task
from daplug_supervisor.core.results import Exit
from daplug_supervisor.testing import Script

CODES = [0, 0, 0, 0, 1, -11, None, 2, 3, 69, 75]

ACCEPTED = 0.15
"""How likely it is that a task has a criterion."""


def story_at_random(chance: random.Random, most: int = 7, plans: int = 1) -> Story:
    """Some plans of up to so many tasks each; agents that never end have a deadline."""
    scripts: dict[str, list[Script]] = {}
    found = tuple(_plan(chance, f"p{number}", chance.randint(1, most), scripts) for number in range(plans))
    parallel = chance.choice([None, None, 1, 5])
    looks = {name: _looks(chance) for plan in found for name, spec in plan.tasks.items() if spec.accept}
    return Story(found, scripts, parallel=parallel, looks=looks)


def _looks(chance: random.Random) -> list[Seen]:
    """What is found of a task with a criterion, attempt by attempt."""
    return [
        Seen(
            (chance.choice(["", "", "code", "environment", "unknown", "late", "unsaid"]),),
            lost=chance.choice([0, 0, 1, 3]),
        )
        for _ in range(3)
    ] + [Seen()]


def _plan(chance: random.Random, name: str, size: int, scripts: dict[str, list[Script]]) -> Plan:
    tasks: dict[str, Task] = {}
    for number in range(size):
        task = tasks[f"{name}-t{number}"] = Task(
            command=("true",),
            needs=tuple(
                sorted(
                    {
                        f"{name}-t{chance.randrange(max(0, number - 20), number)}"
                        for _ in range(chance.randint(0, 2))
                    }
                )
            )
            if number
            else (),
            provider=chance.choice(["one", "two"]),
            timeout=chance.choice([None, 50.0, 5000.0]),
            grace=chance.choice([0.0, 10.0]),
            retry=Retry(chance.randint(1, 3), chance.choice([0.0, 30.0])),
            priority=chance.randint(-1, 1),
            accept=ONE if chance.random() < ACCEPTED else (),
        )
        ends = [0.0, 1.0, 60.0, 4 * 3600.0] + ([math.inf] if task.timeout else [])
        scripts[f"{name}-t{number}"] = [
            Script(chance.choice(ends), Exit(chance.choice(CODES)), chance.choice([0.0, 3.0, None]))
            for _ in range(3)
        ] + [Script(1.0)]
    providers = {
        "one": Provider(worker="command", parallel=chance.randint(1, 3), fallback=("two",)),
        "two": Provider(worker="command", parallel=chance.randint(1, 5)),
    }
    chance = random.Random(f"{name} {size}")  # of its own: all else stays as it was
    barrier = size > 2 and not chance.randrange(4)
    return Plan(name, tasks, providers, stages="barrier" if barrier else "dag")
