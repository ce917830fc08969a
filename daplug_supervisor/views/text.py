"""Text for a terminal: hostile text made harmless, durations, times, tables.

What plans, agents and providers say may hold escape sequences, bidi controls or invisible characters. Every
text form of a view passes it through `clean`, so that it cannot move the cursor, hide, or pretend to be ours.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from unicodedata import category, east_asian_width

from daplug_supervisor.core.fences import INVISIBLE

PROGRAM = "daplug-supervise"

_ESCAPED = {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"}
_MARKS = {"Mn", "Me"}
_MOST_MARKS = 4  # real writing stacks no more; a thousand would paint over the lines above and below
_NOT_PLAIN = re.compile("[^\0-\x7e]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": " "}
_LAST_TIME = 253_402_300_800  # the year 10000
_LEAST_COLUMN = 6


_spoken_of: ContextVar[str] = ContextVar("run", default="")


def speak_of(run: str) -> None:
    """From now on commands say which run they mean; '' if it is the one that they mean anyhow."""
    _spoken_of.set(run)


def command(*words: str) -> str:
    """A command line of ours, as it is to be typed."""
    run = _spoken_of.get()
    if run and words == ("report",):
        words = (*words, run)
    elif run and words[0] in ("task", "provider") and len(words) > 2 and "--run" not in words:  # noqa: PLR2004
        words = (*words, "--run", run)
    return shlex.join((PROGRAM, *words))


def _escape(character: str) -> str:
    code = ord(character)
    if code <= 0xFF:  # noqa: PLR2004  as Python writes it
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004


def _harmless(character: str, marks: int) -> tuple[str, int]:
    """What to print for a character after `marks` combining marks in a row, and how many columns it takes."""
    if character in _SHORT:
        return _SHORT[character], len(_SHORT[character])
    kind = category(character)
    if kind in _ESCAPED or ord(character) in INVISIBLE or (kind in _MARKS and marks >= _MOST_MARKS):
        shown = _escape(character)
        return shown, len(shown)
    if kind in _MARKS:
        return character, 0
    return character, 2 if east_asian_width(character) in "WF" else 1


def clean(text: str, width: int | None = None) -> str:
    r"""`text` made safe for one line of a terminal, cut to `width` columns with ``…`` if it is longer.

    Control, format and invisible characters become visible escapes such as ``\x1b``; a tab becomes a space.
    """
    if text.isascii() and text.isprintable() and (width is None or len(text) <= width):
        return text
    if width is None:  # a log of many megabytes, of which each character may be a bad one
        parts = _MAY_STACK.split(text)
        return "".join(
            _cut(part, None) if at % 2 else part.translate(_SHOWN) for at, part in enumerate(parts)
        )
    return _cut(text, width)


class _Shown(dict[int, str]):
    """What to print for each character, for those that were met."""

    def __missing__(self, code: int) -> str:
        """Of one that is new."""
        self[code] = _harmless(chr(code), 0)[0]
        return self[code]


_SHOWN = _Shown()
_MAY_STACK = re.compile(f"([\u0300-\ufffc\ufffe-\U0010ffff]{{{_MOST_MARKS + 1},}})")
"""More marks in a row than are printed, and whatever else is neither Latin nor a character that could not be read."""


def _cut(text: str, width: int | None) -> str:
    """`clean`, one character after another."""
    shown: list[str] = []
    used = marks = 0
    fits = 0  # how many of `shown` leave room for the ellipsis
    for character in text:
        piece, columns = _harmless(character, marks)
        marks = marks + 1 if columns == 0 else 0
        if width is not None and used + columns > width:
            return "".join(shown[:fits]) + "…" if width > 0 else ""
        used += columns
        shown.append(piece)
        if width is None or used < width:
            fits = len(shown)
    return "".join(shown)


def harmless_json(text: str) -> str:
    r"""A JSON document that says the same, with every character that `clean` would not print as an escape (``\u202e``).

    Only texts within a document can hold such characters, and there an escape is the character.
    """
    return _NOT_PLAIN.sub(lambda match: _in_json(match[0]), text)


def _in_json(character: str) -> str:
    if category(character) not in _ESCAPED and ord(character) not in INVISIBLE:
        return character
    data = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{data[at]:02x}{data[at + 1]:02x}" for at in range(0, len(data), 2))


def columns(text: str) -> int:
    """How many columns a cleaned text takes."""
    if text.isascii():
        return len(text)
    return sum(_harmless(character, 0)[1] for character in text)


def wrap(text: str, width: int, indent: str = "") -> list[str]:
    """A sentence, cleaned, as lines of at most `width` columns where its words allow that."""
    lines: list[str] = []
    line = ""
    for word in clean(text).split():
        if line and columns(indent) + columns(line) + 1 + columns(word) > width:
            lines.append(indent + line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, indent + line] if line else lines


def duration(seconds: float) -> str:
    """``3.2s``, ``24s``, ``4m 10s``, ``1h 05m`` or ``2d 03h``; nothing is less than zero."""
    if seconds < 9.95:  # noqa: PLR2004  would be shown as 10.0
        return f"{max(0.0, seconds):.1f}s"
    whole = int(seconds)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if days:
        return f"{days}d {hours % 24:02d}h"
    if hours:
        return f"{hours}h {minutes % 60:02d}m"
    return f"{minutes}m {whole % 60:02d}s" if minutes else f"{whole}s"


def _moment(at: float) -> datetime | None:
    return datetime.fromtimestamp(at, UTC) if 0 <= at < _LAST_TIME else None


def clock(at: float) -> str:
    """A time (UTC, seconds since the epoch) as ``2026-11-21 01:22:03Z``."""
    moment = _moment(at)
    return f"@{at:g}" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}Z"


def stamp(at: float) -> str:
    """A time as machines like it: ``2026-11-21T01:22:03.250Z``."""
    moment = _moment(at)
    return f"@{at:g}" if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def at_clock(at: float, now: float) -> str:
    """A time without its date where that is today's: ``01:22:03Z``."""
    text = clock(at)
    return text.removeprefix(clock(now)[:11])


def when(at: float, now: float) -> str:
    """A time seen from now: ``in 24s, at 01:22:03Z`` or ``5m 00s ago, at 01:22:03Z``."""
    distance = f"in {duration(at - now)}" if at > now else f"{duration(now - at)} ago"
    return f"{distance}, at {at_clock(at, now)}"


def number(count: int, noun: str) -> str:
    """``1 task``, ``2 tasks``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listing(names: Sequence[str], most: int = 3) -> str:
    """``a``, ``a and b``, ``a, b and c``, or the first `most` ``and 4 more``."""
    shown = list(names[:most])
    more = len(names) - len(shown)
    last = f"{more} more" if more else shown.pop() if shown else ""
    return f"{', '.join(shown)} and {last}" if shown else last


def facts(named: Mapping[str, str], width: int, indent: str = "") -> list[str]:
    """Names and values side by side, long values over several lines; what has no value is left out."""
    shown = {clean(name): value for name, value in named.items() if value.strip()}
    room = max(map(columns, shown), default=0) + 2
    lines: list[str] = []
    for name, value in shown.items():
        start = indent + name + " " * (room - columns(name))
        first, *rest = wrap(value, width, " " * columns(start))
        lines += [start + first[columns(start) :], *rest]
    return lines


def table(
    rows: Iterable[Sequence[str]], headers: Sequence[str], width: int = 80, *, indent: str = "", keep: int = 1
) -> str:
    """Aligned columns, cleaned; the widest are cut until a line fits, but never the first `keep`.

    Those hold what a person types again, such as a task's id: a line too long is better than half an id.
    """
    cells = [[clean(cell) for cell in row] for row in (headers, *rows)]
    widths = [max(columns(row[index]) for row in cells) for index in range(len(headers))]
    room = width - len(indent) - 2 * (len(headers) - 1)
    for index in range(keep, len(widths)):
        widths[index] = min(widths[index], max(_LEAST_COLUMN, room))
    while sum(widths) > room:
        widest = max(range(keep, len(widths)), key=widths.__getitem__, default=0)
        if widest < keep or widths[widest] <= _LEAST_COLUMN:
            break
        widths[widest] -= 1
    lines = []
    for row in cells:
        shown = [cell if index < keep else clean(cell, widths[index]) for index, cell in enumerate(row)]
        padded = [cell + " " * (size - columns(cell)) for cell, size in zip(shown, widths, strict=True)]
        lines.append((indent + "  ".join(padded)).rstrip())
    return "\n".join(lines)
