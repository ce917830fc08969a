"""Small plans, each with one thing that makes a crash interesting."""

from __future__ import annotations

import math

from story import Seen, Story

from daplug_supervisor.core.commands import Command
from daplug_supervisor.core.plan import Commit, Criterion, Plan, Provider, Retry, Task
from daplug_supervisor.core.results import Exit
from daplug_supervisor.testing import Script

HOUR = 3600.0
RETRY = Retry(attempts=3, backoff=5.0)
POOL = Provider(worker="command", parallel=2)


def task(*needs: str, **more: object) -> Task:
    return Task(command=("true",), needs=needs, **{"provider": "pool", **more})  # type: ignore[arg-type]


def plan(tasks: dict[str, Task], *, name: str = "p", **more: object) -> Plan:
    return Plan(name, tasks, **{"providers": {"pool": POOL}, **more})  # type: ignore[arg-type]


DIAMOND = Story(
    (
        plan(
            {
                "top": task(),
                "left": task("top", retry=RETRY),
                "right": task("top", timeout=60.0, retry=RETRY),
                "end": task("left", "right"),
            }
        ),
    ),
    {
        "top": [Script(HOUR)],
        "left": [Script(10.0, Exit(1)), Script(10.0)],
        "right": [Script(math.inf, after_term=None), Script(5.0)],
    },
)
CHAIN = Story((plan({"a": task(), "b": task("a")}),))
FAN = Story(
    (
        plan(
            {
                "a": task(),
                **{f"m{n}": task("a", priority=n % 2) for n in range(4)},
                "z": task("m0", "m1", "m2", "m3"),
            }
        ),
    ),
    {"m1": [Script(30.0)], "m2": [Script(0.0)]},
    parallel=2,
)
RESTING = Story(
    (
        plan(
            {"a": task(), "b": task(), "c": task(provider="other"), "d": task(provider="other")},
            providers={
                "pool": Provider(worker="command", parallel=2, fallback=("other",)),
                "other": Provider(worker="command", parallel=1),
            },
        ),
    ),
    {
        "a": [Script(5.0, Exit(75)), Script(5.0)],
        "b": [Script(20.0, Exit(3)), Script(5.0)],
        "c": [Script(8.0, Exit(75)), Script(2.0, Exit(69)), Script(5.0)],
    },
)
STUCK = Story(
    (
        plan(
            {
                "a": task(),
                "b": task("a"),
                "c": task(retry=Retry(attempts=2, backoff=5.0)),
                "d": task("c"),
                "e": task(),
            }
        ),
    ),
    {"a": [Script(5.0, Exit(2))], "c": [Script(5.0, Exit(1))], "e": [Script(40.0, Exit(None)), Script(1.0)]},
)
ORDERS = Story(
    (
        plan(
            {
                "a": task(),
                "b": task("a"),
                "c": task(grace=3.0),
                "d": task("c"),
                "e": task(retry=Retry(attempts=1)),
            },
            providers={"pool": Provider(worker="command", parallel=3)},
        ),
    ),
    {
        "a": [Script(30.0)],
        "c": [Script(math.inf, after_term=None)],
        "e": [Script(12.0, Exit(1)), Script(1.0)],
    },
    orders=(
        (10.0, Command("1", "halt", reason="tea")),
        (11.0, Command("2", "halt")),
        (35.0, Command("3", "cancel", task="c")),
        (50.0, Command("4", "resume")),
        (50.0, Command("5", "retry", task="e")),
        (50.5, Command("6", "skip", task="nobody")),
        (51.0, Command("7", "skip", task="d")),
    ),
)
ASKING = Story(
    (plan({"a": task(), "b": task(), "c": task("a", "b")}),),
    {"a": [Script(10.0)], "b": [Script(2.0)]},
    doubts=frozenset({"b"}),
)
EDITED = Story(
    (plan({"a": task(), "b": task("a"), "old": task("b")}),),
    {"a": [Script(20.0)], "b": [Script(10.0)], "new": [Script(5.0)]},
    edited=plan(
        {"a": task(), "b": task("a"), "new": task(), "last": task("b", "new")},
        providers={"pool": Provider(worker="command", parallel=1)},
    ),
)
FRAIL = Story(
    (plan({"a": task(), "b": task("a"), "c": task()}, on_failure="halt", timeout=100.0),),
    {"a": [Script(5.0, Exit(1)), Script(5.0)], "c": [Script(70.0)]},
)
TWO = Story(
    (
        plan({"a": task(), "b": task("a", timeout=5.0, grace=0.0)}, name="one"),
        plan({"c": task(), "d": task()}, name="two"),
    ),
    {"b": [Script(math.inf), Script(1.0)], "a": [Script(2.0, Exit(-9)), Script(2.0)], "d": [Script(HOUR)]},
)

TWICE = (Criterion(run="make test"), Criterion(run="make lint"))
ONE = (Criterion(run="make check"),)


def agent(name: str, *needs: str, **more: object) -> Task:
    """A task for an agent, in a directory of its own."""
    options = {"provider": "pool", "accept": TWICE, "cwd": name, **more}
    return Task(instructions=f"do {name}", needs=needs, **options)  # type: ignore[arg-type]


MENDED = Story(
    (
        plan(
            {
                "a": agent("a"),
                "b": agent("b", "a", fix_rounds=1),
                "c": task(accept=ONE, cwd="c", retry=Retry(attempts=2, backoff=5.0)),
                "d": agent("d", "c", accept=ONE, fix_rounds=0),
            }
        ),
    ),
    {"a": [Script(30.0), Script(5.0)], "b": [Script(2.0, Exit(1)), Script(2.0)]},
    looks={
        "a": [Seen(("", "code"), 10.0, "one"), Seen(("", "code"), 3.0, "two"), Seen(tree="three", lost=1)],
        "b": [Seen(), Seen(("code",), 1.0, "x"), Seen(("code",), 1.0, "x"), Seen()],
        "c": [Seen(("unknown",)), Seen(seconds=20.0)],
        "d": [Seen(("late",), 20.0)],
    },
)
HOME = Story(
    (
        plan(
            {
                "a": agent("a", cwd=None, worktree=True),
                "b": agent("b", cwd=None, worktree=True, accept=ONE),
                "c": agent("c", "a", commit=Commit(when="test -e c")),
                "d": task("b", worktree=True, accept=ONE),
            },
            providers={"pool": Provider(worker="agent", parallel=3)},
        ),
    ),
    {"a": [Script(10.0)], "b": [Script(9.0)]},
    looks={"a": [Seen(seconds=5.0)], "b": [Seen(seconds=4.0)], "c": [Seen(seconds=3.0)]},
    moved=frozenset("ab"),
)

STORIES = {
    "chain": CHAIN,
    "diamond": DIAMOND,
    "fan": FAN,
    "resting": RESTING,
    "stuck": STUCK,
    "orders": ORDERS,
    "asking": ASKING,
    "edited": EDITED,
    "frail": FRAIL,
    "two": TWO,
    "mended": MENDED,
    "home": HOME,
}
