"""The bundle of a ``.tasker`` task: all that its executor needs in one file, with checksums of what it is made from."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct, field
from msgspec.structs import replace

from daplug_supervisor.core.plan import Id
from daplug_supervisor.core.tasker.records import (
    CAPABILITY_MAP,
    CONSTRAINTS,
    FSM_INDEX,
    OVER,
    PHYSICAL_MAP,
    SPEC,
    VERSION,
    Behavior,
    FileWork,
    Home,
    TaskCriterion,
    TaskFile,
    Transition,
)

FOLDER: Final = "bundles"
BUNDLE_END: Final = "-bundle.json"
ARTIFACTS: Final = (CAPABILITY_MAP, PHYSICAL_MAP, FSM_INDEX, SPEC, CONSTRAINTS)
"""What every bundle is made from, beside the task's own file and those of the state machines."""

INPUTS: Final = frozenset({SPEC, CONSTRAINTS})
"""Those that are text, and that a bundle can do without."""

Checksum = Annotated[str, Meta(pattern=r"^(sha256:[0-9a-f]{64})?(?!\n)$")]
"""Of a file; '' for one that is not there."""


class BundleDependencies(Struct, frozen=True):
    """What comes before a task: tasks, files that they have left (paths from the target), and what else must be."""

    tasks: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    external: tuple[str, ...] = ()


class BundleMachine(Struct, frozen=True):
    """What a task has to do with the state machines, with the transitions in full."""

    transitions_covered: tuple[str, ...] = ()
    guards_enforced: tuple[str, ...] = ()
    states_reached: tuple[str, ...] = ()
    transitions_detail: tuple[Transition, ...] = ()


class BundleSums(Struct, frozen=True):
    """Checksums: of `artifacts` (paths in ``.tasker``), `dependencies` (paths from the target), the bundle itself."""

    artifacts: dict[str, Checksum] = field(default_factory=dict)
    dependencies: dict[str, Checksum] = field(default_factory=dict)
    bundle: Checksum = ""


class TaskBundle(Struct, frozen=True, kw_only=True):
    """``bundles/T001-bundle.json``. `target_dir` is absolute; `bundle_created_at` is ISO 8601, UTC."""

    version: Literal["1.0"] = VERSION
    bundle_created_at: str
    task_id: Id
    name: str
    phase: int = 1
    target_dir: Annotated[str, Meta(pattern="^/")]
    behaviors: tuple[Behavior, ...]
    files: tuple[FileWork, ...]
    acceptance_criteria: tuple[TaskCriterion, ...]
    constraints: dict[str, Any] = field(default_factory=dict)
    dependencies: BundleDependencies = BundleDependencies()
    context: dict[str, Any] = field(default_factory=dict)
    state_machine: BundleMachine | None = None
    checksums: BundleSums


class Dependency(Struct, frozen=True):
    """A file of a task before, by its path from the target. `certain`: that task is over, and has said so."""

    path: str
    certain: bool


def place(task: str) -> str:
    """Where the bundle of a task is, from ``.tasker``."""
    return f"{FOLDER}/{task}{BUNDLE_END}"


def make(home: Home, task: TaskFile, files: tuple[str, ...], sums: BundleSums, created: str) -> TaskBundle:
    """The bundle of a task; `files` are those of the tasks before it."""
    return TaskBundle(
        bundle_created_at=created,
        task_id=task.id,
        name=task.name or task.id,
        phase=task.phase,
        target_dir=home.target,
        behaviors=home.behaviors_of(task),
        files=tuple(replace(work, layer=home.layer_of(work)) for work in task.files),
        acceptance_criteria=task.acceptance_criteria,
        constraints=_constraints(home, task),
        dependencies=BundleDependencies(task.needs, files, task.external),
        context=_context(home, task),
        state_machine=_machine(home, task),
        checksums=sums,
    )


def _machine(home: Home, task: TaskFile) -> BundleMachine | None:
    found = task.state_machine
    if found is None:
        return None
    details = home.transitions_of(task)
    return BundleMachine(found.transitions_covered, found.guards_enforced, found.states_reached, details)


def _constraints(home: Home, task: TaskFile) -> dict[str, Any]:
    return {**({"raw": home.constraints} if home.constraints else {}), **task.constraints}


def _context(home: Home, task: TaskFile) -> dict[str, Any]:
    """Why the task is there: what it says itself, and what the capability map knows of its first behaviour."""
    first = next((one for one in home.behaviors_of(task) if one.capability_id or one.capability), None)
    known = (
        {"domain": first.domain, "capability": first.capability, "capability_id": first.capability_id}
        if first
        else {}
    )
    spec = {"spec": f"{home.directory}/{SPEC}"} if home.has_spec else {}
    return {**{key: value for key, value in known.items() if value}, **spec, **task.context}


def lost(home: Home, task: TaskFile) -> tuple[str, ...]:
    """The tasks that one needs and that are nowhere, one line each."""
    return tuple(
        f"task {name}, which it needs, has no file in tasks/"
        for name in task.needs
        if name not in home.tasks and home.status(name) not in OVER
    )


def dependencies(home: Home, task: TaskFile) -> tuple[Dependency, ...]:
    """The files of the tasks right before: those that they say they have left, else those that they were to make."""
    found: dict[str, bool] = {}
    for name in task.needs:
        known = home.session.tasks.get(name)
        left = (*known.files_created, *known.files_modified) if known else ()
        over = home.status(name) == "complete"
        if over and left:
            found |= dict.fromkeys(left, True)
        elif name in home.tasks and home.status(name) != "skipped":
            planned = (work.path for work in home.tasks[name].files if work.action != "delete")
            found = {**dict.fromkeys(planned, not over), **found}
    return tuple(Dependency(path, certain) for path, certain in found.items())


def below(path: str, target: str) -> str | None:
    """A path from the target, which may be written as an absolute one; None if it is not below it."""
    clean = posixpath.normpath(path)
    if posixpath.isabs(clean):
        clean = posixpath.relpath(clean, target)
    outside = clean in ("", ".", "..") or clean.startswith("../") or "\0" in clean
    return None if outside else clean


def unsealed(bundle: TaskBundle) -> bytes:
    """What the checksum of a bundle is of: all of it but when it was made, and that checksum."""
    return msgspec.json.encode(
        replace(bundle, bundle_created_at="", checksums=replace(bundle.checksums, bundle="")), order="sorted"
    )


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """What has changed between two sets of checksums, one line each."""
    rows = []
    for path in sorted({*before, *now}):
        old, new = before.get(path, ""), now.get(path, "")
        if old != new:
            rows.append(f"{path} {'is new' if not old else 'is gone' if not new else 'has changed'}")
    return tuple(rows)


class Integrity(Struct, frozen=True):
    """Whether the bundle of a task may be used.

    `verdict`: ``good``; ``drift``, with what has `changed` since it was made; ``failed``, with `problems` and their
    `category`. `regenerated`: it was made anew.
    """

    task: str
    verdict: Literal["good", "drift", "failed"]
    changed: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    category: Literal["", "dependency"] = ""
    regenerated: bool = False

    @property
    def code(self) -> int:
        """0 for good, 2 for drift, 1 for failed."""
        return {"good": 0, "drift": 2, "failed": 1}[self.verdict]


def failed(task: str, *problems: str) -> Integrity:
    """A bundle that may not be used."""
    return Integrity(task, "failed", problems=problems, category="dependency")
