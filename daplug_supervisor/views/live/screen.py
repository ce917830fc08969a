"""The screen that a person keeps open: everything about a run at a glance, cut to the size of the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from daplug_supervisor.core.model import Run
from daplug_supervisor.views.live.head import Shown, head, providers
from daplug_supervisor.views.live.keys import Look
from daplug_supervisor.views.live.lines import (
    EMPTY,
    QUIET,
    Line,
    apart,
    fit,
    heading,
    limited,
    piece,
)
from daplug_supervisor.views.live.tree import Row, tree
from daplug_supervisor.views.live.tree_lines import tree_lines
from daplug_supervisor.views.live.work import at_work, person, person_count
from daplug_supervisor.views.text import clean, wrap
from daplug_supervisor.views.why import why

_LEAST_TREE = 4
_LEAST_PART = 2
_TALL = 12
_HELP = """\
up, down, j, k: choose a task; PgUp, PgDn, g, G: further
enter, l: what the chosen task printed last; the same key or Esc goes back
w: why it is where it is, and what to type
space: open a folded row, or fold all rows again
f: all tasks, those not done, those that need a person
Esc: choose nothing; the tree follows what is at work
q: leave. The run goes on: this only looks.

✓ done  ▸ at work  ↓ delegated (parts done/all)  ? to be reviewed
· waits  ⊘ blocked  ✗ failed  ! stuck  - cancelled  » skipped

At work: for how long, how long it may still take, how long it has been silent.
A + behind tokens or money: some agents do not report theirs."""
_NARROW = {"all": "all", "not done": "not done", "needs a person": "person"}


def rows_of(run: Run, look: Look, room: int) -> list[Row]:
    """The rows of the tree that belong to a look."""
    return tree(run, room, look.wanted, look.opened)


def screen(
    shown: Shown, look: Look, width: int, height: int, rows: Sequence[Row], output: Sequence[str] = ()
) -> list[Line]:
    """Exactly `height` lines of at most `width` columns. `output`: the last lines of the chosen task's attempt."""
    if height < 1 or width < 1:
        return []
    top = head(shown, width)
    foot = [_foot(look, width)] if height > _LEAST_PART else []
    room = height - len(foot)
    top = top[: max(1, min(len(top), room // 3))]
    if look.panel:
        body = _panel(shown, look, width, room - len(top), output)
    else:
        body = _body(shown, look, width, room - len(top), rows)
    lines = [fit(line, width) for line in (*top, *body)][:room]
    return [*lines, *[EMPTY] * (room - len(lines)), *foot]


def tree_room(shown: Shown, width: int, height: int) -> int:
    """How many rows of the tree fit on the screen, if it has so many."""
    top = len(head(shown, width))
    room = height - (height > _LEAST_PART)
    room -= max(1, min(top, room // 3))
    return max(1, _shares(shown, width, room, len(shown.run.tasks))[0] - 1)


# --- what is where ------------------------------------------------------------------------------------------


def _shares(shown: Shown, width: int, room: int, rows: int) -> tuple[int, list[int]]:
    """How many lines the tree gets, and how many the parts above it; each has a heading, or is left out."""
    wants = [
        sum(map(len, person(shown, width, room))),
        min(len(shown.digest.work), room),
        min(len(shown.run.pools), room),
    ]
    wants = [1 + want if want else 0 for want in wants]
    tree_wants = 1 + rows
    left = room - min(tree_wants, max(_LEAST_TREE, room * 2 // 5))
    shares = [0] * len(wants)
    if left >= _LEAST_PART:
        for at, want in enumerate(wants):  # first a line each, below its heading
            if want and left >= _LEAST_PART:
                shares[at], left = _LEAST_PART, left - _LEAST_PART
        while left > 0 and any(0 < share < want for share, want in zip(shares, wants, strict=True)):
            for at, want in enumerate(wants):
                if 0 < shares[at] < want and left > 0:
                    shares[at], left = shares[at] + 1, left - 1
    return room - sum(shares), shares


def _body(shown: Shown, look: Look, width: int, room: int, rows: Sequence[Row]) -> list[Line]:
    _, (people, work, pools) = _shares(shown, width, room, len(rows))
    lines: list[Line] = []
    if pools:
        lines += [heading("providers", "", width), *limited(providers(shown, width), pools - 1)]
    if work:
        named, found = at_work(shown, width, work)
        shown_work = limited([*found, *[EMPTY] * (len(shown.digest.work) - len(found))], work - 1)
        lines += [heading("at work", named, width), *shown_work]
    if people:
        lines += _people(shown, width, people)
    return [*lines, *tree_lines(shown, look, width, room - len(lines), rows)]


def _people(shown: Shown, width: int, room: int) -> list[Line]:
    found, count = person(shown, width, room), person_count(shown)
    lines: list[Line] = [heading("needs a person", f"({count})", width)]
    told = 0
    for one in found:
        cut = len(lines) + len(one) > room or (
            told + 1 < count and len(lines) + len(one) == room and told > 0
        )
        if cut and told:
            break
        lines += one
        told += 1
    lines = lines[:room]
    if told < count and len(lines) < room:
        lines.append(((f"   and {count - told} more: press f twice", QUIET),))
    return [fit(line, width) for line in lines]


def _panel(shown: Shown, look: Look, width: int, room: int, output: Sequence[str]) -> list[Line]:
    title, what, lines = _paper(shown, look, width, output)
    fits = max(0, room - 1)
    seen = lines[max(0, len(lines) - fits) :] if look.panel == "output" else lines[:fits]
    return [heading(title, what, width), *(fit((piece(line),), width) for line in seen)]


def _paper(shown: Shown, look: Look, width: int, output: Sequence[str]) -> tuple[str, str, Sequence[str]]:
    """What is read in place of the rest: its title, what it is about, and its lines."""
    if look.panel == "help":
        return "help", "", [part for line in _HELP.splitlines() for part in _wrapped(line, width)]
    task = look.chosen
    if task not in shown.run.tasks:
        several = task.startswith("+")
        return look.panel, "", ["several tasks: Esc, then space opens them" if several else f"{task} is gone"]
    if look.panel == "why":
        found = why(
            shown.run, task, shown.now, live=shown.live, stop_file=shown.stop_file, suspects=shown.suspects
        )
        return "why", task, [*_wrapped(found.sentence, width), "", *(f"  {line}" for line in found.next)]
    attempt = shown.run.tasks[task].attempt
    which = f"{task}#{attempt.number}" if attempt else task
    nothing = "nothing was printed yet" if attempt else "it has not been started"
    return "last output", which, output or [nothing]


def _wrapped(text: str, width: int) -> list[str]:
    """A text in lines that are surely no longer than that."""
    return [clean(line, width) for line in wrap(text, width)] or [""]


def _foot(look: Look, width: int) -> Line:
    if look.panel:
        return fit(((" q, Esc back   enter output   w why   ? help", QUIET),), width)
    keys = " q quit   ↑↓ choose   enter output   w why   space fold"
    return apart(((keys, QUIET),), ((f"f {_NARROW[look.wanted]}   ? help", QUIET),), width)
