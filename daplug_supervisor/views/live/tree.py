"""The tasks of a run as a tree: parents with their parts below them; what is done, or waits long, in one line.

Making the rows looks at every task, and is done again only when something has happened. Their words are made for those
that are on the screen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Literal, NamedTuple, get_args

from msgspec import Struct

from daplug_supervisor.core.machine import SATISFIED, Status
from daplug_supervisor.core.model import Run, TaskState
from daplug_supervisor.views.derived import is_dead_end
from daplug_supervisor.views.live.words import described

Wanted = Literal["all", "not done", "needs a person"]
"""Which tasks are shown, with those that they are parts of."""

WANTED: tuple[Wanted, ...] = get_args(Wanted)
_PERSON = frozenset({Status.FAILED, Status.STUCK, Status.REVIEWING})

_FEWEST_DONE = 3
_NEXT = 2
"""Of many that wait in a row, so many stay at least: they come first."""

_INDENT = 2
_DEEPEST = 12
"""Levels that are indented: what is still deeper is told by its order."""


class Row(Struct, frozen=True):
    """A row of the tree: one task, or several in one line.

    `key` names it from one picture to the next. `folded`: its parts are not shown (`family`), or it stands for all of
    its tasks, which are next to each other and ``done`` or ``waiting``.
    """

    key: str
    depth: int
    tasks: tuple[str, ...]
    folded: Literal["", "family", "done", "waiting"] = ""

    @property
    def several(self) -> bool:
        """Whether it stands for more than one task."""
        return self.folded in ("done", "waiting")


class Words(Struct, frozen=True):
    """What a row says. `sign` and `state` say the same; `style` is that of both."""

    sign: str
    name: str
    state: str
    detail: str
    title: str
    style: str


def tree(
    run: Run, room: int | None = None, wanted: Wanted = "all", opened: frozenset[str] = frozenset()
) -> list[Row]:
    """The rows of a run, folded as far as `room` rows ask for it (None: not at all), but never the `opened` ones."""
    shown = _shown(run, wanted)
    families = {
        name: [child for child in task.children if child in shown] for name, task in run.tasks.items()
    }
    roots = [name for name in run.tasks if name in shown and run.plan.tasks[name].parent is None]
    if room is None or len(shown) <= room:
        return list(_rows(run, roots, families, _Fold(opened)))
    whole = _whole(run, roots, families)
    found = list(_rows(run, roots, families, _Fold(opened, whole)))
    if len(found) <= room:
        return found
    found = list(_rows(run, roots, families, _Fold(opened, whole, _NEXT)))
    folded = sum(row.folded == "waiting" for row in found)
    more = (room - len(found)) // folded if folded else 0
    return found if more <= 0 else list(_rows(run, roots, families, _Fold(opened, whole, _NEXT + more)))


class _Fold(NamedTuple):
    """What is folded: but for the `opened` rows, those that are `whole`, and of many that wait all after `stay`."""

    opened: frozenset[str]
    whole: frozenset[str] = frozenset()
    stay: int | None = None


def needs_person(task: TaskState) -> bool:
    """Whether a person has to decide about a task, and has not done so."""
    return task.status in _PERSON or (task.status is Status.DELEGATED and is_dead_end(task))


def _shown(run: Run, wanted: Wanted) -> Mapping[str, object]:
    if wanted == "all":
        return run.tasks
    found: dict[str, None] = {}
    for task in run.tasks.values():
        if needs_person(task) if wanted == "needs a person" else task.status not in SATISFIED:
            name: str | None = task.id
            while name is not None and name not in found:
                found[name] = None
                name = run.plan.tasks[name].parent
    return found


def _whole(run: Run, roots: list[str], families: Mapping[str, list[str]]) -> frozenset[str]:
    """The tasks that are done with all their parts."""
    order = list(roots)
    for name in order:  # which grows meanwhile
        order += families[name]
    found: set[str] = set()
    for name in reversed(order):
        if run.tasks[name].status in SATISFIED and all(child in found for child in families[name]):
            found.add(name)
    return frozenset(found)


def _rows(run: Run, roots: list[str], families: Mapping[str, list[str]], fold: _Fold) -> Iterator[Row]:
    """All rows from top to bottom. Without recursion: nobody limits how deep people nest."""

    def kind(name: str) -> str:
        if name in fold.whole:
            return "done"
        waits = fold.stay is not None and not families[name] and run.tasks[name].status is Status.PENDING
        return "waiting" if waits else ""

    def level(names: list[str], depth: int) -> Iterator[Row]:
        for of, group in groupby(names, kind):
            yield from _grouped(of, list(group), depth, families, fold)

    levels = [level(roots, 0)]
    while levels:
        row = next(levels[-1], None)
        if row is None:
            levels.pop()
            continue
        yield row
        if not row.folded:
            levels.append(level(families[row.key], row.depth + 1))


def _grouped(
    of: str, names: list[str], depth: int, families: Mapping[str, list[str]], fold: _Fold
) -> Iterator[Row]:
    """The rows of neighbours of one kind."""
    key, stay = f"+{names[0]}", len(names)
    if key not in fold.opened:
        if of == "done" and len(names) >= _FEWEST_DONE:
            stay = 0
        elif of == "waiting" and fold.stay is not None and len(names) > fold.stay + 1:
            stay = fold.stay
    for name in names[:stay]:
        family = of == "done" and bool(families[name]) and name not in fold.opened
        yield Row(name, depth, (name,), "family" if family else "")
    if stay < len(names):
        yield Row(key, depth, tuple(names[stay:]), "waiting" if of == "waiting" else "done")


# --- words --------------------------------------------------------------------------------------------------


def words(run: Run, row: Row, now: float, *, live: bool, behind: Mapping[str, str]) -> Words:
    """What a row says. `behind`: as in a digest."""
    if not row.several:
        return _of_task(run, run.tasks[row.key], row, now, live=live, behind=behind)
    names = f"{row.tasks[0]} … {row.tasks[-1]}"
    if row.folded == "done":
        return Words("✓", f"{len(row.tasks)} done", "", names, "", "green")
    blocked = sum(name in behind for name in row.tasks)
    detail = f"{names}; {blocked} blocked" if blocked else names
    return Words(
        "⊘" if blocked == len(row.tasks) else "·", f"{len(row.tasks)} waiting", "", detail, "", "dim"
    )


def _of_task(
    run: Run, task: TaskState, row: Row, now: float, *, live: bool, behind: Mapping[str, str]
) -> Words:
    sign, state, detail, style = described(run, task, now, live=live, behind=behind.get(task.id, ""))
    if row.folded == "family":
        count = len(task.children)
        state = f"{state} ({count}/{count})"
    return Words(sign, task.id, state, detail, run.spec(task.id).title, style)


def indent(row: Row) -> int:
    """By how many columns a row is set in."""
    return _INDENT * min(row.depth, _DEEPEST)


def name_of(row: Row) -> str:
    """What stands in the first column, without its words: to know how wide that is."""
    return f"{len(row.tasks)} {row.folded}" if row.several else row.key
