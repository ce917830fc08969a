"""Decisions: what to do next. Nothing here changes the state; carrying a decision out records an event.

One decision at a time: the supervisor carries it out, which changes the state, and asks again. A decision looks only
at the tops of the pools' heaps, so its cost does not grow with the plan.
"""

from __future__ import annotations

from msgspec import Struct

from daplug_supervisor.core.events import HaltedBy
from daplug_supervisor.core.state import Pool, ReadyKey, Run


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
    """The next decision for a run, or None if it must wait for an event or for `wake_at`. `now` is UTC seconds."""
    if run.finished_at is not None:
        return None
    if run.halt is not None:
        return ConfirmHalt() if run.halt.halted_at is None and not run.active else None
    if run.plan.on_failure == "halt" and run.fresh_failures:
        return RequestHalt("a task did not succeed and the plan says on_failure: halt", "failure")
    if run.plan.timeout is not None and now >= run.started_at + run.plan.timeout:
        return RequestHalt(f"the run's timeout of {run.plan.timeout:g} s is over", "timeout")
    if run.parallel is None or run.active < run.parallel:
        start = _start(run, now)
        if start is not None:
            return start
    return None if run.active else _idle(run)


def _start(run: Run, now: float) -> Start | None:
    best: tuple[ReadyKey, str] | None = None
    for pool in run.pools.values():
        if pool.running >= pool.limit or pool.closed(now):
            continue
        key = _candidate(run, pool, now)
        if key is not None and (best is None or key < best[0]):
            best = key, pool.name
    return None if best is None else Start(best[0][-1], best[1])


def _candidate(run: Run, pool: Pool, now: float) -> ReadyKey | None:
    """The task that a pool would start next: the better of the first ready one and the first whose wait is over."""
    ready = pool.ready[0] if pool.ready else None
    if not pool.waiting or pool.waiting[0][0] > now:
        return ready
    _, order, ticket, name = pool.waiting[0]
    waited = (-run.plan.tasks[name].priority, -run.tasks[name].rank, order, ticket, name)
    return waited if ready is None or waited < ready else ready


def _idle(run: Run) -> Decision | None:
    """What to do when no task is at work: wait, halt because only stopped pools have work, or finish."""
    busy = [pool for pool in run.pools.values() if pool.ready or pool.waiting]
    if not busy:
        return Finish()
    if all(pool.stopped for pool in busy):
        reasons = "; ".join(f"provider {pool.name} is stopped: {pool.reason}" for pool in busy)
        return RequestHalt(reasons, "provider")
    return None


def wake_at(run: Run, now: float) -> float | None:
    """When to decide again if no event comes before (UTC seconds), or None if only an event can change anything."""
    if run.finished_at is not None or run.halt is not None:
        return None
    times = [] if run.plan.timeout is None else [run.started_at + run.plan.timeout]
    for pool in run.pools.values():
        if pool.stopped:
            continue
        if pool.rest_until > now:
            if pool.ready or pool.waiting:
                times.append(pool.rest_until)
        elif pool.waiting and pool.running < pool.limit:
            times.append(pool.waiting[0][0])
    return min((time for time in times if time > now), default=None)
