"""Whether an attempt still shows that it works, by what was seen of it from time to time.

All times are seconds of one steady clock that stands still while the machine sleeps, unless a field says otherwise.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field
from msgspec.structs import replace

from daplug_supervisor.core.plan import Task

BUSY = 0.03
"""The part of a processor that counts as work.

A CLI that waits for a model that never answers still turns its spinner. Measured over 160 s: codex 0.05 %, gemini
0.05 %, claude 0.25 %, opencode 1.0 % (up to 1.1 %).
"""

_TICKS = 0.02
"""Seconds of processor time that say nothing over however short a time: the system counts in hundredths."""

_LATE = 5.0
"""Seconds that a look may be late beyond twice its time; what is later was slept through, by the agent as well."""

_SOONEST = 0.05
_LOOKS = 4
"""So many looks at least fall into a task's `idle_timeout`."""

Verdict = Literal["", "silent", "zombie", "overdue"]
"""What is wrong with an attempt that runs.

silent: nothing for longer than its task allows or, where that does not say, after more than twice its estimate;
zombie: no sign of work for `Rules.zombie_after`; overdue: older than twice its estimate, and nothing that it writes
has grown.
"""


class Rules(Struct, frozen=True):
    """How often running attempts are looked at, and how long without a sign of work makes one a zombie."""

    interval: float = 120.0
    zombie_after: float = 1200.0


class Signs(Struct, frozen=True):
    """What a process tree shows at one moment.

    `cpu`: processor seconds used so far, by process (number and start time), its collected children's among them;
    `positions`: how far it has read or written each of its open files, by whatever names one; `places`: the
    directories that its processes work in.
    """

    cpu: dict[tuple[int, int], float] = field(default_factory=dict)
    positions: dict[tuple[int, str, str], int] = field(default_factory=dict)
    places: frozenset[str] = frozenset()


class Look(Struct, frozen=True):
    """What was seen of an attempt. `written` is when its output last changed, and `wall` now, by another clock."""

    at: float
    signs: Signs = Signs()
    written: float = 0.0
    wall: float = 0.0


class Health(Struct, frozen=True):
    """What is known of an attempt since `began`: the latest look, and when it last showed that it works.

    `grown`: when anything that it writes last grew.
    """

    began: float
    look: Look
    sign: float
    grown: float


def begun(at: float) -> Health:
    """Of an attempt that starts at this moment."""
    return Health(at, Look(at), at, at)


def found_again(look: Look, began: float, limit: float) -> Health:
    """Of an attempt that was started by an earlier supervisor: what it wrote since says how long it has been silent.

    Whether it used the processor meanwhile nobody knows. So at most half of what it may be silent counts as over.
    """
    sign = max(_written_at(look, began), look.at - limit / 2)
    return Health(began, look, sign, sign)


def after(health: Health, look: Look, asked: float) -> Health:
    """What is known after another look, which was to come `asked` seconds after the one before."""
    passed = look.at - health.look.at
    slept = passed - asked if passed > 2 * asked + _LATE else 0.0
    sign, grown = health.sign + slept, health.grown + slept
    if look.written != health.look.written:
        grown = max(grown, _written_at(look, health.look.at))
    if _moved(health.look.signs, look.signs):
        grown = look.at
    if used(health.look.signs, look.signs) > max(_TICKS, BUSY * (passed - slept)):
        sign = look.at
    return Health(health.began + slept, look, max(sign, grown), grown)


def changed(health: Health, wall: float) -> Health:
    """What is known once a file was found that was changed in its directory, at this time of the other clock."""
    at = max(health.began, health.look.at - max(0.0, health.look.wall - wall))
    return replace(health, sign=max(health.sign, at), grown=max(health.grown, at))


def used(before: Signs, now: Signs) -> float:
    """Processor seconds used between two moments. A process that was not there before used all it has in between."""
    return sum(max(0.0, seconds - before.cpu.get(one, 0.0)) for one, seconds in now.cpu.items())


def verdict(health: Health, task: Task, rules: Rules) -> Verdict:
    """What is wrong with an attempt at its latest look."""
    at = health.look.at
    idle = at - health.sign
    overdue = bool(task.estimate) and at - health.began > 2 * (task.estimate or 0.0)
    if task.idle_timeout and idle >= task.idle_timeout:
        return "silent"
    if overdue and task.idle_timeout is None and idle >= _quiet(task, rules):
        return "silent"
    if idle >= rules.zombie_after:
        return "zombie"
    return "overdue" if overdue and at - health.grown >= _quiet(task, rules) else ""


def next_look(health: Health, task: Task, rules: Rules) -> float:
    """After how many seconds to look again: `_LOOKS` times within what it may be silent, and when that is over."""
    limit = task.idle_timeout
    if not limit:
        return rules.interval
    left = health.sign + limit - health.look.at
    return max(_SOONEST, min(rules.interval, limit / _LOOKS, left))


def _written_at(look: Look, earliest: float) -> float:
    """When its output last grew. Clocks can be set, and an agent can give its files any time."""
    return max(earliest, look.at - max(0.0, look.wall - look.written))


def _moved(before: Signs, now: Signs) -> bool:
    """Whether it has read or written on in a file that it had open before already."""
    return any(before.positions.get(name, at) != at for name, at in now.positions.items())


class Suspect(Struct, frozen=True):
    """A running attempt that a person should look at: `verdict` says why, `since` when it last gave no reason (UTC)."""

    task: str
    attempt: int
    verdict: Verdict
    since: float


def suspect(health: Health, task: str, attempt: int, found: Verdict, now: float) -> Suspect:
    """What is told of an attempt with this verdict; `now` is the time of its latest look (UTC)."""
    since = health.grown if found == "overdue" else health.sign
    return Suspect(task, attempt, found, now - (health.look.at - since))


def _quiet(task: Task, rules: Rules) -> float:
    return max(min(task.estimate or 0.0, rules.zombie_after), rules.interval)
