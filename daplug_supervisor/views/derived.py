"""What is derived from the stored status of a task, never stored: its state in one word, and what blocks it.

Everything here is linear in the plan at worst. What is asked of each of 50,000 tasks (`state_of`) takes
constant time; what needs a search (`blockers`, `blocks`) is asked only for what is shown, or has a budget.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from math import inf

from msgspec import Struct

from daplug_supervisor.core.budget import last_places
from daplug_supervisor.core.decide import taker
from daplug_supervisor.core.delegation import progress
from daplug_supervisor.core.machine import SATISFIED, Status
from daplug_supervisor.core.model import Attempt, Pool, Run, TaskState
from daplug_supervisor.core.plan import Task
from daplug_supervisor.core.queues import lane_of, selected, unmet
from daplug_supervisor.core.results import OutcomeKind, Result
from daplug_supervisor.core.stages import NO_STAGE, held, holding
from daplug_supervisor.views.text import number

DEAD = frozenset({Status.FAILED, Status.STUCK, Status.CANCELLED})
"""Statuses that block all dependents until a person does something."""

PENDING_STATES = (
    "blocked",
    "not_selected",
    "waiting_for_stage",
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

    `needs`: its own unmet needs, its open parts if it is delegated, or what its stage waits for; `dead`: tasks among
    them or behind them that only a person can get on with (see `is_dead_end`), nearest first; `open`: those that wait
    for no other task.
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
        and not held(run, task)
        and selected(run, task.id)
    )


def state_of(run: Run, task: TaskState, now: float, *, live: bool = True, stop_file: bool = False) -> str:
    """One of `STATES`: the first reason why a pending task does not run, or the status of any other task."""
    if task.status is not Status.PENDING:
        return task.status.value
    if task.unmet:
        return "blocked"
    if not selected(run, task.id):
        return "not_selected"
    if held(run, task):
        return "waiting_for_stage"
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


def is_dead_end(task: TaskState) -> bool:
    """Whether a task gets no further before a person has decided: it has failed, say, or has lost all its parts."""
    return task.status in DEAD or (task.status is Status.DELEGATED and not task.children)


def blockers(run: Run, name: str) -> Blockers:
    """What a task waits for, found by going backwards over unmet needs, open parts and stages, each task once."""
    dead: list[str] = []
    waiting: list[str] = []
    asked = run.tasks[name]
    first = holding(run, asked)[1] if not asked.unmet and _is_held(run, asked) else _ahead(run, asked)
    seen, stage = {name}, run.stage
    queue = deque([asked])
    while queue:
        here = queue.popleft()
        others = list(_ahead(run, here))
        if _is_held(run, here):  # by all stages before its own; each is looked at once
            others += (other for names in run.stages[stage : here.stage] for other in names)
            stage = max(stage, here.stage)
        for other in others:
            task = run.tasks[other]
            if other in seen or task.status in SATISFIED:
                continue
            seen.add(other)
            if is_dead_end(task):
                dead.append(other)
            elif task.status is Status.DELEGATED or _waits_for_tasks(run, task):
                queue.append(task)
            else:
                waiting.append(other)
    needs = tuple(other for other in first if run.tasks[other].status not in SATISFIED)
    return Blockers(needs, tuple(dead), tuple(waiting))


def _ahead(run: Run, task: TaskState) -> Iterable[str]:
    """What a task waits for, or did: its needs or, if it is delegated, its parts."""
    if task.status is Status.DELEGATED:
        return task.children
    return unmet(run, task.id) if task.status is Status.PENDING else run.spec(task.id).needs


def _is_held(run: Run, task: TaskState) -> bool:
    """Whether a task waits for an earlier stage, whatever its needs are."""
    return task.status is Status.PENDING and held(run, task)


def _waits_for_tasks(run: Run, task: TaskState) -> bool:
    return task.status is Status.PENDING and (task.unmet > 0 or held(run, task))


def _behind(run: Run, name: str) -> Iterator[str]:
    """What waits for a task: its pending dependents and, if that is delegated, the task that it is a part of."""
    for other in run.after[name]:
        if run.tasks[other].status is Status.PENDING:
            yield other
    parent = run.spec(name).parent
    if parent is not None and run.tasks[parent].status is Status.DELEGATED:
        yield parent


def held_by(run: Run) -> dict[str, str]:
    """For each pending or delegated task that cannot go on before a person has decided, one task that is about."""
    roots = [name for name, task in run.tasks.items() if is_dead_end(task)]
    found = {name: name for name in roots if run.tasks[name].status is Status.DELEGATED}
    _spread(run, found, [(name, name) for name in roots])
    held_back = _held_by_stage(run, found)
    found |= held_back
    _spread(run, found, held_back.items())
    return found


def _spread(run: Run, found: dict[str, str], begin: Iterable[tuple[str, str]]) -> None:
    """Add all that waits for some tasks, each with the task that this is about."""
    queue = deque(begin)
    while queue:
        name, root = queue.popleft()
        for other in _behind(run, name):
            if other not in found:
                found[other] = root
                queue.append((other, root))


def _held_by_stage(run: Run, found: Mapping[str, str]) -> dict[str, str]:
    """With barriers: the tasks of later stages than one that cannot end, as far as they are not `found` already."""
    if run.plan.stages != "barrier":
        return {}
    for stage in range(run.stage, len(run.stages)):
        for name in run.stages[stage]:
            root = found.get(name) or (name if is_dead_end(run.tasks[name]) else "")
            if root:
                return {later: root for later in _later(run, stage) if later not in found}
    return {}


def _later(run: Run, stage: int) -> Iterator[str]:
    """The pending tasks of later stages than one."""
    names = (name for names in run.stages[stage + 1 :] for name in names)
    return (name for name in names if run.tasks[name].status is Status.PENDING)


def blocked_by(run: Run) -> dict[str, str]:
    """For each pending task that a dead one blocks, directly or not, one such dead task."""
    return {name: root for name, root in held_by(run).items() if run.tasks[name].status is Status.PENDING}


def blocks(run: Run, names: Iterable[str], budget: int) -> dict[str, int]:
    """How many pending tasks each of `names` blocks, directly or not.

    Tasks whose search no longer fits into `budget` steps, shared by all, are left out: a thousand failures
    that each block the same 50,000 tasks must not make a status slow.
    """
    found: dict[str, int] = {}
    for name in names:
        stage = run.tasks[name].stage if run.plan.stages == "barrier" else NO_STAGE
        seen = set(_later(run, stage)) if stage != NO_STAGE else set[str]()
        queue, count, budget = deque([name]), len(seen), budget - len(seen)
        while queue and budget > 0:
            here = queue.popleft()
            after = [other for other in _behind(run, here) if other not in seen]
            budget -= 1 + len(run.after[here])
            seen.update(after)
            queue += after
            count += sum(run.tasks[other].status is Status.PENDING for other in after)
        if queue:
            break
        found[name] = count
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


def status_word(task: TaskState) -> str:
    """The status; of a delegated task with how many of its parts are done: ``delegated (2/3)``."""
    return state_word(task, task.status.value)


def state_word(task: TaskState, state: str) -> str:
    """One of `STATES` for people; of a delegated task with how many of its parts are done."""
    done, total = progress(task)
    return f"delegated ({done}/{total})" if state == "delegated" else state.replace("_", " ")


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
