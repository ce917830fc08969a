"""The shapes in which ``.tasker`` files come, brought into one (`core.tasker.records`).

Agents and several versions of that system have written them, so what comes before a task has many names. What cannot
be understood is a `ShapeError`, with its field.
"""

from __future__ import annotations

import os
import re
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from daplug_supervisor.core.plan import ID_PATTERN
from daplug_supervisor.core.tasker.records import (
    DIRECTORY,
    Behavior,
    Machine,
    Session,
    TaskFile,
    Transition,
    Word,
)
from daplug_supervisor.formats.findings import escaped, shown

T = TypeVar("T")

_ID = re.compile(ID_PATTERN)
_MANUAL = re.compile(r"(?:manual(?:ly)?|n/?a|none|by hand|inspect(?:ion)?|review)\b", re.IGNORECASE)
_KEPT_APART: Final = frozenset({".git", ".daplug", DIRECTORY})
_MOST_PATH = 1000
_STATUSES: dict[str, Word] = {"completed": "complete", "done": "complete", "in_progress": "running"}
_ACTIONS = {"add": "create", "new": "create", "update": "modify", "edit": "modify", "remove": "delete"}
_COVERED = ("transitions_covered", "guards_enforced", "states_reached")
_NEEDS = ("dependencies", "depends_on", "blocked_by", "needs")
_KINDS = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}


class ShapeError(Exception):
    """A field cannot be understood: `where` is its path."""

    def __init__(self, where: str, message: str, remedy: str = "correct it, or have it planned anew") -> None:
        super().__init__(message)
        self.where, self.message, self.remedy = where, message, remedy


def task(value: Any, stem: str, target: str) -> TaskFile:
    """A task's file; `stem` is its name without the end.

    Raises:
        ShapeError: something in it cannot be used.
    """
    raw = _mapping(value, "document")
    name = raw.get("id", stem)
    if not isinstance(name, str) or not _ID.search(name):
        raise ShapeError("id", f"{shown(str(name))} is not an id", "give it one such as T001")
    if name != stem:
        raise ShapeError("id", f"it is {shown(name)}, and its file has another name", f"call it {name}.json")
    external = raw["dependencies"].get("external") if isinstance(raw.get("dependencies"), dict) else None
    machine = _mapping(raw.get("state_machine") or {}, "state_machine")
    covered = {key: _texts(machine.get(key), f"state_machine.{key}") for key in _COVERED}
    files = [_file(one, f"files.{at}", target) for at, one in enumerate(_list(raw, "files"))]
    criteria = _list(raw, "acceptance_criteria")
    return _converted(
        {
            **{key: raw[key] for key in ("phase", "wave", "task_type") if raw.get(key) is not None},
            "id": name,
            "name": raw.get("name") or raw.get("title") or name,
            "behaviors": _texts(raw.get("behaviors"), "behaviors"),
            "files": files,
            "needs": _needs(raw),
            "external": _texts(external, "dependencies.external"),
            "acceptance_criteria": [
                _criterion(one, f"acceptance_criteria.{at}") for at, one in enumerate(criteria)
            ],
            "context": _words(raw.get("context"), "description"),
            "constraints": _words(raw.get("constraints"), "raw"),
            "state_machine": covered if machine else None,
        },
        TaskFile,
    )


def session(value: Any) -> Session:
    """``state.json``.

    Raises:
        ShapeError: something in it cannot be used.
    """
    raw = _mapping(value, "document")
    phase = raw.get("phase") or ""
    tasks = raw.get("tasks") or {}
    if isinstance(tasks, list):
        tasks = {str(_mapping(one, f"tasks.{at}").get("id")): one for at, one in enumerate(tasks)}
    known = {}
    for name, one in _mapping(tasks, "tasks").items():
        given = _without_nulls(_mapping(one, f"tasks.{escaped(name)}"))
        word = str(given.get("status", "pending")).lower()
        known[name] = {**given, "id": name, "status": _STATUSES.get(word, word)}
    return _converted(
        {
            "target_dir": raw.get("target_dir") or "",
            "phase": (phase.get("current") or "") if isinstance(phase, dict) else phase,
            "tasks": known,
            "artifacts": raw.get("artifacts") or {},
        },
        Session,
    )


def behaviors(value: Any) -> dict[str, Behavior]:
    """What a capability map says of behaviours, by id.

    Raises:
        ShapeError: it cannot be used.
    """
    found: dict[str, Behavior] = {}
    for at, domain in enumerate(_list(_mapping(value, "document"), "domains")):
        here = f"domains.{at}"
        for number, one in enumerate(_list(_mapping(domain, here), "capabilities", here)):
            where = f"{here}.capabilities.{number}"
            capability = _mapping(one, where)
            of = {
                "capability": str(capability.get("name") or ""),
                "capability_id": str(capability.get("id") or ""),
                "domain": str(domain.get("name") or ""),
            }
            for place, raw in enumerate(_list(capability, "behaviors", where)):
                path = f"{where}.behaviors.{place}"
                known = _converted({**_without_nulls(_mapping(raw, path)), **of}, Behavior, f"{path}.")
                found.setdefault(known.id, known)
    return found


def layers(value: Any) -> dict[str, str]:
    """Which layer each file of a physical map belongs to.

    Raises:
        ShapeError: it cannot be used.
    """
    found: dict[str, str] = {}
    for at, one in enumerate(_list(_mapping(value, "document"), "file_mapping")):
        here = f"file_mapping.{at}"
        given = _mapping(one, here)
        for work in (*_list(given, "files", here), *_list(given, "tests", here)):
            path, layer = (work.get("path"), work.get("layer")) if isinstance(work, dict) else ("", "")
            if isinstance(path, str) and isinstance(layer, str) and path and layer:
                found.setdefault(os.path.normpath(path), layer)
    return found


def machine_files(value: Any) -> list[tuple[Machine, str, str]]:
    """The machines of an index, each with the names of the files of its states and of its transitions.

    Raises:
        ShapeError: it cannot be used.
    """
    found = []
    for at, one in enumerate(_list(_mapping(value, "document"), "machines")):
        raw = _mapping(one, f"machines.{at}")
        files = _mapping(raw.get("files") or {}, f"machines.{at}.files")
        names = [str(files.get(kind) or raw.get(f"{kind}_file") or "") for kind in ("states", "transitions")]
        plain = {key: text for key in ("id", "name", "level") if (text := raw.get(key)) is not None}
        found.append((_converted(plain, Machine, f"machines.{at}."), names[0], names[1]))
    return found


def transitions(value: Any) -> tuple[Transition, ...]:
    """The transitions of a state machine.

    Raises:
        ShapeError: they cannot be used.
    """
    found = []
    for at, one in enumerate(_list(_mapping(value, "document"), "transitions")):
        here = f"transitions.{at}"
        raw = _without_nulls(_mapping(one, here))
        trigger = raw.get("trigger", "")
        guards = [*_list(raw, "guards", here), *([raw["guard"]] if raw.get("guard") else [])]
        plain = {
            **raw,
            "trigger": (trigger.get("name") or "") if isinstance(trigger, dict) else trigger,
            "guards": [{"condition": g} if isinstance(g, str) else _without_nulls(g) for g in guards],
        }
        found.append(_converted(plain, Transition, f"{here}."))
    return tuple(found)


def states(value: Any) -> dict[str, str]:
    """The states of a state machine: their names by id.

    Raises:
        ShapeError: they cannot be used.
    """
    raw = _list(_mapping(value, "document"), "states")
    given = [_mapping(one, f"states.{at}") for at, one in enumerate(raw)]
    return {str(one["id"]): str(one.get("name") or "") for one in given if one.get("id")}


def within(path: str, target: str) -> tuple[str, str]:
    """What is wrong with a path that a task may change ('' if nothing), and the path from the target."""
    clean = os.path.normpath(path)
    if os.path.isabs(clean):  # noqa: PTH117 (paths are text here)
        clean = os.path.relpath(clean, target)
    first = clean.split("/", 1)[0]
    if not path.strip() or len(path) > _MOST_PATH or clean == "." or first == "..":
        return f"{shown(path)} is no file in the target", ""
    if first in _KEPT_APART or clean.startswith((":", "-")):
        return f"{shown(path)} is not for a task to change", ""
    real, root = os.path.realpath(f"{target}/{clean}"), os.path.realpath(target)
    if not f"{real}/".startswith(f"{root.rstrip('/')}/"):
        return f"{shown(path)} leads out of the target by a link", ""
    return "", clean


# --- parts ----------------------------------------------------------------------------------------------------


def _needs(raw: dict[str, Any]) -> list[str]:
    """What comes before a task, wherever its file says so, each once."""
    found: list[str] = []
    for where in _NEEDS:
        given = raw.get(where)
        if isinstance(given, dict):
            found += _texts(given.get("tasks"), f"{where}.tasks")
        else:
            found += _texts(given, where)
    return list(dict.fromkeys(found))


def _file(value: Any, where: str, target: str) -> dict[str, Any]:
    given = {"path": value} if isinstance(value, str) else _without_nulls(_mapping(value, where))
    path = given.get("path")
    if not isinstance(path, str):
        _bad(path, f"{where}.path", "text")
    problem, clean = within(path, target)
    if problem:
        raise ShapeError(f"{where}.path", problem, "name a file of the project, by its path from the target")
    action = str(given.get("action", "modify")).lower()
    return {**given, "path": clean, "action": _ACTIONS.get(action, action)}


def _criterion(value: Any, where: str) -> dict[str, Any]:
    """A criterion in words, and how it is shown. What a person is to look at has no command."""
    given = {"criterion": value} if isinstance(value, str) else _without_nulls(_mapping(value, where))
    line = given.get("verification", given.get("command", ""))
    if not isinstance(line, str):
        _bad(line, f"{where}.verification", "a line for the shell, as text")
    line = line.strip()
    words = given.get("criterion", given.get("description", "")) or line
    return {"criterion": words, "verification": "" if _MANUAL.match(line) else line}


# --- values ---------------------------------------------------------------------------------------------------


def _converted(value: dict[str, Any], kind: type[T], prefix: str = "") -> T:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$")
        path = re.sub(r"\[(\d+|\.\.\.)\]", r".\1", where.strip("`.")) or "document"
        raise ShapeError(prefix + escaped(path, 200), escaped(message, 300)) from None


def _mapping(value: Any, where: str) -> dict[str, Any]:
    return value if isinstance(value, dict) else _bad(value, where, "an object")


def _list(given: dict[str, Any], key: str, prefix: str = "") -> list[Any]:
    value = given.get(key)
    if value is None:
        return []
    return value if isinstance(value, list) else _bad(value, f"{prefix}.{key}".lstrip("."), "a list")


def _texts(value: Any, where: str) -> list[str]:
    """A list of texts, such as ids; objects stand for their own."""
    if value is None:
        return []
    if not isinstance(value, list):
        _bad(value, where, "a list")
    found: list[Any] = [one.get("id") if isinstance(one, dict) else one for one in value]
    for at, one in enumerate(found):
        if not isinstance(one, str):
            _bad(one, f"{where}.{at}", "text")
    return found


def _words(value: Any, key: str) -> Any:
    """Something that is an object, a text or a list of texts, as an object."""
    if not value:
        return {}
    if isinstance(value, list):
        return {"patterns": [str(one) for one in value]}
    return {key: value} if isinstance(value, str) else value


def _without_nulls(value: Any) -> Any:
    return {key: one for key, one in value.items() if one is not None} if isinstance(value, dict) else value


def _bad(value: Any, where: str, wanted: str) -> NoReturn:
    found = _KINDS.get(type(value), "a number")
    raise ShapeError(where, f"expected {wanted}, found {found}", f"write {wanted}")
