"""Rows as the journal keeps them: each sealed with a checksum, and all of them one chain.

SQLite has no checksums of its own: a flipped bit in a task's name would go unseen. So each row carries `sum`, the
CRC-32 of its columns, and `before`, which is the `sum` of the row before it: a row that is missing, altered, or
swapped with another does not fit its neighbours. Every `sum` is also XORed with the journal's own number, so that
rows of another journal, in a stale write-ahead log, do not fit either. The `before` of the first row is that number.

What is missing at the end is noticed by `Tail`, a small file beside the journal that says how far it went.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from pathlib import Path
from typing import Any, NamedTuple

COLUMNS = "seq, run, at, task, kind, version, data, before, sum"
COLUMNS_1 = "seq, run, at, task, kind, version, data, NULL, NULL"
"""Of schema version 1, which had no checksums."""

Row = tuple[int, str, float, str, str, int, str, int | None, int | None]
Content = tuple[int, str, float, str, str, int, str]

_TAIL_SIZE = 64


def checksum(before: object, content: tuple[Any, ...]) -> int:
    """The CRC-32 of a row's columns and of its link to the row before it."""
    seq, run, at, task, kind, version, data = content
    return zlib.crc32(
        f"{before} {seq} {run} {at!r} {task} {kind} {version} {data}".encode(errors="surrogatepass")
    )


class Chain:
    """The rows of a journal one after another: checks them when they are read, and seals new ones.

    `own` is the journal's number (None as long as no sealed row was seen), `seq` and `sum` are the last row's.
    """

    def __init__(self) -> None:
        self.own: int | None = None
        self.seq = 0
        self.sum = 0

    def flaw(self, row: tuple[Any, ...]) -> str:
        """What is wrong with the row that comes next; empty if nothing is. It counts as seen in any case."""
        *content, before, found = row
        seq, previous = content[0], self.seq
        if not isinstance(seq, int):
            return f"event {seq!r} has no number"
        last, self.seq = self.sum, seq
        if before is None and found is None:  # from schema version 1
            return self._unsealed(seq, previous)
        if not isinstance(before, int) or not isinstance(found, int):
            return f"event {seq} has lost its checksum"
        self.sum = found
        told = checksum(before, tuple(content)) ^ found
        if self.own is None:
            self.own, last = told, before
            if seq != previous + 1 and (previous or told != before):
                return _missing(previous, seq)
            told = told if told == before else -1
        if told != self.own:
            return f"event {seq} is not as it was written"
        return "" if before == last else _missing(previous, seq)

    def _unsealed(self, seq: int, previous: int) -> str:
        if self.own is not None:
            return f"event {seq} has lost its checksum"
        return "" if seq == previous + 1 else _missing(previous, seq)

    def seal(self, content: Content) -> Row:
        """The row that is written next."""
        if self.own is None:
            self.own = self.sum = int.from_bytes(os.urandom(4), "big")
        before = self.sum
        self.seq, self.sum = content[0], checksum(before, content) ^ self.own
        return (*content, before, self.sum)


def _missing(previous: int, seq: int) -> str:
    if seq == previous + 1:
        return f"event {seq} does not follow on event {previous}"
    return spelled(previous + 1, seq - 1, "missing")


def spelled(first: int, last: int, what: str) -> str:
    """``event 5 is missing``, ``events 5 to 7 are missing``."""
    return f"event {first} is {what}" if first == last else f"events {first} to {last} are {what}"


class End(NamedTuple):
    """How far a journal went: its schema, its number, and the last acknowledged row's `seq` and `sum`."""

    schema: int
    own: int
    seq: int
    sum: int


def tail_of(journal: Path) -> Path:
    """The file beside a journal that says how far it went."""
    return journal.with_suffix(".tail")


def read_tail(journal: Path) -> End | None:
    """How far the journal went at least; None if nothing says so, or it was damaged itself."""
    try:
        with tail_of(journal).open("rb") as file:
            words = file.read(_TAIL_SIZE).split()
        *numbers, found = (int(word) for word in words)
        end = End(*numbers)
    except (OSError, ValueError, TypeError):
        return None
    return end if found == _sum_of(end) else None


def tail_text(end: End) -> bytes:
    """The text of a tail file."""
    return f"{end.schema} {end.own} {end.seq} {end.sum} {_sum_of(end)}".encode().ljust(_TAIL_SIZE - 1) + b"\n"


def _sum_of(end: End) -> int:
    return zlib.crc32(repr(tuple(end)).encode())


class Tail:
    """Writes how far the journal went: after each group, one small write in place.

    It is not synced, for that would double the price of a commit. So after a power cut it may be behind the journal,
    which is harmless. It is never ahead of it.
    """

    def __init__(self, journal: Path, schema: int) -> None:
        self._schema = schema
        self._descriptor = os.open(tail_of(journal), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(self, own: int, seq: int, found: int) -> None:
        """Note the last acknowledged row. If that fails, less will be noticed later, and nothing else."""
        with contextlib.suppress(OSError):
            os.pwrite(self._descriptor, tail_text(End(self._schema, own, seq, found)), 0)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)
