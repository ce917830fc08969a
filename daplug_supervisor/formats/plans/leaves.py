"""Single values of a plan file: whether a scalar fits a type, and what to say if it does not."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

from msgspec import inspect

from daplug_supervisor.core.plan import (
    ID_PATTERN,
    NAME_PATTERN,
    VARIABLE_PATTERN,
    WEBHOOK_PATTERN,
    Id,
    parse_duration,
)
from daplug_supervisor.formats.findings import FieldPath, escaped, shown
from daplug_supervisor.formats.plans.nodes import Node, Scalar, Sequence, resolved

BAD: Final = object()
"""In place of a value that does not fit."""

UNSENDABLE = re.compile("[\0\ud800-\udfff]")
"""What no argument, file name or UTF-8 text can hold: NUL, and halves of surrogate pairs."""

_DURATION = "write seconds, or text such as 90s, 45m, 1h30m"
_TASKS = "write tasks by their ids: tasks: {build: {...}, test: {...}}"
_SWITCHES = {**dict.fromkeys(("on", "yes", "y"), "true"), **dict.fromkeys(("off", "no", "n"), "false")}


def bare(kind: inspect.Type) -> tuple[inspect.Type, bool]:
    """The type without annotations and null; and whether null is allowed."""
    if isinstance(kind, inspect.Metadata):
        return bare(kind.type)
    if isinstance(kind, inspect.UnionType):
        left = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
        null = any(isinstance(one, inspect.NoneType) for one in kind.types)
        return (bare(left[0])[0] if len(left) == 1 else inspect.UnionType(tuple(left))), null
    return kind, False


def id_alphabet() -> str:
    """What an id may look like, in words."""
    kind = inspect.type_info(Id)
    return str((kind.extra_json_schema or {})["description"]) if isinstance(kind, inspect.Metadata) else ""


def leaf(node: Scalar, kind: inspect.Type) -> Any:  # noqa: PLR0911 - one return a type
    """The value of a scalar as a type wants it, or `BAD`. Texts are taken as written: 012 is "012"."""
    value = resolved(node)
    match kind:
        case inspect.StrType() if value is not None:
            fits = len(node.text) >= (kind.min_length or 0) and re.search(kind.pattern or "", node.text)
            return node.text if fits else BAD
        case inspect.BoolType() if isinstance(value, bool):
            return value
        case inspect.IntType():
            return _number(value, kind) if not isinstance(value, float) or value.is_integer() else BAD
        case inspect.FloatType():
            return _number(_seconds(value), kind)
        case inspect.LiteralType() if not isinstance(value, bool):
            return next(
                (one for one in kind.values if one == (node.text if isinstance(one, str) else value)), BAD
            )
        case inspect.UnionType():
            return next((one for one in (leaf(node, part) for part in kind.types) if one is not BAD), BAD)
    return BAD


def _number(value: Any, kind: inspect.IntType | inspect.FloatType) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return BAD
    low = -math.inf if kind.ge is None else kind.ge
    high = math.inf if kind.le is None else kind.le
    if not low <= value <= high:
        return BAD
    return int(value) if isinstance(kind, inspect.IntType) else float(value)


def _seconds(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return parse_duration(value)
    except ValueError:
        return BAD


def described(kind: inspect.Type) -> str:  # noqa: PLR0911 - one return a type
    """What a type wants, in words."""
    match kind:
        case inspect.StrType():
            known = {
                None: "text",
                ID_PATTERN: "an id",
                NAME_PATTERN: "a name",
                VARIABLE_PATTERN: "the name of a variable, or NAME_*",
                WEBHOOK_PATTERN: "an address (http or https), or $NAME of a variable",
            }
            words = known.get(kind.pattern, f"text like {kind.pattern}")
            return words if not kind.min_length else f"{words} that is not empty"
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return f"a whole number from {kind.ge} to {kind.le}"
        case inspect.FloatType():
            return "a duration of at most 366 days"
        case inspect.LiteralType():
            return (
                f"one of {', '.join(map(str, kind.values))}" if len(kind.values) > 1 else str(kind.values[0])
            )
        case inspect.UnionType():
            return " or ".join(map(described, kind.types))
        case inspect.VarTupleType():
            return "a list" if not kind.min_length else "a list that is not empty"
    return "a mapping"


def seen(node: Node) -> str:
    """What is written there, in words, printable."""
    match node:
        case Scalar(plain=True) if resolved(node) is None:
            return "nothing"
        case Scalar(plain=True):
            return escaped(node.text)
        case Scalar():
            return shown(node.text)
        case Sequence():
            return "a list" if node.items else "an empty list"
    return "a mapping"


def advice(node: Node, kind: inspect.Type, path: FieldPath) -> str:  # noqa: PLR0911 - one return a case
    """How to put right a value that does not fit."""
    if path == ("tasks",):
        return _TASKS
    if not isinstance(node, Scalar):
        return _DURATION if isinstance(kind, inspect.FloatType) else ""
    if resolved(node) is None:
        return "leave the field out, or give it a value"
    if isinstance(kind, inspect.VarTupleType):
        return _as_list(node, path[-1])
    if isinstance(kind, inspect.StrType) and kind.pattern == ID_PATTERN:
        return id_alphabet()
    switch = _SWITCHES.get(node.text.lower())
    if switch and leaf(Scalar(switch, plain=True, at=0), kind) is not BAD:
        return f"write {switch}"
    if not node.plain and leaf(Scalar(node.text, plain=True, at=0), kind) is not BAD:
        return "take the quotes away"
    return _DURATION if isinstance(kind, inspect.FloatType) else ""


def _as_list(node: Scalar, name: str | int) -> str:
    if name == "command":
        return f'write a list: command: ["sh", "-c", {escaped(json.dumps(node.text))}]'
    return f"write {name}: [{escaped(node.text)}]"
