"""What tasks will take together, and whether they are simple or complex; from what their plan says of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from heapq import heappop, heappush
from typing import Literal

from msgspec import Struct

from daplug_supervisor.core.graph import dependents, ranks, stages
from daplug_supervisor.core.plan import Task
from daplug_supervisor.views.text import listing, number

MOST_FILES = 3
MOST_SECONDS = 1800.0
MOST_TOKENS = 20_000
"""What a simple piece of work takes at most."""

_MOST_BOTTLENECKS = 5
_WAITING = 60.0
"""Seconds that places have to cost before they are called a bottleneck."""

Specs = Mapping[str, Task]
Needs = dict[str, tuple[str, ...]]


class Estimate(Struct, frozen=True):
    """What tasks will take together.

    `shortest`: seconds with as many places as there are tasks to use them; `longest`: with those that there are (both
    null if no task has an estimate). `unknown`: how many tasks have no estimate, and are counted as nothing. `tokens`:
    those that the tasks say (null: none does), `tokens_unknown` how many do not. `owners`: who they belong to.
    `workers`: agents and commands to start, one a task at least; `at_once`: the most of them at the same time.
    `parallel`: whether some can go on side by side. `bottlenecks`: what everything waits for, in words.
    """

    subtasks: int
    shortest: float | None
    longest: float | None
    unknown: int
    tokens: int | None
    tokens_unknown: int
    owners: tuple[str, ...]
    workers: int
    at_once: int
    parallel: bool
    bottlenecks: tuple[str, ...]


class Complexity(Struct, frozen=True):
    """Whether work is simple, so that one owner can do it at once, or complex; and why."""

    kind: Literal["simple", "complex"]
    reasons: tuple[str, ...] = ()


def among(specs: Specs) -> Needs:
    """What each of these tasks needs of the others."""
    return {name: tuple(one for one in spec.needs if one in specs) for name, spec in specs.items()}


def estimate(specs: Specs, limits: Mapping[str, int], *, barrier: bool = False) -> Estimate:
    """What these tasks will take.

    Args:
        specs: the tasks, in the order of the plan.
        limits: how many places each provider has.
        barrier: whether no stage begins before those before it have ended.
    """
    needs = among(specs)
    levels = stages(needs)
    shortest, _ = _time(specs, needs, levels, None, barrier=barrier)
    longest, at_once = _time(specs, needs, levels, limits, barrier=barrier)
    known = [spec for spec in specs.values() if spec.estimate is not None]
    tokens = [spec.estimate_tokens for spec in specs.values() if spec.estimate_tokens is not None]
    return Estimate(
        subtasks=len(specs),
        shortest=shortest if known else None,
        longest=longest if known else None,
        unknown=len(specs) - len(known),
        tokens=sum(tokens) if tokens else None,
        tokens_unknown=len(specs) - len(tokens),
        owners=owners(specs.values()),
        workers=len(specs),
        at_once=at_once,
        parallel=max(map(len, levels), default=0) > 1,
        bottlenecks=(*bottlenecks(needs, levels), *_places(specs, limits, levels, longest - shortest)),
    )


def owners(specs: Iterable[Task]) -> tuple[str, ...]:
    """Who tasks belong to, each once."""
    return tuple(dict.fromkeys(spec.owner for spec in specs if spec.owner))


def bottlenecks(needs: Needs, levels: Sequence[Sequence[str]]) -> list[str]:
    """The tasks beside which nothing else can go on: all before them lead to them, and all after them wait for them."""
    level = {name: at for at, names in enumerate(levels) for name in names}
    after = dependents(needs)
    found: list[str] = []
    reach, behind = 0.0, len(level)
    for at, names in enumerate(levels):
        behind -= len(names)
        if len(names) == 1 and reach <= at and behind:
            name = names[0]
            waits = f"{name} must wait for {listing(needs[name])}, and " if needs[name] else ""
            found.append(f"stage {at + 1}: {waits}{_behind(behind, first=not at)} for {name}")
        for name in names:
            reach = max(reach, min((level[other] for other in after[name]), default=math.inf))
    more = len(found) - _MOST_BOTTLENECKS
    return [*found[:_MOST_BOTTLENECKS], *([f"{more} more stages of one task each"] if more > 0 else [])]


def _behind(count: int, *, first: bool) -> str:
    if count == 1:
        return "the other task waits" if first else "the task after it waits"
    return f"all {count} other tasks wait" if first else f"all {count} tasks after it wait"


def _places(
    specs: Specs, limits: Mapping[str, int], levels: Sequence[Sequence[str]], lost: float
) -> Iterable[str]:
    """The providers that have fewer places than a stage has tasks for them, if that costs time."""
    if lost < _WAITING:
        return
    for provider, limit in limits.items():
        widest = max((sum(specs[one].provider == provider for one in names) for names in levels), default=0)
        if widest > limit:
            yield f"provider {provider}: {number(limit, 'place')} for up to {widest} tasks at once"


def _time(
    specs: Specs,
    needs: Needs,
    levels: Sequence[Sequence[str]],
    limits: Mapping[str, int] | None,
    *,
    barrier: bool,
) -> tuple[float, int]:
    """How long it takes if whoever is ready starts as soon as there is a place (None: always), and the most at once."""
    if barrier:
        parts = [
            _greedy({name: specs[name] for name in names}, dict.fromkeys(names, ()), limits)
            for names in levels
        ]
        return sum(time for time, _ in parts), max((most for _, most in parts), default=0)
    return _greedy(specs, needs, limits)


def _greedy(specs: Specs, needs: Needs, limits: Mapping[str, int] | None) -> tuple[float, int]:
    schedule = _Schedule(specs, needs, limits)
    while schedule.step():
        pass
    return schedule.now, schedule.most


class _Schedule:
    """Who would work on what when, if all went as estimated: first come the priorities, then the longest chains."""

    def __init__(self, specs: Specs, needs: Needs, limits: Mapping[str, int] | None) -> None:
        self.now, self.most = 0.0, 0
        self._specs, self._limits, self._after = specs, limits, dependents(needs)
        self._rank = ranks(needs, lambda name: specs[name].estimate or 0.0)
        self._unmet = {name: len(set(before)) for name, before in needs.items()}
        self._order = {name: at for at, name in enumerate(specs)}
        self._ready: dict[str, list[tuple[int, float, int, str]]] = {}
        self._taken: dict[str, int] = {}
        self._ends: list[tuple[float, int, str]] = []
        for name, count in self._unmet.items():
            if not count:
                self._queue(name)

    def step(self) -> bool:
        """Start what can start, and go on to the time when something ends. False: nothing is left."""
        for provider, waiting in self._ready.items():
            while waiting and self._has_place(provider):
                name = heappop(waiting)[-1]
                heappush(
                    self._ends, (self.now + (self._specs[name].estimate or 0.0), self._order[name], name)
                )
                self._taken[provider] = self._taken.get(provider, 0) + 1
        if not self._ends:
            return False
        self.most = max(self.most, len(self._ends))
        self.now = self._ends[0][0]
        while self._ends and self._ends[0][0] == self.now:
            self._end(heappop(self._ends)[-1])
        return True

    def _has_place(self, provider: str) -> bool:
        return self._limits is None or self._taken.get(provider, 0) < self._limits.get(provider, 1)

    def _end(self, name: str) -> None:
        self._taken[self._specs[name].provider or ""] -= 1
        for other in self._after[name]:
            self._unmet[other] -= 1
            if not self._unmet[other]:
                self._queue(other)

    def _queue(self, name: str) -> None:
        key = (-self._specs[name].priority, -self._rank[name], self._order[name], name)
        heappush(self._ready.setdefault(self._specs[name].provider or "", []), key)


def complexity(specs: Specs, shortest: float | None, *, of: Task | None = None) -> Complexity:
    """Whether these tasks are simple or complex together. `of`: the task whose parts they are."""
    own = [] if of is None else [of]
    every = [*own, *specs.values()]
    reasons = []
    who = owners(every)
    if len(who) > 1:
        reasons.append(f"several owners: {listing(who)}")
    files = {name for spec in every for name in spec.files}
    if len(files) > MOST_FILES:
        reasons.append(f"{len(files)} files")
    depends = len(of.needs) if of else 0
    if depends:
        reasons.append(f"depends on {number(depends, 'other task')}")
    chain = len(stages(among(specs)))
    if chain > 1:
        reasons.append(f"{chain} stages one after another")
    time = max(shortest or 0.0, (of.estimate or 0.0) if of else 0.0)
    if time > MOST_SECONDS:
        reasons.append(f"over {MOST_SECONDS / 60:.0f} minutes ({minutes(time, time)})")
    tokens = max(sum(spec.estimate_tokens or 0 for spec in some) for some in (own, specs.values()))
    if tokens > MOST_TOKENS:
        reasons.append(f"over {MOST_TOKENS} tokens ({tokens})")
    return Complexity("complex" if reasons else "simple", tuple(reasons))


def minutes(shortest: float | None, longest: float | None, unknown: int = 0) -> str:
    """``65-90 minutes``, ``at least 12 minutes``, or ``unknown``."""
    if shortest is None or longest is None:
        return "unknown"
    few, many = max(1, math.ceil(shortest / 60)), max(1, math.ceil(longest / 60))
    words = number(many, "minute") if few == many else f"{few}-{many} minutes"
    return f"at least {words}" if unknown else words
