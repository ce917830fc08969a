"""JSON plans. They may be generated and large: a good one is decoded straight into structs, in little memory.

Only if that fails is the text read again into a tree with positions, to say where; so a mistake costs
more time than a good plan, and both ways must accept the same.
"""

from __future__ import annotations

import json
import re
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import msgspec

from daplug_supervisor.core.plan import DURATION_FIELDS, Id, Plan, parse_duration
from daplug_supervisor.formats.checks import check
from daplug_supervisor.formats.findings import MAX_PROBLEMS, Finding, Findings, UnreadableError, escaped
from daplug_supervisor.formats.nodes import (
    MAX_DEPTH,
    Broken,
    Mapping,
    Scalar,
    Sequence,
    TooManyError,
    Tree,
)
from daplug_supervisor.formats.report import Source, checked, failure
from daplug_supervisor.formats.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Iterator

_GAP = re.compile(r"[\s,:]*")
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')
_WORD = re.compile(r'[^\s{}\[\],:"]+')
_BRACKETS = re.compile(rf"{_STRING.pattern}|[{{}}\[\]]")
_NOT_JSON = re.compile("NaN|-?Infinity")
_LONG_NUMBER = re.compile(rb"\d{19}")
# NUL and halves of surrogate pairs; whole pairs are rare enough to be read the slow way too.
_UNSENDABLE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")

_raw_mapping = msgspec.json.Decoder(dict[str, msgspec.Raw])
_raw_tasks = msgspec.json.Decoder(dict[Id, msgspec.Raw])
_task = msgspec.json.Decoder(dict[str, Any])


def read(source: Source) -> Plan:
    """Read a JSON plan.

    Raises:
        json.JSONDecodeError: it is not JSON.
        PlanError: it has problems.
    """
    try:
        json.loads(source.text, object_pairs_hook=_unique, parse_constant=_refuse, parse_int=str)
        plan, more = _straight(source)
        first = list(islice(chain(more, check(plan)), MAX_PROBLEMS))
        if not first:
            return plan
    except json.JSONDecodeError:
        raise
    except RecursionError:
        finding = Finding((), f"nested more than {MAX_DEPTH} levels deep", at=_too_deep(source.text))
        raise failure([finding], source) from None
    except ValueError as error:  # msgspec's errors are among them
        first = [Finding((), escaped(str(error), 300))]
    return _through_tree(source, first)


def _through_tree(source: Source, first: list[Finding]) -> Plan:
    """Read the slow way, which knows positions; `first` is what to say if the plan is too large for that."""
    found = Findings()
    tree = Tree(source.text, found)
    try:
        _feed(source.text, tree)
        plan = checked(tree.root or Broken(0), source, found)
    except TooManyError:
        raise failure(first, source) from None
    except UnreadableError:
        pass
    if found:
        raise failure(found, source, tree.root)
    return plan


def _unique(pairs: list[tuple[str, Any]]) -> None:
    # Returning nothing keeps this pass small: the values are decoded again, into something better.
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a key is written twice")


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


def _straight(source: Source) -> tuple[Plan, list[Finding]]:
    """The plan and what is wrong with its providers.

    Raises:
        ValueError: something does not fit, or needs a closer look.
    """
    if _UNSENDABLE.search(source.text):
        raise ValueError("contains a NUL character or half of a surrogate pair")
    parts = _raw_mapping.decode(source.text)
    tasks = _raw_tasks.decode(parts.pop("tasks", b"{}"))
    providers = bytes(parts.get("providers", b""))
    if _LONG_NUMBER.search(providers) or _too_deep(providers.decode(), 1):
        raise ValueError("options too deep, or with too large a number")
    head = {key: _with_seconds(msgspec.json.decode(raw)) for key, raw in parts.items()}
    if "timeout" in head:
        head = _with_seconds(head)
    return resolve(head, _tasks(tasks), default_name=source.default_name, processors=source.processors)


def _tasks(raw: dict[str, msgspec.Raw]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, text in raw.items():
        task: dict[str, Any] = _with_seconds(_task.decode(text))
        if "blocked_by" in task:
            if "needs" in task:
                raise ValueError("needs and blocked_by")
            task["needs"] = task.pop("blocked_by")
        yield name, task


def _with_seconds(values: Any) -> Any:
    """Durations that are text become seconds, here and in `retry`; anything else is left as it is."""
    if isinstance(values, dict):
        for key in DURATION_FIELDS & values.keys():
            if isinstance(values[key], str):
                values[key] = parse_duration(values[key])
        if "retry" in values:
            _with_seconds(values["retry"])
    return values


def _feed(text: str, tree: Tree) -> None:
    """Feed valid JSON to `tree`.

    Raises:
        UnreadableError: too deep or too much.
    """
    at = _end(_GAP, text, 0)
    while at < len(text):
        letter, end = text[at], at + 1
        if letter == "{":
            tree.start(Mapping({}, at))
        elif letter == "[":
            tree.start(Sequence([], at))
        elif letter in "}]":
            tree.end()
        elif letter == '"':
            end = _end(_STRING, text, at)
            inner = text[at + 1 : end - 1]
            tree.add(Scalar(json.loads(text[at:end]) if "\\" in inner else inner, plain=False, at=at))
        else:
            end = _end(_WORD, text, at)
            word = text[at:end]
            if _NOT_JSON.fullmatch(word):
                tree.problem(f"{word} is not JSON", "leave the field out", at)
                tree.add(Broken(at))
            else:
                tree.add(Scalar(word, plain=True, at=at))
        at = _end(_GAP, text, end)


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else len(text)


def _too_deep(text: str, depth: int = 0) -> int:
    """The offset at which JSON first nests too deep, when it begins `depth` levels deep; 0 if it does not."""
    for match in _BRACKETS.finditer(text):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(match[0], 0)
        if depth > MAX_DEPTH:
            return match.start()
    return 0
