"""The journal as every process but the supervisor sees it: read-only, while a supervisor writes or after it died.

Nothing is read that was not checked: before the first read the whole chain of rows is gone through (`rows.Chain`),
later what was added since.
"""

from __future__ import annotations

import functools
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from daplug_supervisor.core import events as ev
from daplug_supervisor.errors import JournalError
from daplug_supervisor.journal.header import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    damaged,
    newer,
    refuse,
)
from daplug_supervisor.journal.rows import COLUMNS, COLUMNS_1, Chain, End, read_tail, spelled
from daplug_supervisor.ports import RunMark

PAGE = 2000
"""Entries read at once."""

_CONTENT = "seq, run, at, task, kind, version, data"
_KINDS = ", ".join(f"'{kind.__struct_config__.tag}'" for kind in ev.MARKS)
MARKS = f"""
SELECT run, min(seq), max(CASE kind WHEN 'run_finished' THEN seq ELSE 0 END) = max(seq) FROM event
WHERE kind IN ({_KINDS})
GROUP BY run ORDER BY min(seq)
"""  # noqa: S608 (our own constants)
READ = f"SELECT {_CONTENT} FROM event WHERE seq > ? AND run = ? ORDER BY seq LIMIT ?"  # noqa: S608
READ_ALL = f"SELECT {_CONTENT} FROM event WHERE seq > ? ORDER BY seq LIMIT ?"  # noqa: S608
ANSWERS = f"SELECT {_CONTENT} FROM event WHERE kind = 'command_answered' AND instr(data, ?) ORDER BY seq"  # noqa: S608
_MARKING = {str(kind.__struct_config__.tag) for kind in ev.MARKS}
_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*|")
"""What a run may be called; it is the name of a directory too."""

_MOST_FLAWS = 20
_ABSURD = (MemoryError, OverflowError, UnicodeError)
"""What damaged lengths and texts make Python say."""


class ReadOnlyJournal:
    """The journal as every process but the supervisor sees it: ``mode=ro``, usable while a supervisor writes."""

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            JournalError: it cannot be read, is damaged, or is of a newer version.
        """
        self._path = path
        refuse(path)
        try:
            self._db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        except sqlite3.Error as error:
            raise JournalError(explain(path, error)) from error
        self._chain = Chain()
        self._marks: dict[str, RunMark] = {}
        self._flaw = ""
        try:
            self.version = self._check()
        except JournalError:
            self.close()
            raise

    def _check(self) -> int:
        """Whose file it is and of which schema, all as of one moment: it may be in the making."""
        self._fetch("BEGIN", ())
        try:
            return self._check_schema()
        finally:
            if self._db.in_transaction:
                self._fetch("COMMIT", ())

    def _check_schema(self) -> int:
        whose = self._fetch("PRAGMA application_id", ())[0][0]
        version = int(self._fetch("PRAGMA user_version", ())[0][0])
        if whose != APPLICATION_ID:
            if not self._tables():
                raise JournalError(f"{self._path} is no journal: nothing is in it yet")
            raise JournalError(
                f"{self._path} is not a journal of daplug-supervisor; move it away, then start again "
                "(if it ever was one, 'daplug-supervise doctor' tells what can be recovered)"
            )
        if version > SCHEMA_VERSION:
            raise newer(self._path, version)
        if version < 1:
            raise damaged(self._path, f"there never was a schema {version}")
        if self._tables() != tables_of(version):
            raise damaged(self._path, f"its tables are not those of schema {version}")
        return version

    def _tables(self) -> list[str]:
        return _plain(self._fetch("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name", ()))

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def runs(self) -> list[RunMark]:
        """All runs, oldest first."""
        self.verify()
        return list(self._marks.values())

    def read(self, run: str | None, after: int = 0) -> list[ev.Entry]:
        """All entries of a run (None: of all runs) above `after`, in order."""
        last = self.verify().seq
        found: list[ev.Entry] = []
        while True:
            query, values = (READ_ALL, (after, PAGE)) if run is None else (READ, (after, run, PAGE))
            rows = self._fetch(query, values)
            found += [entry_of(row, self._path) for row in rows if row[0] <= last]
            if len(rows) < PAGE or found[-1].seq == last:
                return found
            after = found[-1].seq

    def answer(self, command: str) -> ev.CommandAnswered | None:
        """The answer to the command of this id, in whichever run; None if there is none."""
        self.verify()
        return answer_of(self._fetch(ANSWERS, (answer_sign(command),)), command, self._path)

    def last_seq(self) -> int:
        """The sequence number of the last event."""
        return self.verify().seq

    def verify(self) -> Chain:
        """Go through all rows that were not gone through yet; returns how far the journal goes.

        Raises:
            JournalError: it is damaged.
        """
        self._flaw = self._flaw or next(self._flaws(), "")
        if self._flaw:
            raise damaged(self._path, self._flaw)
        return self._chain

    def damage(self) -> list[str]:
        """Everything that is wrong with the file, a line each; empty if nothing is."""
        found: list[str] = []
        try:
            found += damage_of(self._fetch(f"PRAGMA integrity_check({_MOST_FLAWS})", ()))
            for flaw in self._flaws():
                self._flaw = self._flaw or flaw
                if len(found) >= _MOST_FLAWS:
                    break
                found.append(flaw)
        except JournalError as error:
            found.append(str(error))
        return found

    def _flaws(self) -> Iterator[str]:
        tail = read_tail(self._path)  # first: the journal is never behind it
        before = self._chain.seq
        for row in self._rows():
            flaw = self._chain.flaw(row)
            if not flaw and tail is not None and row[0] == tail.seq:
                flaw = self._against(tail)
            if flaw:
                yield flaw
            self._mark(row[0], row[1], row[4])
        if tail is not None and tail.seq > self._chain.seq:
            yield spelled(self._chain.seq + 1, tail.seq, "missing at its end")
        elif tail is not None and not before and self._chain.own not in (None, tail.own):
            yield "it is not the journal that was here before"

    def _against(self, tail: End) -> str:
        if (tail.own, tail.sum) == (self._chain.own, self._chain.sum):
            return ""
        return f"event {tail.seq} is not the one that was acknowledged"

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        columns = COLUMNS if self.version > 1 else COLUMNS_1
        query = f"SELECT {columns} FROM event WHERE seq > ? ORDER BY seq LIMIT ?"  # noqa: S608
        while True:
            rows = self._fetch(query, (self._chain.seq, PAGE))
            yield from rows
            if len(rows) < PAGE:
                return

    def _mark(self, seq: int, run: str, kind: str) -> None:
        if kind in _MARKING:
            known = self._marks.get(run)
            first = seq if known is None else known.first_seq
            self._marks[run] = RunMark(run, first, kind == "run_finished")

    def _fetch(self, query: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(query, values).fetchall()
        except (sqlite3.Error, *_ABSURD) as error:
            raise JournalError(explain(self._path, error)) from error


def examine(path: Path) -> Chain | None:
    """Look for damage of any kind, before anything is changed; how far the journal goes, or None if it is new.

    Raises:
        JournalError: it must not be written to; the message says why.
    """
    if not refuse(path) or _is_unborn(path):
        return None
    with closing(ReadOnlyJournal(path)) as journal:
        for line in journal.damage()[:1]:
            raise JournalError(line) if "is damaged" in line else damaged(path, line)
        return journal.verify()


def _is_unborn(path: Path) -> bool:
    """Whether the process that wanted to create the journal died before anything was in it."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            [whose] = db.execute("PRAGMA application_id").fetchone()
            return not whose and not db.execute("SELECT 1 FROM sqlite_master").fetchall()
    except (sqlite3.Error, *_ABSURD) as error:
        # A rollback journal is there only while the file is made; whoever opens it for writing takes that back.
        hot = getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY_ROLLBACK
        if hot and read_tail(path) is None:
            return True
        raise JournalError(explain(path, error)) from error


def entry_of(row: Sequence[object], path: Path) -> ev.Entry:
    """The entry of a row `_CONTENT`.

    Raises:
        JournalError: the row is not an event that this version knows.
    """
    seq, run, at, task, kind, version, data = row
    known = ev.KINDS.get(kind) if isinstance(kind, str) else None
    if known is None or (isinstance(version, int) and version > known.version):
        what = f"kind {kind!r}" if known is None else f"kind {kind!r} in version {version}"
        raise JournalError(
            f"{path}: event {seq} cannot be read: {what} is not known here; a newer version wrote it: "
            "upgrade daplug-supervisor; nothing was changed"
        )
    try:
        entry = ev.Entry(int(str(seq)), str(run), float(str(at)), ev.decode(str(data)))
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise damaged(path, f"event {seq} cannot be read: {error}") from error
    if (entry.event.kind, entry.task) != (kind, task) or not _RUN.fullmatch(entry.run):
        raise damaged(path, f"event {seq} contradicts itself")
    return entry


def answer_sign(command: str) -> str:
    """What is in the text of an answer to the command of this id, and of few others."""
    return f'"id":{msgspec.json.encode(command).decode()}'


def answer_of(rows: Iterable[Sequence[object]], command: str, path: Path) -> ev.CommandAnswered | None:
    """The first of rows `_CONTENT` that answers a command.

    Raises:
        JournalError: a row is not an event that this version knows.
    """
    found = (entry_of(row, path).event for row in rows)
    return next((event for event in found if event.answers(command)), None)


@functools.cache
def tables_of(version: int) -> list[str]:
    """What `sqlite_master` says of a journal of this schema version."""
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(script_of(version))
        return _plain(db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name"))


def script_of(version: int) -> str:
    """The script that makes the tables of a schema version."""
    name = "schema.sql" if version == SCHEMA_VERSION else f"schema_{version}.sql"
    return Path(__file__).with_name(name).read_text()


def _plain(rows: Any) -> list[str]:
    """Definitions without comments and white space: those may be worded anew."""
    text = (" ".join(str(value) for value in row) for row in rows)
    return [re.sub(r"\s+", " ", re.sub(r"--[^\n]*", "", line)).strip() for line in text]


def damage_of(rows: Sequence[Sequence[object]]) -> list[str]:
    """What SQLite's check says is wrong, a line each; empty if nothing is."""
    lines = [line for row in rows for line in str(row[0]).splitlines()]
    return [line for line in lines if line != "ok" and not line.startswith("***")]


_DAMAGE = (
    "malformed",
    "not a database",
    "no such",
    "Could not decode",
    "has no column",
    "unsupported file format",
)


def explain(path: Path, error: BaseException) -> str:
    """What went wrong with the file, and what to do about it."""
    text = str(error) or type(error).__name__
    if any(word in text for word in _DAMAGE) or isinstance(error, (*_ABSURD, sqlite3.DataError)):
        return str(damaged(path, text))
    if "full" in text:
        return f"{path} cannot be written: {text}; free some space, then start again: nothing acknowledged is lost"
    if any(word in text for word in ("disk I/O error", "Input/output error", "readonly", "Read-only")):
        return (
            f"{path}: {text}: the disk or its file system has failed; agents go on running, and nothing acknowledged "
            "is lost: look at the system's log, then start again"
        )
    return f"{path}: {text}"
