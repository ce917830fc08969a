"""What follows an attempt that did not succeed: another try, another provider, a rest, or the end.

The wait is exponential with full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter"), drawn from a
hash of the attempt's name: reproducible, and the same after a restart.
"""

from __future__ import annotations

from itertools import takewhile

from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.budget import reached
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.model import Past, Pool, Run, TaskState
from daplug_supervisor.core.plan import COMMAND, Retry
from daplug_supervisor.core.queues import sharing
from daplug_supervisor.core.results import LIMITS, RULES, Follow, OutcomeKind, Result, uses_try

MAX_LOST = 3
"""Attempts lost in a row before a person is asked."""

MAX_SILENT = 8
"""Attempts in a row that may be silent because their provider is; from then on it is the task: hours have passed."""

MAX_OUTAGES = 16
"""Outages in a row that only one task meets, which is tried ever more seldom; from then on it is the task."""

_MEND_WORK = "look at what was found, mend the work or the criterion, then retry the task"
_MEND_PLACE = "mend what the criteria need (a program, a key, the network, more time), then retry the task"

_ONLY_HERE = (
    "others were answered meanwhile: read the log, change the prompt or the model, then retry the task"
)

_AFTER_OTHERS = 5.0
"""Seconds by which a task lets others be the next probe, if it has met the trouble of its provider before."""

REST_FIRST = 30.0
REST_LONGEST = 900.0
"""A resting provider is tried again after 30 s, then after twice as long each time, up to 15 minutes."""


def attempt_name(run: str, task: str, number: int) -> str:
    """The name of an attempt: ``run/task#number``."""
    return f"{run}/{task}#{number}"


def fraction(name: str) -> float:
    """A number in (0, 1] that follows from `name` alone."""
    from hashlib import sha256  # noqa: PLC0415 (slow to import; runs in which nothing fails do without it)

    return (int.from_bytes(sha256(name.encode()).digest()[:8]) + 1) / 2**64


def delay(name: str, tries: int, retry: Retry) -> float:
    """Seconds to wait before the next try, after `tries` tries (at least 1): at most ``backoff * 2**(tries-1)``."""
    longest = min(retry.max_backoff, retry.backoff * 2.0 ** min(tries - 1, 60))
    return longest * fraction(name)


def after_attempt(
    run: Run, task: TaskState, result: Result, now: float, ahead: float = 0.0
) -> list[ev.Event]:
    """The events that follow an attempt whose outcome is not success.

    `now` is UTC seconds, steady; `ahead` is by how much the machine's clock is ahead of it. Others state times by
    the machine's clock.
    """
    found = _follows(run, task, result, now, ahead)
    again = found[0]
    spent = _spent(run, task, result, counts=again.uses_try) if isinstance(again, ev.RetryScheduled) else ""
    if spent:
        remedy = "raise the task's budget, then retry it"
        return [ev.TaskStuck(task.id, _told(result, f"its budget is spent ({spent})"), remedy), *found[1:]]
    return found


def _follows(run: Run, task: TaskState, result: Result, now: float, ahead: float) -> list[ev.Event]:
    rule = RULES[result.outcome.kind]
    if task.cancelling:
        return [ev.TaskCancelled(task.id, task.reason)]
    if rule.follow == "delegate":
        return [ev.Delegated(task.id, result)]
    if rule.follow in ("fail", "stuck", "other"):
        return [_final(run, task, result, rule.follow, now)]
    if rule.follow == "fix" and run.spec(task.id).command is None:
        return [_fixed(run, task, result)]
    if rule.follow in ("verify", "fix", "retry") and not _provider_is_silent(run, task, result, now):
        return [_again(run, task, result, now)]
    return _closed(run, task, result, now, ahead)


def _final(run: Run, task: TaskState, result: Result, follow: Follow, now: float) -> ev.Event:
    if follow == "fail":
        return ev.TaskFailed(task.id, result)
    return _in_the_way(task, result) if follow == "stuck" else _elsewhere(run, task, result, now)


def _in_the_way(task: TaskState, result: Result) -> ev.Event:
    """A person must decide; but what could not be merged goes back once, to be made fit for what came before it."""
    merging = result.outcome.kind is OutcomeKind.CONFLICT and task.status is Status.LANDING
    if merging and not task.conflicts:
        return ev.RetryScheduled(task.id, result, uses_try=False)
    return _stuck(task, result)


def _tries(run: Run, task: TaskState, result: Result) -> int:
    """The tries, this one included; one that ended with a claim of success has been counted."""
    counts = uses_try(result.outcome.kind, command=run.spec(task.id).command is not None)
    return task.tries + (counts and task.status is Status.RUNNING)


def _stuck(task: TaskState, result: Result) -> ev.TaskStuck:
    return ev.TaskStuck(task.id, result, RULES[result.outcome.kind].remedy)


def _again(run: Run, task: TaskState, result: Result, now: float) -> ev.Event:
    kind, retry = result.outcome.kind, run.spec(task.id).retry
    if kind is OutcomeKind.INTERRUPTED:
        return ev.RetryScheduled(task.id, result, uses_try=False)
    if kind is OutcomeKind.LOST and task.lost + 1 >= MAX_LOST:
        return _stuck(task, result)
    counts, tries = uses_try(kind, command=run.spec(task.id).command is not None), _tries(run, task, result)
    if counts and tries >= retry.attempts:
        return ev.TaskFailed(task.id, result)
    count = max(1, tries) if counts else task.lost + 1
    name = attempt_name(run.id, task.id, task.attempt.number if task.attempt else 0)
    return ev.RetryScheduled(task.id, result, now + delay(name, count, retry), counts)


def _spent(run: Run, task: TaskState, result: Result, *, counts: bool) -> str:
    """Which limit of its budget a task has reached with this attempt, in words, or ''."""
    budget = run.spec(task.id).budget
    if budget is None:
        return ""
    spent = replace(task.spent)
    if task.status is Status.RUNNING:
        spent.attempts += counts
        spent.add(result.outcome.usage)
    return reached(budget, spent)


def _told(result: Result, words: str) -> Result:
    detail = result.outcome.detail
    return replace(result, outcome=replace(result.outcome, detail=f"{detail}; {words}" if detail else words))


def _fixed(run: Run, task: TaskState, result: Result) -> ev.Event:
    """The work goes back with what was found; at most so often as the task allows, and only if it made a difference.

    After that, what speaks against the work alone gets one last attempt, told all of it; a person sees to the rest.
    """
    rounds, blames = run.spec(task.id).fix_rounds, {one.blame for one in result.findings if not one.holds}
    # What was lost or limited in between was not looked at, and changes nothing.
    judged = (past.result for past in reversed(task.past[:-1]) if past.result.findings)
    before = next(judged, None)
    alike = before is not None and _alike(before, result)
    if task.fixes < rounds and not alike and not task.last_fix:
        return ev.RetryScheduled(task.id, result, uses_try=False)
    told = _told(result, "the same as before, on the same files" if alike else f"after {task.fixes} rounds")
    if blames != {"code"}:
        return ev.TaskStuck(task.id, told, _MEND_PLACE if blames == {"environment"} else _MEND_WORK)
    if rounds and not task.last_fix:
        return ev.RetryScheduled(task.id, told, uses_try=False, last_fix=True)
    return ev.TaskFailed(task.id, told)


def _alike(before: Result, now: Result) -> bool:
    """Whether the same criteria failed on the same files."""
    if before.outcome.kind is not OutcomeKind.VERIFY_FAILED or not now.tree or before.tree != now.tree:
        return False
    failed = [
        {(one.criterion, one.label) for one in found.findings if not one.holds} for found in (before, now)
    ]
    return failed[0] == failed[1]


def _elsewhere(run: Run, task: TaskState, result: Result, now: float) -> ev.Event:
    spent = task.rerouted or _tries(run, task, result) >= run.spec(task.id).retry.attempts
    other = None if spent else _another(run, task, now)
    return _stuck(task, result) if other is None else ev.RetryScheduled(task.id, result, provider=other)


def _another(run: Run, task: TaskState, now: float) -> str | None:
    """Another provider than the one that did not get further, for good: one that is open, if any is.

    None if there is none, or only such as nothing but a person opens again.
    """
    if not run.spec(task.id).fallback:
        return None
    own = task.provider
    tried = task.attempt.provider if task.attempt else own
    names = [name for name in (*run.plan.providers[own].fallback, own) if name != tried]
    found = [name for name in names if not run.pools[name].stopped]
    return min(found, key=lambda name: run.pools[name].closed(now), default=None)


def _provider_is_silent(run: Run, task: TaskState, result: Result, now: float) -> bool:
    """Whether an attempt was silent because its provider was: that answered nobody meanwhile, as far as is known.

    What ended early in the silence may have had its last answer before.
    """
    attempt, idle = task.attempt, run.spec(task.id).idle_timeout
    if attempt is None or task.status is not Status.RUNNING or result.outcome.kind is not OutcomeKind.SILENT:
        return False
    if run.plan.providers[attempt.provider].worker == COMMAND:
        return False
    before = [past.result.outcome.kind for past in task.past[-MAX_SILENT:]]
    task_is = len(before) == MAX_SILENT and set(before) == {OutcomeKind.SILENT}
    since = now - idle / 2 if idle else attempt.at
    return not task_is and run.pools[attempt.provider].answered_at <= since


def _closed(run: Run, task: TaskState, result: Result, now: float, ahead: float) -> list[ev.Event]:
    """Nothing is wrong with the task: its provider rests or is stopped, or the run is halted.

    All pools of the same account share a limit, but nothing else. The task waits in its own pool; while that is
    closed, a fallback may start it (`decide`).
    """
    outcome = result.outcome
    rule = RULES[outcome.kind]
    if rule.follow == "halt":
        reason = f"{outcome.detail or outcome.kind}: {rule.remedy}"
        return [ev.RetryScheduled(task.id, result, uses_try=False), ev.HaltRequested(reason, "failure")]
    pool = run.pools[task.attempt.provider if task.attempt else task.provider]
    if rule.follow == "stop":
        return [
            ev.RetryScheduled(task.id, result, uses_try=False),
            ev.ProviderStopped(pool.name, outcome.detail),
        ]
    met = _met_before(task, pool, result)
    if outcome.kind is OutcomeKind.OUTAGE and _only_here(pool, met):
        return [ev.TaskStuck(task.id, result, _ONLY_HERE)]
    stated = None if outcome.retry_at is None else outcome.retry_at - ahead
    doubt = not result.exit.error  # what this machine lacks it knows best
    waits = _waits(run, task, pool, outcome.kind, len(met), _until(pool, stated, now, doubt=doubt), now)
    return [
        ev.RetryScheduled(task.id, result, waits, uses_try=False),
        *(
            ev.ProviderRested(one.name, _until(one, stated, now, doubt=doubt), outcome.detail)
            for one in (sharing(run, pool.name) if outcome.kind in LIMITS else [pool])
        ),
    ]


def _met_before(task: TaskState, pool: Pool, result: Result) -> list[Past]:
    """The attempts right before this one that met limits and outages of the same provider, the latest first.

    Where an agent could not even be started, that was this machine's fault.
    """
    if result.exit.error:
        return []

    def same(past: Past) -> bool:
        found = past.result
        return (
            RULES[found.outcome.kind].follow == "rest" and past.provider == pool.name and not found.exit.error
        )

    return list(takewhile(same, reversed(task.past)))


def _only_here(pool: Pool, met: list[Past]) -> bool:
    """Whether it is the task: each time so many in a row have failed, and others were answered meanwhile."""
    return len(met) % MAX_OUTAGES == MAX_OUTAGES - 1 and pool.answered_at > met[MAX_OUTAGES - 2].at


def _waits(
    run: Run, task: TaskState, pool: Pool, kind: OutcomeKind, met: int, until: float, now: float
) -> float:
    """Until when a task waits whose provider rests until then; 0.0: no longer than that.

    Who has met the trouble before leaves the next probe to another task, if there is one: that will show whether it is
    the task itself. But a fallback may take it over at once.
    """
    if kind is OutcomeKind.SILENT:
        return _until(pool, None, now) + REST_FIRST
    if not met or (run.spec(task.id).fallback and run.pools[task.provider].fallback):
        return 0.0
    return max(until + _AFTER_OTHERS, now + _rest(met) if kind is OutcomeKind.OUTAGE else 0.0)


def _until(pool: Pool, stated: float | None, now: float, *, doubt: bool = True) -> float:
    """When the rest of a pool is over: at the stated time, but if one has not helped before, it may be doubted."""
    if stated is not None and stated > now:
        helpless = doubt and pool.rests and pool.rest_until <= now
        return max(stated, now + _rest(pool.rests - 1)) if helpless else stated
    return pool.rest_until if pool.rest_until > now else now + _rest(pool.rests)


def _rest(rests: int) -> float:
    """For how long a provider rests that does not say, after so many rests in a row."""
    return min(REST_LONGEST, REST_FIRST * 2.0 ** min(rests, 10))
