"""State: the fold of all events, with the indexes that keep a decision at O(log n).

`apply` is the only function that changes a `State`. It changes it in place: a plan may have 50,000 tasks, and a
copy for each event would be quadratic. Folding the same entries always gives an equal state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.graph import dependents, ranks
from daplug_supervisor.core.machine import ACTIVE, SATISFIED, Status, next_status
from daplug_supervisor.core.plan import Plan, Task
from daplug_supervisor.core.results import OutcomeKind, Result
from daplug_supervisor.errors import IllegalTransitionError

ReadyKey = tuple[int, float, int, int, str]
"""-priority, -rank, order, ticket, task: the smallest goes first."""

WaitingKey = tuple[float, int, int, str]
"""not before, order, ticket, task."""


class Attempt(Struct):
    """The current or last try at a task. `pid`, `start` and `boot` identify its shim once it is spawned."""

    number: int
    token: str
    provider: str
    at: float
    spawned_at: float = 0.0
    pid: int = 0
    start: int = 0
    boot: str = ""
    deadline: float | None = None


class Past(Struct, frozen=True):
    """An ended attempt, for reports. Times are UTC seconds; `kind` is what it was read as."""

    number: int
    provider: str
    at: float
    ended_at: float
    result: Result


class TaskState(Struct):
    """What is known of a task. `tries` counts the attempts that used one up; `lost` those lost in a row."""

    id: str
    order: int
    provider: str
    status: Status = Status.PENDING
    unmet: int = 0
    rank: float = 0.0
    ticket: int = 0
    tries: int = 0
    lost: int = 0
    moved: bool = False
    not_before: float = 0.0
    changed_at: float = 0.0
    attempt: Attempt | None = None
    past: tuple[Past, ...] = ()
    cancelling: bool = False
    reason: str = ""
    remedy: str = ""

    @property
    def last(self) -> Result | None:
        """The result of the latest ended attempt."""
        return self.past[-1].result if self.past else None


class Pool(Struct):
    """A provider in a run: its limit, what it runs, and the heaps of what it could run."""

    name: str
    limit: int
    running: int = 0
    rest_until: float = 0.0
    rests: int = 0
    stopped: bool = False
    reason: str = ""
    ready: list[ReadyKey] = field(default_factory=list)
    waiting: list[WaitingKey] = field(default_factory=list)

    def closed(self, now: float) -> bool:
        """Whether it takes nothing at the moment, whatever its limit."""
        return self.stopped or self.rest_until > now


class Halt(Struct, frozen=True):
    """A requested halt. `halted_at` is when the last running attempt had ended."""

    requested_at: float
    by: ev.HaltedBy
    reason: str
    running: tuple[str, ...] = ()
    halted_at: float | None = None


class Run(Struct):
    """One execution of a plan. `counts` has a number for every status; `after` the dependents of every task."""

    id: str
    plan: Plan
    target: str
    source: str
    submitted_at: float
    tasks: dict[str, TaskState] = field(default_factory=dict)
    after: dict[str, list[str]] = field(default_factory=dict)
    pools: dict[str, Pool] = field(default_factory=dict)
    counts: dict[Status, int] = field(default_factory=lambda: dict.fromkeys(Status, 0))
    only: frozenset[str] = frozenset()
    parallel: int | None = None
    started_at: float = 0.0
    starts: int = 0
    fresh_failures: int = 0
    halt: Halt | None = None
    finished_at: float | None = None

    @property
    def active(self) -> int:
        """How many tasks have a slot."""
        return sum(self.counts[status] for status in ACTIVE)

    def spec(self, task: str) -> Task:
        """What the plan says of a task."""
        return self.plan.tasks[task]


class State(Struct):
    """All runs that were loaded, and what the state directory itself went through. `seq` is the last event's."""

    runs: dict[str, Run] = field(default_factory=dict)
    seq: int = 0
    supervisor: ev.SupervisorStarted | None = None


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
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(state, entry, event)
    state.seq = max(state.seq, entry.seq)


# --- tasks ------------------------------------------------------------------------------------------------------


def _apply_to_task(run: Run, event: ev.TaskEvent, at: float) -> None:
    task = run.tasks.get(event.task)
    if task is None:
        raise IllegalTransitionError(f"run {run.id!r} has no task {event.task!r}: {event.kind} cannot follow")
    old, new = task.status, next_status(task.status, event)
    note = _NOTES.get(type(event))
    pool = task.attempt.provider if task.attempt else ""
    if note is not None:
        note(run, task, event, at)
    if old is new:
        return
    task.status, task.changed_at = new, at
    run.counts[old] -= 1
    run.counts[new] += 1
    if old in ACTIVE and new not in ACTIVE:
        run.pools[pool].running -= 1
        task.cancelling = False
    if old is Status.PENDING:
        task.ticket += 1
        _settle(run, run.pools[task.provider])
    _satisfy(run, task, (new in SATISFIED) - (old in SATISFIED))
    if new is Status.PENDING:
        run.finished_at = None
        _queue(run, task)


def _satisfy(run: Run, task: TaskState, change: int) -> None:
    if not change:
        return
    for name in run.after[task.id]:
        other = run.tasks[name]
        was_ready = not other.unmet
        other.unmet -= change
        if other.status is Status.PENDING:
            if not other.unmet:
                _queue(run, other)
            elif was_ready:
                other.ticket += 1
                _settle(run, run.pools[other.provider])


def _queue(run: Run, task: TaskState) -> None:
    """Put a pending task whose needs are met where its pool finds it."""
    if task.unmet or (run.only and task.id not in run.only):
        return
    pool = run.pools[task.provider]
    task.ticket += 1
    if task.not_before:
        heappush(pool.waiting, (task.not_before, task.order, task.ticket, task.id))
    else:
        priority = run.plan.tasks[task.id].priority
        heappush(pool.ready, (-priority, -task.rank, task.order, task.ticket, task.id))


def _settle(run: Run, pool: Pool) -> None:
    """Drop what is no longer waiting from the tops of a pool's heaps, so that a decision need only look at them."""
    heaps: tuple[list[Any], ...] = (pool.ready, pool.waiting)
    for heap in heaps:
        while heap and run.tasks[heap[0][-1]].ticket != heap[0][-2]:
            heappop(heap)


def _started(run: Run, task: TaskState, event: ev.AttemptStarted, at: float) -> None:
    task.attempt = Attempt(event.number, event.token, event.provider, at)
    task.not_before = 0.0
    task.reason = task.remedy = ""
    run.pools[event.provider].running += 1


def _spawned(_run: Run, task: TaskState, event: ev.AttemptSpawned, at: float) -> None:
    assert task.attempt is not None, "a running task has an attempt"  # noqa: S101
    task.attempt = replace(
        task.attempt, spawned_at=at, pid=event.pid, start=event.start, boot=event.boot, deadline=event.deadline
    )


def _remember(task: TaskState, result: Result, at: float) -> None:
    attempt = task.attempt
    assert attempt is not None, "only an attempt has a result"  # noqa: S101
    if task.past and task.past[-1].number == attempt.number:
        task.past = task.past[:-1]  # a claim of success that did not stand
    task.past += (Past(attempt.number, attempt.provider, attempt.at, at, result),)
    task.lost = task.lost + 1 if result.outcome.kind is OutcomeKind.LOST else 0


def _exited(run: Run, task: TaskState, event: ev.AttemptExited, at: float) -> None:
    _remember(task, event.result, at)
    task.tries += 1
    run.pools[task.attempt.provider if task.attempt else task.provider].rests = 0


def _retried(_run: Run, task: TaskState, event: ev.RetryScheduled, at: float) -> None:
    already = task.status is not Status.RUNNING  # the claim of success has been counted
    _remember(task, event.result, at)
    task.tries += event.uses_try and not already
    task.not_before = event.not_before
    task.reason = event.result.outcome.detail
    if event.provider is not None:
        task.provider, task.moved = event.provider, True


def _gave_up(run: Run, task: TaskState, event: ev.TaskFailed | ev.TaskStuck, at: float) -> None:
    already = task.status is not Status.RUNNING
    _remember(task, event.result, at)
    task.tries += not already
    task.reason = event.result.outcome.detail
    task.remedy = event.remedy if isinstance(event, ev.TaskStuck) else ""
    run.fresh_failures += 1


def _cancelling(_run: Run, task: TaskState, event: ev.CancelRequested, _at: float) -> None:
    task.cancelling, task.reason = True, event.reason


def _reasoned(_run: Run, task: TaskState, event: Any, _at: float) -> None:
    task.reason = event.reason or task.reason


def _reset(run: Run, task: TaskState, event: ev.TaskReset, _at: float) -> None:
    task.tries = task.lost = 0
    task.not_before, task.moved = 0.0, False
    task.provider = provider_of(run.plan, task.id)
    task.reason, task.remedy = event.reason, ""


_NOTES: dict[type[ev.TaskEvent], Callable[[Run, TaskState, Any, float], None]] = {
    ev.AttemptStarted: _started,
    ev.AttemptSpawned: _spawned,
    ev.AttemptExited: _exited,
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


def provider_of(plan: Plan, task: str) -> str:
    """The provider that the plan gives a task. Loaders always write one into the task."""
    name = plan.tasks[task].provider
    assert name is not None, "a loaded plan names a provider for every task"  # noqa: S101
    return name


def _run(state: State, entry: ev.Entry) -> Run:
    run = state.runs.get(entry.run)
    if run is None:
        raise IllegalTransitionError(f"no run {entry.run!r}: {entry.event.kind} cannot follow")
    return run


def _index(run: Run) -> None:
    """Build all that follows from the plan: states of new tasks, dependents, ranks, pools and their heaps."""
    plan = run.plan
    needs = {name: spec.needs for name, spec in plan.tasks.items()}
    run.after = dependents(needs)
    rank = ranks(needs, lambda name: plan.tasks[name].estimate or 1.0)
    before = run.tasks
    run.tasks = {}
    run.counts = dict.fromkeys(Status, 0)
    for order, name in enumerate(plan.tasks):
        task = before.get(name) or TaskState(name, order, provider_of(plan, name), changed_at=run.submitted_at)
        if task.provider not in plan.providers or (task.status is Status.PENDING and not task.moved):
            task.provider = provider_of(plan, name)
        task.order, task.rank = order, rank[name]
        run.tasks[name] = task
        run.counts[task.status] += 1
    for name, task in run.tasks.items():
        task.unmet = sum(run.tasks[other].status not in SATISFIED for other in plan.tasks[name].needs)
    _requeue(run)


def _requeue(run: Run) -> None:
    """Build the pools and fill their heaps anew."""
    before = run.pools
    run.pools = {}
    for name, provider in run.plan.providers.items():
        pool = before.get(name) or Pool(name, provider.parallel)
        pool.limit, pool.running, pool.ready, pool.waiting = provider.parallel, 0, [], []
        run.pools[name] = pool
    for task in run.tasks.values():
        if task.status in ACTIVE and task.attempt is not None:
            run.pools[task.attempt.provider].running += 1
        elif task.status is Status.PENDING:
            _queue(run, task)
    for pool in run.pools.values():
        heapify(pool.ready)
        heapify(pool.waiting)


def _submitted(state: State, entry: ev.Entry, event: ev.RunSubmitted) -> None:
    if entry.run in state.runs:
        raise IllegalTransitionError(f"run {entry.run!r} exists already")
    run = Run(entry.run, event.plan, event.target, event.source, entry.at)
    _index(run)
    state.runs[entry.run] = run


def _plan_changed(state: State, entry: ev.Entry, event: ev.PlanChanged) -> None:
    run = _run(state, entry)
    missing = [name for name, task in run.tasks.items() if task.status in ACTIVE and name not in event.plan.tasks]
    if missing:
        raise IllegalTransitionError(f"run {run.id!r}: running tasks cannot leave the plan: {', '.join(missing)}")
    run.plan, run.finished_at = event.plan, None
    _index(run)


def _task_added(state: State, entry: ev.Entry, event: ev.TaskAdded) -> None:
    run = _run(state, entry)
    if event.id in run.tasks:
        raise IllegalTransitionError(f"run {run.id!r} has a task {event.id!r} already")
    run.plan = replace(run.plan, tasks={**run.plan.tasks, event.id: event.spec})
    run.finished_at = None
    _index(run)


def _run_started(state: State, entry: ev.Entry, event: ev.RunStarted) -> None:
    run = _run(state, entry)
    run.started_at, run.starts = entry.at, run.starts + 1
    run.fresh_failures, run.finished_at, run.halt = 0, None, None
    run.parallel = event.parallel
    for pool in run.pools.values():
        pool.stopped = False
    only = frozenset(event.only)
    if only != run.only:
        run.only = only
        _requeue(run)


def _halt_requested(state: State, entry: ev.Entry, event: ev.HaltRequested) -> None:
    run = _run(state, entry)
    if run.halt is None:
        run.halt = Halt(entry.at, event.by, event.reason, event.running)


def _halted(state: State, entry: ev.Entry, _event: ev.Halted) -> None:
    run = _run(state, entry)
    if run.halt is None:
        raise IllegalTransitionError(f"run {run.id!r} was not asked to halt")
    run.halt = replace(run.halt, halted_at=entry.at)


def _resumed(state: State, entry: ev.Entry, _event: ev.Resumed) -> None:
    run = _run(state, entry)
    run.halt, run.fresh_failures = None, 0
    for pool in run.pools.values():
        pool.stopped = False


def _pool(state: State, entry: ev.Entry) -> Pool:
    run = _run(state, entry)
    pool = run.pools.get(entry.event.provider)
    if pool is None:
        raise IllegalTransitionError(f"run {run.id!r} has no provider {entry.event.provider!r}")
    return pool


def _rested(state: State, entry: ev.Entry, event: ev.ProviderRested) -> None:
    pool = _pool(state, entry)
    pool.rest_until, pool.reason, pool.rests = event.until, event.reason, pool.rests + 1


def _stopped(state: State, entry: ev.Entry, event: ev.ProviderStopped) -> None:
    pool = _pool(state, entry)
    pool.stopped, pool.reason = True, event.reason


def _pool_resumed(state: State, entry: ev.Entry, _event: ev.ProviderResumed) -> None:
    pool = _pool(state, entry)
    pool.stopped, pool.rest_until, pool.rests, pool.reason = False, 0.0, 0, ""


def _finished(state: State, entry: ev.Entry, _event: ev.RunFinished) -> None:
    _run(state, entry).finished_at = entry.at


def _supervised(state: State, _entry: ev.Entry, event: ev.SupervisorStarted) -> None:
    state.supervisor = event


def _let_go(state: State, _entry: ev.Entry, _event: ev.SupervisorStopped) -> None:
    state.supervisor = None


_HANDLERS: dict[type[ev.Event], Callable[[State, ev.Entry, Any], None]] = {
    ev.SupervisorStarted: _supervised,
    ev.SupervisorStopped: _let_go,
    ev.RunSubmitted: _submitted,
    ev.PlanChanged: _plan_changed,
    ev.TaskAdded: _task_added,
    ev.RunStarted: _run_started,
    ev.HaltRequested: _halt_requested,
    ev.Halted: _halted,
    ev.Resumed: _resumed,
    ev.ProviderRested: _rested,
    ev.ProviderStopped: _stopped,
    ev.ProviderResumed: _pool_resumed,
    ev.RunFinished: _finished,
}
