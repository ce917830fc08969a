"""Decisions: what to do next. Nothing here changes the state; carrying a decision out records an event.

One decision at a time: the supervisor carries it out, which changes the state, and asks again. It looks
only at the tops of the pools' heaps, so its cost does not grow with the plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf

from msgspec import Struct

from daplug_supervisor.core.budget import last_places, reached
from daplug_supervisor.core.events import HaltedBy
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.model import PROBE_TRUSTED, Halt, Pool, ReadyKey, Run
from daplug_supervisor.core.queues import first


class Start(Struct, frozen=True):
    """Begin an attempt at `task` in the pool `provider`."""

    task: str
    provider: str


class Complete(Struct, frozen=True):
    """All children of the delegated `task` are done: look at what they came to."""

    task: str


class RequestHalt(Struct, frozen=True):
    """Start nothing more in this run."""

    reason: str
    by: HaltedBy


class ConfirmHalt(Struct, frozen=True):
    """The halt is complete: nothing runs any more."""


class Finish(Struct, frozen=True):
    """Nothing more can happen in this run by itself."""


Decision = Start | Complete | RequestHalt | ConfirmHalt | Finish


def decide(run: Run, now: float) -> Decision | None:
    """What to do next, or None: wait for an event or for `wake_at`. `now` is UTC seconds."""
    if run.finished_at is not None:
        return None
    if run.halt is not None:
        return ConfirmHalt() if run.halt.halted_at is None and not _still(run, run.halt) else None
    busy = [pool for pool in run.pools.values() if pool.busy]
    if not (busy or run.active or run.whole):
        return Finish()
    halt = _halt(run, busy, now)
    if halt is not None or (run.parallel is not None and run.active >= run.parallel):
        return halt
    whole = _complete(run)  # costs no try, so it waits for no budget
    if whole is not None or last_places(run.plan.budget, run.spent, run.active):
        return whole
    return _start(run, busy, now)


def _complete(run: Run) -> Complete | None:
    """A delegated task that can be looked at: that takes a slot of its provider, but asks nothing of that."""
    for name in run.whole:
        pool = run.pools[run.tasks[name].provider]
        if pool.running < pool.limit:
            return Complete(name)
    return None


def _still(run: Run, halt: Halt) -> int:
    """How many tasks a halt waits for; what is only looked at or brought home can go on with that at any time."""
    return run.counts[Status.RUNNING] if halt.now else run.active


def _halt(run: Run, busy: list[Pool], now: float) -> RequestHalt | None:
    """Why to start nothing more, although something is left: a failure, time, money, or only stopped pools."""
    if run.plan.on_failure == "halt" and run.fresh_failures:
        return RequestHalt("a task did not succeed and the plan says on_failure: halt", "failure")
    limit = run.plan.timeout
    if limit is not None and run.worked(now) >= limit:
        return RequestHalt(f"the run's timeout of {limit:g} s is over", "timeout")
    spent = reached(run.plan.budget, run.spent) if busy else ""
    if spent:
        return RequestHalt(f"the run's budget is spent ({spent}): raise it in the plan to go on", "budget")
    if busy and not (run.active or run.whole) and all(_hopeless(run, pool) for pool in busy):
        reasons = "; ".join(f"provider {pool.name} is stopped: {pool.reason}" for pool in busy)
        return RequestHalt(reasons, "provider")
    return None


def _hopeless(run: Run, pool: Pool) -> bool:
    """Whether nothing of a pool can run before a person has resumed something."""
    if not pool.stopped:
        return False
    return not pool.free or all(run.pools[name].stopped for name in pool.fallback)


def _start(run: Run, busy: list[Pool], now: float) -> Start | None:
    """The most urgent task; what a fallback takes over of a pool that rests comes after the fallback's own."""
    best: tuple[tuple[bool, ReadyKey], str] | None = None
    for pool in busy:
        place = taker(run, pool, now)
        if place is None:
            continue
        guest = place != pool.name and not pool.stopped
        for lane in (pool.free,) if pool.closed(now) else pool.lanes:
            key = first(run, lane, now)
            if key is not None and (best is None or (guest, key) < best[0]):
                best = (guest, key), place
    return None if best is None else Start(best[0][1][-1], best[1])


def taker(run: Run, pool: Pool, now: float) -> str | None:
    """The pool that may start what waits in `pool`: itself or, while it is closed, for its free lane, a fallback."""
    if pool.closed(now):
        return _open(run, pool.fallback, now)
    return None if pool.full(now) else pool.name


def _open(run: Run, names: Iterable[str], now: float) -> str | None:
    """The first of these pools that is not closed and has room."""
    return next(
        (name for name in names if not (run.pools[name].closed(now) or run.pools[name].full(now))), None
    )


def wake_at(run: Run, now: float) -> float | None:
    """When to decide again if no event comes before (UTC seconds); None if only an event can help."""
    if run.finished_at is not None or run.halt is not None:
        return None
    limit = run.plan.timeout
    times = [now + limit - run.worked(now)] if limit is not None and run.active else []
    for pool in run.pools.values():
        if pool.busy:
            times += _times(run, pool, now)
    return min((time for time in times if now < time < inf), default=None)


def _times(run: Run, pool: Pool, now: float) -> Iterator[float]:
    """When something of a pool may be able to start."""
    closed = pool.closed(now)
    if not closed:
        if pool.probing:
            yield pool.probed_at + PROBE_TRUSTED
        if not pool.full(now):
            yield from (lane.waiting[0][0] for lane in pool.lanes if lane.waiting)
        return
    if not pool.stopped:
        yield pool.opens_at
    if not pool.free:
        return
    for name in pool.fallback:
        other = run.pools[name]
        if not other.stopped:
            yield other.opens_at
        if other.probing:
            yield other.probed_at + PROBE_TRUSTED
    if pool.free.waiting and _open(run, pool.fallback, now) is not None:
        yield pool.free.waiting[0][0]
