"""The journal on SQLite: WAL, synchronous=FULL, one writing task, groups of events in one transaction.

The writer hands each group to aiosqlite's thread in one hop, as one statement (``INSERT ... SELECT`` from a JSON
array), so that no cancellation can fall between two statements of a transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiosqlite
import anyio
import anyio.abc
import anyio.lowlevel
import msgspec

from daplug_supervisor.core import events as ev
from daplug_supervisor.errors import JournalError
from daplug_supervisor.journal.group import Group
from daplug_supervisor.journal.reader import (
    APPLICATION_ID,
    MARKS,
    PAGE,
    READ,
    SCHEMA_VERSION,
    damage_of,
    entry_of,
    explain,
)
from daplug_supervisor.ports import RunMark

_PATIENCE = 30.0

_INSERT = """
INSERT INTO event (seq, run, at, task, kind, version, data)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6 FROM json_each(?)
"""
_MOST_VALUES = 48
"""Rows up to which a group is written as values of one statement: faster, and each number is one prepared statement."""

_VALUES = "INSERT INTO event (seq, run, at, task, kind, version, data) VALUES "

MIGRATIONS: dict[int, str] = {}
"""From a schema version to the script that makes the next one of it."""


_Row = tuple[int, str, float, str, str, int, str]


class SqliteJournal:
    """`ports.Journal` in one SQLite file.

    Args:
        path: the file; created if it is missing.
        check: look for damage when opening (reads the whole file).
    """

    def __init__(self, path: Path, *, check: bool = True) -> None:
        self._path = path
        self._check = check
        self._db: aiosqlite.Connection | None = None
        self._writer: anyio.abc.TaskGroup | None = None
        self._seq = 0
        self._rows: list[tuple[int, str, float, str, str, int, str]] = []
        self._group = Group()
        self._wake = asyncio.Event()
        self._closing = False
        self._error: JournalError | None = None

    async def open(self) -> None:
        """Open or create the file, and start the writing task.

        Raises:
            JournalError: damaged, newer than this version, not a journal, or not writable.
        """
        try:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            # Connecting must neither fail nor be cancelled: its thread would speak to a loop that may be closed then.
            with anyio.fail_after(_PATIENCE, shield=True):
                self._db = await aiosqlite.connect(self._path, isolation_level=None)
            await self._prepare(self._db)
        except BaseException as error:
            await self._let_go()  # in any case: a thread left behind would keep the interpreter from ending
            if isinstance(error, sqlite3.Error | OSError):
                raise JournalError(explain(self._path, error)) from error
            raise
        self._writer = anyio.create_task_group()
        await self._writer.__aenter__()
        self._writer.start_soon(self._write, name="journal writer")

    async def _prepare(self, db: aiosqlite.Connection) -> None:
        version = await _pragma(db, "user_version")
        whose = await _pragma(db, "application_id")
        tables = list(await db.execute_fetchall("SELECT 1 FROM sqlite_master LIMIT 1"))
        if tables and whose != APPLICATION_ID:
            raise JournalError(
                f"{self._path} is not a journal of daplug-supervisor; move it away, then start again"
            )
        if version > SCHEMA_VERSION:
            raise JournalError(
                f"{self._path} was written by a newer version (schema {version}, this one knows {SCHEMA_VERSION}); "
                "upgrade daplug-supervisor; nothing was changed"
            )
        for setting in ("journal_mode=WAL", "synchronous=FULL", "fullfsync=1", "checkpoint_fullfsync=1"):
            await db.execute_fetchall(f"PRAGMA {setting}")
        if not tables:
            script = Path(__file__).with_name("schema.sql").read_text()
            await db.executescript(
                f"BEGIN IMMEDIATE; {script} PRAGMA application_id={APPLICATION_ID}; "
                f"PRAGMA user_version={SCHEMA_VERSION}; COMMIT;"
            )
            _sync_directory(self._path.parent)
        elif self._check:
            await _quick_check(self._path, db)
        for old in range(version, SCHEMA_VERSION) if tables else ():
            if old not in MIGRATIONS:
                raise JournalError(
                    f"{self._path} is damaged: there never was a schema {old}; run 'daplug-supervise doctor'"
                )
            await db.executescript(
                f"BEGIN IMMEDIATE; {MIGRATIONS[old]} PRAGMA user_version={old + 1}; COMMIT;"
            )
        rows = list(await db.execute_fetchall("SELECT coalesce(max(seq), 0) FROM event"))
        self._seq = int(rows[0][0])

    async def close(self) -> None:
        """Write what was appended, and let go."""
        self._closing = True
        self._wake.set()
        try:
            if self._writer is not None:
                await self._writer.__aexit__(None, None, None)
                self._writer = None
        finally:
            await self._let_go()
            self._fail(JournalError("the journal is closed"))  # for those who wait for what was not written

    async def _let_go(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            with anyio.move_on_after(_PATIENCE, shield=True), contextlib.suppress(sqlite3.Error):
                await db.close()

    def append(self, run: str, at: float, events: Sequence[ev.Event]) -> tuple[list[ev.Entry], Group]:
        """Queue events; see `ports.Journal.append`.

        Raises:
            JournalError: the journal has failed before, or is closed.
        """
        if self._error is not None:
            raise self._error
        if self._closing or self._db is None:
            raise JournalError("the journal is closed")
        entries = [ev.Entry(seq, run, at, event) for seq, event in enumerate(events, self._seq + 1)]
        self._rows += [
            _row(entry) for entry in entries
        ]  # all or, if one of them cannot be written as JSON, none
        self._seq += len(entries)
        self._wake.set()
        return entries, self._group

    async def _write(self) -> None:
        db = self._db
        assert db is not None, "the writer runs only while open"  # noqa: S101
        while True:
            await self._wake.wait()
            await anyio.lowlevel.checkpoint()  # whoever acts on what was just appended adds to the same group
            if not self._rows:
                self._group.finish(None)  # of no events
                if self._closing:
                    return
                self._group, self._wake = Group(), asyncio.Event()
                continue
            rows, self._rows = self._rows, []
            group, self._group = self._group, Group()
            self._wake = asyncio.Event()
            if self._closing:
                self._wake.set()
            try:
                await db.execute_insert(*_statement(rows))
            except BaseException as error:
                self._fail(JournalError(explain(self._path, error)))
                group.finish(self._error)
                if isinstance(error, sqlite3.Error):
                    return
                raise
            group.finish(None)

    def _fail(self, error: JournalError) -> None:
        """Stop for good: after a failed write nothing is known of what reached the disk."""
        self._error = self._error or error
        self._group.finish(self._error)

    async def runs(self) -> list[RunMark]:
        """All runs, oldest first."""
        rows = await self._fetch(MARKS, ())
        return [RunMark(run, first, bool(finished)) for run, first, finished in rows]

    async def read(self, run: str, after: int = 0) -> AsyncIterator[ev.Entry]:
        """The durable entries of a run; see `ports.Journal.read`."""
        while True:
            rows = await self._fetch(READ, (after, run, PAGE))
            for row in rows:
                yield entry_of(row, self._path)
                after = row[0]
            if len(rows) < PAGE:
                return

    async def _fetch(self, query: str, values: tuple[object, ...]) -> list[sqlite3.Row]:
        if self._db is None:
            raise JournalError("the journal is closed")
        try:
            return list(await self._db.execute_fetchall(query, values))
        except sqlite3.Error as error:
            raise JournalError(explain(self._path, error)) from error


def _statement(rows: list[_Row]) -> tuple[str, Sequence[object]]:
    """One statement that writes all rows, and its parameters."""
    if len(rows) > _MOST_VALUES:
        return _INSERT, (msgspec.json.encode(rows).decode(),)
    return _VALUES + ",".join(["(?,?,?,?,?,?,?)"] * len(rows)), [value for row in rows for value in row]


def _row(entry: ev.Entry) -> tuple[int, str, float, str, str, int, str]:
    event = entry.event
    return entry.seq, entry.run, entry.at, entry.task, event.kind, event.version, ev.encode(event).decode()


async def _pragma(db: aiosqlite.Connection, name: str) -> int:
    rows = list(await db.execute_fetchall(f"PRAGMA {name}"))
    return int(rows[0][0])


async def _quick_check(path: Path, db: aiosqlite.Connection) -> None:
    found = damage_of([tuple(row) for row in await db.execute_fetchall("PRAGMA quick_check(1)")])
    if found:
        raise JournalError(f"{path} is damaged: {found[0]}; run 'daplug-supervise doctor'")


def _sync_directory(directory: Path) -> None:
    """Make a new file's name durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
