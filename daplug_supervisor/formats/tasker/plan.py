"""A ``.tasker`` directory to a plan: each task that is not over is one, with its bundle in words and its criteria."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field
from msgspec.structs import replace

from daplug_supervisor.core.plan import Category, Commit, Criterion, Origin, Plan, Provider, Task
from daplug_supervisor.core.tasker.records import (
    CAPABILITY_MAP,
    DIRECTORY,
    OVER,
    STATE,
    Home,
    TaskCriterion,
    TaskFile,
)
from daplug_supervisor.errors import PlanError, Problem
from daplug_supervisor.formats.checks import check
from daplug_supervisor.formats.findings import dotted, escaped, shown
from daplug_supervisor.formats.imported import AS_DAPLUG, Imported
from daplug_supervisor.formats.resolve import BUILTIN_PROVIDERS
from daplug_supervisor.formats.tasker.home import find, home
from daplug_supervisor.formats.tasker.text import instructions

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME: Final = "tasker"
"""Of such plans; a directory has one session, and so its runs have one name."""

DEFAULT_PROVIDER: Final = "claude"
PARALLEL: Final = 3

_LONGEST_NAME = 200
_LOWEST = 1000
_MOST_NOTES = 20
_STATIC = re.compile(
    r"(?:\S+/)?(?:grep|rg|ruff|mypy|pyright|flake8|black|eslint|prettier|tsc|gofmt|golangci-lint|shellcheck)\b"
)
_RUNTIME = re.compile(r"(?:\S+/)?(?:curl|wget|docker|psql|redis-cli)\b")


class Chosen(Struct, frozen=True):
    """Who runs the tasks, and what all of them have in common."""

    provider: str = DEFAULT_PROVIDER
    providers: dict[str, Provider] = field(default_factory=lambda: dict(BUILTIN_PROVIDERS))
    task: Task = AS_DAPLUG


def read(target: Path, chosen: Chosen | None = None) -> Imported:
    """The plan of the session in a target: what of it is not over. A plan without tasks if all of it is.

    Raises:
        NotPlannedError: there is no session, or it has no tasks.
        PlanError: something in it cannot be used.
    """
    found = home(target)
    return plan_of(found, chosen or Chosen(), str(target / DIRECTORY))


def plan_of(found: Home, chosen: Chosen, shown_as: str) -> Imported:
    """The plan of a session; `shown_as` is what its user has called the directory.

    Raises:
        PlanError: the tasks do not go together.
    """
    problems = [*_unknown_needs(found, shown_as)]
    left = {name: one for name, one in found.tasks.items() if found.status(name) not in OVER}
    tasks = {name: _task(found, one, chosen) for name, one in left.items()}
    plan = Plan(NAME, tasks, _pools(chosen), origin=Origin("tasker", DIRECTORY))
    for one in check(plan) if tasks else ():
        inside = one.path[:1] == ("tasks",) and len(one.path) > 1
        file = f"tasks/{one.path[1]}.json" if inside else STATE
        where = dotted(one.path[2:] if inside else one.path)
        problems.append(Problem(one.message, one.remedy, escaped(f"{shown_as}/{file}", 400), field=where))
    if problems:
        raise PlanError(problems)
    notes = [*found.notes, *(line for one in left.values() for line in _remarks(found, one))]
    more = [f"and {len(notes) - _MOST_NOTES} more notes"] if len(notes) > _MOST_NOTES else []
    return Imported(plan, PARALLEL, (*notes[:_MOST_NOTES], *more), Path(found.target))


def _task(found: Home, task: TaskFile, chosen: Chosen) -> Task:
    title = one_line(task.name) or task.id
    return replace(
        chosen.task,
        title=title,
        instructions=instructions(found, task, in_worktree=chosen.task.worktree),
        needs=tuple(name for name in task.needs if name in found.tasks and found.status(name) not in OVER),
        provider=chosen.provider,
        priority=-max(0, min(task.phase, _LOWEST)),
        accept=tuple(_criterion(one) for one in task.acceptance_criteria if one.verification),
        files=tuple(dict.fromkeys(one.path for one in task.files)),
        result=True,
        commit=Commit(f"{task.id}: {title}"),
        rollback=True,
    )


def _criterion(one: TaskCriterion) -> Criterion:
    return Criterion(one.verification, one_line(one.criterion), category=_category(one.verification))


def _category(line: str) -> Category:
    if _STATIC.match(line):
        return "static"
    return "runtime" if _RUNTIME.match(line) else "functional"


def _unknown_needs(found: Home, shown_as: str) -> Iterator[Problem]:
    """Tasks that others wait for, and that there are not; what is over may have gone."""
    for task in found.tasks.values():
        for name in task.needs:
            if name not in found.tasks and found.status(name) not in OVER:
                remedy = "write that task, or take it out of the dependencies"
                file = f"{shown_as}/tasks/{task.id}.json"
                yield Problem(
                    f"there is no task {shown(name)}", remedy, escaped(file, 400), field="dependencies"
                )


def _remarks(found: Home, task: TaskFile) -> Iterator[str]:
    """What a person should know of a task."""
    told = [one.criterion for one in task.acceptance_criteria if not one.verification]
    if told or not task.acceptance_criteria:
        what = f"no command shows that {escaped(told[0])}" if told else "it has no acceptance criteria"
        more = f", and {len(told) - 1} more" if len(told) > 1 else ""
        yield f"{task.id}: {what}{more}: that is left to a person"
    unknown = [name for name in task.behaviors if name not in found.behaviors]
    if unknown:
        yield f"{task.id}: {CAPABILITY_MAP} does not have {', '.join(escaped(one, 40) for one in unknown[:5])}"


def _pools(chosen: Chosen) -> dict[str, Provider]:
    """The provider, and those that take over from it."""
    pools, left = dict[str, Provider](), [chosen.provider]
    while left:
        name = left.pop()
        if name in chosen.providers and name not in pools:
            pools[name] = chosen.providers[name]
            left += pools[name].fallback
    return pools


def one_line(text: str) -> str:
    """A text of bounded length on one line, fit to be a title or the subject of a commit."""
    return escaped(" ".join(text.split()), _LONGEST_NAME)


__all__ = ["Chosen", "find", "home", "plan_of", "read"]
