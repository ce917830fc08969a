"""What can be had of a damaged journal: every intact row, and which are missing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

from msgspec import Struct

from daplug_supervisor.errors import JournalError
from daplug_supervisor.journal.header import wal_of
from daplug_supervisor.journal.pages import Found, Pages
from daplug_supervisor.journal.reader import entry_of
from daplug_supervisor.journal.rows import Content, End, Row, checksum, read_tail

_MOST_GUESSES = 20_000

Range = tuple[int, int]


class Salvaged(Struct, frozen=True):
    """The rows that were found, in order, and the ranges of numbers that were not.

    `end_known`: whether something says how far the journal went. If not, more may be missing behind the last row.
    `last` is the highest number that was ever given out, as far as is known.
    """

    rows: list[Row]
    lost: list[Range]
    end_known: bool
    last: int

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return self.end_known and not self.lost


def salvage(path: Path) -> Salvaged:
    """Read a journal's files without SQLite. Nothing is changed."""
    found = set(Pages(_bytes(path), _bytes(wal_of(path))).rows())
    tail = read_tail(path)
    own = _own(found, tail)
    if tail is not None and tail.own != own:
        tail = None
    rows = _choose(found, own, tail)
    lost = list(_gaps(rows, own))
    last = rows[-1][0] if rows else 0
    if tail is not None and tail.seq > last:
        lost.append((last + 1, tail.seq))
        last = tail.seq
    return Salvaged(rows, lost, tail is not None, last)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes() if path.is_file() else b""
    except OSError as error:
        raise JournalError(f"{path}: {error.strerror}") from error


def _own(found: Iterable[Found], tail: End | None) -> int | None:
    """The journal's number: each intact row tells it. The tail knows best, unless it is of another journal."""
    votes: Counter[int] = Counter()
    for numbers, fields in found:
        *columns, before, told = fields
        if not isinstance(before, int) or not isinstance(told, int):
            continue
        for number in numbers:
            own = checksum(before, (number, *columns)) ^ told
            votes[own] += 1 + (own == before)  # as it is in the first row
    best = max(votes, key=lambda own: votes[own], default=None)
    if tail is not None and (votes[tail.own] or best is None or votes[best] < 2):  # noqa: PLR2004 (may be chance)
        return tail.own
    return best if best is not None and votes[best] > 1 else None


def _choose(found: Iterable[Found], own: int | None, tail: End | None) -> list[Row]:
    sealed: defaultdict[int, set[Row]] = defaultdict(set)
    nameless: list[Found] = []
    for one in found:
        fits = [row for row in _as_rows(one, one.numbers) if _is_sealed(row, own)]
        for row in fits:
            sealed[row[0]].add(row)
        if not fits and isinstance(one.fields[-1], int):
            nameless.append(one)
    _guess(sealed, nameless, own, tail)
    rows = list(_linked(sealed, tail))
    first = rows[0][0] if rows else None
    rows[:0] = [row for row in _unsealed(found) if first is None or row[0] < first]
    return rows


def _as_rows(found: Found, numbers: Iterable[int]) -> Iterator[Row]:
    for number in numbers:
        yield (number, *found.fields)


def _is_sealed(row: Row, own: int | None) -> bool:
    *content, before, told = row
    if own is None or before is None or told is None:
        return False
    return checksum(before, tuple(content)) ^ own == told


def _guess(sealed: dict[int, set[Row]], nameless: list[Found], own: int | None, tail: End | None) -> None:
    """Rows that are intact but for their number may be one of those that are missing: the checksum knows."""
    last = max([*sealed, tail.seq if tail else 0], default=0)
    missing = [number for number in range(1, min(last, _MOST_GUESSES) + 1) if number not in sealed]
    for one in nameless[: _MOST_GUESSES // (len(missing) or 1)]:
        for row in _as_rows(one, missing):
            if _is_sealed(row, own):
                sealed[row[0]] = {row}


def _linked(sealed: dict[int, set[Row]], tail: End | None) -> list[Row]:
    """One row for each number. Of several (one was written, and not acknowledged) the one that the next links to."""
    rows: list[Row] = []
    wanted = {tail.seq: tail.sum} if tail is not None else {}
    for number in sorted(sealed, reverse=True):
        link = wanted.get(number)
        fits = [row for row in sealed[number] if link is None or row[-1] == link]
        if not fits:
            continue  # it never was part of what followed
        row = min(fits, key=lambda row: (_link(row, sealed), repr(row)))
        rows.append(row)
        if row[-2] is not None:
            wanted.setdefault(number - 1, row[-2])
    return rows[::-1]


def _link(row: Row, sealed: dict[int, set[Row]]) -> bool:
    """False, which sorts first, if the row before this one was found too."""
    return all(other[-1] != row[-2] for other in sealed.get(row[0] - 1, ()))


def _unsealed(found: Iterable[Found]) -> list[Row]:
    """Rows of schema version 1, which have no checksums: those that are events and do not contradict themselves."""
    rows: dict[int, Row] = {}
    for one in found:
        if one.fields[-1] is None and one.fields[-2] is None and len(one.numbers) == 1:
            row: Row = (one.numbers[0], *one.fields)
            try:
                entry_of(row[:-2], Path())
            except JournalError as error:
                if "is damaged" in str(error):
                    continue
            rows[row[0]] = row
    return [rows[number] for number in sorted(rows)]


def _gaps(rows: list[Row], own: int | None) -> Iterator[Range]:
    """Where rows are missing. After an earlier repair numbers may be missing and the links be whole."""
    if rows and rows[0][0] > 1 and rows[0][-2] != own:
        yield 1, rows[0][0] - 1
    for one, other in pairwise(rows):
        linked = other[-2] == (one[-1] if one[-1] is not None else own)
        follows = other[0] == one[0] + 1
        if not (follows or (linked and one[-1] is not None)):
            yield one[0] + 1, other[0] - 1


def content_of(row: Row) -> Content:
    """A row without its links."""
    return row[:-2]
