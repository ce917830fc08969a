"""Tasks that divide their work: how far their parts are, what they wait for, and how families are shown together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from daplug_supervisor.core.delegation import progress
from daplug_supervisor.core.machine import SATISFIED, Status
from daplug_supervisor.core.model import Run, TaskState
from daplug_supervisor.core.queues import unmet
from daplug_supervisor.views.derived import (
    DEAD,
    blockers,
    held_by,
    is_dead_end,
    label,
    outcome_words,
    state_of,
    state_word,
    status_word,
    tasks_word,
)
from daplug_supervisor.views.review import asks
from daplug_supervisor.views.text import clean, columns, listing, number, when, wrap
from daplug_supervisor.views.usage import Used, known, plus, used_words

MOST_FAMILIES = 20
MOST_PARTS = 20
_INDENT = "  "


class Progress(Struct, frozen=True):
    """How many of a task's parts are done or skipped, and how many it has."""

    done: int
    total: int


class Part(Struct, frozen=True):
    """A part of a task."""

    task: str
    title: str
    status: str
    progress: Progress | None = None


class Family(Struct, frozen=True):
    """A task that has divided its work: how far that is, its parts, and what was used.

    `waits_for`: its open parts, if it is delegated; `held_by`: the task with which a person has to get on first, null
    if it goes on by itself. `used`: by its own attempts, `parts_used`: by all of its parts and theirs (null: no agent
    has ended).
    """

    task: str
    title: str
    status: str
    parent: str | None
    progress: Progress
    parts: tuple[Part, ...]
    waits_for: tuple[str, ...]
    held_by: str | None
    used: Used | None
    parts_used: Used | None


class Edited(Struct, frozen=True):
    """A task that was ``created``, ``changed`` or ``removed`` while the run went on. `parent`: whose part it is."""

    task: str
    what: str
    parent: str | None = None


def progress_of(task: TaskState) -> Progress | None:
    """None if it has no parts, and waits for none."""
    done, total = progress(task)
    return Progress(done, total) if total or task.status is Status.DELEGATED else None


# --- families -----------------------------------------------------------------------------------------------


def families(run: Run, used: Mapping[str, Used], held: Mapping[str, str] | None = None) -> tuple[Family, ...]:
    """All tasks with parts, and those that have lost them, in plan order. `used`: what each task used."""
    found = [task for task in run.tasks.values() if task.children or task.status is Status.DELEGATED]
    if not found:
        return ()
    sums, behind = parts_used(run, used), held_by(run) if held is None else held
    return tuple(_family(run, task, used.get(task.id), sums.get(task.id), behind) for task in found)


def _family(
    run: Run, task: TaskState, own: Used | None, below: Used | None, held: Mapping[str, str]
) -> Family:
    spec, done = run.spec(task.id), progress(task)
    delegated = task.status is Status.DELEGATED
    return Family(
        task=task.id,
        title=label(spec),
        status=task.status.value,
        parent=spec.parent,
        progress=Progress(*done),
        parts=tuple(_part(run, run.tasks[name]) for name in task.children),
        waits_for=open_parts(run, task) if delegated else (),
        held_by=held.get(task.id) if delegated else None,
        used=own,
        parts_used=below,
    )


def _part(run: Run, task: TaskState) -> Part:
    return Part(task.id, label(run.spec(task.id)), task.status.value, progress_of(task))


def open_parts(run: Run, task: TaskState) -> tuple[str, ...]:
    """The parts of a task that are neither done nor skipped."""
    return tuple(name for name in task.children if run.tasks[name].status not in SATISFIED)


def parts_used(run: Run, used: Mapping[str, Used]) -> dict[str, Used]:
    """What all parts of each task, and theirs, have used together; of tasks of which no part used anything, nothing."""
    sums: dict[str, Used] = {}
    if not any(task.children for task in run.tasks.values()):
        return sums
    for name in reversed(nested_tasks(run)):
        parent = run.spec(name).parent
        if parent is not None:
            found = plus(plus(used.get(name), sums.get(name)), sums.get(parent))
            if found is not None:
                sums[parent] = found
    return sums


def nested_tasks(run: Run) -> dict[str, int]:
    """`nested` of all tasks of a run."""
    return _nested({name: spec.parent for name, spec in run.plan.tasks.items()})


class Member(Protocol):
    """A task, and the one of which it is a part."""

    @property
    def task(self) -> str: ...  # noqa: D102
    @property
    def parent(self) -> str | None: ...  # noqa: D102


def nested(rows: Iterable[Member]) -> dict[str, int]:
    """Some tasks, each followed by its parts, with how deep they are below those of them that are no part of others."""
    return _nested({row.task: row.parent for row in rows})


def _nested(parents: Mapping[str, str | None]) -> dict[str, int]:
    below: dict[str | None, list[str]] = {}
    for name, parent in parents.items():
        below.setdefault(parent if parent in parents else None, []).append(name)
    found: dict[str, int] = {}
    ahead = [(name, 0) for name in reversed(below.get(None, []))]
    while ahead:
        name, depth = ahead.pop()
        found[name] = depth
        ahead += [(one, depth + 1) for one in reversed(below.get(name, []))]
    return found


def edited(run: Run) -> tuple[Edited, ...]:
    """What was created, changed or removed while the run went on, in that order of things."""
    found = []
    for name, before in run.edited.items():
        spec = run.plan.tasks.get(name)
        if spec is None:
            found += [Edited(name, "removed", before.parent if before else None)]
        else:
            found.append(Edited(name, "created" if before is None else "changed", spec.parent))
    return tuple(found)


# --- words --------------------------------------------------------------------------------------------------


def named_with_state(run: Run, name: str, now: float) -> str:
    """``api (running)``; of a delegated task ``api, delegated (1/3)``."""
    task = run.tasks[name]
    if task.status is Status.DELEGATED:
        return delegated_name(task)
    return f"{name} ({state_word(task, state_of(run, task, now))})"


def delegated_name(task: TaskState) -> str:
    """``api``; of a delegated task ``api, delegated (1/3)``."""
    return f"{task.id}, {status_word(task)}" if task.status is Status.DELEGATED else task.id


def dead_word(task: TaskState) -> str:
    """``failed task api``: what blocks another task for good."""
    if task.status is Status.DELEGATED:
        return f"delegated task {task.id}, which has lost its parts"
    return f"{task.status.value} task {task.id}"


def delegated_words(run: Run, task: TaskState, now: float) -> str:
    """How far the parts of a delegated task are, what it waits for, and whether that is a person."""
    head = f"{status_word(task).capitalize()} {when(task.changed_at, now)}"
    if not task.children:
        return f"{head}: waits for a person, because all its parts were removed; retried, it does its work itself."
    if not task.open:
        return f"{head}: its parts are done, and it goes on when provider {task.provider} has a place."
    found = blockers(run, task.id)
    dead = [name for name in found.needs if is_dead_end(run.tasks[name])]
    rest = [named_with_state(run, name, now) for name in found.needs if name not in dead]
    behind = [name for name in found.dead if name not in dead]
    waits = f"{len(rest)} of {number(len(task.children), 'part')}: {listing(rest)}" if rest else ""
    parts = [f"{head}: waits for a person: {listing([_trouble(run, name) for name in dead])}"] if dead else []
    if waits:
        parts.append(f"{'it waits' if dead else f'{head}: waits'} for {waits}")
    if behind:
        parts.append(
            f"a person has to get on with {listing([dead_word(run.tasks[name]) for name in behind])}"
        )
    parts += [task.reason.rstrip(".")] if task.reason else []
    return f"{'; '.join(parts)}."


def _trouble(run: Run, name: str) -> str:
    """Why a part needs a person."""
    task = run.tasks[name]
    if asks(task):
        return f"{name} asks something"
    if task.status is Status.CANCELLED:
        return f"{name} was cancelled{f' ({task.reason})' if task.reason else ''}"
    if task.status not in DEAD:
        return f"{name} has lost its parts"
    why = outcome_words(task.last) if task.last else task.reason
    verb = "failed" if task.status is Status.FAILED else "is stuck"
    return f"{name} {verb}{f' ({why})' if why else ''}"


def indented(name: str, depth: int) -> str:
    """A task's id, as deep as the task is in its family."""
    return _INDENT * depth + name


def used_apart(row: Family) -> str:
    """What a task used itself, and what its parts used; '' if nothing is known of either."""
    own = f"itself {used_words(row.used)}" if row.used and known(row.used) else ""
    below = f"its parts {used_words(row.parts_used)}" if row.parts_used and known(row.parts_used) else ""
    return "; ".join(filter(None, (own, below)))


def family_word(row: Family) -> str:
    """``delegated (2/3)``, or the status with how many parts are done."""
    done = f"({row.progress.done}/{row.progress.total})"
    if row.status == Status.DELEGATED.value:
        return f"delegated {done}{', waits for a person' if row.held_by else ''}"
    return f"{row.status}, parts {done}"


def family_lines(rows: Sequence[Family], width: int) -> list[str]:
    """Families for people: each task with its parts below it."""
    lines: list[str] = []
    for row in rows[:MOST_FAMILIES]:
        title = f" ({clean(row.title, 60)})" if row.title else ""
        lines += wrap(f"{row.task}{title}: {family_word(row)}", width, "  ")
        lines += wrap(used_apart(row), width, "    ")
        room = max((columns(clean(part.task)) for part in row.parts[:MOST_PARTS]), default=0)
        for part in row.parts[:MOST_PARTS]:
            name = clean(part.task)
            lines.append(clean(f"    {name}{' ' * (room - columns(name))}  {_part_word(part)}", width))
        more = len(row.parts) - MOST_PARTS
        lines += [f"    and {more} more"] if more > 0 else []
    left = len(rows) - MOST_FAMILIES
    return [*lines, f"  and {tasks_word(left)} more with parts"] if left > 0 else lines


def _part_word(part: Part) -> str:
    done = part.progress
    status = f"delegated ({done.done}/{done.total})" if part.status == "delegated" and done else part.status
    return f"{status}  {part.title}" if part.title and part.title != part.task else status


def edited_lines(rows: Sequence[Edited], width: int) -> list[str]:
    """What was changed while the run went on, for people."""
    return [line for what, names in edited_by_kind(rows) for line in wrap(f"{what}: {names}", width, "  ")]


def edited_by_kind(rows: Sequence[Edited]) -> Iterator[tuple[str, str]]:
    """``created``, ``changed`` and ``removed``, each with the tasks that were, and of what they are parts."""
    for what in ("created", "changed", "removed"):
        names = [
            f"{row.task} (part of {row.parent})" if row.parent else row.task
            for row in rows
            if row.what == what
        ]
        if names:
            yield what, listing(names, MOST_PARTS)


def waiting_for(run: Run, task: TaskState) -> tuple[str, ...]:
    """The tasks that it needs and that are not done; of a delegated one, its open parts."""
    if task.status is Status.DELEGATED:
        return open_parts(run, task)
    return unmet(run, task.id)
