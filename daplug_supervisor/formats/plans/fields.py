"""Checks a tree of nodes against the structs of `core.plan`, field by field, and turns it into plain values.

Every field that does not fit becomes a finding and is left out, so that one load reports all mistakes. The
structs themselves are the schema: nothing about single fields is repeated here.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from msgspec import inspect

from daplug_supervisor.core.plan import PlanFile, Task
from daplug_supervisor.formats.findings import (
    FieldPath,
    Finding,
    Findings,
    Nearest,
    UnreadableError,
    choice,
    shown,
)
from daplug_supervisor.formats.plans.leaves import (
    BAD,
    UNSENDABLE,
    advice,
    bare,
    described,
    id_alphabet,
    leaf,
    seen,
)
from daplug_supervisor.formats.plans.nodes import Broken, Mapping, Node, Scalar, Sequence, resolved

_FREE = inspect.AnyType()
_TEXT = inspect.StrType()


def plain_plan(root: Node, found: Findings) -> dict[str, Any]:
    """What a plan file says, as plain values that fit `PlanFile`; `found` takes what does not fit.

    Raises:
        UnreadableError: too many findings, not a mapping, or written for a newer version.
    """
    if not isinstance(root, Mapping):
        found.append(
            Finding((), f"expected a mapping, found {seen(root)}", "begin with tasks: {<id>: {...}}")
        )
        raise UnreadableError
    version = root.entries.get("version", (0, None))[1]
    number = resolved(version) if isinstance(version, Scalar) else None
    if isinstance(number, int | float) and number > 1:
        # The fields of a version that we do not know are not worth judging.
        remedy = "upgrade daplug-supervisor: this one reads version 1"
        found[:] = [Finding(("version",), "the plan is written for a newer version", remedy)]
        raise UnreadableError
    return _struct(root, PlanFile, (), found)


@cache
def _fields(cls: type) -> dict[str, tuple[inspect.Type, bool]]:
    info = inspect.type_info(cls)
    fields = info.fields if isinstance(info, inspect.StructType) else ()
    return {field.encode_name: bare(field.type) for field in fields}


def _struct(node: Mapping, cls: type, path: FieldPath, found: Findings) -> dict[str, Any]:
    fields = _fields(cls)
    result: dict[str, Any] = {}
    for key, (at, child) in node.entries.items():
        name = "needs" if key == "blocked_by" and cls is Task else key
        if name not in fields:
            found.note(_unknown(key, at, path, cls))
        elif name != key and name in node.entries:
            found.note(Finding((*path, key), "needs and blocked_by are the same thing", "keep needs", at))
        else:
            kind, null = fields[name]
            value = _value(child, kind, (*path, key), found, null=null)
            if value is not BAD:
                result[name] = value
    return result


def _listed(kind: inspect.Type) -> inspect.Type:
    """What of a type that a value may have is a list."""
    kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    return next((one for one in kinds if isinstance(one, inspect.VarTupleType)), kind)


def _complete(cls: type, values: dict[str, Any], node: Mapping, path: FieldPath, found: Findings) -> bool:
    """Whether a mapping has all that it must have. What is there and does not fit has been told."""
    missing = [name for name in _required(cls) if name not in values]
    for name in missing:
        if name not in node.entries:
            found.note(Finding(path, f"has no {name}", f"add {name}: ...", node.at))
    return not missing


@cache
def _required(cls: type) -> tuple[str, ...]:
    info = inspect.type_info(cls)
    return (
        tuple(field.encode_name for field in info.fields if field.required)
        if isinstance(info, inspect.StructType)
        else ()
    )


def _unknown(key: str, at: int, path: FieldPath, cls: type) -> Finding:
    known = [*_fields(cls)]
    nearest = Nearest([*known, "blocked_by"] if cls is Task else known)
    guess = nearest(key)
    meant = (*path, "needs" if guess == "blocked_by" else guess) if guess else ()
    remedy = choice(key, known, nearest)
    return Finding((*path, key), f"unknown field {shown(key)}", remedy, at, stands_for=meant)


def _value(node: Node, kind: inspect.Type, path: FieldPath, found: Findings, *, null: bool = False) -> Any:
    value: Any = BAD
    kind = _listed(kind) if isinstance(node, Sequence) else kind
    match kind, node:
        case _, Broken():
            return BAD
        case _, Scalar() if null and resolved(node) is None:
            value = None
        case inspect.StructType(), Mapping():
            value = _struct(node, kind.cls, path, found)
            if not _complete(kind.cls, value, node, path, found):
                return BAD
        case inspect.DictType(), Mapping():
            value = _dict(node, kind, path, found)
        case inspect.VarTupleType(), Sequence() if len(node.items) >= (kind.min_length or 0):
            return _list(node, bare(kind.item_type)[0], path, found)
        case inspect.AnyType(), _:
            return _free(node, path, found)
        case _, Scalar():
            value = leaf(node, kind)
    if value is BAD:
        found.note(Finding(path, f"expected {described(kind)}, found {seen(node)}", advice(node, kind, path)))
    return value if _sendable(value, path, node.at, found) else BAD


def _list(node: Sequence, kind: inspect.Type, path: FieldPath, found: Findings) -> Any:
    values = [_value(one, kind, (*path, index), found) for index, one in enumerate(node.items)]
    # Without the bad items the indexes would not be those of the file any more.
    return BAD if any(value is BAD for value in values) else values


def _dict(node: Mapping, kind: inspect.DictType, path: FieldPath, found: Findings) -> dict[str, Any]:
    key_kind, kind_of_value = bare(kind.key_type)[0], bare(kind.value_type)[0]
    result: dict[str, Any] = {}
    for key, (at, child) in node.entries.items():
        here = (*path, key)
        if leaf(Scalar(key, plain=False, at=at), key_kind) is BAD:
            found.note(Finding(here, f"{shown(key)} is not an id", id_alphabet(), at))
        elif _sendable(key, here, at, found):
            value = _value(child, kind_of_value, here, found)
            if value is not BAD:
                result[key] = value
            elif isinstance(kind_of_value, inspect.StructType):
                result[key] = {}  # its name still counts, so that whoever needs it is not blamed too
    return result


def _free(node: Mapping | Sequence | Scalar, path: FieldPath, found: Findings) -> Any:
    """Values of any type, for `options`; recursion ends at `nodes.MAX_DEPTH`."""
    if isinstance(node, Mapping):
        return _dict(node, inspect.DictType(_TEXT, _FREE), path, found)
    if isinstance(node, Sequence):
        return _list(node, _FREE, path, found)
    value = resolved(node)
    if isinstance(value, float) and not math.isfinite(value):
        found.note(Finding(path, f"{seen(node)} is too large a number", "put it in quotes"))
        return BAD
    return value if _sendable(value, path, node.at, found) else BAD


def _sendable(value: Any, path: FieldPath, at: int, found: Findings) -> bool:
    bad = UNSENDABLE.search(value) if isinstance(value, str) else None
    if bad:
        what = "a NUL character" if bad[0] == "\0" else "half of a surrogate pair"
        found.note(Finding(path, f"contains {what}", "remove it", at))
    return bad is None
