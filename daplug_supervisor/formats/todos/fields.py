"""The fields of a TODO (``**Steps**:`` and so on), and what it takes in and hands on."""

from __future__ import annotations

import re
from textwrap import dedent
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct, field

from daplug_supervisor.errors import Problem
from daplug_supervisor.formats.findings import shown
from daplug_supervisor.formats.todos import markdown as md
from daplug_supervisor.formats.todos.markdown import Line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

KNOWN = (
    "type",
    "required tools",
    "inputs",
    "outputs",
    "steps",
    "must not do",
    "references",
    "acceptance criteria",
)
"""The fields that have a meaning; whatever else a TODO has is part of its text."""

TEXT = ""
"""The field of the lines before the first field."""

NAME = r"[A-Za-z_][A-Za-z0-9_-]{0,63}"

_OTHER_NAMES = {
    "must not": "must not do",
    "acceptance": "acceptance criteria",
    "required tool": "required tools",
}
_IN_ACCEPTANCE = frozenset({"functional", "static", "runtime"})
_MARKED = re.compile(
    r" {0,3}(?:#{4,6}[ \t]+)?(?:\*\*|__)([A-Za-z][A-Za-z /()-]{0,39}?)[ \t]*"
    r"(?::(?:\*\*|__)|(?:\*\*|__)[ \t]*:)[ \t]*(.*)"
)
_PLAIN = re.compile(
    r" {0,3}(#{4,6}[ \t]+)?((?i:type|required tools|inputs|outputs|steps|must not do|references|acceptance criteria))"
    r"[ \t]*(:?)[ \t]*(.*)"
)
_ENTRY = re.compile(rf"(`?)({NAME})`?[ \t]*+(\([^)]*\))?[ \t]*+(?::[ \t]*+(.*)|[-—\u2013].*)?")
_LONGEST_ENTRY = 4000


class FieldLines(Struct, frozen=True):
    """A field: the line that names it, what stands in that line, and the lines below."""

    name: str
    line: int
    first: str = ""
    lines: tuple[Line, ...] = ()

    @property
    def text(self) -> str:
        """All of it, as it is written."""
        below = dedent("\n".join(line.text for line in self.lines)).strip("\n")
        return "\n".join(filter(None, (self.first.strip(), below.rstrip())))


class Value(NamedTuple):
    """What a TODO takes in or hands on. `text` is the value that the plan gives it, '' if it gives none."""

    name: str
    text: str
    line: int


class Values(Struct, frozen=True):
    """What a TODO takes in, or hands on: by name."""

    found: dict[str, Value] = field(default_factory=dict)


def fields(section: Sequence[Line]) -> dict[str, FieldLines]:
    """The fields of a TODO by name, in small letters; of two with the same name the second goes on with the first."""
    found: dict[str, FieldLines] = {}
    name, line, first, lines = TEXT, section[0].number if section else 0, "", list[Line]()

    def close() -> None:
        old = found.get(name)
        if old is not None:
            found[name] = FieldLines(
                name, old.line, "\n".join(filter(None, (old.first, first))), (*old.lines, *lines)
            )
        elif name or any(one.text.strip() for one in lines):
            found[name] = FieldLines(name, line, first, tuple(lines))

    for one in section:
        begun = None if one.code else _begun(one.text)
        if begun is None or (name == "acceptance criteria" and begun[0].split(" ")[0] in _IN_ACCEPTANCE):
            if not _rule(one):
                lines.append(one)
            continue
        close()
        (name, first), line, lines = begun, one.number, []
    close()
    return found


def _rule(line: Line) -> bool:
    """A line across the page between two TODOs."""
    bare = line.text.strip()
    return not line.code and len(bare) > 2 and not bare.strip(bare[0]) and bare[0] in "-*_"  # noqa: PLR2004


def _begun(text: str) -> tuple[str, str] | None:
    """The name and the rest of a line that begins a field."""
    if len(text) > 10_000:  # noqa: PLR2004  nothing that a person wrote
        return None
    match = _MARKED.fullmatch(text)
    if match:
        name, rest = match[1], match[2]
    else:
        match = _PLAIN.fullmatch(text)
        if match is None or not (match[3] or (match[1] and not match[4])):
            return None
        name, rest = match[2], match[4]
    name = " ".join(name.lower().split())
    return _OTHER_NAMES.get(name, name), rest.strip()


def values(given: FieldLines | None, problems: list[Problem], *, needs_value: bool = False) -> Values:
    """What a TODO takes in or hands on: items such as ``- `name` (file): `value` - words``."""
    if given is None:
        return Values()
    found: dict[str, Value] = {}
    for number, text in _entries(given):
        match = _ENTRY.fullmatch(text[:_LONGEST_ENTRY])
        if match is None or not (match[4] if needs_value else (match[1] or match[3] or match[4])):
            continue  # words for people: they are part of the text
        name = match[2]
        if name in found:
            message = f"{shown(name)} is there already, in line {found[name].line}"
            problems.append(Problem(message, "give each a name of its own", line=number, column=1))
        found[name] = Value(name, _value(match[4] or ""), number)
    return Values(found)


def _entries(given: FieldLines) -> Iterator[tuple[int, str]]:
    """The line of the field itself, and the items of its list."""
    yield given.line, given.first
    for line in given.lines:
        item = md.bullet(line)
        if item is not None and not item.indent:
            yield line.number, item.text


def _value(text: str) -> str:
    """The value in what stands behind a name: a code span, or the words up to a dash."""
    found = md.spans(text)
    if found and found[0].start == 0:
        return found[0].text
    return re.split(r"[ \t]+[-—\u2013][ \t]+", text, maxsplit=1)[0].strip()
