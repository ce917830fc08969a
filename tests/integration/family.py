"""A task that divides its work among three, each after the one before, as agents do: with the command line."""

from __future__ import annotations

import sys

from cli import MARKING, Place

from daplug_supervisor import Plan, Provider, Task
from daplug_supervisor.core import events as ev

PARTS = ("oauth-db", "oauth-api", "oauth-ui")
ONE_SLOT = {"p": Provider(worker="command", parallel=1)}
PROGRAM = f"{sys.executable} -m daplug_supervisor"
PART = f"{MARKING} printf '%s begins\\n' \"$DAPLUG_TASK\" >> order; printf '%s ends\\n' \"$DAPLUG_TASK\" >> order"
"""What each part does."""

CREATE = f"""{PROGRAM} task create oauth-db "$PART" --command
{PROGRAM} task create oauth-api "$PART" --command --blocked-by oauth-db
{PROGRAM} task create oauth-ui "$PART" --command --blocked-by oauth-api
"""
DIVIDE = f"""{MARKING}
[ -e half-done ] || echo work > half-done
set -e
{CREATE}
{PROGRAM} task update --status delegated
exec sleep 60
"""
"""What a task does that divides its work: it does not end by itself."""


def family(**more: object) -> Plan:
    """A task that divides its work, what waits for it, and one slot for all."""
    env = {"PART": PART}
    tasks = {
        "oauth": Task(command=("sh", "-c", DIVIDE), provider="p", delegate=1, grace=1.0, env=env, **more),  # type: ignore[arg-type]
        "after": Task(command=("sh", "-c", PART), provider="p", needs=("oauth",)),
    }
    return Plan("p", tasks, ONE_SLOT)


def in_order(place: Place, *names: str) -> None:
    """Each of these began only after the one before was done."""
    done: set[str] = set()
    order = []
    for entry in place.entries():
        if isinstance(entry.event, ev.AttemptStarted) and entry.task in names:
            before = names[: names.index(entry.task)]
            assert done.issuperset(before), f"{entry.task} began before {before}"
            order.append(entry.task)
        if isinstance(entry.event, ev.Landed):
            done.add(entry.task)
    assert tuple(order) == names
    assert place.lines("order") == [f"{name} {what}" for name in names for what in ("begins", "ends")]


def completed(place: Place) -> None:
    """The parts were done in order, the parent was completed once, with one slot for all, and what waited came last."""
    assert set(place.statuses().values()) == {"done"}
    in_order(place, *PARTS, "after")
    assert len(place.events(ev.Delegated)) == len(place.events(ev.ChildrenDone)) == 1
    assert place.most_at_once()["p"] == 1
    starts = [line.split()[0] for line in place.lines()]
    assert starts == ["oauth", *PARTS, "after"], "something was done twice, or never"
    assert place.lines("half-done") == ["work"]
    landed = [entry.task for entry in place.entries() if isinstance(entry.event, ev.Landed)]
    assert landed == [*PARTS, "oauth", "after"]
