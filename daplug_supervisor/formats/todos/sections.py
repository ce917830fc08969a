"""A PLAN.md as data: its TODOs with their fields, and its two tables. Everything wrong is kept, with its line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from msgspec import Struct, field
from msgspec.structs import replace

from daplug_supervisor.errors import Problem
from daplug_supervisor.formats.findings import MAX_PROBLEMS, shown
from daplug_supervisor.formats.todos import markdown as md
from daplug_supervisor.formats.todos.criteria import Item, judged, nothing
from daplug_supervisor.formats.todos.fields import FieldLines, Values, fields, values
from daplug_supervisor.formats.todos.markdown import Line
from daplug_supervisor.formats.todos.tables import CommitRow, Graph, commits, graph

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from daplug_supervisor.core.plan import Category

_TODO = re.compile(
    r" {0,3}###[ \t]+\[([ xX])\][ \t]+TODO[ \t]+([A-Za-z0-9][A-Za-z0-9_-]{0,39})[ \t]*:[ \t]*(.*)"
)
_NEARLY = re.compile(
    r"\s*#{1,6}\s*(?:\[[^\]\s]{0,3}\s*\]?\s*)?TODO[\s#-]*(?:[0-9]+|final)\s*[:\u2014\u2013-]", re.IGNORECASE
)
_HALVES = re.compile("[\ud800-\udfff]")
_WRITE = "write '### [ ] TODO 1: title'"
_ENDS_A_TODO = 3
_LONGEST_TITLE = 300
_GROUPS: dict[str, Category] = {"functional": "functional", "static": "static", "runtime": "runtime"}
_LONGEST_GROUP = 60
_MOST_TODOS = 2000


class Todo(Struct, frozen=True):
    """A TODO. `number` is what stands between TODO and the colon; `box` the offset of its tick."""

    number: str
    title: str
    line: int
    box: int
    ticked: bool
    kind: Literal["work", "verification"] = "work"
    fields: dict[str, FieldLines] = field(default_factory=dict)
    inputs: Values = Values()
    outputs: Values = Values()
    criteria: tuple[Item, ...] = ()

    @property
    def id(self) -> str:
        """The id of its task."""
        return f"todo-{self.number}"

    @property
    def name(self) -> str:
        """What people call it."""
        return f"TODO {self.number}: {self.title}" if self.title else f"TODO {self.number}"

    def text(self, *names: str) -> str:
        """What stands under the first of these fields that is there."""
        return next((self.fields[name].text for name in names if name in self.fields), "")


class Checklist(Struct, frozen=True):
    """A PLAN.md. `problems` have no file yet."""

    todos: tuple[Todo, ...] = ()
    graph: Graph = Graph()
    commits: tuple[CommitRow, ...] = ()
    problems: tuple[Problem, ...] = ()


class _Section(Struct):
    """The lines below a heading."""

    todo: Todo | None
    name: str
    lines: list[Line]


def parse(text: str) -> Checklist:
    """What a PLAN.md says, whatever it is: it raises nothing."""
    problems: list[Problem] = []
    state = md.Open()
    todos: list[Todo] = []
    found_graph, found_commits = Graph(), list[CommitRow]()
    for section in _sections(text, state, problems):
        if section.todo is not None:
            todos.append(_filled(section.todo, section.lines, problems))
        elif "dependency graph" in section.name:
            found_graph = graph(md.table(section.lines), problems)
        elif "commit strategy" in section.name:
            found_commits = commits(md.table(section.lines), problems)
    if state.what:
        what = "comment" if state.what == "<!--" else "code block"
        remedy = f"end it with {'-->' if state.what == '<!--' else state.what}; all below it counts as a part of it"
        problems.append(Problem(f"the {what} that begins here never ends", remedy, line=state.line, column=1))
    _unique(todos, problems)
    return Checklist(tuple(todos), found_graph, tuple(found_commits), tuple(problems[:MAX_PROBLEMS]))


def _sections(text: str, state: md.Open, problems: list[Problem]) -> Iterator[_Section]:
    """The TODOs and the tables' sections of a plan."""
    current: _Section | None = None
    todos = 0
    for line in md.lines(text, state):
        head = md.heading(line)
        if head is None or (head[0] > _ENDS_A_TODO and current is not None and current.todo is not None):
            if current is not None:
                current.lines.append(line)
            if head is None and not line.code and "TODO" in line.text.upper():
                _nearly(line, problems)
            continue
        if current is not None:
            yield current
        todo = _todo(line)
        todos += todo is not None
        if todos > _MOST_TODOS:
            remedy = "split the plan"
            problems.append(Problem(f"more than {_MOST_TODOS} TODOs", remedy, line=line.number, column=1))
            return
        if todo is None:
            _nearly(line, problems)
        current = _Section(todo, head[1].rstrip("# ").lower(), [])
    if current is not None:
        yield current


def _todo(line: Line) -> Todo | None:
    match = _TODO.fullmatch(line.text)
    if match is None:
        return None
    title = plain(match[3].strip())
    return Todo(match[2], title[:_LONGEST_TITLE], line.number, line.at + match.start(1), match[1] != " ")


def _nearly(line: Line, problems: list[Problem]) -> None:
    """A heading that a person would take for a TODO, and that is none."""
    if _NEARLY.match(line.text[:200]):
        problems.append(
            Problem(
                f"{shown(line.text.strip())} looks like a TODO, but is none",
                _WRITE,
                line=line.number,
                column=1,
            )
        )


def plain(text: str) -> str:
    """`text` without what no journal can hold: bytes that are not UTF-8 are shown as �."""
    return text if text.isascii() else _HALVES.sub("\ufffd", text)


def _filled(todo: Todo, section: list[Line], problems: list[Problem]) -> Todo:
    """A TODO with what its section says."""
    found = fields(section)
    said = found["type"].text.strip("`* \t\n").lower() if "type" in found else "work"
    if not said.startswith(("work", "verification")):
        message = f"type {shown(said)} is not known"
        problems.append(
            Problem(
                message,
                "write work or verification",
                line=found["type"].line,
                column=1,
                field=f"TODO {todo.number}",
            )
        )
    return replace(
        todo,
        kind="verification" if said.startswith("verification") else "work",
        fields=found,
        inputs=values(found.get("inputs"), problems, needs_value=True),
        outputs=values(found.get("outputs"), problems),
        criteria=_criteria(found["acceptance criteria"].lines) if "acceptance criteria" in found else (),
    )


def _criteria(section: Iterable[Line]) -> tuple[Item, ...]:
    """The items of a list of criteria, with the headings that they stand under."""
    category: Category = "functional"
    items: list[Item] = []
    taken: dict[str, int] = {}
    for bullet, text, group in _entries(section):
        if group is not None:
            category = _GROUPS.get(group, "functional")
        elif bullet is not None and not nothing(text):
            name, run, expected = judged(plain(text))
            count = taken[name] = taken.get(name, 0) + 1
            name = name if count == 1 else f"{name} ({count})"
            items.append(Item(name, category, bullet.line, bullet.box, bullet.ticked, run, expected))
    return tuple(items)


def _entries(section: Iterable[Line]) -> Iterator[tuple[md.Bullet | None, str, str | None]]:
    """Items with their whole text, and headings of groups."""
    current: md.Bullet | None = None
    texts: list[str] = []
    for line in section:
        bullet = md.bullet(line)
        group = _group(line, bullet)
        goes_on = bullet is None and group is None and not line.code and line.text.strip()
        if current is not None and goes_on and line.text[:1] in {" ", "\t"}:
            texts.append(line.text.strip())
            continue
        if current is not None:
            yield current, " ".join(texts), None
        current, texts = None, []
        if group is not None:
            yield None, "", group
        elif bullet is not None and (bullet.boxed or bullet.indent == 0):
            current, texts = bullet, [bullet.text]
    if current is not None:
        yield current, " ".join(texts), None


def _group(line: Line, bullet: md.Bullet | None) -> str | None:
    """The name of a group of criteria, such as ``*Functional:*``; None if the line is no such heading."""
    if line.code or (bullet is not None and bullet.boxed):
        return None
    text = (line.text if bullet is None else bullet.text).strip()
    name = text.strip("*_#: \t")
    first = name.split(" ", 1)[0].rstrip(":").lower()
    marked = text.startswith(("*", "_", "#"))
    if not (marked or text.endswith(":")) or len(name) > _LONGEST_GROUP or "`" in name:
        return None
    whole = bullet is None and marked and text.endswith(("*", "_", ":"))
    return first if first in _GROUPS or (first and whole) else None


def _unique(todos: list[Todo], problems: list[Problem]) -> None:
    """Numbers are ids of tasks: each is there once, without regard to case."""
    first: dict[str, Todo] = {}
    for todo in todos:
        other = first.setdefault(todo.number.lower(), todo)
        if other is not todo:
            message = f"TODO {todo.number} is there already, in line {other.line}"
            problems.append(Problem(message, "give it a number of its own", line=todo.line, column=1))
