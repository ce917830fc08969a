"""What a provider does at the moment, in words: it takes tasks, is full, is tried, rests, is paused or stopped."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Literal

from daplug_supervisor.core.model import PROBE_TRUSTED, Lane, Pool, Run
from daplug_supervisor.core.results import RULES
from daplug_supervisor.views.text import at_clock, duration

PoolState = Literal["open", "full", "probing", "resting", "paused", "stopped"]

_MEND = "mend what is wrong, then resume it"


def pool_state(pool: Pool, now: float) -> PoolState:
    """Why a pool takes nothing more, the reason that lasts longest first."""
    if pool.stopped:
        return "stopped"
    if pool.paused_until > now:
        return "paused"
    if pool.rest_until > now:
        return "resting"
    if pool.probing and not _trusted(pool, now):
        return "probing"
    return "full" if pool.running >= pool.limit else "open"


def _trusted(pool: Pool, now: float) -> bool:
    return pool.probe != "" and now >= pool.probed_at + PROBE_TRUSTED


def closed_until(pool: Pool, now: float) -> float | None:
    """When a pool takes tasks again (UTC seconds); None if it does now, or only when a person resumes it."""
    return pool.opens_at if not pool.stopped and now < pool.opens_at < inf else None


def pool_words(run: Run, pool: Pool, now: float) -> str:
    """What a pool does: ``rests until 01:22:03Z (in 34m 00s): usage limit``."""
    state = pool_state(pool, now)
    reason = (pool.pause if state == "paused" else pool.reason).rstrip(". \n")
    why = f": {reason}" if reason else ""
    match state:
        case "stopped":
            return f"is stopped{why}; {remedy(run, pool)}"
        case "paused":
            return f"is paused until {_until(pool.paused_until, now)}{why}"
        case "resting":
            return f"rests until {_until(pool.rest_until, now)}{why}"
        case "probing":
            return _probing(pool, now)
        case "full":
            return f"is full ({pool.running} of {pool.limit} running)"
        case _:
            return f"takes tasks ({pool.running} of {pool.limit} running)"


def _until(time: float, now: float) -> str:
    if time == inf:
        return "a person resumes it"
    return f"{at_clock(time, now)} (in {duration(time - now)})"


def _probing(pool: Pool, now: float) -> str:
    if not pool.probe:
        return "was limited, and is tried with one task first"
    latest = at_clock(pool.probed_at + PROBE_TRUSTED, now)
    return f"was limited, and is tried with {pool.probe} first; more follow when it works, {latest} at the latest"


def remedy(run: Run, pool: Pool) -> str:
    """What a person can do about a stopped pool: what the outcome that stopped it asks for."""
    stops = [
        (past.ended_at, RULES[past.result.outcome.kind].remedy)
        for task in run.tasks.values()
        for past in task.past
        if RULES[past.result.outcome.kind].follow == "stop" and past.provider in _accounts(run, pool)
    ]
    return f"{max(stops)[1]} it" if stops else _MEND


def _accounts(run: Run, pool: Pool) -> set[str]:
    shared = {other.name for other in run.pools.values() if pool.account and other.account == pool.account}
    return {pool.name, *shared}


def waits(run: Run, now: float) -> Iterator[str]:
    """A line for each pool with something to do that does not just take it, and one for tasks that back off."""
    states = {pool.name: pool_state(pool, now) for pool in run.pools.values() if pool.busy}
    for name, state in states.items():
        if state not in ("open", "full"):
            yield f"provider {name} {pool_words(run, run.pools[name], now)}"
    if states and not run.active and all(state == "resting" for state in states.values()):
        yield "nothing to do: it goes on by itself"
    heaps = [lane.waiting for pool in run.pools.values() for lane in pool.lanes if lane.waiting]
    later = [heap[0][0] for heap in heaps if heap[0][0] > now]
    if later and not run.active:
        yield f"the next task is tried again in {duration(min(later) - now)}"


def fallback_words(run: Run, pool: Pool, lane: Lane, now: float) -> str:
    """Why none of the pools that a closed one falls back to starts a task of a lane; '' if there are none."""
    if not pool.fallback:
        return ""
    if lane is pool.bound:
        return "; the task has fallback: false"
    return "".join(f"; its fallback {name} {pool_words(run, run.pools[name], now)}" for name in pool.fallback)
