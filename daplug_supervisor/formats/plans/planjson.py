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

from daplug_supervisor.core.plan import DURATION_FIELDS, MAX_TASKS, Id, Plan, parse_duration
from daplug_supervisor.formats.checks import check
from daplug_supervisor.formats.findings import (
    MAX_PROBLEMS,
    Finding,
    Findings,
    UnreadableError,
    escaped,
    shown,
)
from daplug_supervisor.formats.plans.nodes import (
    MAX_DEPTH,
    MAX_VALUES,
    Broken,
    Mapping,
    Scalar,
    Sequence,
    TooManyError,
    Tree,
)
from daplug_supervisor.formats.plans.report import Source, checked, failure
from daplug_supervisor.formats.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Iterator

_GAP = re.compile(r"[\s,:]*")
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')
_WORD = re.compile(r'[^\s{}\[\],:"]+')
_BRACKETS = re.compile(rf"{_STRING.pattern}|[{{}}\[\]]")
_ENDS = re.compile(rf"{_STRING.pattern}|}}")
_STEP = re.compile(r"[A-Za-z_]+")
_NOT_JSON = re.compile("NaN|-?Infinity")
_LONG_NUMBER = re.compile(rb"\d{19}")
# NUL and halves of surrogate pairs; whole pairs are rare enough to be read the slow way too.
_UNSENDABLE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")

MAX_PARTS = 600_000
"""Commas and braces in a plan: what is found out about one takes about a second, and 100 MB."""

_decoder = json.JSONDecoder()
_raw_mapping = msgspec.json.Decoder(dict[str, msgspec.Raw])
_raw_tasks = msgspec.json.Decoder(dict[Id, msgspec.Raw])
_task = msgspec.json.Decoder(dict[str, Any])


def read(source: Source) -> Plan:
    """Read a JSON plan.

    Raises:
        json.JSONDecodeError: it is not JSON.
        PlanError: it has problems.
    """
    at_task: list[str] = []
    try:
        _strictly_json(source.text)
        plan, more = _straight(source, at_task)
        first = list(islice(chain(more, check(plan)), MAX_PROBLEMS))
        if not first:
            return plan
    except json.JSONDecodeError:
        raise
    except _TwiceError as error:
        first = [
            Finding((), f"{shown(error.key)} is written twice", "keep one", _last_key(source.text, error))
        ]
    except RecursionError:
        finding = Finding((), f"nested more than {MAX_DEPTH} levels deep", at=_too_deep(source.text))
        raise failure([finding], source) from None
    except ValueError as error:  # msgspec's errors are among them
        path = (*(("tasks", at_task[0]) if at_task else ()), *_STEP.findall(str(error).partition("`$")[2]))
        first = [Finding(path, escaped(str(error).partition(" - at `$")[0], 300))]
    if source.text.count(",") + source.text.count(":") > MAX_VALUES:
        raise failure(first, source)  # a tree of it would take too long
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


class _TwiceError(ValueError):
    """In the object that is the `number`th to end, from 1, `key` is written twice."""

    def __init__(self, key: str, number: int) -> None:
        super().__init__(key)
        self.key, self.number = key, number


def _strictly_json(text: str) -> None:
    """Check that it is JSON of a bearable size, and that no key is written twice.

    Raises:
        ValueError: it is not; `json.JSONDecodeError` where the syntax is wrong.
        RecursionError: it is nested too deep.
    """
    if text.count(",") + text.count("{") > MAX_PARTS:
        raise ValueError(f"more than {MAX_PARTS:,} commas and braces: split the plan")
    ended = 0

    def unique(pairs: list[tuple[str, Any]]) -> None:
        # Returning nothing keeps this pass small: the values are decoded again, into something better.
        nonlocal ended
        ended += 1
        if len(dict(pairs)) != len(pairs):
            seen: set[str] = set()
            raise _TwiceError(next(key for key, _ in pairs if key in seen or seen.add(key)), ended)  # type: ignore[func-returns-value]

    words: list[str] = []
    # What becomes of numbers does not matter either, only that it is always the same small thing.
    json.loads(text, object_pairs_hook=unique, parse_constant=words.append, parse_int=str.isspace)
    if words:  # only now: what follows them may be no JSON either, and that counts first
        raise ValueError(f"{words[0]} is not JSON")


def _last_key(text: str, error: _TwiceError) -> int:
    """Where the key is written for the last time, in the object that ends as the given one."""
    ends = (match.start() for match in _ENDS.finditer(text) if match[0] == "}")
    end = next(islice(ends, error.number - 1, None))
    return text.rfind(json.dumps(error.key, ensure_ascii=False), 0, end)


def _straight(source: Source, at_task: list[str]) -> tuple[Plan, list[Finding]]:
    """The plan and what is wrong with its providers; `at_task` names the task that is being read.

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
    if len(tasks) > MAX_TASKS:
        at_task[:] = [next(islice(tasks, MAX_TASKS, None))]
        raise ValueError(f"{len(tasks):,} tasks: at most {MAX_TASKS:,} are allowed: split the plan")
    return resolve(
        head, _tasks(tasks, at_task), default_name=source.default_name, processors=source.processors
    )


def _tasks(raw: dict[str, msgspec.Raw], at_task: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in list(raw):
        at_task[:] = (name,)
        task: dict[str, Any] = _with_seconds(_task.decode(raw.pop(name)))  # gone, to make room for the task
        if "blocked_by" in task:
            if "needs" in task:
                raise ValueError("needs and blocked_by")
            task["needs"] = task.pop("blocked_by")
        yield name, task
    at_task.clear()


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
            inner, end = _decoder.raw_decode(text, at)
            tree.add(Scalar(inner, plain=False, at=at))
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
