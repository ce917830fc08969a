"""Decisions: what to do next. Nothing here changes the state; carrying a decision out records an event.

One decision at a time: the supervisor carries it out, which changes the state, and asks again. It looks
only at the tops of the pools' heaps, so its cost does not grow with the plan.
"""

from __future__ import annotations

from msgspec import Struct

from daplug_supervisor.core.events import HaltedBy
from daplug_supervisor.core.model import Pool, ReadyKey, Run
from daplug_supervisor.core.queues import first


class Start(Struct, frozen=True):
    """Begin an attempt at `task` in the pool `provider`."""

    task: str
    provider: str


class RequestHalt(Struct, frozen=True):
    """Start nothing more in this run."""

    reason: str
    by: HaltedBy


class ConfirmHalt(Struct, frozen=True):
    """The halt is complete: nothing runs any more."""


class Finish(Struct, frozen=True):
    """Nothing more can happen in this run by itself."""


Decision = Start | RequestHalt | ConfirmHalt | Finish


def decide(run: Run, now: float) -> Decision | None:
    """What to do next, or None: wait for an event or for `wake_at`. `now` is UTC seconds."""
    if run.finished_at is not None:
        return None
    if run.halt is not None:
        return ConfirmHalt() if run.halt.halted_at is None and not run.active else None
    busy = [pool for pool in run.pools.values() if pool.ready or pool.waiting]
    halt = _halt(run, busy, now)
    if halt is not None:
        return halt
    if not busy and not run.active:
        return Finish()
    return _start(run, now) if run.parallel is None or run.active < run.parallel else None


def _halt(run: Run, busy: list[Pool], now: float) -> RequestHalt | None:
    """Why to start nothing more, although something is left: a failure, the time, or only stopped pools."""
    if run.plan.on_failure == "halt" and run.fresh_failures and (busy or run.active):
        return RequestHalt("a task did not succeed and the plan says on_failure: halt", "failure")
    limit = run.plan.timeout
    if limit is not None and now >= run.started_at + limit and (busy or run.active):
        return RequestHalt(f"the run's timeout of {limit:g} s is over", "timeout")
    if busy and not run.active and all(pool.stopped for pool in busy):
        reasons = "; ".join(f"provider {pool.name} is stopped: {pool.reason}" for pool in busy)
        return RequestHalt(reasons, "provider")
    return None


def _start(run: Run, now: float) -> Start | None:
    best: tuple[ReadyKey, str] | None = None
    for pool in run.pools.values():
        if pool.full or pool.closed(now):
            continue
        key = first(run, pool, now)
        if key is not None and (best is None or key < best[0]):
            best = key, pool.name
    return None if best is None else Start(best[0][-1], best[1])


def wake_at(run: Run, now: float) -> float | None:
    """When to decide again if no event comes before (UTC seconds); None if only an event can help."""
    if run.finished_at is not None or run.halt is not None:
        return None
    times = [] if run.plan.timeout is None else [run.started_at + run.plan.timeout]
    for pool in run.pools.values():
        if pool.stopped:
            continue
        if pool.rest_until > now:
            if pool.ready or pool.waiting:
                times.append(pool.rest_until)
        elif pool.waiting and not pool.full:
            times.append(pool.waiting[0][0])
    return min((time for time in times if time > now), default=None)
