"""The journal as every process but the supervisor sees it: read-only, while a supervisor writes or after it died."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from daplug_supervisor.core import events as ev
from daplug_supervisor.errors import JournalError
from daplug_supervisor.ports import RunMark

APPLICATION_ID = 0x64617073
"""``daps``: tells this file from every other SQLite file."""

SCHEMA_VERSION = 1
PAGE = 2000
"""Entries read at once."""

_KINDS = ", ".join(f"'{kind.__struct_config__.tag}'" for kind in ev.MARKS)
MARKS = f"""
SELECT run, min(seq), max(CASE kind WHEN 'run_finished' THEN seq ELSE 0 END) = max(seq) FROM event
WHERE kind IN ({_KINDS})
GROUP BY run ORDER BY min(seq)
"""  # noqa: S608 (our own constants)
READ = "SELECT seq, run, at, data FROM event WHERE seq > ? AND run = ? ORDER BY seq LIMIT ?"
READ_ALL = "SELECT seq, run, at, data FROM event WHERE seq > ? ORDER BY seq LIMIT ?"


class ReadOnlyJournal:
    """The journal as every process but the supervisor sees it: ``mode=ro``, usable while a supervisor writes."""

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            JournalError: it cannot be read, or is of a newer version.
        """
        self._path = path
        try:
            self._db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        except sqlite3.Error as error:
            raise JournalError(explain(path, error)) from error
        try:
            self._check()
        except JournalError:
            self.close()
            raise

    def _check(self) -> None:
        [(version,)], [(whose,)] = (
            self._fetch("PRAGMA user_version", ()),
            self._fetch("PRAGMA application_id", ()),
        )
        if whose != APPLICATION_ID:
            raise JournalError(f"{self._path} is not a journal of daplug-supervisor, or nothing is in it yet")
        if version > SCHEMA_VERSION:
            raise JournalError(
                f"{self._path} was written by a newer version (schema {version}); upgrade daplug-supervisor"
            )

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def runs(self) -> list[RunMark]:
        """All runs, oldest first."""
        return [RunMark(run, first, bool(finished)) for run, first, finished in self._fetch(MARKS, ())]

    def read(self, run: str | None, after: int = 0) -> list[ev.Entry]:
        """All entries of a run (None: of all runs) above `after`, in order."""
        found: list[ev.Entry] = []
        while True:
            query, values = (READ_ALL, (after, PAGE)) if run is None else (READ, (after, run, PAGE))
            rows = self._fetch(query, values)
            found += [entry_of(row, self._path) for row in rows]
            if len(rows) < PAGE:
                return found
            after = found[-1].seq

    def last_seq(self) -> int:
        """The sequence number of the last event."""
        return int(self._fetch("SELECT coalesce(max(seq), 0) FROM event", ())[0][0])

    def damage(self) -> list[str]:
        """What SQLite's own check finds wrong; empty if nothing."""
        return damage_of(self._fetch("PRAGMA quick_check", ()))

    def _fetch(self, query: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise JournalError(explain(self._path, error)) from error


def entry_of(row: Sequence[object], path: Path) -> ev.Entry:
    """The entry of a row ``seq, run, at, data``.

    Raises:
        JournalError: the row is not an event that this version knows.
    """
    seq, run, at, data = row
    try:
        return ev.Entry(int(str(seq)), str(run), float(str(at)), ev.decode(str(data)))
    except (msgspec.DecodeError, ValueError) as error:
        raise JournalError(
            f"{path}: event {seq} cannot be read: {error}; see 'daplug-supervise doctor'"
        ) from error


def damage_of(rows: Sequence[Sequence[object]]) -> list[str]:
    """What SQLite's check says is wrong, a line each; empty if nothing is."""
    lines = [line for row in rows for line in str(row[0]).splitlines()]
    return [line for line in lines if line != "ok" and not line.startswith("***")]


def explain(path: Path, error: BaseException) -> str:
    """What went wrong with the file, and what to do about it."""
    text = str(error) or type(error).__name__
    if "malformed" in text or "not a database" in text:
        return f"{path} is damaged: {text}; run 'daplug-supervise doctor'"
    if "full" in text:
        return f"{path} cannot be written: {text}; free some space, then start again: nothing acknowledged is lost"
    return f"{path}: {text}"
