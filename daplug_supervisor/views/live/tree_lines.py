"""The tree of tasks as lines: as much of it as fits on a screen, or all of it as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from daplug_supervisor.core.model import Run
from daplug_supervisor.views.live.digest import digest
from daplug_supervisor.views.live.head import Shown
from daplug_supervisor.views.live.keys import Look, chosen_at, top_of
from daplug_supervisor.views.live.lines import (
    QUIET,
    STRONG,
    WORK,
    Line,
    chosen,
    fit,
    heading,
    joined,
    padded,
    piece,
    plain,
)
from daplug_supervisor.views.live.tree import Row, indent, name_of, tree, words
from daplug_supervisor.views.live.work import WIDE
from daplug_supervisor.views.text import columns

_NAME, _TITLE = 36, 34
_LEAST = 10
_SHOWN = 4
"""Letters of a name that are shown, however far it is set in."""

_STATE = 17


class _Columns(NamedTuple):
    """How wide names and titles are; no titles: they come last, where nothing else is to be said."""

    name: int
    title: int


def tree_lines(shown: Shown, look: Look, width: int, room: int, rows: Sequence[Row]) -> list[Line]:
    """A heading, and those of the rows that fit below it."""
    if room < 1:
        return []
    fits = room - 1
    top, at = top_of(look, shown.run, rows, fits), chosen_at(look, rows)
    window = rows[top : top + fits]
    where = f"{top + 1}-{top + len(window)} of {len(rows)}" if len(rows) > fits else ""
    more = ", ".join(filter(None, (look.wanted if look.wanted != "all" else "", where)))
    lines = [heading("tasks", f"({more})" if more else "", width)]
    longest = max((indent(row) + len(name_of(row)) for row in window), default=0)
    titles = max((columns(_title(shown.run, row)) for row in window), default=0) if width >= WIDE else 0
    sizes = _Columns(max(_SHOWN, min(_NAME, max(_LEAST, width // 3), longest)), min(_TITLE, titles))
    for index, row in enumerate(window, top):
        line = _row(shown, row, width, sizes)
        lines.append(chosen(line, width) if index == at else line)
    if not window:
        lines.append(((" nothing" if look.wanted != "all" else " no tasks", QUIET),))
    return lines[:room]


def _title(run: Run, row: Row) -> str:
    return "" if row.several else piece(run.spec(row.key).title, most=_TITLE)[0]


def _row(shown: Shown, row: Row, width: int, sizes: _Columns) -> Line:
    found = words(shown.run, row, shown.now, live=shown.live, behind=shown.digest.behind)
    title = _title(shown.run, row)
    style = STRONG if found.style == WORK else ""
    name = padded(" " * min(indent(row), sizes.name - _SHOWN) + found.name, sizes.name, style)
    sign: Line = ((" ", ""), (found.sign, found.style), (" ", ""), name)
    if row.several:
        return fit(joined([sign, (piece(found.detail, QUIET),)]), width)
    state = padded(found.state, max(_STATE, columns(found.state)), found.style)
    if sizes.title:
        return fit(
            joined([sign, (state,), (padded(title, sizes.title, QUIET),), (piece(found.detail),)]), width
        )
    last = piece(found.detail) if found.detail else piece(title, QUIET)
    return fit(joined([sign, (state,), (last,)]), width)


def tree_text(run: Run, now: float, width: int, *, live: bool) -> str:
    """The whole tree, nothing folded: for a terminal without a screen, for scripts. Ids are never cut."""
    shown, rows = Shown(run, now, live, digest(run, now)), tree(run)
    longest = max((indent(row) + len(row.key) for row in rows), default=0)
    longest = max(longest, _SHOWN + max(map(indent, rows), default=0))
    titles = min(_TITLE, max((columns(_title(run, row)) for row in rows), default=0))
    sizes = _Columns(longest, titles if width >= longest + titles + _STATE + _NAME else 0)
    room = max(width, longest + _STATE + _LEAST)
    return "\n".join(plain(_row(shown, row, room, sizes))[1:] for row in rows)
