"""Which tasks are taken on while a run goes on: as careful as with a whole plan (`supervisor.admission`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.instructions.passing import passes_on
from daplug_supervisor.core.instructions.template import references
from daplug_supervisor.core.machine import SATISFIED
from daplug_supervisor.core.model import Run
from daplug_supervisor.core.plan import Plan, Task
from daplug_supervisor.errors import Problem, UsageError
from daplug_supervisor.formats import checks
from daplug_supervisor.formats.findings import dotted
from daplug_supervisor.supervisor.admission import Admission

_SHOWN = 5


def admitted(admission: Admission, run: Run, events: Sequence[ev.Event]) -> Sequence[ev.Event]:
    """The events that change a plan, if what they make of it can be worked on here; with the accounts of providers.

    Raises:
        UsageError: it cannot; the message says why.
    """
    lost = [_lost(run, event.id) for event in events if isinstance(event, ev.TaskRemoved)]
    if any(lost):
        raise UsageError("\n".join(filter(None, lost)))
    given = [event for event in events if isinstance(event, ev.TaskAdded | ev.TaskChanged)]
    if not given:
        return events
    changed = {event.id: event.spec for event in given}
    plan = _changed(run.plan, events)
    problems = list(_problems(run.plan, plan, changed))[:_SHOWN]
    if problems:
        raise UsageError("\n".join(problems))
    new = {name: one for name, one in plan.providers.items() if name not in run.plan.providers}
    admission.check_keeping(replace(plan, tasks=changed, providers=new), run.target)
    admission.check_added(run.plan, plan, changed, run.target)
    return _with_accounts(run, events, admission.with_accounts(plan, run.target)) if new else events


def _lost(run: Run, removed: str) -> str:
    """Who would not get what a task hands on, if it was removed; '' if nobody waits for that."""
    if not passes_on(run.plan):
        return ""
    for name, spec in run.plan.tasks.items():
        texts = (spec.instructions or "", *spec.inputs.values())
        named = any(one.task == removed for text in texts for one in references(text))
        if named and run.tasks[name].status not in SATISFIED:
            return f"task {name} is handed something on by {removed}: change its text first, or remove it too"
    return ""


def _changed(plan: Plan, events: Sequence[ev.Event]) -> Plan:
    """The plan as the events leave it."""
    tasks, providers = dict(plan.tasks), dict(plan.providers)
    for event in events:
        if isinstance(event, ev.TaskAdded | ev.TaskChanged):
            tasks[event.id] = event.spec
            if event.provider is not None and event.spec.provider is not None:
                providers.setdefault(event.spec.provider, event.provider)
        elif isinstance(event, ev.TaskRemoved):
            del tasks[event.id]
    return replace(plan, tasks=tasks, providers=providers)


def _problems(old: Plan, new: Plan, changed: dict[str, Task]) -> Iterator[str]:
    """What a plan file with these tasks would be refused for, and the plan is not yet."""
    found = [one for one in checks.check(new) if one.path[0] == "tasks" and one.path[1] in changed]
    if not found:
        return
    before = {(one.path, one.message) for one in checks.check(old)}
    for one in found:
        if (one.path, one.message) not in before:
            yield str(Problem(one.message, one.remedy, field=dotted(one.path)))


def _with_accounts(run: Run, events: Sequence[ev.Event], plan: Plan) -> Sequence[ev.Event]:
    """The events with what is known of the accounts of new providers; others may come to share theirs by that."""
    providers = plan.providers
    shared = {name: providers[name] for name, one in run.plan.providers.items() if providers[name] != one}
    told: list[ev.Event] = []
    if shared:
        known = replace(run.plan, providers={**run.plan.providers, **shared})
        lines = (f"provider {name}: account {one.account}" for name, one in shared.items())
        told.append(ev.PlanChanged(known, tuple(lines)))
    for event in events:
        if isinstance(event, ev.TaskAdded | ev.TaskChanged) and event.provider is not None:
            told.append(replace(event, provider=providers[event.spec.provider or ""]))
        else:
            told.append(event)
    return told
