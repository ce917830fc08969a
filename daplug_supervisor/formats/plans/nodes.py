"""The tree that YAML and JSON are read into: texts with their offsets, nothing interpreted yet.

`Tree` builds it from a stream of starts, scalars and ends without recursion, and refuses duplicate keys,
merges, excess depth and excess size on the way. `resolved` is the YAML 1.2 core schema.
"""

from __future__ import annotations

import math
import re
from typing import TypeAlias

from msgspec import Struct

from daplug_supervisor.formats.findings import FieldPath, Finding, Findings, Lines, UnreadableError, shown

MAX_DEPTH = 20
MAX_VALUES = 150_000
"""Keys and values, which is about a second's work. JSON plans may hold more, because good ones need no tree."""

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"([-+]?)\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_MAX_DIGITS = 25


class Scalar(Struct, frozen=True, gc=False):
    """A text; `plain` if it may also be read as a number, true, false or null (not quoted)."""

    text: str
    plain: bool
    at: int


class Broken(Struct, frozen=True, gc=False):
    """Something unreadable that was already reported."""

    at: int


class Sequence(Struct, frozen=True):
    """A list."""

    items: list[Node]
    at: int


class Mapping(Struct, frozen=True):
    """Keys in order, each with the offset of the key and the value."""

    entries: dict[str, tuple[int, Node]]
    at: int


Node: TypeAlias = Scalar | Broken | Sequence | Mapping


class TooManyError(UnreadableError):
    """There are more values than a tree may hold."""


class _Key(Struct, frozen=True):
    text: str
    at: int
    dropped: bool


class _Frame(Struct):
    """A list or mapping that is being filled; `waiting` if the last key has no value yet."""

    node: Sequence | Mapping
    key: _Key | None = None
    waiting: bool = False


class Tree:
    """Builds nodes from a stream; `root` is None until something was read."""

    def __init__(self, text: str, found: Findings) -> None:
        self.root: Node | None = None
        self._text = text
        self._found = found
        self._open: list[_Frame] = []
        self._count = 0
        self._lines: Lines | None = None

    def path(self) -> FieldPath:
        """Where the stream is now: the place of the next value, or the mapping whose next key comes."""
        steps: list[str | int] = []
        for depth, frame in enumerate(self._open, 1):
            inside = depth < len(self._open)
            if isinstance(frame.node, Sequence):
                steps.append(len(frame.node.items) - inside)
            elif frame.key is not None and (inside or frame.waiting):
                steps.append(frame.key.text)
        return tuple(steps)

    def problem(self, message: str, remedy: str, at: int, key: str | None = None) -> None:
        """Note something wrong at the present path, or at `key` in it.

        Raises:
            UnreadableError: that was one problem too many.
        """
        path = self.path() if key is None else (*self.path(), key)
        self._found.note(Finding(path, message, remedy, at))

    def start(self, node: Sequence | Mapping) -> None:
        """A list or mapping begins.

        Raises:
            UnreadableError: too deep or too much.
        """
        if len(self._open) >= MAX_DEPTH:
            self.problem(f"nested more than {MAX_DEPTH} levels deep", "a plan needs six", node.at)
            raise UnreadableError
        self.add(node)
        self._open.append(_Frame(node))

    def end(self) -> None:
        """The innermost list or mapping ends."""
        self._open.pop()

    def add(self, node: Node) -> None:
        """A key, an item or a value.

        Raises:
            TooManyError: too much.
        """
        self._count += 1
        if self._count > MAX_VALUES:
            self.problem(f"more than {MAX_VALUES:,} keys and values", "write large plans as JSON", node.at)
            raise TooManyError
        if not self._open:
            self.root = node
            return
        top = self._open[-1]
        if isinstance(top.node, Sequence):
            top.node.items.append(node)
            return
        if top.waiting and top.key is not None and not top.key.dropped:
            top.node.entries[top.key.text] = (top.key.at, node)
        elif not top.waiting:
            top.key = self._key(top.node, node)
        top.waiting = not top.waiting

    def _key(self, mapping: Mapping, node: Node) -> _Key:
        if not isinstance(node, Scalar):
            self.problem("a key that is not text", "write keys as plain words", node.at)
            return _Key("?", node.at, dropped=True)
        if node.plain and node.text == "<<":
            self.problem("merges (<<) are not supported", "write the fields out, or use defaults", node.at)
            return _Key(node.text, node.at, dropped=True)
        first = mapping.entries.get(node.text)
        if first is None:
            return _Key(node.text, node.at, dropped=False)
        self._lines = self._lines or Lines(self._text)
        remedy = f"first on line {self._lines.position(first[0])[0]}; keep one"
        self.problem(f"{shown(node.text)} is written twice", remedy, node.at, key=node.text)
        return _Key(node.text, node.at, dropped=True)


def resolved(node: Scalar) -> str | float | bool | None:  # noqa: PLR0911 - one return a kind
    """What a scalar means by the YAML 1.2 core schema; a number too large for 64 bits becomes infinity."""
    text = node.text
    if not node.plain:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        if len(text) > _MAX_DIGITS:
            return math.inf
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        value = int(text[2:] if base != 10 else text, base)  # noqa: PLR2004
        return value if -(2**63) <= value < 2**63 else math.inf
    if _FLOAT.fullmatch(text):
        return float(text)
    special = _SPECIAL.fullmatch(text)
    if special is None:
        return text
    return math.nan if special[1] is None else float(f"{special[1]}inf")


def locate(root: Node | None, path: FieldPath) -> tuple[int, FieldPath]:
    """Where the field at `path` is written (offset, -1 if unknown), and its path as it is written."""
    at, node, written = -1 if root is None else root.at, root, list(path)
    for depth, key in enumerate(path):
        if isinstance(node, Mapping):
            name = "blocked_by" if key == "needs" and "needs" not in node.entries else str(key)
            if name not in node.entries:
                break
            written[depth] = name
            at, node = node.entries[name]
        elif isinstance(node, Sequence) and isinstance(key, int) and key < len(node.items):
            node = node.items[key]
            at = node.at
        else:
            break
    else:
        at = node.at if isinstance(node, Scalar) else at
    return at, tuple(written)
