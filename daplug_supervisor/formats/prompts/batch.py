"""From chosen prompts to a plan: a task for each prompt and model, a pool for each model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import replace

from daplug_supervisor.core.plan import Budget, Plan, Provider, Task
from daplug_supervisor.errors import PlanError, Problem
from daplug_supervisor.formats.checks import check
from daplug_supervisor.formats.findings import dotted, fit_id
from daplug_supervisor.formats.prompts.files import Prompt
from daplug_supervisor.formats.prompts.models import Who

if TYPE_CHECKING:
    from collections.abc import Sequence

PARALLEL = 3
ATTEMPT_TIMEOUT = 45 * 60.0
RUN_TIMEOUT = 3 * 3600.0
_LONGEST_ID = 64


class Item(Struct, frozen=True):
    """A prompt, what it waits for, and who runs it, if not whoever runs the batch."""

    prompt: Prompt
    needs: tuple[Path, ...] = ()
    who: Who | None = None


class Batch(Struct, frozen=True, kw_only=True):
    """What holds for all prompts. With several in `who` each prompt is given to all of them, in worktrees.

    `fallback` take over, in this order, from whoever cannot go on; `task` is what all tasks have in common.
    """

    who: tuple[Who, ...]
    fallback: tuple[Who, ...] = ()
    parallel: int = PARALLEL
    worker: str = "executor"
    options: dict[str, Any] = field(default_factory=dict)
    task: Task = Task()
    timeout: float | None = None
    budget: Budget | None = None
    pass_env: tuple[str, ...] = ()
    name: str = "run-prompt"


def make_plan(items: Sequence[Item], batch: Batch) -> Plan:
    """The plan of a batch.

    Raises:
        PlanError: it is not possible, for example without prompts, or model claude without a CLI.
    """
    pools = _Pools(batch)
    ids = _Ids()
    tasks: dict[str, Task] = {}
    of: dict[Path, list[str]] = {}
    waiting: dict[str, tuple[Path, ...]] = {}
    several = len(batch.who) > 1
    for item in items:
        stem = f"{item.prompt.folder}-{item.prompt.path.stem}"
        for who in batch.who if several else (item.who or batch.who[0],):
            name = ids.new(stem, f"-moa-{who.label}" if several else "")
            of.setdefault(item.prompt.path, []).append(name)
            waiting[name] = item.needs
            tasks[name] = replace(
                batch.task,
                title=item.prompt.title,
                prompt=str(item.prompt.path),
                provider=pools.of(who),
                worktree=batch.task.worktree or several,
            )
    for name, needs in waiting.items():
        needed = tuple(dict.fromkeys(other for path in needs for other in of.get(path, ())))
        tasks[name] = replace(tasks[name], needs=needed)
    plan = Plan(
        name=batch.name,
        tasks=tasks,
        providers=pools.declared(),
        timeout=batch.timeout,
        budget=batch.budget,
        pass_env=batch.pass_env,
    )
    problems = [Problem(one.message, one.remedy, field=dotted(one.path)) for one in check(plan)]
    if problems:
        raise PlanError(problems)
    return plan


class _Pools:
    """The pools of a batch, by who runs in them."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._ids = _Ids()
        self._names: dict[Who, str] = {}

    def of(self, who: Who) -> str:
        """The pool of a model."""
        if who not in self._names:
            self._names[who] = self._ids.new(who.label, "", "model")
        return self._names[who]

    def declared(self) -> dict[str, Provider]:
        """All pools that are used, each with those that take over from it."""
        batch = self._batch
        first = dict(self._names)
        reserve = list(dict.fromkeys(map(self.of, batch.fallback)))
        return {
            name: Provider(
                model=who.model,
                parallel=batch.parallel,
                worker=batch.worker,
                cli=who.cli,
                variant=who.variant,
                fallback=tuple(other for other in reserve if other != name) if who in first else (),
                options=batch.options,
            )
            for who, name in self._names.items()
        }


class _Ids:
    """Gives out ids, each once, without regard to case."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def new(self, stem: str, end: str, default: str = "prompt") -> str:
        """An id that begins as `stem` does, and ends with `end`, both made to fit."""
        end = end and f"-{fit_id(end, 'model')[: _LONGEST_ID // 2]}"
        begin = fit_id(stem, default)
        name, number = f"{begin[: _LONGEST_ID - len(end)]}{end}", 1
        while name.lower() in self._taken:
            number += 1
            tail = f"{end}-{number}"
            name = f"{begin[: _LONGEST_ID - len(tail)]}{tail}"
        self._taken.add(name.lower())
        return name
