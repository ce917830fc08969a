"""Lists of tasks."""

from __future__ import annotations

from msgspec import Struct

from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.model import Run, TaskState
from daplug_supervisor.views.derived import DEAD, held_by, is_ready, label, state_of
from daplug_supervisor.views.family import (
    Progress,
    indented,
    nested,
    progress_of,
    waiting_for,
)
from daplug_supervisor.views.text import clean, duration, listing, table
from daplug_supervisor.views.usage import (
    Used,
    used_by,
)


class TaskRow(Struct, frozen=True):
    """A task in a list. `since` (UTC) is when it came into its status; `state` is one of `derived.STATES`.

    `blocked_by`: the tasks that it needs, `waits_for` those of them that are not done or, if it is delegated, its open
    parts; `held_by`: a failed, stuck or cancelled task behind them, or null; `attempt`: the number of the latest
    attempt, 0 for none; `tries` of `max_tries` are used up. `used`: what its attempts cost (null: no agent has ended).
    `parent`: the task of which it is a part; `children`: its own parts; `progress`: how many of them are done (null:
    it has none).
    """

    task: str
    title: str
    status: str
    state: str
    provider: str
    attempt: int
    tries: int
    max_tries: int
    since: float
    waits_for: tuple[str, ...]
    held_by: str | None
    reason: str
    used: Used | None = None
    parent: str | None = None
    children: tuple[str, ...] = ()
    blocked_by: tuple[str, ...] = ()
    progress: Progress | None = None


def tasks(
    run: Run,
    now: float,
    live: bool,  # noqa: FBT001  as in `status`
    *,
    ready: bool = False,
    status: str | None = None,
) -> list[TaskRow]:
    """The tasks in plan order; only the ready ones, or only those with this status or state."""
    roots = held_by(run)
    rows = []
    for task in run.tasks.values():
        if ready and not is_ready(run, task, now):
            continue
        state = state_of(run, task, now, live=live)
        if status in (None, state, task.status.value):
            rows.append(_row(run, task, state, roots.get(task.id)))
    return rows


def _row(run: Run, task: TaskState, state: str, root: str | None) -> TaskRow:
    spec = run.spec(task.id)
    return TaskRow(
        task=task.id,
        title=label(spec),
        status=task.status.value,
        state=state,
        provider=task.provider,
        attempt=task.attempt.number if task.attempt else 0,
        tries=task.tries,
        max_tries=spec.retry.attempts,
        since=task.changed_at,
        waits_for=waiting_for(run, task) if task.status in (Status.PENDING, Status.DELEGATED) else (),
        held_by=root,
        reason=task.reason,
        used=used_by(run, task),
        parent=spec.parent,
        children=tuple(task.children),
        blocked_by=spec.needs,
        progress=progress_of(task),
    )


def tasks_text(rows: list[TaskRow], now: float, width: int = 80, *, tree: bool | None = None) -> str:
    """A table, one task a line. `tree`: parts are below their tasks; False: a column says whose part each is.

    Unless said otherwise it is a tree if any task is a part of another one.
    """
    if not rows:
        return "No tasks."
    family = any(row.parent for row in rows)
    flat = tree is False
    depths = dict.fromkeys((row.task for row in rows), 0) if flat or not family else nested(rows)
    by_id = {row.task: row for row in rows}
    cells = [
        (
            indented(row.task, depth),
            *((row.parent or "",) if flat else ()),
            _state(row),
            row.provider,
            f"{row.tries} of {row.max_tries}" if row.attempt else "",
            duration(now - row.since),
            _remark(row),
        )
        for row, depth in ((by_id[name], depth) for name, depth in depths.items())
    ]
    headers = ("task", *(("parent",) if flat else ()), "state", "provider", "tries", "for", "")
    return table(cells, headers, width, keep=len(headers) - 1)


def _state(row: TaskRow) -> str:
    word = row.state.replace("_", " ")
    return (
        f"{word} ({row.progress.done}/{row.progress.total})" if row.progress and word == "delegated" else word
    )


def _remark(row: TaskRow) -> str:
    if row.status == Status.DELEGATED.value and row.held_by:
        return f"waits for a person: {row.held_by}"
    if row.held_by:
        return f"blocked by {row.held_by}"
    if row.waits_for:
        return f"waits for {listing(row.waits_for)}"
    if row.status == Status.REVIEWING.value:
        return "waits for your review"
    return row.reason if row.status in DEAD else row.title


def ready_lines(run: Run, now: float) -> list[str]:
    """``ID: title`` for each ready task, one that would be started earlier first."""
    found = [task for task in run.tasks.values() if is_ready(run, task, now)]
    found.sort(key=lambda task: (-run.spec(task.id).priority, -task.rank, task.order))
    return [clean(f"{task.id}: {label(run.spec(task.id))}") for task in found]
