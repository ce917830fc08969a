"""A PLAN.md to a plan: each TODO that is not ticked is a task, and so is each step of the end.

What is read of it is in `todos`, what its TODOs need of each other in `todo_needs`, how they are told in
`todo_words`. `path` stays the truth of what is done: who drives the plan ticks it there (`ticks`).
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from daplug_supervisor.core.plan import LOCAL, Commit, Criterion, Origin, Plan, Provider, Retry, Task
from daplug_supervisor.core.secrets import tokens
from daplug_supervisor.errors import PlanError, Problem
from daplug_supervisor.formats.checks import check
from daplug_supervisor.formats.findings import (
    MAX_PROBLEMS,
    Lines,
    Nearest,
    choice,
    dotted,
    escaped,
    fit_id,
    shown,
)
from daplug_supervisor.formats.imported import AS_DAPLUG, Imported
from daplug_supervisor.formats.prompts.models import DEFAULT_MODEL
from daplug_supervisor.formats.resolve import BUILTIN_PROVIDERS
from daplug_supervisor.formats.todos import context
from daplug_supervisor.formats.todos.folder import FolderError, begin_of, read_file
from daplug_supervisor.formats.todos.needs import Links, links
from daplug_supervisor.formats.todos.sections import Checklist, Todo, parse, plain
from daplug_supervisor.formats.todos.substeps import BEGIN, COMPLETE, REPORT, REST
from daplug_supervisor.formats.todos.tables import CommitRow
from daplug_supervisor.formats.todos.words import instructions

CONTEXT: Final = "context"
"""The folder beside a PLAN.md that holds what its TODOs hand on."""

MOST_BYTES: Final = 1 << 20
DEFAULT_PROVIDER: Final = DEFAULT_MODEL

_DEV = ".dev"
_FILE_NAME = 300
_CONTROL = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")
_MARK = re.compile(
    rb"^(?:\xef\xbb\xbf)? {0,3}#{1,6}[ \t]*+(?:\[[ xX]?\])?[ \t]*+TODO[ \t]++\w+[ \t]*+:", re.MULTILINE
)
_MOST_NAMED = 3


class Finalize(Struct, frozen=True):
    """The commands of the steps that are no TODO; `begin` and `complete` are of pull requests only."""

    rest: tuple[str, ...]
    report: tuple[str, ...]
    begin: tuple[str, ...] = ()
    complete: tuple[str, ...] = ()


def is_one(path: Path) -> bool:
    """Whether a file is a PLAN.md: that is its name, or it is Markdown with headings of TODOs."""
    if path.suffix.lower() != ".md":
        return False
    found = begin_of(path, MOST_BYTES)
    return found is not None and (path.name.lower() == "plan.md" or _MARK.search(found) is not None)


def target_of(path: Path, root: Path) -> Path:
    """The directory that a PLAN.md is about: `root` if it is within that, else the repository that it is in."""
    found, above = Path(os.path.realpath(path)), Path(os.path.realpath(root))
    if above in found.parents:
        return root
    for folder in found.parents:
        if folder.name == _DEV:
            return folder.parent
        if os.path.lexists(folder / ".git"):
            return folder
    return root


def finalize_of(path: Path) -> Finalize:
    """The commands of the steps that are no TODO, where there is no pull request: ours."""
    ours = (sys.executable, "-P", "-m", "daplug_supervisor", "finish")
    name = os.path.basename(os.path.dirname(os.path.realpath(path)))  # noqa: PTH119, PTH120  as realpath gives it
    return Finalize(rest=(*ours, "commit-rest", f"--name={name}"), report=(*ours, "report"))


def read(
    path: Path,
    target: Path,
    *,
    finalize: Finalize,
    pr: int | None = None,
    provider: str = DEFAULT_PROVIDER,
    providers: Mapping[str, Provider] | None = None,
    task: Task = AS_DAPLUG,
) -> Imported:
    """The plan of a PLAN.md within `target`: what of it is not ticked.

    Args:
        path: the file.
        target: the directory that the run is about.
        finalize: the commands of the steps that are no TODO.
        pr: the number of the pull request, for what is done for one.
        provider: who works on the TODOs; one of `providers`, or a built-in one.
        providers: those that there are beside the built-in ones.
        task: what all TODOs have in common.

    Raises:
        PlanError: it cannot be read or used; with every problem that was found, in file order.
    """
    name = escaped(str(path), _FILE_NAME)
    place = _place(path, target, name)
    text = _text(path, name)
    found = parse(text)
    saved = _saved(path.resolve().parent / CONTEXT, found)
    linked = links(found, saved)
    problems = sorted((*found.problems, *linked.problems), key=lambda one: one.line)
    if not found.todos and not problems:
        problems.append(Problem("has no TODO", "write one: '### [ ] TODO 1: title'"))
    if problems:
        raise PlanError([_in_file(one, name) for one in problems[:MAX_PROBLEMS]])
    maker = _Maker(found, linked, replace(task, provider=provider), pr is not None)
    known = {**BUILTIN_PROVIDERS, **(providers or {})}
    if provider not in known:
        remedy = choice(provider, known, Nearest(known))
        raise PlanError([Problem(f"unknown provider {shown(provider)}", remedy, name)])
    used = dict.fromkeys((provider, *(providers or {}), *known[provider].fallback, LOCAL))
    plan = Plan(
        name=fit_id(path.resolve().parent.name, "plan"),
        tasks=maker.tasks(finalize),
        providers={one: known[one] for one in used if one in known},
        on_failure="halt",
        origin=Origin("checklist", place),
        saved_outputs=saved,
    )
    _checked(plan, found, name)
    return Imported(plan, notes=(*linked.notes, *maker.notes))


def _place(path: Path, target: Path, name: str) -> str:
    """Where a PLAN.md is, from the target; what is a link counts as what it leads to."""
    try:
        found = path.resolve().relative_to(target.resolve())
    except (OSError, ValueError, RuntimeError):
        remedy = "run it from the repository that it is in"
        raise PlanError(
            [Problem(f"is not within {escaped(str(target), _FILE_NAME)}", remedy, name)]
        ) from None
    return found.as_posix()


def _text(path: Path, name: str) -> str:
    """The text of a PLAN.md; bytes that are not UTF-8 are kept, as halves of surrogate pairs."""
    try:
        data = read_file(Path(os.path.realpath(path)), MOST_BYTES)
    except FolderError as error:
        raise PlanError([Problem(error.message, error.remedy, name)]) from None
    text = data.decode("utf-8", "surrogateescape")
    control = _CONTROL.search(text)
    if control:
        position = Lines(text).position(control.start())
        raise PlanError([Problem(f"control character {shown(control[0])}", "remove it", name, *position)])
    whole = Lines(text)
    remedy = "leave it in the environment, and name its variable in pass_env"
    secrets = [
        Problem(f"holds {what}", remedy, name, *whole.position(at))
        for at, what in islice(tokens(plain(text)), MAX_PROBLEMS)
    ]
    if secrets:
        raise PlanError(secrets)
    return text


def _saved(folder: Path, plan: Checklist) -> dict[str, dict[str, Any]]:
    """What the TODOs that are ticked have handed on."""
    ticked = {todo.id for todo in plan.todos if todo.ticked}
    if not ticked:
        return {}
    try:
        return {name: found for name, found in context.outputs(folder).items() if name in ticked}
    except FolderError as error:
        raise PlanError([Problem(error.message, error.remedy, escaped(error.place, _FILE_NAME))]) from None


def _in_file(problem: Problem, name: str) -> Problem:
    return Problem(problem.message, problem.remedy, name, problem.line, problem.column, problem.field)


def _checked(plan: Plan, found: Checklist, name: str) -> None:
    """What is wrong with the plan as a whole.

    Raises:
        PlanError: something is.
    """
    lines = {todo.id: todo.line for todo in found.todos}
    problems = []
    for one in check(plan):
        line = lines.get(str(one.path[1]), 0) if len(one.path) > 1 else 0
        problems.append(Problem(one.message, one.remedy, name, line, 1 if line else 0, dotted(one.path)))
    if problems:
        raise PlanError(problems)


class _Maker:
    """Makes tasks of TODOs.

    Args:
        found: the plan as it was read.
        linked: what its TODOs need of each other.
        common: what they have in common.
        pr: whether it is done for a pull request.
    """

    def __init__(self, found: Checklist, linked: Links, common: Task, pr: bool) -> None:  # noqa: FBT001
        self._open = [todo for todo in found.todos if not todo.ticked]
        self._ids = {todo.id for todo in self._open}
        self._commits = {row.number.lower(): row for row in found.commits}
        self._linked, self._common, self._pr = linked, common, pr
        self.notes: list[str] = []
        ticked = len(found.todos) - len(self._open)
        if ticked:
            self.notes.append(f"{ticked} of {len(found.todos)} TODOs are ticked, and left out")

    def tasks(self, given: Finalize) -> dict[str, Task]:
        """The TODOs that are not ticked, and the steps before and after them."""
        open_ones = {todo.id: self._todo(todo) for todo in self._open}
        rest = _command("commit what is left", given.rest, tuple(open_ones))
        if not self._pr:
            return {**open_ones, REST: rest, REPORT: _command("report", given.report, (REST,))}
        begin = replace(_command("begin the pull request", given.begin, ()), retry=Retry(1))
        return {
            BEGIN: begin,
            **open_ones,
            REST: rest if open_ones else replace(rest, needs=(BEGIN,)),
            COMPLETE: _command("complete the pull request", given.complete, (REST,)),
            REPORT: _command("report", given.report, (COMPLETE,)),
        }

    def _todo(self, todo: Todo) -> Task:
        looks = todo.kind == "verification"
        row = self._commits.get(todo.number.lower())
        before = tuple(one for one in self._linked.needs[todo.id] if one in self._ids)
        self._tell(todo)
        return replace(
            self._common,
            title=todo.title or todo.name,
            instructions=instructions(todo, () if row is None else row.files),
            needs=before or ((BEGIN,) if self._pr else ()),
            inputs={name: plain(value.text) for name, value in todo.inputs.found.items()},
            outputs=self._linked.outputs[todo.id],
            accept=_accept(todo),
            result=True,
            fix_rounds=0 if looks else self._common.fix_rounds,
            retry=Retry(1) if looks else self._common.retry,
            commit=self._commit(todo, row),
        )

    def _commit(self, todo: Todo, row: CommitRow | None) -> Commit | None:
        if row is None or row.when == "never":
            return None
        message = row.message or f"{todo.id}: {todo.title or todo.name}"
        return Commit(plain(message), tuple(map(plain, row.files)), plain(row.when), self._pr)

    def _tell(self, todo: Todo) -> None:
        """Say which criteria of a TODO are not looked at."""
        blind = [item.name for item in todo.criteria if item.run is None]
        if blind:
            named = "; ".join(map(escaped, blind[:_MOST_NAMED]))
            more = f" and {len(blind) - _MOST_NAMED} more" if len(blind) > _MOST_NAMED else ""
            self.notes.append(
                f"TODO {todo.number}: {len(blind)} of {len(todo.criteria)} criteria have no command to be run, "
                f"and are not ticked: {named}{more}"
            )
        vague = [item.name for item in todo.criteria if item.expected.vague]
        if vague:
            named = "; ".join(map(escaped, vague[:_MOST_NAMED]))
            more = f" and {len(vague) - _MOST_NAMED} more" if len(vague) > _MOST_NAMED else ""
            self.notes.append(f"TODO {todo.number}: only the exit code is looked at of: {named}{more}")


def _command(title: str, argv: tuple[str, ...], needs: tuple[str, ...]) -> Task:
    return Task(title=title, command=argv, needs=needs, provider=LOCAL, timeout=900.0)


def _accept(todo: Todo) -> tuple[Criterion, ...]:
    return tuple(
        Criterion(
            item.run,
            name=item.name,
            expect_exit=item.expected.exit,
            expect_output=item.expected.output,
            category=item.category,
        )
        for item in todo.criteria
        if item.run is not None
    )
