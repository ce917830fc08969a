"""An edited plan between two starts: what has not started follows the new plan, what has keeps its old task.

A started task that the new plan leaves out stays, and so does all that it needs: what was done under a plan
is judged by that plan. To give a started task its new form, retry it and start again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from daplug_supervisor.core.graph import cycle
from daplug_supervisor.core.plan import DURATION_FIELDS, Plan, Task
from daplug_supervisor.core.queues import waits
from daplug_supervisor.errors import PlanError, Problem

_SHORT = 40
_NOT_SHOWN = frozenset({"env", "options", "instructions", "command"})
"""Fields of which a summary says only that they changed: they are long, or may hold secrets."""


class Changes(Struct, frozen=True):
    """The plan to go on with, and what is different, one line each; no lines if nothing is."""

    plan: Plan
    summary: tuple[str, ...] = ()


def changes(old: Plan, new: Plan, started: Collection[str]) -> Changes:
    """Merge an edited plan into the plan of a run. `started`: the tasks of `old` that are no longer pending.

    Raises:
        PlanError: the started tasks, as they were, do not go together with the new ones.
    """
    begun = set(started) & old.tasks.keys()
    kept = _kept(old, new, begun)
    tasks = {name: old.tasks[name] if name in begun else spec for name, spec in new.tasks.items()}
    tasks |= {name: old.tasks[name] for name in old.tasks if name in kept}
    providers = dict(new.providers)
    added = _providers_kept(old, new, [old.tasks[name] for name in (*begun, *kept)])
    providers |= {name: old.providers[name] for name in added}
    plan = replace(new, tasks=tasks, providers=providers)
    _refuse(plan, kept)
    lines = [*_plan_lines(old, new), *_provider_lines(old, new, added), *_task_lines(old, new, begun, kept)]
    return Changes(plan, tuple(lines))


def _kept(old: Plan, new: Plan, begun: set[str]) -> dict[str, str]:
    """The tasks that stay although the new plan leaves them out, each with the reason."""
    kept: dict[str, str] = {}
    left = [name for name in old.tasks if name in begun]
    for name in left:
        if name not in new.tasks:
            kept[name] = "it has started"
    while left:
        name = left.pop()
        spec = old.tasks[name]
        for other in (*spec.needs, *((spec.parent,) if spec.parent is not None else ())):
            if other not in new.tasks and other not in kept:
                kept[other] = (
                    f"started task {name} needs it" if name in begun else f"{name}, which is kept, needs it"
                )
                left.append(other)
    return kept


def _providers_kept(old: Plan, new: Plan, tasks: list[Task]) -> list[str]:
    """The providers that stay although the new plan leaves them out: of the kept tasks, and their fallbacks.

    A started task may be running in a fallback at this moment.
    """
    found: dict[str, None] = {}
    left = [task.provider or "" for task in tasks]
    while left:
        name = left.pop()
        if name in old.providers and name not in found:
            found[name] = None
            left += old.providers[name].fallback
    return [name for name in old.providers if name in found and name not in new.providers]


def _refuse(plan: Plan, kept: dict[str, str]) -> None:
    remedy = "retry the started tasks first so that they follow the new plan, or begin a fresh run"
    circle = cycle(waits(plan))
    if circle:
        told = " needs ".join(circle)
        raise PlanError(
            [Problem(f"the edited plan and the started tasks make a cycle: {told}", remedy, field="tasks")]
        )
    spelled = {name.lower(): name for name in plan.tasks if name not in kept}
    for name in kept:
        other = spelled.get(name.lower())
        if other is not None:
            told = (
                f"started task {name!r} is kept, and {other!r} differs from it only in upper and lower case"
            )
            raise PlanError([Problem(told, "give the new task another id", field=f"tasks.{other}")])


# --- what to tell -------------------------------------------------------------------------------------------


def _plan_lines(old: Plan, new: Plan) -> Iterator[str]:
    different = [text for name, text in differences(old, new) if name not in ("tasks", "providers")]
    if different:
        yield f"plan: {', '.join(different)}"


def _provider_lines(old: Plan, new: Plan, kept: list[str]) -> Iterator[str]:
    for name, provider in new.providers.items():
        if name not in old.providers:
            yield f"provider {name}: added"
        else:
            different = [text for _, text in differences(old.providers[name], provider)]
            if different:
                yield f"provider {name}: {', '.join(different)}"
    for name in old.providers:
        if name in kept:
            yield f"provider {name}: not in the plan any more, but started tasks may use it: kept"
        elif name not in new.providers:
            yield f"provider {name}: removed"


def _task_lines(old: Plan, new: Plan, begun: set[str], kept: dict[str, str]) -> Iterator[str]:
    for name, spec in new.tasks.items():
        if name not in old.tasks:
            yield f"task {name}: added"
        elif spec != old.tasks[name]:
            different = ", ".join(text for _, text in differences(old.tasks[name], spec))
            kept_as_it_was = "changed, but it has started: kept as it was (retry it to use the new plan)"
            yield f"task {name}: {kept_as_it_was if name in begun else different}"
    for name in old.tasks:
        if name in kept:
            yield f"task {name}: not in the plan any more, but {kept[name]}: kept"
        elif name not in new.tasks:
            yield f"task {name}: removed"


def differences(old: Struct, new: Struct) -> Iterator[tuple[str, str]]:
    """The fields that differ, each with its words: ``timeout 60s -> 120s``."""
    for name in old.__struct_fields__:
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        if isinstance(before, Struct) and isinstance(after, Struct):
            for inner, text in differences(before, after):
                yield f"{name}.{inner}", f"{name}.{text}"
        elif name in _NOT_SHOWN or max(len(_shown(name, before)), len(_shown(name, after))) > _SHORT:
            yield name, f"{name} changed"
        else:
            yield name, f"{name} {_shown(name, before)} -> {_shown(name, after)}"


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "none"
    if name in DURATION_FIELDS:
        return f"{value:g}s"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple | str):
        return (value if isinstance(value, str) else ", ".join(value)) or "none"
    return str(value)
