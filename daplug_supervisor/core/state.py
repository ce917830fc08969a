"""State: the fold of all events, with the indexes that keep a decision at O(log n).

`apply` is the only function that changes a `State`. It changes it in place: a plan may have 50,000 tasks, and a
copy for each event would be quadratic. Folding the same entries always gives an equal state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from typing import Any

from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.machine import ACTIVE, ENDED, SATISFIED, Status, next_status
from daplug_supervisor.core.model import (
    Attempt,
    Check,
    Halt,
    Past,
    Pool,
    Remark,
    Run,
    Spent,
    State,
    TaskState,
)
from daplug_supervisor.core.notifying import without
from daplug_supervisor.core.plan import COMMAND
from daplug_supervisor.core.queues import (
    flaw,
    index,
    note_whole,
    promote,
    provider_of,
    queue,
    release,
    requeue,
    satisfy,
    unqueue,
)
from daplug_supervisor.core.results import ANSWERED, RULES, OutcomeKind, Result, uses_try
from daplug_supervisor.core.surgery.replanning import added, changed, removed, sound
from daplug_supervisor.core.times import move, set_by
from daplug_supervisor.errors import IllegalTransitionError

__all__ = ["Attempt", "Halt", "Past", "Pool", "Run", "State", "TaskState", "apply", "fold", "provider_of"]


def fold(entries: Iterable[ev.Entry], state: State | None = None) -> State:
    """The state after `entries`, beginning from `state` (which is changed) or from nothing."""
    state = State() if state is None else state
    for entry in entries:
        apply(state, entry)
    return state


def apply(state: State, entry: ev.Entry) -> None:
    """Take one event into the state.

    Raises:
        IllegalTransitionError: the event does not fit; the state is as before.
    """
    event = entry.event
    if isinstance(event, ev.TaskEvent):
        _apply_to_task(_run(state, entry), event, entry.at)
    else:
        _HANDLERS[type(event)](state, entry, event)
    run = state.runs.get(entry.run)
    if run is not None:
        run.last_at = entry.at
    state.seq = max(state.seq, entry.seq)


# --- tasks ------------------------------------------------------------------------------------------------------


def _apply_to_task(run: Run, event: ev.TaskEvent, at: float) -> None:
    task = run.tasks.get(event.task)
    if task is None:
        raise IllegalTransitionError(f"run {run.id!r} has no task {event.task!r}: {event.kind} cannot follow")
    old, new = task.status, next_status(task.status, event)
    provider = getattr(event, "provider", None)
    if provider is not None and provider not in run.pools:
        raise IllegalTransitionError(
            f"run {run.id!r} has no provider {provider!r}: {event.kind} cannot follow"
        )
    _NOTES[type(event)](run, task, event, at)
    if old is new:
        return
    task.status, task.changed_at = new, at
    run.counts[old] -= 1
    run.counts[new] += 1
    _moved(run, task, old, at)


def _moved(run: Run, task: TaskState, old: Status, at: float) -> None:
    """What follows from the new status of a task for its pool, its dependents, its parent and the run."""
    new = task.status
    if (old in ACTIVE) != (new in ACTIVE) and task.attempt is not None:
        pool = run.pools[task.attempt.provider]
        pool.running += 1 if new in ACTIVE else -1
        if pool.probe == task.id and new not in ACTIVE:
            pool.probe = ""
        task.cancelling = False
        _count_waiting(run, at)
    task.delegating = False
    if old is Status.PENDING:
        unqueue(run, task)
    satisfy(run, task, (new in SATISFIED) - (old in SATISFIED))
    if (old in ACTIVE) != (new in ACTIVE):
        release(run, task.children, -1 if new in ACTIVE else 1)
    if Status.DELEGATED in (old, new):
        note_whole(run, task)
    if new is Status.PENDING or new in ACTIVE:
        run.finished_at = None
    if new is Status.PENDING:
        queue(run, task)


def _count_waiting(run: Run, at: float) -> None:
    """A task got a slot or gave it back: waiting ends with the first one, and begins with the last."""
    if not run.active:
        run.idle_since = at
    elif run.idle_since:
        run.waited, run.idle_since = run.waited + at - run.idle_since, 0.0


def _begin_counting(run: Run, at: float) -> None:
    run.started_at, run.waited = at, 0.0
    run.idle_since = 0.0 if run.active else at


def _started(run: Run, task: TaskState, event: ev.AttemptStarted, at: float) -> None:
    task.attempt = Attempt(event.number, event.token, event.provider, at)
    run.pools[event.provider].starts(task.id, at)
    task.not_before, task.check, task.checks = 0.0, None, 0
    task.reason = task.remedy = ""
    for pool in run.pools.values():
        promote(run, pool, at)


def _spawned(_run: Run, task: TaskState, event: ev.AttemptSpawned, at: float) -> None:
    assert task.attempt is not None, "a running task has an attempt"  # noqa: S101
    task.attempt = replace(
        task.attempt,
        spawned_at=at,
        pid=event.pid,
        start=event.start,
        boot=event.boot,
        deadline=event.deadline,
    )


def _ended(run: Run, task: TaskState, result: Result, at: float, *, counts: bool) -> None:
    """Keep what an attempt was worth. A claim of success was counted as a try: what is found later replaces it."""
    attempt, kind = task.attempt, result.outcome.kind
    assert attempt is not None, "only an attempt has a result"  # noqa: S101
    if task.status is not Status.RUNNING:
        task.past = task.past[:-1]
        task.tries -= 1
    else:
        _spend(run, task, attempt.provider, result, counts=counts)
        if kind in ANSWERED:  # what is found of it later says nothing of its provider
            run.pools[attempt.provider].answers(at)
    task.past += (Past(attempt.number, attempt.provider, attempt.at, at, result, attempt.of_children),)
    if result.findings or result.flags:
        task.findings, task.flags = result.findings, result.flags
    task.tries += counts
    task.lost = task.lost + 1 if kind is OutcomeKind.LOST else 0


def _spend(run: Run, task: TaskState, provider: str, result: Result, *, counts: bool) -> None:
    for spent in (run.spent, task.spent):
        spent.attempts += counts
        if run.plan.providers[provider].worker != COMMAND:
            spent.add(result.outcome.usage)


def _exited(run: Run, task: TaskState, event: ev.AttemptExited, at: float) -> None:
    _ended(run, task, event.result, at, counts=True)


def _retried(run: Run, task: TaskState, event: ev.RetryScheduled, at: float) -> None:
    kind = event.result.outcome.kind
    task.fixes += kind is OutcomeKind.VERIFY_FAILED
    task.last_fix |= event.last_fix
    task.conflicts += kind is OutcomeKind.CONFLICT
    _ended(run, task, event.result, at, counts=event.uses_try)
    task.not_before = event.not_before
    task.reason = event.result.outcome.detail
    if event.provider is not None:
        task.provider, task.moved = event.provider, True
        task.rerouted |= RULES[kind].follow == "other"
    elif not task.moved:
        task.provider = provider_of(run.plan, task.id)


def _gave_up(run: Run, task: TaskState, event: ev.TaskFailed | ev.TaskStuck, at: float) -> None:
    kind, command = event.result.outcome.kind, run.spec(task.id).command is not None
    _ended(run, task, event.result, at, counts=uses_try(kind, command=command))
    task.reason = event.result.outcome.detail
    task.remedy = event.remedy if isinstance(event, ev.TaskStuck) else ""
    run.fresh_failures += kind is not OutcomeKind.NEEDS_INPUT  # to ask is not to fail


def _verifying(_run: Run, task: TaskState, event: ev.VerificationStarted, _at: float) -> None:
    task.checks = event.number
    task.check = Check(event.number, event.pid, event.start, event.boot)


def _verified(
    _run: Run, task: TaskState, event: ev.VerificationPassed | ev.ReviewRequested, _at: float
) -> None:
    task.findings, task.flags, task.steps, task.check = event.findings, event.flags, {}, None


def _step_done(_run: Run, task: TaskState, event: ev.StepDone, _at: float) -> None:
    task.steps[event.step] = event.detail


def _delegating(_run: Run, task: TaskState, _event: ev.DelegationRequested, _at: float) -> None:
    task.delegating = True


def _delegated(run: Run, task: TaskState, event: ev.Delegated, at: float) -> None:
    if event.result is not None:
        _ended(run, task, event.result, at, counts=False)
    task.kept, task.reason, task.remedy = event.kept or task.kept, event.reason, ""


def _children_done(_run: Run, task: TaskState, event: ev.ChildrenDone, at: float) -> None:
    """What the children have done counts as an attempt that claims success; it has cost nothing of its own."""
    task.attempt = Attempt(event.number, event.token, event.provider, at, of_children=True)
    task.past += (Past(event.number, event.provider, at, at, event.result, of_children=True),)
    task.tries += 1
    task.check, task.checks, task.steps = None, 0, {}


def _approved(_run: Run, task: TaskState, event: ev.Approved, at: float) -> None:
    task.approval = Remark("approval", event.remark, event.by, at=at)


def _rejected(run: Run, task: TaskState, event: ev.Rejected, at: float) -> None:
    _begin_again(run, task)
    task.remarks += (Remark("rejection", event.remark, event.by, at=at),)
    task.reason, task.remedy = f"rejected: {event.remark}", ""


def _task_answered(run: Run, task: TaskState, event: ev.TaskAnswered, at: float) -> None:
    _begin_again(run, task)
    task.remarks += (Remark("answer", event.answer, event.by, task.reason, at),)
    task.reason, task.remedy = "", ""


def _landed(_run: Run, task: TaskState, event: ev.Landed, _at: float) -> None:
    task.commit, task.files = event.commit, event.files


def _cancelling(_run: Run, task: TaskState, event: ev.CancelRequested, _at: float) -> None:
    task.cancelling, task.reason = True, event.reason


def _reasoned(_run: Run, task: TaskState, event: Any, _at: float) -> None:
    task.reason = event.reason or task.reason


def _reset(run: Run, task: TaskState, event: ev.TaskReset, _at: float) -> None:
    _begin_again(run, task)
    task.reason, task.remedy = event.reason, ""


def _begin_again(run: Run, task: TaskState) -> None:
    """A person wants the task tried again: all is counted anew."""
    task.tries = task.lost = 0
    task.not_before, task.moved, task.rerouted, task.spent = 0.0, False, False, Spent()
    task.fixes = task.conflicts = 0
    task.last_fix = False
    task.provider = provider_of(run.plan, task.id)
    run.hooks.pop(("post_task", task.id), None)


_NOTES: dict[type[ev.TaskEvent], Callable[[Run, TaskState, Any, float], None]] = {
    ev.AttemptStarted: _started,
    ev.AttemptSpawned: _spawned,
    ev.AttemptExited: _exited,
    ev.VerificationStarted: _verifying,
    ev.VerificationPassed: _verified,
    ev.ReviewRequested: _verified,
    ev.DelegationRequested: _delegating,
    ev.Delegated: _delegated,
    ev.ChildrenDone: _children_done,
    ev.Approved: _approved,
    ev.Rejected: _rejected,
    ev.TaskAnswered: _task_answered,
    ev.StepDone: _step_done,
    ev.Landed: _landed,
    ev.RetryScheduled: _retried,
    ev.TaskFailed: _gave_up,
    ev.TaskStuck: _gave_up,
    ev.CancelRequested: _cancelling,
    ev.TaskCancelled: _reasoned,
    ev.TaskSkipped: _reasoned,
    ev.TaskAdopted: _reasoned,
    ev.TaskReset: _reset,
}


# --- runs -------------------------------------------------------------------------------------------------------


def _run(state: State, entry: ev.Entry) -> Run:
    run = state.runs.get(entry.run)
    if run is None:
        raise IllegalTransitionError(f"no run {entry.run!r}: {entry.event.kind} cannot follow")
    return run


def _submitted(state: State, entry: ev.Entry, event: ev.RunSubmitted) -> None:
    if entry.run in state.runs:
        raise IllegalTransitionError(f"run {entry.run!r} exists already")
    sound(entry.run, flaw(event.plan))
    run = Run(entry.run, event.plan, event.target, event.source, entry.at)
    index(run)
    state.runs[entry.run] = run


def _plan_changed(state: State, entry: ev.Entry, event: ev.PlanChanged) -> None:
    run = _run(state, entry)
    sound(run.id, flaw(event.plan))
    for name, task in run.tasks.items():
        if task.status is Status.PENDING or task.status in ENDED:
            continue
        if name not in event.plan.tasks:
            raise IllegalTransitionError(
                f"run {run.id!r}: task {name!r} is {task.status} and cannot leave the plan"
            )
        if task.attempt is not None and task.attempt.provider not in event.plan.providers:
            raise IllegalTransitionError(
                f"run {run.id!r}: task {name!r} is {task.status} with its old provider"
            )
    for name in list(run.edited):
        old, new = run.plan.tasks.get(name), event.plan.tasks.get(name)
        orphaned = old is not None and new is not None and new == replace(old, parent=None)
        if old != new and not orphaned:  # its file says something new
            del run.edited[name]
    gone = run.tasks.keys() - event.plan.tasks.keys()
    run.plan, run.finished_at = event.plan, None
    run.notified = without(run.notified, gone)
    index(run)


def _task_added(state: State, entry: ev.Entry, event: ev.TaskAdded) -> None:
    added(_run(state, entry), event, entry.at)


def _task_changed(state: State, entry: ev.Entry, event: ev.TaskChanged) -> None:
    changed(_run(state, entry), event)


def _task_removed(state: State, entry: ev.Entry, event: ev.TaskRemoved) -> None:
    removed(_run(state, entry), event)


def _run_started(state: State, entry: ev.Entry, event: ev.RunStarted) -> None:
    run = _run(state, entry)
    by = set_by(run, event, entry.at)
    if by:
        move(run, by)
        requeue(run)
    run.boot, run.booted = event.boot, event.booted
    run.starts += 1
    _begin_counting(run, entry.at)
    run.fresh_failures, run.finished_at, run.halt = 0, None, None
    run.parallel = event.parallel
    for pool in run.pools.values():
        pool.stopped = False
    only = frozenset(event.only)
    if only != run.only:
        run.only = only
        requeue(run)


def _halt_requested(state: State, entry: ev.Entry, event: ev.HaltRequested) -> None:
    run = _run(state, entry)
    if run.halt is None:
        run.halt = Halt(entry.at, event.by, event.reason, event.running, now=event.now)
    elif event.now:
        run.halt = replace(run.halt, now=True)


def _halted(state: State, entry: ev.Entry, _event: ev.Halted) -> None:
    run = _run(state, entry)
    if run.halt is None:
        raise IllegalTransitionError(f"run {run.id!r} was not asked to halt")
    run.halt = replace(run.halt, halted_at=entry.at)


def _resumed(state: State, entry: ev.Entry, _event: ev.Resumed) -> None:
    run = _run(state, entry)
    run.halt, run.fresh_failures = None, 0
    _begin_counting(run, entry.at)
    for pool in run.pools.values():
        if pool.stopped:
            pool.stopped, pool.troubled_at = False, 0.0


def _pool(state: State, entry: ev.Entry) -> Pool:
    run = _run(state, entry)
    pool = run.pools.get(entry.event.provider)
    if pool is None:
        raise IllegalTransitionError(f"run {run.id!r} has no provider {entry.event.provider!r}")
    return pool


def _rested(state: State, entry: ev.Entry, event: ev.ProviderRested) -> None:
    pool = _pool(state, entry)
    pool.rests += pool.rest_until <= entry.at  # attempts that end together tell of one rest, not of several
    pool.rest_until, pool.reason = max(pool.rest_until, event.until), event.reason
    pool.troubled_at = pool.troubled_at or entry.at
    pool.probing = True  # a probe that still runs stays the only one


def _stopped(state: State, entry: ev.Entry, event: ev.ProviderStopped) -> None:
    pool = _pool(state, entry)
    pool.stopped, pool.reason = True, event.reason
    pool.troubled_at = pool.troubled_at or entry.at


def _paused(state: State, entry: ev.Entry, event: ev.ProviderPaused) -> None:
    pool = _pool(state, entry)
    pool.paused_until = inf if event.until is None else event.until
    pool.pause = event.reason


def _pool_resumed(state: State, entry: ev.Entry, _event: ev.ProviderResumed) -> None:
    pool = _pool(state, entry)
    pool.stopped, pool.rest_until, pool.paused_until = False, 0.0, 0.0
    pool.reason = pool.pause = ""
    pool.works()


def _hook_ran(state: State, entry: ev.Entry, event: ev.HookRan) -> None:
    _run(state, entry).hooks[event.hook, event.of] = event


def _notified(state: State, entry: ev.Entry, event: ev.Notified) -> None:
    _run(state, entry).notified[event.key] = event


def _finished(state: State, entry: ev.Entry, _event: ev.RunFinished) -> None:
    _run(state, entry).finished_at = entry.at


def _supervised(state: State, _entry: ev.Entry, event: ev.SupervisorStarted) -> None:
    state.supervisor = event


def _let_go(state: State, _entry: ev.Entry, _event: ev.SupervisorStopped) -> None:
    state.supervisor = None


def _repaired(_state: State, _entry: ev.Entry, _event: ev.JournalRepaired) -> None:
    """What it meant for a run is said by events of the run."""


def _answered(state: State, entry: ev.Entry, event: ev.CommandAnswered) -> None:
    if entry.run:
        _run(state, entry).answered.add(event.id)


_HANDLERS: dict[type[ev.Event], Callable[[State, ev.Entry, Any], None]] = {
    ev.SupervisorStarted: _supervised,
    ev.SupervisorStopped: _let_go,
    ev.CommandAnswered: _answered,
    ev.JournalRepaired: _repaired,
    ev.RunSubmitted: _submitted,
    ev.PlanChanged: _plan_changed,
    ev.TaskAdded: _task_added,
    ev.TaskChanged: _task_changed,
    ev.TaskRemoved: _task_removed,
    ev.RunStarted: _run_started,
    ev.HaltRequested: _halt_requested,
    ev.Halted: _halted,
    ev.Resumed: _resumed,
    ev.ProviderRested: _rested,
    ev.ProviderStopped: _stopped,
    ev.ProviderPaused: _paused,
    ev.ProviderResumed: _pool_resumed,
    ev.HookRan: _hook_ran,
    ev.Notified: _notified,
    ev.RunFinished: _finished,
}
