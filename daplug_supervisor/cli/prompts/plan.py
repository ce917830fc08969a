"""From the words and options of ``run-prompt`` to a plan."""

from __future__ import annotations

import os
from math import inf
from pathlib import Path
from typing import Any

from daplug_supervisor.cli.prompts import quotas
from daplug_supervisor.core.plan import Loop, Plan, Retry, Task
from daplug_supervisor.errors import UsageError
from daplug_supervisor.formats.prompts import dependencies, groups, hints, models, quota
from daplug_supervisor.formats.prompts import files as prompts
from daplug_supervisor.formats.prompts.batch import Batch, Item, make_plan
from daplug_supervisor.formats.prompts.models import CLIS, Registry, Who
from daplug_supervisor.workers import locate
from daplug_supervisor.workers.executor import SANDBOX_OPTIONS
from daplug_supervisor.workers.settings import Settings

_FOR_GROUPS = 3 * 3600.0
_A_YEAR = 366 * 86400.0
_MODELS = Path("scripts", "models.json")
_ROOT_OF_EXECUTOR = len(locate.WITHIN.parts) - 1


def plan_of(
    selectors: tuple[str, ...], here: Path, executor: str | None, given: dict[str, Any]
) -> tuple[Plan, list[str]]:
    """The plan, and what should be said about it. `given`: the options by name.

    Raises:
        UsageError: something in them is wrong.
    """
    registry = _registry(here, executor)
    chosen = groups.choose([word.removeprefix(" ") for word in selectors], here)
    notes = list(chosen.notes)
    who, fallback, more = _who(given, here, registry)
    items, also = _items(chosen, given, who, registry)
    notes += [*more, *also]
    if given["tmux"]:
        notes.append("--tmux: no need of it: the run outlives this terminal; see 'task logs TASK --follow'")
    batch = Batch(
        who=who,
        fallback=fallback,
        parallel=given["parallel"],
        worker=given["worker"],
        options=_for_worker(given),
        task=_task(given, here),
        timeout=_run_timeout(given["run_timeout"], grouped=len(chosen.phases) > 1),
        budget=given["budget"],
        pass_env=given["pass_env"],
    )
    return make_plan(items, batch), notes


def _run_timeout(given: float | None, *, grouped: bool) -> float | None:
    """An agent-team run has three hours; a batch for the night has as long as it takes."""
    limit = (_FOR_GROUPS if grouped else inf) if given is None else given
    return None if limit == inf else limit


def _registry(here: Path, executor: str | None) -> Registry:
    """daplug's models, where daplug is to be found."""  # noqa: D403 (its name)
    try:
        found = locate.find(Settings(str(here), executor, os.environ))
        return models.read_registry((found.parents[_ROOT_OF_EXECUTOR] / _MODELS).read_bytes())
    except (UsageError, OSError, IndexError):
        return Registry()


def _who(
    given: dict[str, Any], here: Path, registry: Registry
) -> tuple[tuple[Who, ...], tuple[Who, ...], list[str]]:
    """Who runs the batch, who takes over, and what to say about their quotas."""
    cli = CLIS[given["cli"].lower()] if given["cli"] else None
    reserve = [models.parse(name) for name in given["fallback"]]
    percents = quotas.percents(here, os.environ)
    if given["moa"] is not None:
        others = [f"--{name}" for name in ("model", "cli", "fallback") if given[name]]
        if others:
            raise UsageError(f"--moa names the models itself, so {' and '.join(others)} cannot be beside it")
        mixed = models.mixture(given["moa"], registry, given["variant"])
        _, notes = quota.ordered(mixed, percents, registry)
        return mixed, (), notes
    main = Who(*_named(given["model"] or models.DEFAULT_MODEL, cli), given["variant"])
    for who, option in [(main, "--model"), *((one, "--fallback") for one in reserve)]:
        problem = registry.problem(who)
        if problem:
            raise UsageError(f"{option}: {problem}")
    takers = (main, *(_fitted(one, registry, given) for one in reserve))
    chain, notes = quota.ordered(dict.fromkeys(takers), percents, registry)
    return chain[:1], chain[1:], notes


def _named(model: str, cli: str | None) -> tuple[str, str | None]:
    """``--model``, which may name its CLI too."""
    who = models.parse(model)
    if who.cli and cli and who.cli != cli:
        raise UsageError(f"--model {model} and --cli {cli}: name one CLI")
    return who.model, cli or who.cli


def _fitted(who: Who, registry: Registry, given: dict[str, Any]) -> Who:
    """A model with the effort that is asked for, if it is known to have it."""
    return models.fitted(who, registry, given["variant"]) if registry.models else who


def _items(
    chosen: groups.Chosen, given: dict[str, Any], who: tuple[Who, ...], registry: Registry
) -> tuple[list[Item], list[str]]:
    all_prompts = [prompt for phase in chosen.phases for prompt in phase]
    words = {prompt.path: hints.said(prompts.read(prompt.path)) for prompt in all_prompts}
    needs, notes = chosen.needs(), list[str]()
    if given["auto_deps"]:
        linked = dependencies.link(chosen.phases, words)
        notes += linked.notes
        needs = {path: (*before, *linked.needs[path]) for path, before in needs.items()}
    items = []
    for prompt in all_prompts:
        hinted, note = None, ""
        if not given["no_hints"] and len(who) == 1:
            hinted, note = models.hinted(words[prompt.path], who[0], registry)
        notes += [f"{prompt.path.stem}: {note}"] if note else []
        items.append(Item(prompt, needs[prompt.path], hinted))
    return items, notes


def _task(given: dict[str, Any], here: Path) -> Task:
    """What all tasks have in common."""
    profile = given["sandbox_profile"]
    wanted = given["sandbox"] or any(given[name] for name in SANDBOX_OPTIONS)
    return Task(
        timeout=given["timeout"],
        idle_timeout=given["idle_timeout"],
        retry=Retry(given["attempts"]),
        loop=Loop(given["max_iterations"], given["completion_marker"]),
        worktree=given["worktree"],
        base=given["base"],
        on_conflict=given["on_conflict"],
        setup=given["setup"],
        setup_timeout=_A_YEAR if given["setup_timeout"] is None else given["setup_timeout"],
        sandbox=False if given["no_sandbox"] else profile or wanted,
        require_diff=given["require_diff"],
        cwd=_below(given["cwd"], here),
    )


def _below(cwd: str | None, here: Path) -> str | None:
    if cwd is None:
        return None
    place = Path(os.path.normpath(here / cwd))
    if not place.is_relative_to(here):
        raise UsageError(f"--cwd {cwd}: not below {here}; go there first, and run it from there")
    found = place.relative_to(here).as_posix()
    return None if found == "." else found


def _for_worker(given: dict[str, Any]) -> dict[str, Any]:
    """What only daplug's executor.py has a use for."""
    found = {name: given[name] for name in SANDBOX_OPTIONS if given[name] and not given["no_sandbox"]}
    if given["dangerously_bypass_permissions"]:
        found["dangerously_bypass_permissions"] = True
    if found and given["worker"] != "executor":
        names = ", ".join(f"--{name.replace('_', '-')}" for name in found)
        raise UsageError(f"{names}: only daplug's executor.py has that; leave --worker out")
    return found
