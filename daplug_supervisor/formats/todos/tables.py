"""The two tables of a PLAN.md: which TODO requires what of which, and which commit follows which TODO."""

from __future__ import annotations

import re
from typing import NamedTuple

from msgspec import Struct

from daplug_supervisor.errors import Problem
from daplug_supervisor.formats.findings import shown
from daplug_supervisor.formats.todos import markdown as md
from daplug_supervisor.formats.todos.fields import NAME

_LABEL = re.compile(r"(?:todo[-_ #]*)?([A-Za-z0-9][A-Za-z0-9_-]*)", re.IGNORECASE)
_REFERENCE = re.compile(
    r"\btodo(?:[-_ ]?([0-9][A-Za-z0-9_-]*)|[-_]([A-Za-z][A-Za-z0-9_-]*)|[ ](final))"
    rf"(?:\.outputs?)?(?:\.({NAME}))?",
    re.IGNORECASE,
)
_NUMBERS = re.compile(r"[0-9]+(?:[ ]*[,;+&][ ]*[0-9]+)*")
_NONE = frozenset({"", "-", "--", "—", "\u2013", "none", "n/a", "nothing"})
_ALL = re.compile(r"\ball\b", re.IGNORECASE)
_ALWAYS = frozenset(
    {
        "always", "yes", "-", "—", "\u2013", "", "if changed", "if changes", "if there are changes", "if any changes",
        "if dirty", "on success", "if successful", "when verified", "if verified", "after verification",
        "verification passed", "if verification passes", "if tests pass", "tests pass", "when done", "on completion",
    }
)  # fmt: skip
"""Conditions that hold anyway: a commit is made of verified work only, and only if something has changed."""

_NEVER = frozenset({"never", "no", "none", "skip"})
_PIECE = re.compile(rf"({NAME})(?:[ \t]*\([^)]*\))?")
_MAGIC = re.compile(r"[\0-\x1f\x7f]")


class Requires(NamedTuple):
    """Something that a TODO waits for: another one by number, and which of its outputs ('' for none in particular)."""

    number: str
    output: str
    line: int


class GraphRow(Struct, frozen=True):
    """A row of the dependency graph. `all`: it waits for all others; `unclear` are words that name no TODO."""

    number: str
    line: int
    requires: tuple[Requires, ...] = ()
    all: bool = False
    unclear: str = ""
    produces: tuple[str, ...] = ()


class Graph(Struct, frozen=True):
    """The dependency graph."""

    rows: tuple[GraphRow, ...] = ()


class CommitRow(Struct, frozen=True):
    """A row of the commit strategy. `when` is ``always``, ``never``, or a line for the shell."""

    number: str
    line: int
    message: str = ""
    files: tuple[str, ...] = ()
    when: str = "always"


def graph(rows: list[tuple[int, list[str]]], problems: list[Problem]) -> Graph:
    """The dependency graph in a table."""
    columns = _columns(rows, {"todo": "TODO", "requires": "Requires"}, {"produces"}, problems)
    if columns is None:
        return Graph()
    found: list[GraphRow] = []
    for line, cells in rows[1:]:
        number = _label(_cell(cells, columns["todo"]), line, problems)
        if number:
            produces = _produces(_cell(cells, columns.get("produces", -1)))
            found.append(_graph_row(number, line, _cell(cells, columns["requires"]), produces))
    return Graph(tuple(found))


def _graph_row(number: str, line: int, cell: str, produces: tuple[str, ...]) -> GraphRow:
    text = md.bare(cell)
    if text.strip("()").lower() in _NONE:
        return GraphRow(number, line, produces=produces)
    if _NUMBERS.fullmatch(text):
        found = [Requires(one, "", line) for one in re.findall("[0-9]+", text)]
    else:
        found = [
            Requires(match[1] or match[2] or match[3], match[4] or "", line)
            for match in _REFERENCE.finditer(text)
        ]
    everything = not found and bool(_ALL.search(text))
    return GraphRow(number, line, tuple(found), everything, "" if found or everything else text, produces)


def _produces(cell: str) -> tuple[str, ...]:
    """The names in a list of outputs such as `` `config_path` (file), `api` ``."""
    pieces = (_PIECE.fullmatch(md.bare(piece)) for piece in cell.split(","))
    return tuple(match[1] for match in pieces if match and match[1].lower() not in _NONE)


def commits(rows: list[tuple[int, list[str]]], problems: list[Problem]) -> list[CommitRow]:
    """The commit strategy in a table."""
    columns = _columns(rows, {"after": "After TODO", "message": "Message"}, {"files", "condition"}, problems)
    if columns is None:
        return []
    found: dict[str, CommitRow] = {}
    for line, cells in rows[1:]:
        number = _label(_cell(cells, columns["after"]), line, problems)
        if not number:
            continue
        when = _when(_cell(cells, columns.get("condition", -1)), line, problems)
        files = _files(_cell(cells, columns.get("files", -1)), line, problems)
        message = " ".join(md.bare(_cell(cells, columns["message"])).split())
        row = CommitRow(number, line, "" if message in _NONE else message, files, when)
        other = found.setdefault(number.lower(), row)
        if other is not row:
            remedy = "one commit follows a TODO: join the rows"
            problems.append(
                Problem(f"TODO {number} has a row already, in line {other.line}", remedy, line=line, column=1)
            )
    return list(found.values())


def _columns(
    rows: list[tuple[int, list[str]]], wanted: dict[str, str], optional: set[str], problems: list[Problem]
) -> dict[str, int] | None:
    """Where the columns are; None if the table is none that we know."""
    if not rows:
        return None
    found: dict[str, int] = {}
    for index, cell in enumerate(rows[0][1]):
        words = md.bare(cell).strip("* ").lower().split()
        for name in (*wanted, *optional):
            if words and words[0].startswith(name):
                found.setdefault(name, index)
    missing = [shown for name, shown in wanted.items() if name not in found]
    for name in missing:
        remedy = f"its columns are {' and '.join(wanted.values())}, and more"
        problems.append(Problem(f"the table has no column {name}", remedy, line=rows[0][0], column=1))
    return None if missing else found


def _cell(cells: list[str], index: int) -> str:
    return cells[index] if 0 <= index < len(cells) else ""


def _label(cell: str, line: int, problems: list[Problem]) -> str:
    """The number of the one TODO that a cell names; '' if it names none, and it is told."""
    text = md.bare(cell).strip("* ")
    match = _LABEL.fullmatch(text)
    if match is not None:
        return match[1]
    if text not in _NONE:
        message = f"{shown(text)} names no TODO"
        problems.append(Problem(message, "write its number, and one row a TODO", line=line, column=1))
    return ""


def _files(cell: str, line: int, problems: list[Problem]) -> tuple[str, ...]:
    """The files of a commit: paths and patterns within the target."""
    spans = md.spans(cell)
    named = [span.text for span in spans] if spans else cell.split(",")
    found = []
    for name in filter(None, (one.strip() for one in named)):
        if name in _NONE or (not spans and name.lower() in {"all", "all changed files", "all files"}):
            continue
        if name.startswith(("/", "-", ":", "~")) or ".." in name.split("/") or _MAGIC.search(name):
            message = f"{shown(name)} is no path within the repository"
            problems.append(Problem(message, "write it from the root of the repository", line=line, column=1))
        else:
            found.append(name)
    return tuple(dict.fromkeys(found))


def _when(cell: str, line: int, problems: list[Problem]) -> str:
    """The condition of a commit."""
    spans = md.spans(cell)
    words = " ".join(md.bare(cell).strip("* ").lower().rstrip(".").split())
    if words in _ALWAYS:
        return "always"
    if words in _NEVER:
        return "never"
    if len(spans) == 1 and spans[0].start == cell.find("`") and spans[0].text.strip():
        return spans[0].text
    remedy = "write always, or a command in backticks that succeeds when it is to be committed"
    problems.append(Problem(f"nobody can tell when {shown(cell)} holds", remedy, line=line, column=1))
    return "always"
