"""What is wrong in a plan: first as findings with a path, then as problems with line and column.

Everything quoted from a file is escaped here, so that no message can carry a control character to a terminal.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

FieldPath = tuple[str | int, ...]
MAX_QUOTED = 80
MAX_PROBLEMS = 1000

_LONGEST_FIELD = 300
_MAX_SEARCHES = 50
_MAX_COMPARED = 2000
_BLOCK = 1 << 16


class Finding(NamedTuple):
    """Something wrong at `path`.

    `at` is a character offset, where the path alone does not say the position. `because` names the fields
    that the judgement rests on, beside the path itself: if something in those was unreadable, the finding
    says nothing new and is left out. `stands_for` is the field that a misspelt one was meant to be.
    """

    path: FieldPath
    message: str
    remedy: str = ""
    at: int = -1
    because: tuple[FieldPath, ...] = ()
    stands_for: FieldPath = ()


class UnreadableError(Exception):
    """Reading cannot go on; why was added to the findings."""


class Findings(list[Finding]):
    """Everything found so far."""

    def note(self, finding: Finding) -> None:
        """Take one more.

        Raises:
            UnreadableError: that is more than anybody will read (`MAX_PROBLEMS`).
        """
        self.append(finding)
        if len(self) >= MAX_PROBLEMS:
            raise UnreadableError


def escaped(text: str, limit: int = MAX_QUOTED) -> str:
    """`text` on one line of printable characters, shortened to `limit` of them before escaping."""
    if len(text) > limit:
        text = text[:limit] + "…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shown(text: str, limit: int = MAX_QUOTED) -> str:
    """`text` in quotes, with everything unprintable escaped, shortened to `limit` characters."""
    return repr(text) if len(text) <= limit else repr(text[:limit]) + "…"


def dotted(path: FieldPath) -> str:
    """A path as problems name it, such as ``tasks.build.needs.0``; printable and of bounded length."""
    return escaped(".".join(map(str, path)), _LONGEST_FIELD)


def fit_id(text: str, default: str) -> str:
    """`text` made to fit the id alphabet (`core.plan.Id`), or `default` if nothing is left of it."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("._-")[:64].rstrip("._-") or default


class Nearest:
    """Finds the known name that a misspelt one resembles; stops after some searches, to stay linear."""

    def __init__(self, known: Iterable[str]) -> None:
        self._known = list(known)
        self._searches = 0

    def __call__(self, name: str) -> str | None:
        """The nearest known name, or None."""
        self._searches += 1
        if self._searches > _MAX_SEARCHES:
            return None
        folded = name[:MAX_QUOTED].casefold()
        close = {k.casefold(): k for k in self._known if abs(len(k) - len(folded)) <= 2 + len(folded) // 4}
        if len(close) > _MAX_COMPARED:
            close = {k: original for k, original in close.items() if k[:2] == folded[:2]}
        found = get_close_matches(folded, list(close)[:_MAX_COMPARED], n=1)
        return close[found[0]] if found else None


def choice(name: str, known: Iterable[str], nearest: Nearest) -> str:
    """The remedy for an unknown name: the nearest known one, else the list of all (the first twenty)."""
    found = nearest(name)
    if found is not None:
        return f"did you mean {escaped(found)}?"
    names = list(known)
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""  # noqa: PLR2004
    return f"known: {', '.join(map(escaped, names[:20]))}{more}" if names else "there are none"


class Lines:
    """Turns character offsets into lines and columns, in little memory however many lines there are."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._before = [0]
        """How many line breaks come before each block."""

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column, both from 1."""
        block = min(offset, len(self._text)) // _BLOCK
        while len(self._before) <= block:
            start = (len(self._before) - 1) * _BLOCK
            self._before.append(self._before[-1] + self._text.count("\n", start, start + _BLOCK))
        line = 1 + self._before[block] + self._text.count("\n", block * _BLOCK, offset)
        return line, offset - self._text.rfind("\n", 0, offset)


class Blame:
    """Which fields are already known to be bad, so that one mistake is reported once."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self._bad: set[FieldPath] = set()
        self._touched: set[FieldPath] = set()
        for finding in findings:
            for path in filter(None, (finding.path, finding.stands_for)):
                self._bad.add(path)
                self._touched.update(path[:end] for end in range(1, len(path) + 1))

    def covers(self, finding: Finding) -> bool:
        """Whether what the finding rests on was not readable in the first place."""
        return any(path in self._touched for path in finding.because) or any(
            path[:end] in self._bad
            for path in (*finding.because, finding.path)
            for end in range(1, len(path) + 1)
        )
