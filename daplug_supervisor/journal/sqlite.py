"""The journal on SQLite: WAL, synchronous=FULL, one writing task, groups of events in one transaction.

The writer hands each group to aiosqlite's thread in one hop, as one statement (``INSERT ... SELECT`` from a JSON
array), so that no cancellation can fall between two statements of a transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import aiosqlite
import anyio
import anyio.abc
import anyio.lowlevel
import anyio.to_thread
import msgspec

from daplug_supervisor.core import events as ev
from daplug_supervisor.errors import JournalError
from daplug_supervisor.journal.group import Group
from daplug_supervisor.journal.header import APPLICATION_ID, SCHEMA_VERSION, refuse, shm_of, wal_of
from daplug_supervisor.journal.reader import (
    ANSWERS,
    MARKS,
    PAGE,
    READ,
    answer_of,
    answer_sign,
    entry_of,
    examine,
    explain,
    script_of,
)
from daplug_supervisor.journal.rows import COLUMNS, Chain, Content, Row, Tail
from daplug_supervisor.journal.wal import LOOK, Tell, Wal, is_full, is_locked, make_sure, untouched, writers
from daplug_supervisor.ports import RunMark

ROOM = "room in the journal"
"""What a full disk is told of as."""

TURN = "our turn in the journal"
"""What another process that keeps the journal locked is told of as."""

WAITING = "nothing is started until there is room, agents go on running"

_AGAIN = 0.5
"""Seconds after which a write that found no room, or another process in its way, is tried again."""

_PATIENCE = 30.0

_INSERT = f"""
INSERT INTO event ({COLUMNS})
SELECT value ->> 0, value ->> 1, (value ->> 2) * 1.0 / (value ->> 3), value ->> 4, value ->> 5, value ->> 6,
value ->> 7, value ->> 8, value ->> 9 FROM json_each(?)
"""  # noqa: S608 (our own constants)
"""The time goes in as a ratio: SQLite does not read every decimal number to the last bit, and rows are checksummed."""

_MOST_VALUES = 48
"""Rows up to which a group is written as values of one statement: faster, and each number is one prepared statement."""

_VALUES = f"INSERT INTO event ({COLUMNS}) VALUES "  # noqa: S608

MIGRATIONS: dict[int, str] = {
    1: f"""
        DROP INDEX run_mark; ALTER TABLE event RENAME TO event_1; {script_of(2)}
        INSERT INTO event SELECT seq, run, at, task, kind, version, data, NULL, NULL FROM event_1 ORDER BY seq;
        DROP TABLE event_1;
    """,  # noqa: S608
    2: "DROP INDEX run_mark; CREATE INDEX" + script_of(3).partition("CREATE INDEX")[2],
}
"""From a schema version to the script that makes the next one of it."""


class SqliteJournal:
    """`ports.Journal` in one SQLite file.

    Args:
        path: the file; created if it is missing. All of it is read and checked when it is opened.
        tell: told what a person should know, a full disk for example, which is waited for then; without it nobody
            would know, and a full disk is an error like any other.
    """

    def __init__(self, path: Path, *, tell: Tell | None = None) -> None:
        self._path = path
        self._tell = tell
        self._wal = Wal(path, tell)
        self._db: aiosqlite.Connection | None = None
        self._writer: anyio.abc.TaskGroup | None = None
        self._shield: anyio.CancelScope
        self._chain = Chain()
        self._tail: Tail | None = None
        self._rows: list[Row] = []
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
            # Before it is opened for writing, for that may change what is damaged.
            chain = await anyio.to_thread.run_sync(examine, self._path) if refuse(self._path) else None
            if wal_of(self._path).is_file():
                await anyio.to_thread.run_sync(make_sure, self._path)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            # Cancelled half-way, its thread would speak to a loop that may be closed by then.
            await to_its_end(self._connect)
            assert self._db is not None, "connected"  # noqa: S101
            await self._prepare(self._db, new=chain is None)
            self._chain = chain or Chain()
            self._tail = Tail(self._path, SCHEMA_VERSION)
        except BaseException as error:
            await self._let_go()  # in any case: a thread left behind would keep the interpreter from ending
            if isinstance(error, sqlite3.Error | OSError):
                raise JournalError(explain(self._path, error)) from error
            raise
        self._shield = anyio.CancelScope(shield=True)
        self._writer = anyio.create_task_group()
        await self._writer.__aenter__()
        self._writer.start_soon(self._write, name="journal writer")

    async def _connect(self) -> None:
        self._db = await aiosqlite.connect(self._path, isolation_level=None)

    async def _prepare(self, db: aiosqlite.Connection, *, new: bool) -> None:
        for setting in ("journal_mode=WAL", "synchronous=FULL", "fullfsync=1", "checkpoint_fullfsync=1"):
            await db.execute_fetchall(f"PRAGMA {setting}")
        if new:
            await db.executescript(
                f"BEGIN IMMEDIATE; {script_of(SCHEMA_VERSION)} PRAGMA application_id={APPLICATION_ID}; "
                f"PRAGMA user_version={SCHEMA_VERSION}; COMMIT;"
            )
            _sync_directory(self._path.parent)
        [(version,)] = list(await db.execute_fetchall("PRAGMA user_version"))
        for old in range(version, SCHEMA_VERSION):
            await db.executescript(
                f"BEGIN IMMEDIATE; {MIGRATIONS[old]} PRAGMA user_version={old + 1}; COMMIT;"
            )
        await self._wal.open(db)

    async def close(self) -> None:
        """Write what was appended, and let go."""
        self._closing = True
        self._wake.set()
        try:
            if self._writer is not None:
                self._shield.deadline = anyio.current_time() + _PATIENCE
                await self._writer.__aexit__(None, None, None)
                self._writer = None
        finally:
            await self._let_go()
            self._fail(JournalError("the journal is closed"))  # for those who wait for what was not written

    async def _let_go(self) -> None:
        db, self._db = self._db, None
        guard = untouched(self._path) if self._error is not None else contextlib.nullcontext()
        try:
            if db is not None:
                with guard, contextlib.suppress(sqlite3.Error, TimeoutError):
                    await to_its_end(db.close)
        finally:
            self._let_go_of_tail()

    def _let_go_of_tail(self) -> None:
        tail, self._tail = self._tail, None
        if tail is not None:
            tail.close()

    def append(self, run: str, at: float, events: Sequence[ev.Event]) -> tuple[list[ev.Entry], Group]:
        """Queue events; see `ports.Journal.append`.

        Raises:
            JournalError: the journal has failed before, or is closed.
        """
        if self._error is not None:
            raise self._error
        if self._closing or self._db is None:
            raise JournalError("the journal is closed")
        entries = [ev.Entry(seq, run, at, event) for seq, event in enumerate(events, self._chain.seq + 1)]
        contents = [_content(entry) for entry in entries]  # all or, if one cannot be written as JSON, none
        self._rows += [self._chain.seal(content) for content in contents]
        self._wake.set()
        return entries, self._group

    async def _write(self) -> None:
        """Write until closed. Whoever is cancelled, the writer goes on: it is not half-way that it ends."""
        with self._shield:
            await self._write_groups()

    async def _write_groups(self) -> None:
        db = self._db
        assert db is not None, "the writer runs only while open"  # noqa: S101
        writing: Group | None = None
        try:
            while True:
                await self._next(db)
                if not self._rows:
                    self._group.finish(None)  # of no events
                    if self._closing:
                        return
                    self._group, self._wake = Group(), asyncio.Event()
                    continue
                rows, self._rows = self._rows, []
                writing, self._group = self._group, Group()
                self._wake = asyncio.Event()
                if self._closing:
                    self._wake.set()
                await self._insert(db, rows)
                self._note_end(*rows[-1])
                writing.finish(None)
                writing = None
                if self._wal.due(sum(len(row[6]) for row in rows)):
                    await self._wal.copy(db)
        except BaseException as error:
            self._fail(error if isinstance(error, JournalError) else JournalError(explain(self._path, error)))
            if writing is not None:
                writing.finish(self._error)
            if not isinstance(error, JournalError | sqlite3.Error):
                raise

    async def _next(self, db: aiosqlite.Connection) -> None:
        """Wait until there is something to do. A large log is looked at meanwhile: its reader may have gone."""
        while self._wal.large and not self._wake.is_set():
            with anyio.move_on_after(LOOK):
                await self._wake.wait()
                break
            await self._wal.copy(db)
        await self._wake.wait()
        await anyio.lowlevel.checkpoint()  # whoever acts on what was just appended adds to the same group

    async def _insert(self, db: aiosqlite.Connection, rows: list[Row]) -> None:
        """Write a group.

        A full disk is waited for, and another process that writes: SQLite has rolled the group back, and nobody has
        acted on it.

        Raises:
            sqlite3.Error: it failed in another way, or had to wait and we are to close; nothing is tried again.
            JournalError: the files are gone.
        """
        statement = _statement(rows)
        while True:
            try:
                await db.execute_insert(*statement)
            except sqlite3.OperationalError as error:
                full = is_full(error)
                if not (full or is_locked(error)) or self._tell is None or self._closing:
                    raise
                self._tell(TURN if full else ROOM, "")
                self._tell(*((ROOM, self._no_room(error)) if full else (TURN, self._locked())))
                await anyio.sleep(_AGAIN)
            else:
                break
        self._wal.check()
        if self._tell is not None:
            self._tell(TURN, "")
            self._tell(ROOM, "")

    def _no_room(self, error: sqlite3.Error) -> str:
        return f"{self._path} cannot grow: {error}; {WAITING}"

    def _locked(self) -> str:
        pids = writers(shm_of(self._path))
        who = f"process {', '.join(map(str, pids))}" if pids else "another process"
        return f"{who} keeps {self._path} locked: end it; until then nothing is started, agents go on running"

    def _note_end(self, *last: Any) -> None:
        """Note beside the journal how far it goes, before anybody acts on it."""
        if self._tail is not None and self._chain.own is not None:
            self._tail.write(self._chain.own, last[0], last[-1])

    def _fail(self, error: JournalError) -> None:
        """Stop for good: after a failed write nothing is known of what reached the disk."""
        self._error = self._error or error
        self._group.finish(self._error)

    async def runs(self) -> list[RunMark]:
        """All runs, oldest first."""
        rows = await self._fetch(MARKS, ())
        return [RunMark(run, first, bool(finished)) for run, first, finished in rows]

    async def answer(self, command: str) -> ev.CommandAnswered | None:
        """The answer to a command; see `ports.Journal.answer`."""
        return answer_of(await self._fetch(ANSWERS, (answer_sign(command),)), command, self._path)

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


async def to_its_end(function: Callable[[], Awaitable[None]]) -> None:
    """Have something done that must not end half-way: however often the caller is cancelled, that is waited for first.

    Raises:
        TimeoutError: it did not end in time.
    """
    errors: list[Exception] = []

    async def run() -> None:
        try:
            with anyio.fail_after(_PATIENCE, shield=True):
                await function()
        except Exception as error:  # noqa: BLE001 (raised below, as it is and not in a group)
            errors.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
    if errors:
        raise errors[0]


def _statement(rows: list[Row]) -> tuple[str, Sequence[object]]:
    """One statement that writes all rows, and its parameters."""
    if len(rows) > _MOST_VALUES:
        exact = [(*row[:2], *row[2].as_integer_ratio(), *row[3:]) for row in rows]
        return _INSERT, (msgspec.json.encode(exact).decode(),)
    return _VALUES + ",".join(["(?,?,?,?,?,?,?,?,?)"] * len(rows)), [value for row in rows for value in row]


def _content(entry: ev.Entry) -> Content:
    event = entry.event
    data = ev.encode(event).decode()
    return entry.seq, entry.run, float(entry.at), entry.task, event.kind, event.version, data


def _sync_directory(directory: Path) -> None:
    """Make a new file's name durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
