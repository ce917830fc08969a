"""What may be asked of a running plan, and what may not: each refusal says why, and what would do."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final

from daplug_supervisor.core.graph import MOST_STAGES, cycle
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.model import Run, TaskState
from daplug_supervisor.core.plan import MAX_TASKS, Task
from daplug_supervisor.core.stages import stages_among, stages_of
from daplug_supervisor.core.surgery.new_tasks import Known, NewTask
from daplug_supervisor.core.surgery.replanning import waited_for
from daplug_supervisor.errors import NotPossibleError

MOST_CHILDREN: Final = 50
"""Tasks that the agents of one task may create below it, so that none can spend without end."""

_OPEN = frozenset(
    {Status.PENDING, Status.RUNNING, Status.DELEGATED, Status.FAILED, Status.STUCK, Status.CANCELLED}
)
"""Statuses of a task that may get another part: it is not done, and nobody looks at its work."""

_TOO_MANY: Final = f"{{}} would form {{}} stages, and {MOST_STAGES} are the most: make {{}} of them"

MAY_NOT = "task {} may not delegate: the plan says so where it has 'delegate: 1' for it (or more, for parts of parts)"

NO_COMMANDS = (
    "an agent can create tasks for agents only: a command, or a criterion, would run outside of its sandbox "
    "(a person can create those)"
)


def allowed(run: Run, new: NewTask, sender: str, parent: str) -> None:
    """Refuse what an agent may not have done: nothing that it says is believed, and what it asks for costs money."""
    spec = run.spec(sender)
    if not spec.delegate:
        raise NotPossibleError(MAY_NOT.format(sender))
    if parent != sender and not (parent in run.tasks and is_below(run, parent, sender)):
        raise NotPossibleError(
            f"task {sender} may create parts of itself only, and {parent} is no part of it"
        )
    if not run.spec(parent).delegate:
        raise NotPossibleError(MAY_NOT.format(parent))
    if len(run.tasks[parent].children) >= MOST_CHILDREN:
        raise NotPossibleError(f"task {parent} has {MOST_CHILDREN} parts already: more need a person")
    if spec.command is not None:
        return
    if new.command or new.accept:
        raise NotPossibleError(NO_COMMANDS)
    if new.model is not None and new.model != spec.model:
        raise NotPossibleError("an agent cannot choose models: leave it out, and the parent's is used")
    own = run.spec(parent)
    strange = [path for path in new.files if own.files and not _covered(path, own.files)]
    if strange:
        raise NotPossibleError(
            f"{strange[0]} is not among the files that task {parent} may change: {', '.join(own.files)}"
        )
    no_more_than(run, sender, new.priority, new.timeout)
    if new.provider is not None and new.provider not in run.plan.providers:
        raise NotPossibleError(
            f"the plan has no provider {new.provider!r}; it has {', '.join(run.plan.providers)}"
        )


def no_more_than(run: Run, sender: str, priority: int | None, timeout: float | None) -> None:
    """Refuse what would have a part go before others, or last longer, than the task that its agent is at.

    Raises:
        NotPossibleError: so it is.
    """
    own = run.spec(sender)
    if priority is not None and priority > own.priority:
        raise NotPossibleError(f"a part cannot be more urgent than task {sender}: at most {own.priority}")
    if timeout is not None and own.timeout is not None and timeout > own.timeout:
        raise NotPossibleError(f"a part cannot have more time than task {sender}: at most {own.timeout:g}s")


def _covered(path: str, wider: tuple[str, ...]) -> bool:
    """Whether a path, or a pattern, is surely among others: one of them, or below a directory that is."""
    below = [one.removesuffix("**") for one in wider if one.endswith(("/", "/**")) or one == "**"]
    return path in wider or (".." not in path.split("/") and path.startswith(tuple(below)))


def few_stages(run: Run, changed: Mapping[str, Task]) -> None:
    """Refuse what would make a plan with barriers, or the parts of one task, one long line.

    Raises:
        NotPossibleError: so it is.
    """
    tasks: dict[str, Task] = {}
    for name in dict.fromkeys(spec.parent for spec in changed.values()):
        if name is None:
            continue
        names = dict.fromkeys(
            (*run.tasks[name].children, *(one for one, spec in changed.items() if spec.parent == name))
        )
        tasks = tasks or {**run.plan.tasks, **changed}
        count = stages_among(tasks, names)
        if count > MOST_STAGES:
            raise NotPossibleError(_TOO_MANY.format(f"the parts of task {name}", count, "parts of parts"))
    if run.plan.stages != "barrier":
        return
    count = 1 + max(stages_of(tasks or {**run.plan.tasks, **changed}).values())
    if count > max(MOST_STAGES, len(run.stages)):
        raise NotPossibleError(_TOO_MANY.format("the tasks", count, "several plans"))


def free_id(run: Run, name: str, others: Mapping[str, Task] = {}) -> None:
    """Refuse an id that is taken.

    Raises:
        NotPossibleError: so it is.
    """
    if len(run.tasks) + len(others) >= MAX_TASKS:
        raise NotPossibleError(f"run {run.id} has {MAX_TASKS:,} tasks: that is the most there can be")
    lower = name.lower()
    for other in (*run.tasks, *others):
        if other.lower() == lower:
            same = "" if other == name else " (upper and lower case are the same)"
            raise NotPossibleError(f"there is a task {other} already{same}: take another name")
    if any(other.lower() == lower for other in run.removed):
        raise NotPossibleError(
            f"a task {name} was removed after it had begun, and its work is still there under that name: take another"
        )


def may_have_parts(parent: TaskState) -> None:
    """Refuse to add to what is done, or being looked at.

    Raises:
        NotPossibleError: so it is.
    """
    if parent.status not in _OPEN:
        raise NotPossibleError(f"task {parent.id} is {parent.status}: it gets no more parts")


def needed(
    run: Run, name: str, needs: tuple[str, ...], known: Known, others: Mapping[str, Task] = {}
) -> None:
    """Refuse needs that are no tasks of the run.

    Raises:
        NotPossibleError: so it is.
    """
    for other in needs:
        if other == name:
            raise NotPossibleError(f"task {name} cannot wait for itself")
        if other in run.tasks or other in others:
            continue
        elsewhere = known.elsewhere(other)
        if elsewhere:
            raise NotPossibleError(
                f"task {other} is of run {elsewhere}: a task can only wait for tasks of its own run, {run.id}"
            )
        near = get_close_matches(other, [*run.tasks, *others], n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise NotPossibleError(f"run {run.id} has no task {other!r} to wait for{hint}")


def no_cycle(run: Run, changed: Mapping[str, Task]) -> None:
    """Refuse what would have tasks wait for each other.

    Raises:
        NotPossibleError: so it is.
    """
    found = cycle(waited_for(run, changed))
    if found:
        raise NotPossibleError(
            f"the tasks would wait for each other: {' -> '.join(found)}; leave one of these out"
        )


def is_below(run: Run, name: str, above: str) -> bool:
    """Whether a task is a part of another one, or of one of its parts."""
    parent = run.spec(name).parent
    while parent is not None and parent != above:
        parent = run.spec(parent).parent
    return parent is not None
