"""From what a plan file says to a Plan that says everything: defaults and built-in providers written in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET
from msgspec.structs import asdict, replace

from daplug_supervisor.core.plan import FOR_AGENTS, LOCAL, Budget, Plan, PlanFile, Provider, Task
from daplug_supervisor.formats.findings import FieldPath, Finding, Nearest, choice, escaped, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

_MERGED = ("retry", "loop", "env")
_BELONGS_TO_PROVIDER = ("model", "cli", "variant")
_MAX_PARALLEL = 10_000


BUILTIN_PROVIDERS = {
    LOCAL: Provider(worker="command"),
    "codex": Provider(model="codex"),
    "opencode": Provider(model="opencode"),
    "gemini": Provider(model="gemini"),
    "claude": Provider(model="claude", cli="claude"),
}
"""The providers that a plan need not declare. `local` runs as many commands as there are processors."""


def builtin_providers(processors: int) -> dict[str, Provider]:
    """`BUILTIN_PROVIDERS` on a machine with so many processors."""
    return {**BUILTIN_PROVIDERS, LOCAL: msgspec.convert(_local(processors), Provider)}


def _local(processors: int) -> dict[str, Any]:
    return {"worker": "command", "parallel": max(1, min(processors, _MAX_PARALLEL))}


def resolve(
    head: dict[str, Any],
    tasks: Iterable[tuple[str, dict[str, Any]]],
    *,
    default_name: str,
    processors: int,
) -> tuple[Plan, list[Finding]]:
    """The plan, and what about providers stops it from being complete.

    `head` is the plan file's plain values without the tasks; `tasks` are theirs, with durations as numbers.

    Raises:
        msgspec.ValidationError: the values do not fit the structs.
    """
    local = _local(processors)
    builtin = builtin_providers(processors)
    written = msgspec.convert({**head, "tasks": {}}, PlanFile)
    declared = dict(written.providers)
    if LOCAL in declared:
        declared[LOCAL] = msgspec.convert({**local, **head["providers"][LOCAL]}, Provider)
    known = {**builtin, **declared}
    defaults = _Defaults(head.get("defaults", {}), written, declared)
    nearest = Nearest(known)
    found: list[Finding] = []
    if written.defaults.budget == Budget():
        found.append(empty_budget(("defaults", "budget")))
    if defaults.provider is not None and defaults.provider not in known:
        found.append(_unknown(("defaults", "provider"), defaults.provider, known, nearest))
    complete: dict[str, Task] = {}
    for name, values in tasks:
        task = complete[name] = defaults.fill(values)
        if task.provider is None and (task.prompt is not None or task.instructions is not None):
            found.append(_no_provider(name, known))
        elif task.provider is not None and task.provider not in known and task.provider != defaults.provider:
            found.append(_unknown(("tasks", name, "provider"), task.provider, known, nearest))
    plan = Plan(
        name=default_name if written.name is UNSET else written.name,
        tasks=complete,
        providers=_in_use(complete, declared, builtin),
        version=written.version,
        on_failure=written.on_failure,
        timeout=written.timeout,
        budget=written.budget,
        pass_env=written.pass_env,
        hooks=written.hooks,
        notify=written.notify,
        stages=written.stages,
        created=written.created or defaults.created(),
    )
    return plan, found


class _Defaults:
    """What tasks take over, prepared once so that equal values are shared by all tasks."""

    def __init__(self, raw: dict[str, Any], written: PlanFile, declared: dict[str, Provider]) -> None:
        self._raw = {key: raw[key] for key in _MERGED if key in raw}
        given = asdict(written.defaults).items()
        values = {key: value for key, value in given if value not in (UNSET, Budget())}
        self.provider: str | None = values.get("provider")
        others = [name for name in declared if name != LOCAL]
        self._agent = {"provider": others[0] if len(others) == 1 else None, **values}
        self._elsewhere = {key: value for key, value in values.items() if key not in _BELONGS_TO_PROVIDER}
        self._command = {key: value for key, value in values.items() if key not in FOR_AGENTS}
        self._command["provider"] = LOCAL
        self._plain = (
            len(self._command) == 1 and not self._raw
        )  # so large plans of commands take half the time

    def fill(self, raw: dict[str, Any]) -> Task:
        if self._plain and raw.get("command") is not None and "provider" not in raw:
            return msgspec.convert({**raw, "provider": LOCAL}, Task)
        for key, inherited in self._raw.items():
            if isinstance(raw.get(key), dict):
                raw = {**raw, key: {**inherited, **raw[key]}}
        own = msgspec.convert(raw, Task)
        if own.command is not None:
            inherited = self._command
        elif own.provider is not None and self.provider is not None and own.provider != self.provider:
            inherited = self._elsewhere  # a model belongs to the provider beside which it is written
        else:
            inherited = self._agent
        missing = {key: value for key, value in inherited.items() if key not in raw}
        if own.provider is None:
            missing["provider"] = inherited.get("provider")
        return replace(own, **missing)

    def created(self) -> Task | None:
        """What tasks take over that are created while the plan runs; None if it says nothing about agents."""
        values = {key: value for key, value in self._agent.items() if value is not None}
        return replace(Task(), **values) if values else None


def empty_budget(path: FieldPath) -> Finding:
    """Of a budget that says nothing."""
    return Finding(path, "limits nothing", "give tokens, cost or attempts, or remove it")


def _unknown(path: FieldPath, name: str, known: dict[str, Provider], nearest: Nearest) -> Finding:
    return Finding(path, f"unknown provider {shown(name)}", choice(name, known, nearest))


def _no_provider(name: str, known: dict[str, Provider]) -> Finding:
    path = ("tasks", name)
    return Finding(
        path,
        "names no provider, and there is none in defaults",
        f"add provider: one of {', '.join(map(escaped, known))}",
        because=((*path, "provider"), (*path, "command"), ("defaults", "provider"), ("providers",)),
    )


def _in_use(
    tasks: dict[str, Task], declared: dict[str, Provider], builtin: dict[str, Provider]
) -> dict[str, Provider]:
    wanted = {task.provider for task in tasks.values()}
    wanted.update(name for provider in declared.values() for name in provider.fallback)
    return {
        **declared,
        **{name: one for name, one in builtin.items() if name in wanted and name not in declared},
    }
