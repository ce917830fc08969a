"""A plan that is changed while it runs: tasks are created, changed, removed, split. Refusals change nothing."""

from __future__ import annotations

from math import inf

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.changes import differences
from daplug_supervisor.core.graph import ordered
from daplug_supervisor.core.lookup import find_task
from daplug_supervisor.core.machine import ACTIVE, Status
from daplug_supervisor.core.model import Run, TaskState
from daplug_supervisor.core.plan import Id, Plan, Provider, Seconds, Task, Text
from daplug_supervisor.core.surgery.new_tasks import Known, NewTask, Priority, provided_by, spec_of
from daplug_supervisor.core.surgery.permitted import (
    MAY_NOT,
    NO_COMMANDS,
    allowed,
    few_stages,
    free_id,
    is_below,
    may_have_parts,
    needed,
    no_cycle,
    no_more_than,
)
from daplug_supervisor.errors import NotPossibleError, PlanError, Problem

_SHOWN = 5

TRIED_AGAIN = frozenset({Status.FAILED, Status.STUCK})
"""Statuses of what begins again when the plan of a finished run is run once more."""


class Edit(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is to be different about a task. `needs` stand in the place of those that it has."""

    needs: tuple[Id, ...] | UnsetType = UNSET
    add_needs: tuple[Id, ...] = ()
    remove_needs: tuple[Id, ...] = ()
    priority: Priority | UnsetType = UNSET
    provider: Id | UnsetType = UNSET
    model: Text | UnsetType | None = UNSET
    timeout: Seconds | UnsetType | None = UNSET
    title: str | UnsetType = UNSET
    text: Text | UnsetType = UNSET


def create(run: Run, new: NewTask, sender: str, known: Known) -> list[ev.Event]:
    """Add a task, on behalf of a task (`sender`) or of a person ('').

    Raises:
        NotPossibleError: it cannot be.
    """
    parent = new.parent or sender or None
    free_id(run, new.id)
    if parent is not None:
        may_have_parts(find_task(run, parent))
    if sender:
        allowed(run, new, sender, parent or sender)
    spec, provider = spec_of(run, new, parent, known)
    needed(run, new.id, spec.needs, known)
    no_cycle(run, {new.id: spec})
    few_stages(run, {new.id: spec})
    return [ev.TaskAdded(new.id, spec, provider)]


def update(run: Run, name: str, edit: Edit, sender: str, known: Known) -> list[ev.Event]:
    """Change a task that has no slot.

    Raises:
        NotPossibleError: it cannot be.
    """
    task = find_task(run, name)
    if sender and not is_below(run, name, sender):
        raise NotPossibleError(
            f"task {sender} may change only tasks that are parts of it, and {name} is none"
        )
    if task.status in ACTIVE:
        raise NotPossibleError(
            f"task {name} is {task.status}: it can be changed when it has ended (cancel ends it)"
        )
    if task.status in (Status.DONE, Status.REVIEWING):
        raise NotPossibleError(
            f"task {name} is {task.status}: what it has done was judged by the plan as it is"
        )
    spec = run.spec(name)
    changed, provider = _edited(run, spec, edit, sender, known)
    if changed == spec:
        raise NotPossibleError(f"task {name} is so already: there is nothing to change")
    needed(run, name, changed.needs, known)
    no_cycle(run, {name: changed})
    if changed.needs != spec.needs:
        few_stages(run, {name: changed})
    words = ", ".join(text for _, text in differences(spec, changed))
    return [ev.TaskChanged(name, changed, words, provider)]


def remove(run: Run, name: str, reason: str, *, rewire: bool) -> list[ev.Event]:
    """Take a task out; with `rewire` those that need it need instead what it needs.

    Raises:
        NotPossibleError: it cannot be.
    """
    task = find_task(run, name)
    if task.status in ACTIVE:
        raise NotPossibleError(f"task {name} is {task.status}: cancel it first")
    if task.status is Status.DONE:
        raise NotPossibleError(f"task {name} is done: it stays, for what it came to is part of the run")
    if len(run.tasks) == 1:
        raise NotPossibleError(f"task {name} is the only one of run {run.id}: cancel it instead")
    after = run.after[name]
    if after and not rewire:
        whom = f"{', '.join(after[:_SHOWN])}{' and others' if after[_SHOWN:] else ''}"
        raise NotPossibleError(
            f"task {name} is needed by {whom}: give them other needs, skip it instead, or use --rewire to have them "
            "need what it needs"
        )
    needs, events = run.spec(name).needs, list[ev.Event]()
    for other in after:
        status = run.tasks[other].status
        if status in ACTIVE or status is Status.DONE:
            raise NotPossibleError(
                f"task {name} stays: task {other}, which is {status}, was to come after it"
            )
        spec = run.spec(other)
        new = tuple(dict.fromkeys(one for old in spec.needs for one in (needs if old == name else (old,))))
        events.append(
            ev.TaskChanged(other, replace(spec, needs=new), f"needs no longer {name}, which is removed")
        )
    return [*events, ev.TaskRemoved(name, reason)]


def split(run: Run, name: str, parts: tuple[NewTask, ...], known: Known) -> list[ev.Event]:
    """Give a task's work to several new ones, its children, which need what it needs; its dependents wait for all.

    Raises:
        NotPossibleError: it cannot be.
    """
    if not parts:
        raise NotPossibleError(f"task {name} is split into nothing: name its parts")
    events: dict[str, ev.Event] = {}
    others: dict[str, Task] = {}
    may_have_parts(find_task(run, name))
    for part in parts:
        if part.parent not in (None, name):
            raise NotPossibleError(
                f"task {part.id} is to be a part of {name}: it cannot be one of {part.parent}"
            )
        free_id(run, part.id, others)
        spec, provider = spec_of(run, part, name, known)
        spec = replace(spec, needs=tuple(dict.fromkeys((*run.spec(name).needs, *spec.needs))))
        others[part.id] = spec
        events[part.id] = ev.TaskAdded(part.id, spec, provider)
    for one, spec in others.items():
        needed(run, one, spec.needs, known, others)
    no_cycle(run, others)
    few_stages(run, others)
    # Each after those that it needs: after every event the plan has to be sound.
    order = ordered({one: [need for need in spec.needs if need in others] for one, spec in others.items()})
    whole = find_task(run, name)
    more = [] if whole.status is Status.DELEGATED else delegation(whole, len(others))
    return [*(events[one] for one in order), *more]


def delegate(run: Run, name: str, sender: str) -> list[ev.Event]:
    """Have a task wait for its children, with no slot.

    Raises:
        NotPossibleError: it cannot: it has none, or may not.
    """
    name = name or sender
    if not name:
        raise NotPossibleError(
            "say which task is to wait for its parts: only within an attempt that is known"
        )
    task = find_task(run, name)
    if sender and (name != sender or not run.spec(sender).delegate):
        raise NotPossibleError(
            MAY_NOT.format(sender) if name == sender else f"task {sender} may delegate only itself"
        )
    if not task.children:
        raise NotPossibleError(
            f"task {name} has no children: create its parts first ('task create' with --parent {name})"
        )
    return delegation(task, len(task.children))


def delegation(task: TaskState, children: int) -> list[ev.Event]:
    """The events that have a task wait for its `children`.

    Raises:
        NotPossibleError: it cannot.
    """
    if not children:
        raise NotPossibleError(f"task {task.id} has no children")
    if task.status is Status.RUNNING:
        if task.delegating or task.cancelling:
            what = "cancelled" if task.cancelling else "delegated"
            raise NotPossibleError(f"task {task.id} is being {what} already")
        return [ev.DelegationRequested(task.id)]
    if task.status is Status.PENDING:
        return [ev.Delegated(task.id)]
    if task.status in (Status.FAILED, Status.STUCK, Status.CANCELLED):
        return [ev.TaskReset(task.id), ev.Delegated(task.id)]
    raise NotPossibleError(f"task {task.id} is {task.status}: it cannot be delegated")


def with_edits(run: Run, plan: Plan) -> Plan:
    """The plan of a file, with what was changed while the run went on, unless the file says something new of it.

    Raises:
        PlanError: what was changed does not go together with the file as it is now.
    """
    kept = {name for name, before in run.edited.items() if plan.tasks.get(name) == before}
    now = {name: spec for name, spec in run.plan.tasks.items() if name in kept}
    tasks = {
        name: now.get(name, spec) for name, spec in plan.tasks.items() if name not in kept or name in now
    }
    tasks |= {name: spec for name, spec in now.items() if name not in tasks}
    left = list(tasks.values())
    while left:  # what was removed comes back if the file now has something that needs it
        spec = left.pop()
        for other in (*spec.needs, spec.parent):
            if other in kept and other in plan.tasks and other not in tasks:
                tasks[other] = plan.tasks[other]
                left.append(tasks[other])
    tasks |= {name: _fitting(name, spec, tasks, run) for name, spec in now.items()}
    wanted = {spec.provider for spec in now.values()}
    added = {
        name: one for name, one in run.plan.providers.items() if name in wanted and name not in plan.providers
    }
    return replace(plan, tasks=tasks, providers={**plan.providers, **added})


def _fitting(name: str, spec: Task, tasks: dict[str, Task], run: Run) -> Task:
    """A task that was changed while the run went on; the file may no longer have what that needs, or its parent."""
    gone = [other for other in spec.needs if _is_gone(other, tasks, run)]
    if gone:
        told = f"task {name} was changed while the run went on, and waits for {gone[0]}, which the plan has no longer"
        remedy = f"put {gone[0]} back, or first say: task update {name} --not-blocked-by {gone[0]}"
        raise PlanError([Problem(told, remedy, field=f"tasks.{gone[0]}")])
    if spec.parent is not None and _is_gone(spec.parent, tasks, run):
        return replace(spec, parent=None)
    return spec


def _is_gone(name: str, tasks: dict[str, Task], run: Run) -> bool:
    """Whether a task was taken out of the file; what has started stays all the same, unless it begins again."""
    status = run.tasks[name].status
    again = run.finished_at is not None and status in TRIED_AGAIN
    return name not in tasks and (status is Status.PENDING or again)


def _edited(run: Run, spec: Task, edit: Edit, sender: str, known: Known) -> tuple[Task, Provider | None]:
    given = {
        name: value
        for name in ("priority", "timeout", "title", "model")
        if (value := getattr(edit, name)) is not UNSET
    }
    provider = None
    agent = bool(sender) and run.spec(sender).command is None
    if agent and edit.model is not UNSET:
        raise NotPossibleError("an agent cannot choose models: a person can")
    if agent:
        longest = None if edit.timeout is UNSET else inf if edit.timeout is None else edit.timeout
        no_more_than(run, sender, None if edit.priority is UNSET else edit.priority, longest)
    if edit.provider is not UNSET:
        if agent and edit.provider not in run.plan.providers:
            raise NotPossibleError(f"the plan has no provider {edit.provider!r}")
        provider = provided_by(run, edit.provider, known, command=spec.command is not None)
        if edit.provider != spec.provider:
            given = {"model": None, "cli": None, "variant": None, **given, "provider": edit.provider}
    if edit.text is not UNSET:
        if agent and spec.command is not None:
            raise NotPossibleError(NO_COMMANDS)
        given |= {"prompt": None, "instructions": None, "command": None}
        given |= (
            {"command": ("/bin/sh", "-c", edit.text)}
            if spec.command is not None
            else {"instructions": edit.text}
        )
    needs = spec.needs if edit.needs is UNSET else edit.needs
    left = [name for name in (*needs, *edit.add_needs) if name not in edit.remove_needs]
    strange = [name for name in edit.remove_needs if name not in spec.needs]
    if strange:
        raise NotPossibleError(
            f"it does not need {', '.join(strange)}; it needs {', '.join(spec.needs) or 'nothing'}"
        )
    return replace(spec, **given, needs=tuple(dict.fromkeys(left))), provider
