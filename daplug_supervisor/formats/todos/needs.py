"""What TODOs wait for, and what is wrong with how they name each other and what they hand on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from daplug_supervisor.core import graph
from daplug_supervisor.core.instructions.template import references
from daplug_supervisor.errors import Problem
from daplug_supervisor.formats.findings import MAX_PROBLEMS, Nearest, choice, escaped, shown
from daplug_supervisor.formats.todos.fields import FieldLines
from daplug_supervisor.formats.todos.sections import Checklist, Todo
from daplug_supervisor.formats.todos.tables import GraphRow

_MOST_SHOWN = 12


class Links(Struct, frozen=True):
    """What each TODO (by its task's id) waits for, and what it has to hand on."""

    needs: dict[str, tuple[str, ...]]
    outputs: dict[str, tuple[str, ...]]
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


class _Reader:
    """Follows the names in a plan.

    Args:
        plan: the plan.
        saved: what its ticked TODOs have handed on, by task.
    """

    def __init__(self, plan: Checklist, saved: Mapping[str, Mapping[str, Any]]) -> None:
        self.todos = {todo.number.lower(): todo for todo in plan.todos}
        self.by_id = {todo.id: todo for todo in plan.todos}
        self.rows = [(self.todos.get(row.number.lower()), row) for row in plan.graph.rows]
        self.saved = saved
        self.nearest = Nearest(self.by_id)
        self.needs: dict[str, dict[str, int]] = {todo.id: {} for todo in plan.todos}
        """For each TODO what it waits for, and the line that says so."""

        self.outputs = {todo.id: dict.fromkeys(todo.outputs.found) for todo in plan.todos}
        self.produced: dict[str, set[str]] = {todo.id: set() for todo in plan.todos}
        for todo, row in self.rows:
            if todo is not None:
                self.produced[todo.id].update(row.produces)
        self.wanted: set[tuple[str, str, str]] = set()
        self.problems: list[Problem] = []
        self.notes: list[str] = []

    def wrong(self, line: int, message: str, remedy: str, todo: Todo | None = None) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            field = "" if todo is None else f"TODO {todo.number}"
            self.problems.append(Problem(message, remedy, line=line, column=1, field=field))

    def known(self) -> str:
        return choice("", [f"TODO {todo.number}" for todo in self.by_id.values()], Nearest(()))

    def row(self, todo: Todo | None, row: GraphRow) -> None:
        """What a row of the dependency graph says."""
        if todo is None:
            self.wrong(row.line, f"there is no TODO {escaped(row.number)}", self.known())
            return
        if row.unclear:
            self.notes.append(f"line {row.line}: {shown(row.unclear)} names no TODO, and is not waited for")
        if row.all:
            self.needs[todo.id].update({other: row.line for other in self.by_id if other != todo.id})
        for one in row.requires:
            other = self.todos.get(one.number.lower())
            if other is None:
                self.wrong(one.line, f"there is no TODO {escaped(one.number)}", self.known(), todo)
            elif other is todo:
                self.wrong(one.line, "a TODO cannot require itself", "take it out", todo)
            else:
                self.needs[todo.id][other.id] = one.line
                if one.output:
                    self.output(todo, other, one.output, one.line)

    def text(self, todo: Todo, number: int, text: str) -> None:
        """What a line of a TODO refers to."""
        for one in references(text):
            other = self.by_id.get(one.task)
            if not one.sound:
                remedy = "write ${todo-1.outputs.name}, or $$ instead of its $ to have it as text"
                self.wrong(number, f"{shown(one.written)} is not written as a reference", remedy, todo)
            elif other is None:
                remedy = choice(one.task, self.by_id, self.nearest)
                self.wrong(number, f"{shown(one.written)}: there is no {escaped(one.task)}", remedy, todo)
            elif other is todo:
                self.wrong(
                    number, f"{shown(one.written)}: a TODO cannot use its own outputs", "take it out", todo
                )
            else:
                self.needs[todo.id].setdefault(other.id, number)
                self.output(todo, other, one.field, number)

    def output(self, todo: Todo, other: Todo, name: str, line: int) -> None:
        """A TODO wants an output of another one; what is wrong with that is told once."""
        if (todo.id, other.id, name) in self.wanted:
            return
        self.wanted.add((todo.id, other.id, name))
        declared = name in self.outputs[other.id] or name in self.produced[other.id]
        if not declared:
            remedy = choice(name, self.outputs[other.id], Nearest(self.outputs[other.id]))
            remedy = f"name it under Outputs there ({remedy})"
            self.wrong(line, f"TODO {other.number} hands on no {escaped(name)}", remedy, todo)
            return
        self.outputs[other.id][name] = None
        if other.ticked and not todo.ticked and name not in self.saved.get(other.id, {}):
            message = f"TODO {other.number} is ticked, but outputs.json has no {escaped(name)} of it"
            remedy = f'add it: "{other.id}": {{"{escaped(name)}": ...}}, or untick TODO {other.number}'
            self.wrong(line, message, remedy, todo)

    def command(self, todo: Todo) -> None:
        """A value of another TODO in a command would be text that a shell may run."""
        for item in todo.criteria:
            found = (
                references(item.run) if isinstance(item.run, str) else references(" ".join(item.run or ()))
            )
            if found:
                message = f"{shown(found[0].written)}: what another TODO says cannot be put into a command"
                self.wrong(item.line, message, "write the path itself", todo)

    def cycle(self) -> None:
        """TODOs that wait for each other."""
        found = graph.cycle(self.needs)
        if found:
            names = [f"TODO {self.by_id[one].number}" for one in found[:_MOST_SHOWN]]
            more = [f"({len(found) - _MOST_SHOWN} more)"] if len(found) > _MOST_SHOWN else []
            first = found[0]
            line = next(iter(self.needs[first][one] for one in found if one in self.needs[first]))
            message = f"the TODOs wait for each other: {' -> '.join([*names, *more])}"
            self.wrong(line, message, "take one of these dependencies out", self.by_id[first])


def links(plan: Checklist, saved: Mapping[str, Mapping[str, Any]]) -> Links:
    """What the TODOs of a plan wait for and hand on; `saved` is what those that are ticked have handed on."""
    reader = _Reader(plan, saved)
    for todo, row in reader.rows:
        reader.row(todo, row)
    for todo in plan.todos:
        for number, text in _texts(todo):
            reader.text(todo, number, text)
        reader.command(todo)
    for commit in plan.commits:
        if commit.number.lower() not in reader.todos:
            reader.wrong(commit.line, f"there is no TODO {escaped(commit.number)}", reader.known())
    reader.cycle()
    return Links(
        {name: tuple(found) for name, found in reader.needs.items()},
        {name: tuple(found) for name, found in reader.outputs.items()},
        tuple(sorted(reader.problems, key=lambda one: one.line)),
        tuple(reader.notes),
    )


def _texts(todo: Todo) -> Iterator[tuple[int, str]]:
    """The lines of a TODO that reach its worker, but for its criteria."""
    given: Iterable[FieldLines] = (one for name, one in todo.fields.items() if name != "acceptance criteria")
    for one in given:
        yield one.line, one.first
        for line in one.lines:
            yield line.number, line.text
