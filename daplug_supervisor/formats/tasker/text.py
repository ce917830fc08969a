"""What the agent of a ``.tasker`` task is told: its bundle in words. It knows nothing of other tasks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from daplug_supervisor.core.tasker import bundle as task_bundle
from daplug_supervisor.core.tasker.records import LOG, FileWork, Home, TaskFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Place = Callable[[str], str]

_MOST_VALUE = 20_000
_REFERENCE = re.compile(r"\$\{(?=[ \t]*[A-Za-z0-9._-]{0,64}?\.outputs\b)")
"""What is filled in elsewhere with what a task hands on (`core.instructions.template`); here it is the planner's."""

_OWN = """\
You do one task of a plan. What you need to know of the others is in here and in the bundle; begin with nothing else \
of theirs. Whoever started you keeps the plan's state and commits your work when it is proven: do not touch \
{home}/state.json, {home}/tasks or {home}/artifacts, and do not commit.

- Bundle: `{bundle}` has all that follows as JSON. Read it; do not change it.
- {place}
"""

_LOG = """\
## Log

Append to `{log}` one line for each thing worth knowing: that you begin, what you decide and why, which files you \
write, what goes wrong, that you are done. Its form is:

    [2026-01-31T12:00:00+00:00] [INFO] [task-executor] decision: {task}: parse with the standard library

The second bracket is INFO, WARN or ERROR; the word before the colon is start, decision, tool, complete or error.
"""

_END = """\
## When you are done

Hand in your result, as you are told how. The last line that you print is then exactly one of these, and nothing \
comes after it:

    {task}: SUCCESS
    {task}: FAILED - the reason in one line
"""


def instructions(home: Home, task: TaskFile, *, in_worktree: bool = False) -> str:
    """The text of a task's prompt.

    Files are named by absolute paths; in a worktree of its own that would be those of another checkout.
    """

    def place(path: str) -> str:
        return path if in_worktree else f"{home.target}/{path}"

    where = (
        "You work in a worktree of your own: the paths below are from the directory that you are in."
        if in_worktree
        else f"Target directory: `{home.target}`."
    )
    bundle = f"{home.directory}/{task_bundle.place(task.id)}"
    parts = [
        f"# {task.id}: {task.name}\n",
        _OWN.format(home=home.directory, bundle=bundle, place=where),
        _section("What it has to do", _behaviors(home, task)),
        _section("Where it belongs", _fields(task.context)),
        _section("Files that you may change", _files(home, task, place), "Change no other file."),
        _section("Files of the tasks before, to read", _before(home, task, place)),
        _section("What has to be there", (f"- {one}" for one in task.external)),
        _section("Constraints", _constraints(home, task)),
        _section("State machine", _machine(home, task)),
        _section("Proof", _proof(task), "Run the commands before you end. They are run again after you."),
        _LOG.format(log=f"{home.directory}/{LOG}", task=task.id),
        _END.format(task=task.id),
    ]
    return _REFERENCE.sub("$${", "\n".join(part for part in parts if part))


def _section(title: str, lines: Iterable[str], end: str = "") -> str:
    text = "\n".join(lines)
    if not text:
        return ""
    return f"## {title}\n\n{text}\n" + (f"\n{end}\n" if end else "")


def _behaviors(home: Home, task: TaskFile) -> Iterator[str]:
    for one in home.behaviors_of(task):
        kind = f" ({one.type})" if one.type else ""
        yield f"- {f'{one.id} {one.name}'.strip()}{kind}{_told(one.description)}"


def _files(home: Home, task: TaskFile, place: Place) -> Iterator[str]:
    for one in task.files:
        layer = home.layer_of(one)
        yield f"- {one.action} `{place(one.path)}`{f' ({layer})' if layer else ''}{_told(one.purpose)}"


def _before(home: Home, task: TaskFile, place: Place) -> Iterator[str]:
    """What the tasks right before it were to leave: from the plan alone, so that a restart says the same."""
    works: list[FileWork] = [
        one for name in task.needs if name in home.tasks for one in home.tasks[name].files
    ]
    for path in dict.fromkeys(one.path for one in works if one.action != "delete"):
        yield f"- `{place(path)}`"


def _constraints(home: Home, task: TaskFile) -> Iterator[str]:
    yield from _fields(task.constraints)
    if home.constraints.strip():
        yield f"\n{home.constraints.strip()[:_MOST_VALUE]}"


def _machine(home: Home, task: TaskFile) -> Iterator[str]:
    if task.state_machine is None:
        return
    names = {key: name for machine in home.machines.values() for key, name in machine.states.items()}
    known = {one.id: one for one in home.transitions_of(task)}
    for name in task.state_machine.transitions_covered:
        one = known.get(name)
        if one is None:
            yield f"- transition {name}"
            continue
        way = " -> ".join(f"{key} {names.get(key, '')}".strip() for key in (one.from_state, one.to_state))
        guards = "; ".join(f"{guard.invariant_id} {guard.condition}".strip() for guard in one.guards)
        yield f"- transition {name}: {way}{_told(one.trigger)}{f' [if {guards}]' if guards else ''}"
    for what, ids in (
        ("guards that must hold", task.state_machine.guards_enforced),
        ("states that are reached", task.state_machine.states_reached),
    ):
        if ids:
            yield f"- {what}: {', '.join(f'{one} {names.get(one, str())}'.strip() for one in ids)}"


def _proof(task: TaskFile) -> Iterator[str]:
    for number, one in enumerate(task.acceptance_criteria, 1):
        yield f"{number}. {one.criterion.strip()}"
        if one.verification:
            yield f"\n       {one.verification}\n"


def _fields(given: dict[str, Any]) -> Iterator[str]:
    """What an object says, a line each; what is no text is JSON."""
    for key, value in given.items():
        if value not in (None, "", [], {}, False):
            text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            yield f"- {key}: {text[:_MOST_VALUE]}"


def _told(text: str) -> str:
    return f": {text.strip()}" if text.strip() else ""
