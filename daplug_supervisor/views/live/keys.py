"""What a person does with the screen: keys, the row that is chosen, what is shown of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from daplug_supervisor.core.machine import ACTIVE
from daplug_supervisor.core.model import Run
from daplug_supervisor.views.live.tree import WANTED, Row, Wanted

Panel = Literal["", "output", "why", "help"]

_SEQUENCES = {
    b"\x1b[A": "up", b"\x1bOA": "up", b"\x1b[B": "down", b"\x1bOB": "down", b"\x1b[5~": "page up",
    b"\x1b[6~": "page down", b"\x1b[H": "home", b"\x1bOH": "home", b"\x1b[1~": "home", b"\x1b[F": "end",
    b"\x1bOF": "end", b"\x1b[4~": "end", b"\x1b": "escape", b"\r": "enter", b"\n": "enter", b" ": "space",
    b"\x0c": "redraw", b"k": "up", b"j": "down", b"g": "home", b"G": "end", b"l": "enter", b"\x04": "q",
    b"\x02": "page up", b"\x06": "page down",
}  # fmt: skip
_KEY = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|O[@-~])?|[^\x1b]", re.DOTALL)
_UNFINISHED = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|O)\Z")
_FAR = 1 << 40
_STEPS = {
    "up": (0, -1),
    "down": (0, 1),
    "page up": (-1, 0),
    "page down": (1, 0),
    "home": (-_FAR, 0),
    "end": (_FAR, 0),
}
_LETTERS = frozenset({"q", "w", "f"})


def keys(data: bytes) -> tuple[list[str], bytes]:
    """The keys that a terminal told of, and what is only the beginning of one. What we do not know is left out."""
    rest = _UNFINISHED.search(data)
    whole, left = (data[: rest.start()], rest[0]) if rest else (data, b"")
    found = []
    for one in _KEY.findall(whole):
        name = _SEQUENCES.get(one) or one.decode("ascii", "ignore")
        if one in _SEQUENCES or name in _LETTERS:
            found.append(name)
        elif name in ("?", "h"):
            found.append("help")
    return found, left


class Look(Struct, frozen=True):
    """What is looked at: the row of the tree that is `chosen` ('': the screen chooses), the first row that is shown.

    `place`: where the chosen row was, should it go away; `opened`: rows that are not folded; `over`: no more.
    """

    chosen: str = ""
    place: int = 0
    top: int = 0
    wanted: Wanted = "all"
    panel: Panel = ""
    opened: frozenset[str] = frozenset()
    over: bool = False


def chosen_at(look: Look, rows: Sequence[Row]) -> int | None:
    """Which row is chosen: it may be in a folded one now, or not be there any more."""
    if not look.chosen or not rows:
        return None
    for at, row in enumerate(rows):
        if row.key == look.chosen or look.chosen in row.tasks:
            return at
    return min(look.place, len(rows) - 1)


def busiest(run: Run, rows: Sequence[Row]) -> int:
    """The row to look at as long as nobody has chosen one: the first with a slot."""
    return next(
        (at for at, row in enumerate(rows) if any(run.tasks[name].status in ACTIVE for name in row.tasks)), 0
    )


def top_of(look: Look, run: Run, rows: Sequence[Row], room: int) -> int:
    """The first row to show, so that the chosen one is among them."""
    last = max(0, len(rows) - room)
    at = chosen_at(look, rows)
    if at is None:
        return min(last, _family(rows, busiest(run, rows), room)) if last else 0
    return min(last, max(0, at - room + 1, min(look.top, at)))


def _family(rows: Sequence[Row], at: int, room: int) -> int:
    """The row to begin with if one is to be seen: with what it is a part of, and one before that, if there is room."""
    first = at
    while first > 0 and rows[first].depth > 0 and at - first + 1 < room:
        first -= 1
    return max(0, first - 1) if at - first + 1 < room else first


def pressed(look: Look, key: str, run: Run, rows: Sequence[Row], room: int) -> Look:
    """What is looked at after a key. `rows` are those of the tree, `room` how many of them fit."""
    if look.panel:
        return _in_panel(look, key, run, rows, room)
    if key == "q":
        return replace(look, over=True)
    if key == "help":
        return replace(look, panel="help")
    if key == "f":
        wanted = WANTED[(WANTED.index(look.wanted) + 1) % len(WANTED)]
        return replace(look, wanted=wanted, top=0)
    if key == "escape":
        return replace(look, chosen="", top=0, opened=frozenset())
    return _among_rows(look, key, run, rows, room) if rows else look


def _in_panel(look: Look, key: str, run: Run, rows: Sequence[Row], room: int) -> Look:
    if key in _STEPS and rows and look.panel != "help":
        return _among_rows(look, key, run, rows, room)
    other: dict[str, Panel] = {"w": "why", "enter": "output", "help": "help"}
    panel = other.get(key)
    if panel is not None and panel != look.panel and look.chosen:
        return replace(look, panel=panel)
    closes = panel is not None or key in ("q", "escape", "space")
    return replace(look, panel="") if closes else look


def _among_rows(look: Look, key: str, run: Run, rows: Sequence[Row], room: int) -> Look:
    at = chosen_at(look, rows)
    start = busiest(run, rows) if at is None else at
    if key in _STEPS:
        pages, ones = _STEPS[key]
        step = 0 if at is None and ones else pages * room + ones  # the first only shows which one is chosen
        to = min(len(rows) - 1, max(0, start + step))
        moved = replace(look, chosen=rows[to].key, place=to, top=top_of(look, run, rows, room))
        return replace(moved, top=top_of(moved, run, rows, room))
    row = rows[start]
    here = replace(look, chosen=row.key, place=start, top=top_of(look, run, rows, room))
    if key == "space" or (key == "enter" and row.several):
        return replace(here, opened=look.opened | {row.key} if row.folded else frozenset())
    if key in ("enter", "w") and not row.several:
        return replace(here, panel="output" if key == "enter" else "why")
    return look
