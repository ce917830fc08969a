"""What is read of Markdown: lines and whether they are code, code spans, tables. Linear in the text, whatever it is.

Offsets are characters of the whole text, so that a box can be ticked without touching anything else.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_BULLET = re.compile(r"(?:[-*+]|[0-9]{1,9}[.)])[ \t]+")
_FENCE = re.compile(r"(`{3,})[^`]*$|(~{3,})")
_BOX = re.compile(r"([ \t]*)[-*+][ \t]+(?:\[([ xX]?)\](?:[ \t]+|$))?(.*)")
_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*))?$")
_RULE = re.compile(r":?-+:?")
_TICKS = re.compile("`+")


class Line(NamedTuple):
    """A line without its end. `at` is the offset of its first character; `code`: in a code block or a comment."""

    number: int
    at: int
    text: str
    code: bool


class Open(Struct):
    """The code block or comment that is open while lines are read: what it is, and the line it began in."""

    what: str = ""
    line: int = 0


class Bullet(NamedTuple):
    """An item of a list. `box` is the offset of what stands between its brackets, -1 if it has none to be ticked."""

    line: int
    indent: int
    box: int
    boxed: bool
    ticked: bool
    text: str


class Span(NamedTuple):
    """A code span: where it begins and ends, with its backticks, and what is in it."""

    start: int
    end: int
    text: str


def lines(text: str, state: Open | None = None) -> Iterator[Line]:
    """The lines of a text; `state` tells afterwards whether a code block or a comment was left open."""
    state = state or Open()
    at, number, size = 0, 0, len(text)
    while at < size:
        end = text.find("\n", at)
        end = size if end < 0 else end
        number += 1
        start = at + (1 if number == 1 and text.startswith("\ufeff") else 0)
        content = text[start:end].removesuffix("\r")
        yield Line(number, start, content, _in_code(content, number, state))
        at = end + 1


def _in_code(content: str, number: int, state: Open) -> bool:
    """Whether a line is of a code block or a comment, and not of the text; marks of their ends are of them, too."""
    bare = content.strip()
    if state.what == "<!--":
        if "-->" in bare:
            state.what = ""
        return True
    if state.what:
        if len(bare) >= len(state.what) and not bare.strip(state.what[0]):
            state.what = ""
        return True
    bullet = _BULLET.match(bare)
    begin = _FENCE.match(bare, bullet.end() if bullet else 0)
    if begin:
        state.what, state.line = begin[1] or begin[2], number
    elif bare.startswith("<!--") and "-->" not in bare:
        state.what, state.line = "<!--", number
    return bool(state.what)


def heading(line: Line) -> tuple[int, str] | None:
    """The level and the words of a heading; None if the line is none."""
    match = None if line.code else _HEADING.match(line.text)
    return None if match is None else (len(match[1]), (match[2] or "").strip())


def bullet(line: Line) -> Bullet | None:
    """The item that a line begins; None if it begins none."""
    match = None if line.code else _BOX.match(line.text)
    if match is None:
        return None
    inside = match[2]
    box = line.at + match.start(2) if inside else -1
    indent = len(match[1].expandtabs(4))
    return Bullet(line.number, indent, box, inside is not None, inside in {"x", "X"}, match[3].strip())


def spans(text: str) -> list[Span]:
    """The code spans of a text: what stands between two runs of as many backticks."""
    runs = [(match.start(), match.end()) for match in _TICKS.finditer(text)]
    # The next run of the same length, for each: looked up from the end, so that nothing is searched twice.
    following: list[int] = [-1] * len(runs)
    latest: dict[int, int] = {}
    for index in range(len(runs) - 1, -1, -1):
        length = runs[index][1] - runs[index][0]
        following[index] = latest.get(length, -1)
        latest[length] = index
    found: list[Span] = []
    index = 0
    while index < len(runs):
        close = following[index]
        if close < 0:
            index += 1
            continue
        inside = text[runs[index][1] : runs[close][0]]
        found.append(Span(runs[index][0], runs[close][1], inside.strip() or inside))
        index = close + 1
    return found


def bare(text: str) -> str:
    """A text without the backticks of its code spans."""
    parts, at = [], 0
    for span in spans(text):
        parts += [text[at : span.start], span.text]
        at = span.end
    return "".join([*parts, text[at:]]).strip()


def cells(text: str) -> list[str]:
    r"""The cells of a row of a table; ``\|`` is a bar within one."""
    row = text.strip().removeprefix("|")
    parts = re.split(r"(?<!\\)\|", row)
    if parts and not parts[-1].strip():
        parts.pop()
    return [part.replace("\\|", "|").strip() for part in parts]


def table(section: Sequence[Line]) -> list[tuple[int, list[str]]]:
    """The rows of the first table in a section, each with its line, the head first; empty if there is none."""
    rows: list[tuple[int, list[str]]] = []
    for line in section:
        if not line.code and line.text.lstrip().startswith("|"):
            rows.append((line.number, cells(line.text)))
        elif rows:
            break
    ruled = len(rows) > 1 and rows[1][1] and all(_RULE.fullmatch(cell) for cell in rows[1][1])
    return [rows[0], *rows[2:]] if ruled else []
