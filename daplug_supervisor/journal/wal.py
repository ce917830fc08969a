"""The write-ahead log beside the journal: copied into the journal from time to time, and watched that it does not grow.

SQLite does the copying by itself unless told otherwise, but then it keeps errors to itself. Here a failed fsync of
the journal is an error like any other, and what a checkpoint says of the log's size comes for free.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from daplug_supervisor.errors import JournalError
from daplug_supervisor.journal.header import shm_of, wal_of

if TYPE_CHECKING:
    import aiosqlite  # views use this module too, and must not pay for an event loop

Tell = Callable[[str, str], None]
"""Told what a person should know (what it is about, text), and '' as text when that is over.

It may raise `JournalError`: then the journal waits no longer, and fails.
"""

GROWN = "write-ahead log"
KEPT = 4 << 20
"""Bytes that the log keeps when it begins anew: writing over what is there is faster than making a file grow."""

LARGE = 32 << 20
"""Bytes from which a log that cannot be copied is told of."""

LOOK = 5.0
"""Seconds between looks at a large log while nothing is written."""

_EVERY = 1000
"""Pages, about, after which the log is copied; SQLite's own figure."""

_PAGES = 3
_BYTES = 2000
"""A group changes about so many pages, and one more for so many bytes of events."""


def is_full(error: BaseException) -> bool:
    """Whether a write found no room, and nothing else: SQLite has rolled it back, and it may be tried again.

    ENOSPC that is told by fsync or close is another error (SQLITE_IOERR): what is on disk is not known then.
    """
    return (
        isinstance(error, sqlite3.OperationalError)
        and getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL
    )


def is_locked(error: BaseException) -> bool:
    """Whether a write waited too long for another process that writes: nothing was begun, and it may be tried again."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return isinstance(error, sqlite3.OperationalError) and code == sqlite3.SQLITE_BUSY


def make_sure(journal: Path) -> None:
    """Have on the disk what can be read of a log that an earlier supervisor left.

    If its last fsync failed, the log may be there to be read and yet not be on the disk: the system has marked it as
    written, and no other fsync changes that. What is built on it would go with it. So it is written once more.

    Raises:
        OSError: it could not be written.
    """
    try:
        descriptor = os.open(wal_of(journal), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        at = 0
        while data := os.pread(descriptor, 1 << 20, at):
            at += os.pwrite(descriptor, data, at)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def untouched(journal: Path) -> Iterator[None]:
    """Let a connection be closed that has failed, without that its files are written or synced once more.

    Whoever closes the last connection to a journal copies its log. Here another one, which only reads, is the last.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(sqlite3.Error):
            guard = stack.enter_context(
                closing(sqlite3.connect(f"{journal.absolute().as_uri()}?mode=ro", uri=True))
            )
            guard.execute("SELECT 1 FROM sqlite_master").fetchall()
        yield


class Wal:
    """Keeps the log of an open journal small.

    Args:
        journal: the journal's file.
        tell: told while the log is large and cannot be copied.
    """

    def __init__(self, journal: Path, tell: Tell | None) -> None:
        self._paths = str(journal), str(wal_of(journal))
        self._tell = tell
        self._found: list[tuple[int, int]] = []
        self._pages = 0
        self._page_size = 4096
        self.large = False

    async def open(self, db: aiosqlite.Connection) -> None:
        """Take care of it from now on."""
        for setting in ("wal_autocheckpoint=0", f"journal_size_limit={KEPT}"):
            await db.execute_fetchall(f"PRAGMA {setting}")
        [(self._page_size,)] = list(await db.execute_fetchall("PRAGMA page_size"))
        self._found = self._look()

    def _look(self) -> list[tuple[int, int]]:
        found = [os.stat(path) for path in self._paths]  # noqa: PTH116 (each group pays for this)
        return [(one.st_dev, one.st_ino) for one in found]

    def check(self) -> None:
        """Refuse to call written what went to files that nobody will find.

        Raises:
            JournalError: the journal's files were removed, or others were put into their place.
        """
        with contextlib.suppress(OSError):
            if self._look() == self._found:
                return
        raise JournalError(
            f"{self._paths[0]} was removed or replaced while it was in use; agents go on running: "
            "put it back if you can, then start again"
        )

    def due(self, size: int) -> bool:
        """Count a group of so many bytes; whether it is time for `copy`."""
        self._pages += _PAGES + size // _BYTES
        return self._pages >= _EVERY

    async def copy(self, db: aiosqlite.Connection) -> None:
        """Copy the log into the journal, as far as no reader still needs the old pages.

        Raises:
            sqlite3.Error: it failed for another reason than a full disk; then the log waits for room.
        """
        self._pages = 0
        try:
            [(_, pages, copied)] = list(await db.execute_fetchall("PRAGMA wal_checkpoint(PASSIVE)"))
        except sqlite3.Error as error:
            if is_full(error):
                return
            raise
        size = pages * self._page_size
        self.large = size >= LARGE and copied < pages
        if self._tell is not None:
            self._tell(GROWN, notice(Path(self._paths[0]), size) if self.large else "")


def large(journal: Path) -> str:
    """`notice`, if the log is large and somebody reads, as any other process can see it; else ''."""
    with contextlib.suppress(OSError):
        size = wal_of(journal).stat().st_size
        if size >= LARGE and readers(shm_of(journal)):
            return notice(journal, size)
    return ""


def notice(journal: Path, size: int) -> str:
    """What to say of a large log."""
    pids = readers(shm_of(journal))
    who = f"process {', '.join(map(str, pids))} has" if pids else "another process has"
    return (
        f"the journal's write-ahead log has grown to {size >> 20} MiB: {who} been reading the journal without end; "
        "end it, or the disk fills up"
    )


def readers(shared: Path) -> list[int]:
    """Processes that are in the middle of reading a journal, found by their locks on its shared memory (Linux)."""
    return _holders(shared, "READ", _READ_MARKS)


def writers(shared: Path) -> list[int]:
    """Processes that are in the middle of writing a journal, but not us."""
    return _holders(shared, "WRITE", _WRITE_MARK)


def _holders(shared: Path, how: str, marks: range) -> list[int]:
    pids = set()
    with contextlib.suppress(OSError, ValueError):
        found = shared.stat()
        place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if place in words and how in words and int(words[6]) in marks:
                pids.add(int(words[4]))
    return sorted(pids - {os.getpid(), -1, 0})


_WRITE_MARK = range(120, 121)
_READ_MARKS = range(123, 128)
"""The bytes of the shared memory that the writer and readers lock (see SQLite's walformat.html)."""
