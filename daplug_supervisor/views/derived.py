"""What is derived from the stored status of a task, never stored: its state in one word, and what blocks it.

Everything here is linear in the plan at worst. What is asked of each of 50,000 tasks (`state_of`) takes
constant time; what needs a search (`blockers`, `blocks`) is asked only for what is shown, or has a budget.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import inf

from msgspec import Struct

from daplug_supervisor.core.budget import last_places
from daplug_supervisor.core.decide import taker
from daplug_supervisor.core.machine import SATISFIED, Status
from daplug_supervisor.core.model import Attempt, Pool, Run, TaskState
from daplug_supervisor.core.plan import Task
from daplug_supervisor.core.queues import lane_of
from daplug_supervisor.core.results import OutcomeKind, Result
from daplug_supervisor.views.text import number

DEAD = frozenset({Status.FAILED, Status.STUCK, Status.CANCELLED})
"""Statuses that block all dependents until a person does something."""

PENDING_STATES = (
    "blocked",
    "not_selected",
    "halted",
    "waiting_for_supervisor",
    "pool_stopped",
    "pool_paused",
    "resting",
    "backing_off",
    "pool_full",
    "ready",
)
STATES = (*PENDING_STATES, *(status.value for status in Status if status is not Status.PENDING))
"""Every word that `state_of` may return: why a pending task waits, or the status of any other."""


class Blockers(Struct, frozen=True):
    """What a task waits for.

    `needs`: its own unmet needs; `dead`: failed, stuck or cancelled tasks behind them, nearest first; `open`:
    tasks behind them that wait for no other task.
    """

    needs: tuple[str, ...]
    dead: tuple[str, ...]
    open: tuple[str, ...]


def is_ready(run: Run, task: TaskState, now: float) -> bool:
    """Whether the task itself is ready: pending, selected, its needs met and its wait over.

    It may still wait for a slot, for its provider or for the halt to be lifted: see `state_of`.
    """
    return (
        task.status is Status.PENDING
        and not task.unmet
        and task.not_before <= now
        and (not run.only or task.id in run.only)
    )


def state_of(run: Run, task: TaskState, now: float, *, live: bool = True, stop_file: bool = False) -> str:
    """One of `STATES`: the first reason why a pending task does not run, or the status of any other task."""
    if task.status is not Status.PENDING:
        return task.status.value
    if task.unmet:
        return "blocked"
    if run.only and task.id not in run.only:
        return "not_selected"
    if stop_file or run.halt is not None:
        return "halted"
    return _state_in_pool(run, task, now) if live else "waiting_for_supervisor"


def _state_in_pool(run: Run, task: TaskState, now: float) -> str:
    """As `core.decide` sees it: a closed pool's tasks may be started by a fallback, if they may leave it."""
    pool = run.pools[task.provider]
    opens = min(_opens(run.pools[name]) for name in _takers(run, task, pool))
    if opens > now and opens >= task.not_before:
        return _closed(pool, now)
    if task.not_before > now:
        return "backing_off"
    if starter(run, task, now) is None:
        return _closed(pool, now) if pool.closed(now) else "pool_full"
    return "pool_full" if run_full(run) else "ready"


def starter(run: Run, task: TaskState, now: float) -> str | None:
    """The provider that has room for a task now, as `core.decide` sees it; None if none has."""
    pool = run.pools[task.provider]
    return None if pool.closed(now) and lane_of(run, task) is pool.bound else taker(run, pool, now)


def run_full(run: Run) -> bool:
    """Whether the run as a whole has no place left, whatever its providers have."""
    return last_places(run.plan.budget, run.spent, run.active) or (
        run.parallel is not None and run.active >= run.parallel
    )


def _takers(run: Run, task: TaskState, pool: Pool) -> tuple[str, ...]:
    return (pool.name,) if lane_of(run, task) is pool.bound else (pool.name, *pool.fallback)


def _opens(pool: Pool) -> float:
    return inf if pool.stopped else pool.opens_at


def _closed(pool: Pool, now: float) -> str:
    if pool.stopped:
        return "pool_stopped"
    return "pool_paused" if pool.paused_until > now else "resting"


def run_state(run: Run, *, live: bool) -> str:
    """Where a run stands: running, waiting, halting, halted, finished or interrupted.

    waiting: nothing is at work at the moment; interrupted: unfinished, and no supervisor drives it.
    """
    if run.finished_at is not None:
        return "finished"
    if run.halt is not None and run.halt.halted_at is not None:
        return "halted"
    if not live:
        return "interrupted" if run.starts else "waiting"
    if run.halt is not None:
        return "halting"
    return "running" if run.active else "waiting"


def blockers(run: Run, name: str) -> Blockers:
    """What a task waits for, found by going backwards over unmet needs, each task once."""
    dead: list[str] = []
    waiting: list[str] = []
    needs = tuple(other for other in run.spec(name).needs if run.tasks[other].status not in SATISFIED)
    seen = {name}
    queue = deque([name])
    while queue:
        for other in run.spec(queue.popleft()).needs:
            task = run.tasks[other]
            if other in seen or task.status in SATISFIED:
                continue
            seen.add(other)
            if task.status in DEAD:
                dead.append(other)
            elif task.unmet and task.status is Status.PENDING:
                queue.append(other)
            else:
                waiting.append(other)
    return Blockers(needs, tuple(dead), tuple(waiting))


def blocked_by(run: Run) -> dict[str, str]:
    """For each pending task that a dead one blocks, directly or not, one such dead task."""
    found: dict[str, str] = {}
    queue = deque((name, name) for name, task in run.tasks.items() if task.status in DEAD)
    while queue:
        name, root = queue.popleft()
        for other in run.after[name]:
            if other not in found and run.tasks[other].status is Status.PENDING:
                found[other] = root
                queue.append((other, root))
    return found


def blocks(run: Run, names: Iterable[str], budget: int) -> dict[str, int]:
    """How many pending tasks each of `names` blocks, directly or not.

    Tasks whose search no longer fits into `budget` steps, shared by all, are left out: a thousand failures
    that each block the same 50,000 tasks must not make a status slow.
    """
    found: dict[str, int] = {}
    for name in names:
        seen: set[str] = set()
        queue = deque([name])
        while queue and budget > 0:
            after = run.after[queue.popleft()]
            budget -= 1 + len(after)
            for other in after:
                if other not in seen and run.tasks[other].status is Status.PENDING:
                    seen.add(other)
                    queue.append(other)
        if queue:
            break
        found[name] = len(seen)
    return found


# --- words --------------------------------------------------------------------------------------------------


def label(spec: Task) -> str:
    """What a person calls the task: its title, or else what it is to do."""
    first_line = (spec.instructions or "").strip().partition("\n")[0]
    return spec.title or spec.prompt or " ".join(spec.command or ()) or first_line


def outcome_words(result: Result) -> str:
    """Why an attempt did not do: ``exit code 1: boom``, ``timeout: no end after 45m``."""
    outcome, code = result.outcome, result.exit.code
    detail = outcome.detail.strip()
    if outcome.kind is OutcomeKind.FAILED:
        return detail or result.exit.error or (f"exit code {code}" if code is not None else "failed")
    kind = outcome.kind.value.replace("_", " ")
    return f"{kind}: {detail}" if detail else kind


def tries_word(run: Run, task: TaskState) -> str:
    """``1 of 3``: how many tries are used up."""
    return f"{task.tries} of {run.spec(task.id).retry.attempts}"


def attempt_word(run: Run, task: TaskState, attempt: Attempt) -> str:
    """``2 of 3``; with what the attempt is called where some have not used up a try: ``5, try 2 of 3``."""
    current = task.tries + (task.status in (Status.RUNNING, Status.DELEGATED))
    most = run.spec(task.id).retry.attempts
    if attempt.number == current:
        return f"{current} of {most}"
    return f"{attempt.number}, try {current} of {most}"


def deadline_of(run: Run, task: TaskState) -> float | None:
    """When the shim ends the running attempt (UTC seconds).

    The journalled deadline is on the machine's own clock, which says nothing to a person: this one is
    reckoned from the task's timeout.
    """
    timeout = run.spec(task.id).timeout
    attempt = task.attempt
    if attempt is None or attempt.deadline is None or timeout is None or task.status is not Status.RUNNING:
        return None
    return attempt.spawned_at + timeout


def tasks_word(count: int) -> str:
    """``1 task``, ``2 tasks``."""
    return number(count, "task")
