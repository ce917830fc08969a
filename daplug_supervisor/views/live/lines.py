"""Lines of a screen: pieces of harmless text, each with a style, cut to a width.

A style is a few words such as ``bold green``. It only adds to what the words and the signs say already.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate

from daplug_supervisor.views.text import clean, columns, duration

Piece = tuple[str, str]
"""A text that went through `clean`, and its style."""

Line = tuple[Piece, ...]

GOOD, BAD, WARN, WORK, QUIET, STRONG = "green", "bold bright_red", "yellow", "cyan", "dim", "bold"
EMPTY: Line = ()
_MINUTE = 60
_CHOSEN = "reverse"
_FULL, _FREE = "█", "░"
_ASCII = str.maketrans("✓✗⊘»▸·─█░…↑↓", "+x!>>.-#.~^v")


def piece(text: str, style: str = "", most: int | None = None) -> Piece:
    """A text made harmless, cut to `most` columns."""
    return clean(text, most), style


def size(line: Iterable[Piece]) -> int:
    """How many columns a line takes."""
    return sum(columns(text) for text, _ in line)


def fit(line: Line, width: int) -> Line:
    """A line cut to `width` columns, with ``…`` where something is missing."""
    room = max(0, width)
    if size(line) <= room:
        return line
    at, end = next(
        (at, end) for at, end in enumerate(accumulate(columns(text) for text, _ in line)) if end >= room
    )
    text, style = line[at]  # something has to go: of this one, or all that follows
    return (*line[:at], (clean(text + "…", room - end + columns(text)), style))


def padded(text: str, width: int, style: str = "", *, right: bool = False) -> Piece:
    """A text in a column of this width: cut, or filled with blanks, in front of it if it belongs to the `right`."""
    shown = clean(text, width)
    blanks = " " * (width - columns(shown))
    return (blanks + shown if right else shown + blanks), style


def joined(parts: Iterable[Line], between: str = "  ") -> Line:
    """Several lines as one; those with nothing in them are left out."""
    found: list[Piece] = []
    for part in parts:
        if size(part):
            found += [(between, ""), *part] if found else part
    return tuple(found)


def apart(left: Line, right: Line, width: int) -> Line:
    """One at the left edge, the other at the right, which is left out if there is no room for it."""
    blanks = width - size(left) - size(right)
    return fit((*left, (" " * blanks, ""), *right) if blanks >= 1 and right else left, width)


def chosen(line: Line, width: int) -> Line:
    """A line that the keys speak of: marked by a sign in front of it, and over the whole width."""
    (first, style), *more = line
    cut = fit(((">" + first[1:], style), *more), width)
    blanks = (" " * (width - size(cut)), "")
    return tuple((text, f"{style} {_CHOSEN}".strip()) for text, style in (*cut, blanks))


def bar(part: float, width: int, style: str = GOOD) -> Line:
    """How much of something is done."""
    full = min(width, max(0, int(part * width)))
    return (_FULL * full, style), (_FREE * (width - full), QUIET)


def heading(title: str, more: str, width: int) -> Line:
    """The line above a part of the screen: what it is, what its columns are, and a rule up to the edge."""
    words = ((title.upper(), STRONG), piece(f" {more}" if more else "", QUIET))
    return fit((*words, (" " + "─" * max(0, width - size(words) - 1), QUIET)), width)


def plain(line: Line) -> str:
    """A line without its styles."""
    return "".join(text for text, _ in line).rstrip()


def in_ascii(text: str) -> str:
    """The signs that are ours for a terminal that knows no others."""
    return text.translate(_ASCII)


def limited(lines: Sequence[Line], room: int, unit: str = "more") -> list[Line]:
    """The first lines, as many as there is room for; the last one says how many are missing."""
    if len(lines) <= room:
        return list(lines)
    missing = len(lines) - room + 1
    return [*lines[: max(0, room - 1)], *([((f"  and {missing} {unit}", QUIET),)] if room > 0 else [])]


def brief(seconds: float) -> str:
    """As `duration`, in whole seconds: what is shown every second need not be told by tenths."""
    return f"{max(0, int(seconds))}s" if seconds < _MINUTE else duration(seconds)
