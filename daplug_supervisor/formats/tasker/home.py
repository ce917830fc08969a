"""Reads a ``.tasker`` directory as a whole, and says all that is wrong in it."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from msgspec.structs import replace

from daplug_supervisor.core.secrets import tokens
from daplug_supervisor.core.tasker.records import (
    CAPABILITY_MAP,
    CONSTRAINTS,
    DIRECTORY,
    FSM_INDEX,
    PHYSICAL_MAP,
    SPEC,
    STATE,
    Home,
    Machine,
    Session,
    TaskFile,
)
from daplug_supervisor.errors import NotPlannedError, PlanError, Problem
from daplug_supervisor.formats.findings import MAX_PROBLEMS, escaped
from daplug_supervisor.formats.tasker import shapes
from daplug_supervisor.formats.tasker.files import Files

T = TypeVar("T")

MOST_TASKS: Final = 5000

_MEND = "mend it, or have it planned anew"
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_OFFSET = re.compile(r"\(byte (\d+)\)")
_DIGITS = 16


def find(path: Path) -> Path | None:
    """The target whose ``.tasker`` is meant by a path: that directory, its state, or one that has it."""
    if path.name == STATE and path.parent.name == DIRECTORY:
        path = path.parent
    if path.name == DIRECTORY:
        return path.parent
    return path if os.path.isdir(path) and os.path.lexists(path / DIRECTORY) else None  # noqa: PTH112 (never raises)


def home(target: Path) -> Home:
    """What the ``.tasker`` directory of a target says.

    Raises:
        NotPlannedError: there is no session, or it has no tasks.
        PlanError: something in it cannot be used; `PlanError.problems` lists everything that was found.
    """
    return _Reading(target).home()


class _Reading:
    """Reads a session, and collects what is wrong in it."""

    def __init__(self, target: Path) -> None:
        self._target = os.path.abspath(target)  # noqa: PTH100 (a link is somebody's choice)
        self._shown = escaped(str(target / DIRECTORY), 300)
        self._files = Files(self._target)
        self._problems: list[Problem] = []
        self._sums: dict[str, str] = {}

    def home(self) -> Home:
        session = self._document(STATE, shapes.session)
        self._raise()
        if session is None:
            raise NotPlannedError(f"there is no session in {self._shown}: plan first, until it has a {STATE}")
        tasks = self._tasks(session)
        behaviors = self._document(CAPABILITY_MAP, shapes.behaviors, "capability_map") or {}
        layers = self._document(PHYSICAL_MAP, shapes.layers, "physical_map") or {}
        machines = self._machines()
        constraints = self._text(CONSTRAINTS, "constraints")
        has_spec = self._data(SPEC) is not None
        self._raise()
        return Home(
            directory=f"{self._target}/{DIRECTORY}",
            target=self._target,
            session=session,
            tasks=tasks,
            behaviors=behaviors,
            layers=layers,
            machines=machines,
            constraints=constraints,
            has_spec=has_spec,
            checksums=self._sums,
            notes=tuple(self._notes(session, tasks)),
        )

    # --- what it is made of

    def _tasks(self, session: Session) -> dict[str, TaskFile]:
        """All tasks, in the order of their phases, waves and names."""
        try:
            names = self._files.names(f"{DIRECTORY}/tasks")
        except OSError as error:
            self._wrong("tasks", f"cannot be read: {error.strerror}", "make it an ordinary directory")
            names = []
        if len(names) > MOST_TASKS:
            self._wrong(
                "tasks", f"{len(names):,} tasks: at most {MOST_TASKS:,} are allowed", "split the plan"
            )
            names = []
        found = [one for name in names if (one := self._task(name)) is not None]
        self._raise()
        if not found:
            stage = f" (its phase is {escaped(session.phase)})" if session.phase else ""
            raise NotPlannedError(f"{self._shown} has no tasks{stage}: plan first, until there are some")
        return {one.id: one for one in sorted(found, key=lambda one: (one.phase, one.wave))}

    def _task(self, stem: str) -> TaskFile | None:
        name = f"tasks/{stem}.json"
        data = self._data(name)
        found = self._understood(name, data, lambda value: shapes.task(value, stem, self._target))
        return found and replace(found, checksum=checksum(data or b""))

    def _machines(self) -> dict[str, Machine]:
        """The state machines, with what the files beside their index say."""
        found: dict[str, Machine] = {}
        folder = FSM_INDEX.rpartition("/")[0]
        for machine, states, transitions in (
            self._document(FSM_INDEX, shapes.machine_files, "fsm_index") or []
        ):
            found[machine.id] = replace(
                machine,
                states=(states and self._document(f"{folder}/{states}", shapes.states)) or {},
                transitions=(transitions and self._document(f"{folder}/{transitions}", shapes.transitions))
                or (),
            )
        return found

    def _notes(self, session: Session, tasks: dict[str, TaskFile]) -> list[str]:
        """What a person should know of it."""
        notes = []
        if session.target_dir and session.target_dir.rstrip("/") != self._target:
            place = escaped(session.target_dir, 200)
            notes.append(f"{STATE} names the target {place}; this one is {escaped(self._target, 200)}")
        verdict = session.artifacts.get("task_validation")
        if isinstance(verdict, dict) and verdict.get("verdict") == "BLOCKED":
            why = escaped(str(verdict.get("summary") or "see its reports"), 300)
            notes.append(f"the verdict on this plan is BLOCKED: {why}")
        over = sum(
            session.tasks[name].status in ("complete", "skipped") for name in tasks if name in session.tasks
        )
        if over:
            notes.append(f"{over} of {len(tasks)} tasks are complete or skipped, and left out")
        return notes

    # --- files

    def _document(self, name: str, understand: Callable[[Any], T], key: str = "") -> T | None:
        """What a JSON file says; None if there is none, or if it cannot be used, which is a problem."""
        data = self._data(name)
        if key and data is not None:
            self._sums[key] = checksum(data)
        return self._understood(name, data, understand)

    def _understood(self, name: str, data: bytes | None, understand: Callable[[Any], T]) -> T | None:
        if data is None:
            return None
        try:
            return understand(msgspec.json.decode(data))
        except shapes.ShapeError as error:
            self._wrong(name, error.message, error.remedy, error.where)
        except RecursionError:
            self._wrong(name, "is nested too deep", _MEND)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            at = _OFFSET.search(str(error))
            line = data.count(b"\n", 0, int(at[1])) + 1 if at else 0
            self._wrong(name, f"is no JSON: {escaped(str(error), 300)}", _MEND, line=line)
        return None

    def _text(self, name: str, key: str) -> str:
        data = self._data(name)
        if data is None:
            return ""
        self._sums[key] = checksum(data)
        return data.decode("utf-8", "replace")

    def _data(self, name: str) -> bytes | None:
        """What is in a file, if the journal and agents may get it; what may not is a problem."""
        try:
            data = self._files.read(f"{DIRECTORY}/{name}")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            self._wrong(name, f"cannot be read: {escaped(reason)}", "put an ordinary file in its place")
            return None
        if data is None:
            return None
        secret = next(tokens(data.decode("utf-8", "replace")), None)
        if secret is not None:
            remedy = "leave it in the environment, and name its variable in pass_env"
            self._wrong(name, f"holds {secret[1]}", remedy)
        elif _NUL.search(data):
            self._wrong(name, "contains a NUL character", "take it out")
        else:
            return data
        return None

    # --- problems

    def _wrong(self, name: str, message: str, remedy: str, field: str = "", line: int = 0) -> None:
        if len(self._problems) < MAX_PROBLEMS:
            file = f"{self._shown}/{escaped(name, 200)}"
            self._problems.append(Problem(message, remedy, file, line, 1 if line else 0, field))

    def _raise(self) -> None:
        if self._problems:
            raise PlanError(self._problems)


def checksum(data: bytes) -> str:
    """Of a file, as this format writes it: the first digits of its SHA-256."""
    return hashlib.sha256(data).hexdigest()[:_DIGITS]
