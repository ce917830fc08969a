"""Plan files, YAML or JSON, to complete plans: the only place that reads YAML.

Text becomes a tree of nodes with positions (`nodes`), the tree plain values (`fields`), those a Plan
(`resolve`), which is checked as a whole (`checks`). JSON takes a shorter way if it can (`planjson`).
"""

from __future__ import annotations

import json
import re
import stat
from itertools import islice
from typing import TYPE_CHECKING, Any

from daplug_supervisor.core.secrets import tokens
from daplug_supervisor.errors import PlanError, Problem
from daplug_supervisor.formats.findings import (
    MAX_PROBLEMS,
    Finding,
    Findings,
    Lines,
    UnreadableError,
    escaped,
    fit_id,
    shown,
)
from daplug_supervisor.formats.plans import planjson
from daplug_supervisor.formats.plans.nodes import Broken, Mapping, Scalar, Sequence, Tree, resolved
from daplug_supervisor.formats.plans.report import Source, checked, failure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import yaml

    from daplug_supervisor.core.plan import Plan

MAX_YAML_BYTES = 8 * 2**20
MAX_JSON_BYTES = 16 * 2**20

_FILE_NAME = 300
_PEEK = 1000
_CONTROL = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")
# The YAML library compares each directive with all before it: a file of them would take hours.
_DIRECTIVE = re.compile("^%", re.MULTILINE)
_TAG = "tag:yaml.org,2002:"
_CORE: dict[str, type | tuple[type, ...]] = {
    "null": type(None),
    "bool": bool,
    "int": int,
    "float": (float, int),
}


def load(path: Path, *, processors: int) -> Plan:
    """Read a plan file and complete it; see `loads`. The file stem is the plan's name if it gives none.

    Raises:
        PlanError: the file cannot be read, or has problems.
    """
    return loads(_content(path), file=str(path), default_name=path.stem, processors=processors)


def loads(text: bytes, *, file: str, default_name: str, processors: int) -> Plan:
    """Read a plan and complete it: defaults, providers and durations (seconds) are written into every task.

    `file` is the name for messages; if it ends in ``.json`` the text must be JSON, else it may be either.
    `default_name`, made to fit the id alphabet, is the plan's name if it gives none. `processors` is how many
    commands run at once unless the plan says so.

    Raises:
        PlanError: with every problem that was found, in file order.
    """
    name = escaped(file, _FILE_NAME)
    problem = _too_large(len(text), _limit(file, text[:_PEEK]), name)
    if problem is not None:
        raise PlanError([problem])
    maybe_json, size = _limit(file, text[:_PEEK]) == MAX_JSON_BYTES, len(text)
    source = Source(name, fit_id(default_name, "plan"), processors, _decoded(text, name))
    del text  # the decoded one is as large
    _refuse_tokens(source)
    if maybe_json:
        try:
            return planjson.read(source)
        except json.JSONDecodeError as error:
            # YAML in braces is YAML all the same.
            if file.lower().endswith(".json") or size > MAX_YAML_BYTES:
                raise failure([Finding((), f"not valid JSON: {error.msg}", at=error.pos)], source) from None
    return _read_yaml(source)


def _limit(file: str, begin: bytes) -> int:
    is_json = file.lower().endswith(".json") or begin.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")
    return MAX_JSON_BYTES if is_json else MAX_YAML_BYTES


def _too_large(size: int, limit: int, file: str) -> Problem | None:
    remedy = "write large plans as JSON" if limit == MAX_YAML_BYTES else "split the plan"
    return Problem(f"larger than {limit // 2**20} MiB", remedy, file) if size > limit else None


def _content(path: Path) -> bytes:
    """The file's bytes; its kind and size are checked before anything is read."""
    try:
        status = path.stat()
        problem = None
        if stat.S_ISDIR(status.st_mode):
            problem = Problem("is a directory", "name a plan file in it")
        elif not stat.S_ISREG(status.st_mode):
            problem = Problem("is not a regular file", "write the plan to a file first")
        if problem is None:
            with path.open("rb") as file:
                begin = file.read(_PEEK)
                limit = _limit(path.name, begin)
                problem = _too_large(status.st_size, limit, "")
                if problem is None:
                    return begin + file.read(limit)
    except FileNotFoundError:
        problem = Problem("there is no such file", "name an existing plan file")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        problem = Problem(f"cannot be read: {escaped(reason)}", "check its name and permissions")
    raise PlanError([Problem(problem.message, problem.remedy, escaped(str(path), _FILE_NAME))])


def _decoded(data: bytes, file: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + data.count(b"\n", 0, error.start)
        begin = data.rfind(b"\n", 0, error.start) + 1
        column = 1 + len(data[begin : error.start].decode("utf-8-sig" if line == 1 else "utf-8"))
        raise PlanError([Problem("not UTF-8", "save the file as UTF-8", file, line, column)]) from None
    control = _CONTROL.search(text)
    if control:
        remedy = "remove it"
        if control[0] != "\0":
            remedy += f', or write "\\u{ord(control[0]):04x}" in double quotes'
        position = Lines(text).position(control.start())
        raise PlanError([Problem(f"control character {shown(control[0])}", remedy, file, *position)])
    return text


def _refuse_tokens(source: Source) -> None:
    """A plan is kept in the journal, and its commands can be seen by all users of the machine."""
    remedy = "leave it in the environment, and name its variable in pass_env"
    found = [
        Finding((), f"holds {what}", remedy, at) for at, what in islice(tokens(source.text), MAX_PROBLEMS)
    ]
    if found:
        raise failure(found, source)


def _read_yaml(source: Source) -> Plan:
    found = Findings()
    tree = Tree(source.text, found)
    try:
        _parse(source.text, tree, found)
        if tree.root is None or (isinstance(tree.root, Scalar) and resolved(tree.root) is None):
            found.note(Finding((), "the plan is empty", "begin with tasks: {<id>: {...}}", at=0))
        else:
            plan = checked(tree.root, source, found)
    except UnreadableError:
        pass
    if found:
        raise failure(found, source, tree.root)
    return plan


def _parse(text: str, tree: Tree, found: Findings) -> None:
    """Feed the events of the YAML text to `tree`.

    Raises:
        UnreadableError: not YAML, or nothing that a plan may contain.
    """
    import yaml  # noqa: PLC0415 - JSON plans start faster without

    directive = _DIRECTIVE.search(text)
    if directive:
        found.append(Finding((), "YAML directives are not supported", "remove it", at=directive.start()))
        raise UnreadableError
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    events: Iterator[Any] = yaml.parse(text, Loader=loader)
    documents = 0
    try:
        for event in events:
            kind = type(event).__name__
            if kind == "DocumentStartEvent":
                documents += 1
                if documents > 1:
                    at = event.start_mark.index
                    found.append(Finding((), "a second document", "write one plan a file", at=at))
                    raise UnreadableError
            elif kind in {"MappingEndEvent", "SequenceEndEvent"}:
                tree.end()
            elif kind in {"AliasEvent", "MappingStartEvent", "SequenceStartEvent", "ScalarEvent"}:
                _node(kind, event, tree)
    except yaml.MarkedYAMLError as error:
        found.append(_syntax(error, text))
        raise UnreadableError from None


def _syntax(error: yaml.MarkedYAMLError, text: str) -> Finding:
    mark = error.problem_mark or error.context_mark
    at = -1 if mark is None else mark.index
    reason = ", ".join(filter(None, (error.context, error.problem)))
    remedy = (
        "indent with spaces, not tabs"
        if text[at : at + 1] == "\t"
        else "check indentation, colons and quotes"
    )
    return Finding((), f"not valid YAML: {escaped(reason, _FILE_NAME)}", remedy, at)


def _node(kind: str, event: Any, tree: Tree) -> None:
    at = event.start_mark.index
    tag = getattr(event, "tag", None)
    if kind == "AliasEvent":
        tree.problem("aliases (*name) are not supported", "write the value out, or use defaults", at)
        tree.add(Broken(at))
        return
    if event.anchor is not None:
        tree.problem("anchors (&name) are not supported", "write the value out, or use defaults", at)
    if kind == "MappingStartEvent":
        _check_tag(tag, "map", tree, at)
        tree.start(Mapping({}, at))
    elif kind == "SequenceStartEvent":
        _check_tag(tag, "seq", tree, at)
        tree.start(Sequence([], at))
    else:
        tree.add(_scalar(event, tag, tree, at))


def _check_tag(tag: str | None, expected: str, tree: Tree, at: int) -> None:
    if tag not in {None, "!", _TAG + expected}:
        tree.problem(f"tag {shown(str(tag))} is not supported", "remove it", at)


def _scalar(event: Any, tag: str | None, tree: Tree, at: int) -> Scalar | Broken:
    if tag is None:
        return Scalar(event.value, event.implicit[0], at)
    name = tag.removeprefix(_TAG)
    if name in {"!", "str"}:
        return Scalar(event.value, plain=False, at=at)
    node = Scalar(event.value, plain=True, at=at)
    if tag.startswith(_TAG) and name in _CORE and isinstance(resolved(node), _CORE[name]):
        return node
    tree.problem(f"tag {shown(tag)} is not supported here", "remove it", at)
    return Broken(at)
