"""What must hold across a whole plan. All linear in tasks and needs, whatever the plan says.

The plan is complete (`formats.resolve`), but may name things that do not exist.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from daplug_supervisor.core import graph
from daplug_supervisor.core.plan import (
    COMMAND,
    MAX_TASKS,
    Assignment,
    Budget,
    Loop,
    Plan,
    Provider,
    Task,
    assignment,
)
from daplug_supervisor.core.queues import parts
from daplug_supervisor.core.secrets import looks_secret
from daplug_supervisor.core.stages import stages_of, too_many
from daplug_supervisor.formats import notices, references
from daplug_supervisor.formats.findings import FieldPath, Finding, Nearest, choice, escaped, shown
from daplug_supervisor.formats.resolve import BUILTIN_PROVIDERS, empty_budget

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

AGENT_WORKERS = frozenset({"executor", "cli"})
CLI_WORKER = "cli"

MAX_ACCOUNT = 200

_WORK = ("prompt", "instructions", "command")
_NOT_FOR_COMMANDS = ("model", "cli", "variant", "sandbox", "require_diff")
_MAX_CYCLES = 10
_MOST_STEPS = 100_000
_MAX_CYCLE_SHOWN = 12
_DEFAULT_LOOP = Loop()
_OUTPUT = re.compile(r"\$\{\s*[A-Za-z0-9][A-Za-z0-9._-]*?\.(?:outputs?|result|claim)\b[^}]*\}?")


def check(plan: Plan) -> Iterator[Finding]:
    """Everything wrong with a plan as a whole, in no particular order."""
    if not plan.tasks:
        remedy = "begin with tasks: {<id>: {...}}"
        yield Finding(("tasks",), "the plan has no tasks", remedy, because=(("tasks",),))
    if len(plan.tasks) > MAX_TASKS:
        yield Finding(
            ("tasks",), f"{len(plan.tasks):,} tasks: at most {MAX_TASKS:,} are allowed", "split the plan"
        )
    yield from _unique("tasks", plan.tasks)
    yield from _unique("providers", plan.providers)
    yield from _providers(plan)
    nearest = Nearest(plan.tasks)
    kinds = {name: _kind(provider) for name, provider in plan.providers.items()}
    for name, task in plan.tasks.items():  # there may be many, and most have nothing to look at more closely
        path = ("tasks", name)
        if not _says_one_thing(task):
            yield from _work(path, task)
        if task.needs:
            yield from _needs(path, name, task.needs, plan.tasks, nearest)
        if task.parent is not None:
            yield from _parent(path, name, task.parent, plan.tasks, nearest)
        if task.env:
            yield from _env((*path, "env"), task.env)
        if task.command is not None and "${" in " ".join(task.command):
            yield from _command(path, task.command)
        if kinds.get(task.provider or "") == ("command" if task.command is None else "agent"):
            yield from _worker(path, plan, task)
    yield from _budgets(plan)
    yield from references.check(plan)
    yield from notices.check(plan)
    yield from _subagents(plan)
    yield from _order(plan)


def _unique(field: str, names: Iterable[str]) -> Iterator[Finding]:
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(name.lower(), name)
        if other != name:
            message = f"{name} and {other} differ only by case"
            yield Finding((field, name), message, "ids are unique without regard to case")


def _says_one_thing(task: Task) -> bool:
    """Whether exactly one of prompt, instructions and command is given, with nothing that does not go with it."""
    if task.command is None:
        return (task.prompt is None) != (task.instructions is None)
    agents = task.prompt or task.instructions or task.model or task.cli or task.variant
    return not (agents or task.sandbox or task.require_diff) and task.loop == _DEFAULT_LOOP


def _work(path: FieldPath, task: Task) -> Iterator[Finding]:
    given = [field for field in _WORK if getattr(task, field) is not None]
    because = tuple((*path, field) for field in _WORK)
    if not given:
        remedy = "give one of prompt, instructions, command"
        yield Finding(path, "says nothing to be done", remedy, because=because)
    elif len(given) > 1:
        yield Finding((*path, given[1]), f"{' and '.join(given)} exclude each other", "keep one of them")
    if task.command is None:
        return
    misplaced = [field for field in _NOT_FOR_COMMANDS if getattr(task, field) not in {None, False}]
    if task.loop != _DEFAULT_LOOP:
        misplaced.append("loop")
    for field in misplaced:
        yield Finding((*path, field), f"{field} is for agents, not for a command", f"remove {field}")


def _budgets(plan: Plan) -> Iterator[Finding]:
    if plan.budget == Budget():
        yield empty_budget(("budget",))
    for name, task in plan.tasks.items():
        if task.budget is None:
            continue
        path = ("tasks", name, "budget")
        if task.budget == Budget():
            yield empty_budget(path)
        for field in ("tokens", "cost"):
            if task.command is not None and getattr(task.budget, field) is not None:
                message = f"{field}: what a command costs is not counted"
                yield Finding((*path, field), message, f"remove {field}")


def _needs(
    path: FieldPath, name: str, needs: tuple[str, ...], known: Collection[str], nearest: Nearest
) -> Iterator[Finding]:
    seen = set()
    for index, other in enumerate(needs):
        here = (*path, "needs", index)
        if other in seen:
            yield Finding(here, f"needs {shown(other)} twice", "keep one")
        elif other == name:
            yield Finding(here, "a task cannot need itself", "remove it")
        elif other not in known:
            yield Finding(here, f"unknown task {shown(other)}", choice(other, known, nearest))
        seen.add(other)


def _parent(
    path: FieldPath, name: str, parent: str, known: Collection[str], nearest: Nearest
) -> Iterator[Finding]:
    if parent == name:
        yield Finding((*path, "parent"), "a task cannot be a part of itself", "remove it")
    elif parent not in known:
        yield Finding((*path, "parent"), f"unknown task {shown(parent)}", choice(parent, known, nearest))


def _cycles(plan: Plan) -> Iterator[Finding]:
    """Cycles that share no task, up to `_MAX_CYCLES`: finding each takes another pass."""
    needs: dict[str, Iterable[str]] = {}
    children = parts(plan)
    for name, task in plan.tasks.items():
        whole = name not in task.needs and all(other in plan.tasks for other in task.needs)
        needs[name] = task.needs if whole else [n for n in task.needs if n != name and n in plan.tasks]
        if name in children:
            needs[name] = [*needs[name], *(child for child in children[name] if child != name)]
    passes = max(1, min(_MAX_CYCLES, _MOST_STEPS // max(1, len(needs))))
    while True:
        found = graph.cycle(needs)
        if not found:
            return
        shortened = found
        if len(found) > _MAX_CYCLE_SHOWN:
            left = len(found) - _MAX_CYCLE_SHOWN
            shortened = [*found[: _MAX_CYCLE_SHOWN - 1], f"({left:,} more)", found[-1]]
        message = f"the tasks wait for each other: {' -> '.join(map(escaped, shortened))}"
        yield Finding(("tasks", found[0], "needs"), message, "remove one of these needs")
        passes -= 1
        if not passes:
            return
        gone = set(found)
        needs = {
            name: [other for other in before if other not in gone]
            for name, before in needs.items()
            if name not in gone
        }


def _order(plan: Plan) -> Iterator[Finding]:
    """What is wrong with who waits for whom: cycles, or more stages than are allowed."""
    found = list(_cycles(plan))
    yield from found
    if found or not all(_in_order(plan, name, task) for name, task in plan.tasks.items()):
        return
    for parent, count in too_many(plan):
        if parent:
            message = f"its parts form {count} stages: at most {graph.MOST_STAGES} are allowed"
            yield Finding(("tasks", parent), message, "make several tasks of it, or let fewer parts wait")
            continue
        late = next(name for name, at in stages_of(plan.tasks).items() if at == graph.MOST_STAGES)
        most = graph.MOST_STAGES
        message = f"stage {most + 1} of {count}: with stages: barrier at most {most} are allowed"
        because = (("tasks", late, "needs"), ("stages",))
        yield Finding(("tasks", late), message, "split the plan, or write stages: dag", because=because)


def _in_order(plan: Plan, name: str, task: Task) -> bool:
    """Whether a task waits only for others that there are."""
    before = task.needs if task.parent is None else (*task.needs, task.parent)
    return name not in before and all(other in plan.tasks for other in before)


def _env(path: FieldPath, env: dict[str, str]) -> Iterator[Finding]:
    for key, value in env.items():
        if not key or "=" in key:
            yield Finding(
                (*path, key), f"{shown(key)} cannot name an environment variable", "names have no '='"
            )
        elif looks_secret(key, value):
            remedy = f"set it in the environment, and hand it on: pass_env: [{escaped(key)}]"
            yield Finding((*path, key), "a secret would be kept in the journal", remedy)


def _command(path: FieldPath, command: Iterable[str]) -> Iterator[Finding]:
    """A value of another task in a command would be text that a shell may run: refused, not left as it is."""
    for index, word in enumerate(command):
        found = _OUTPUT.search(word)
        if found:
            message = f"{shown(found[0])}: {references.NOT_HERE}"
            yield Finding((*path, "command", index), message, references.INSTEAD)


def _kind(provider: Provider) -> str:
    """``command``, ``agent``, or '' for a third-party worker, which may be both."""
    if provider.worker == COMMAND:
        return "command"
    return "agent" if provider.worker in AGENT_WORKERS else ""


def _worker(path: FieldPath, plan: Plan, task: Task) -> Iterator[Finding]:
    """What is wrong if the task's pool runs commands and it is none, or the other way round."""
    pool = plan.providers[task.provider or ""]
    here = (*path, "provider")
    because = (here, *((*path, field) for field in _WORK), ("providers", str(task.provider), "worker"))
    if task.command is not None:
        message = f"a command cannot run in {task.provider}, whose worker is {pool.worker}"
        yield Finding(here, message, "remove provider, so that it runs in local", because=because)
    else:
        message = f"an agent's task cannot run in {task.provider}, whose worker is command"
        yield Finding(here, message, "name another provider", because=because)


def _subagents(plan: Plan) -> Iterator[Finding]:
    """Agents that only a Claude session could run: model claude without a CLI (executor.py refuses them)."""
    pools: dict[str, None] = {}
    for name, task in plan.tasks.items():
        if task.command is not None or task.provider not in plan.providers:
            continue
        if not _is_subagent(assignment(plan, task, task.provider)):
            continue
        if task.model is None:
            pools[task.provider] = None
        else:
            yield _subagent(("tasks", name), "model")
    for provider in plan.providers.values():
        known = [name for name in provider.fallback if name in plan.providers]
        pools.update((name, None) for name in known if _is_subagent(assignment(plan, Task(), name)))
    for name in pools:
        yield _subagent(("providers", name), "model")


def _is_subagent(who: Assignment) -> bool:
    return who.worker == "executor" and who.model == "claude" and who.cli is None


def _subagent(path: FieldPath, field: str) -> Finding:
    return Finding(
        (*path, field),
        "model claude without a cli runs only inside a Claude session",
        "add cli: claude, or use model cc-sonnet or cc-opus",
        because=((*path, field), (*path, "cli"), (*path, "worker")),
    )


def _providers(plan: Plan) -> Iterator[Finding]:
    known = dict.fromkeys([*plan.providers, *BUILTIN_PROVIDERS])
    nearest = Nearest(known)
    for name, provider in plan.providers.items():
        path = ("providers", name)
        yield from _env((*path, "env"), provider.env)
        account = provider.account or ""
        if not account.isprintable() or len(account) > MAX_ACCOUNT:
            message = f"{shown(account)} cannot name an account"
            remedy = f"at most {MAX_ACCOUNT} printable characters, the same for all providers that share its limits"
            yield Finding((*path, "account"), message, remedy)
        if provider.worker == CLI_WORKER:
            yield from _flags((*path, "options"), provider.options)
        seen = set()
        for index, other in enumerate(provider.fallback):
            here = (*path, "fallback", index)
            if other in seen:
                yield Finding(here, f"names {shown(other)} twice", "keep one")
            elif other == name:
                yield Finding(here, "a provider cannot be its own fallback", "remove it")
            elif other not in plan.providers:
                yield Finding(here, f"unknown provider {shown(other)}", choice(other, known, nearest))
            elif {_kind(provider), _kind(plan.providers[other])} == {"agent", "command"}:
                message = f"{other} cannot take over from {name}: only one of them runs commands"
                yield Finding(here, message, "name a provider with the same worker")
            seen.add(other)


def _flags(path: FieldPath, options: dict[str, Any]) -> Iterator[Finding]:
    """What of the options of the worker `cli` has not even the right shape; which flags it takes is its own affair."""
    for key in options:
        if key != "args":
            yield Finding((*path, key), f"unknown option {shown(key)}", "the worker cli takes args")
    args = options.get("args", [])
    if not isinstance(args, list) or not all(isinstance(arg, str) and arg for arg in args):
        yield Finding((*path, "args"), "not a list of flags", "write args: [--flag=value]")
