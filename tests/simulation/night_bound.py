"""How early the tasks of a night can be done at best: below, and by somebody who knows the night beforehand."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from heapq import heappop, heappush
from itertools import combinations
from math import inf

from night import Night

from daplug_supervisor.core.graph import dependents, ordered, ranks


def allowed(night: Night, task: str) -> tuple[str, ...]:
    """The providers that may run a task."""
    spec = night.plan.tasks[task]
    assert spec.provider is not None
    return (spec.provider, *(night.plan.providers[spec.provider].fallback if spec.fallback else ()))


def attempts(night: Night, task: str) -> list[float]:
    """The seconds of each attempt that a task needs, if none meets a limit."""
    work = night.work[task]
    return [work.end(number)[1] for number in range(len(work.ends) + (not work.fails))]


def needs_of(night: Night, tasks: Collection[str]) -> dict[str, list[str]]:
    """What each of these tasks needs, as far as it is one of them."""
    return {name: [need for need in night.plan.tasks[name].needs if need in tasks] for name in tasks}


def lower_bound(night: Night, tasks: Collection[str]) -> float:
    """Seconds within which nobody can do these tasks."""
    return max(_longest_chain(night, tasks), _least_for_all(night, tasks))


def _longest_chain(night: Night, tasks: Collection[str]) -> float:
    """The end of the last task if there were as many slots as one likes."""
    needs = needs_of(night, tasks)
    ends: dict[str, float] = {}
    for name in ordered(needs):
        reached = max((ends[need] for need in needs[name]), default=0.0)
        for seconds in attempts(night, name):
            reached = min(night.weather.earliest_end(one, reached, seconds) for one in allowed(night, name))
        ends[name] = reached
    return max(ends.values(), default=0.0)


def _least_for_all(night: Night, tasks: Collection[str]) -> float:
    """For each set of providers: when they can have done the work that only they may do."""
    names = list(night.plan.providers)
    found = 0.0
    for some in (frozenset(one) for size in range(1, len(names) + 1) for one in combinations(names, size)):
        work = sum(sum(attempts(night, name)) for name in tasks if some.issuperset(allowed(night, name)))
        found = max(found, _time_for(night, some, work))
    return found


def _time_for(night: Night, names: frozenset[str], work: float) -> float:
    """When these providers can have done so much."""
    low, high = 0.0, 1e6
    while high - low > 1.0:
        middle = (low + high) / 2
        places = ((name, night.plan.providers[name].parallel) for name in names)
        enough = sum(night.weather.capacity(name, slots, middle) for name, slots in places) >= work
        low, high = (low, middle) if enough else (middle, high)
    return low


def foreseen(night: Night, tasks: Collection[str]) -> float:
    """Seconds that these tasks take if nothing begins that will be interrupted; the longest chains go first.

    Before them goes what has to be done before its only provider closes for good.
    """
    needs = needs_of(night, tasks)
    after = dependents(needs)
    seconds = {name: attempts(night, name) for name in tasks}
    rank = ranks(needs, lambda name: sum(seconds[name]))
    hurry = {need for name in tasks if _closes(night, name) for need in _behind(needs, name)}
    left = {name: len(needs[name]) for name in tasks}
    ready = [name for name in tasks if not left[name]]
    free = {name: provider.parallel for name, provider in night.plan.providers.items()}
    running: list[tuple[float, str, str]] = []
    now = last = 0.0
    while ready or running:
        ready.sort(key=lambda name: (name not in hurry, -rank[name]))
        for task, place in _starts(night, ready, free, seconds, now):
            heappush(running, (now + seconds[task].pop(0), task, place))
        ends = [spell.end for spell in night.weather.spells if ready and now < spell.end < inf]
        now = min([*ends, *(one[0] for one in running[:1])], default=inf)
        if now == inf:
            return inf
        while running and running[0][0] <= now:
            last, task, place = heappop(running)
            free[place] += 1
            if seconds[task]:
                ready.append(task)
                continue
            for other in after[task]:
                left[other] -= 1
                ready += [] if left[other] else [other]
    return last


def _closes(night: Night, task: str) -> bool:
    """Whether all providers that may run a task close for good."""
    return all(night.weather.capacity(name, 1, inf) < inf for name in allowed(night, task))


def _behind(needs: dict[str, list[str]], task: str) -> set[str]:
    """A task and all that it needs."""
    found, more = set[str](), [task]
    while more:
        name = more.pop()
        if name not in found:
            found.add(name)
            more += needs[name]
    return found


def _starts(
    night: Night, ready: list[str], free: dict[str, int], seconds: dict[str, list[float]], now: float
) -> Iterator[tuple[str, str]]:
    """What begins now, and where; it is taken out of `ready` and of `free`."""
    for task in list(ready):
        length = seconds[task][0]
        for place in allowed(night, task):
            if free[place] and night.weather.earliest_end(place, now, length) == now + length:
                free[place] -= 1
                ready.remove(task)
                yield task, place
                break
