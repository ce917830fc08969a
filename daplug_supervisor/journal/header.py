"""What is told of a journal before SQLite is let at it: to open a journal for writing may change it."""

from __future__ import annotations

import sqlite3
import stat
import struct
from contextlib import closing
from pathlib import Path

from daplug_supervisor.errors import JournalError
from daplug_supervisor.journal.rows import read_tail

APPLICATION_ID = 0x64617073
"""``daps``: tells this file from every other SQLite file."""

SCHEMA_VERSION = 3

_MAGIC = b"SQLite format 3\x00"
_VERSION_AT = 60
_WAL_HEADER = 32
_FRAME_HEADER = 24


def wal_of(journal: Path) -> Path:
    """The write-ahead log of a journal."""
    return journal.with_name(f"{journal.name}-wal")


def shm_of(journal: Path) -> Path:
    """The shared memory of a journal's readers and writer."""
    return journal.with_name(f"{journal.name}-shm")


def repair_of(journal: Path) -> Path:
    """Where a repair is prepared; it is there under this name only between its decision and its end."""
    return journal.with_name("journal.repair")


def damaged(path: Path, what: str) -> JournalError:
    """The error of a damaged journal."""
    return JournalError(
        f"{path} is damaged: {what}; nothing was started or changed; "
        "'daplug-supervise doctor --repair' keeps the damaged files and recovers what can be read"
    )


def newer(path: Path, version: int) -> JournalError:
    """The error of a journal that a newer version wrote."""
    return JournalError(
        f"{path} was written by a newer version (schema {version}, this one knows {SCHEMA_VERSION}); "
        "upgrade daplug-supervisor; nothing was changed"
    )


def refuse(path: Path) -> bool:
    """Refuse what must not be opened; nothing is touched. Returns whether there is anything in the file.

    Raises:
        JournalError: it is not a file, was written by a newer version, was emptied, or its repair did not end.
    """
    if repair_of(path).exists():
        raise JournalError(
            f"the repair of {path} was interrupted; 'daplug-supervise doctor --repair' brings it to its end"
        )
    try:
        found = path.lstat()
    except OSError:
        size = -1
    else:
        if not stat.S_ISREG(found.st_mode):
            raise JournalError(f"{path} is not a journal but {_named(found.st_mode)}; move it away")
        size = found.st_size
    if size > 0:
        _refuse_newer(path)
        return True
    tail = read_tail(path)
    if tail is not None or _size(wal_of(path)):
        had = f"it had {tail.seq} events" if tail is not None else "its write-ahead log is not"
        raise damaged(path, f"it is {'missing' if size < 0 else 'empty'}, although {had}")
    return False


def _named(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a directory", stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a pipe"}
    return kinds.get(stat.S_IFMT(mode), "a special file")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _refuse_newer(path: Path) -> None:
    """By the header in the file, and by newer headers in its write-ahead log."""
    try:
        # Not read as a file: closing it would end the locks of every connection that this process has to it.
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as db:
            [version] = db.execute("PRAGMA user_version").fetchone()
            [whose] = db.execute("PRAGMA application_id").fetchone()
    except UnicodeError as error:  # in the words of SQLite's own error
        raise damaged(path, str(error)) from error
    except sqlite3.Error as error:
        damage = error.sqlite_errorcode in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
        if not (damage and _is_half(path)):
            raise (damaged(path, str(error)) if damage else JournalError(f"{path}: {error}")) from error
        version, whose = 0, APPLICATION_ID
    version = max([version, *_versions_in(wal_of(path))])
    tail = read_tail(path)
    if version > SCHEMA_VERSION and whose == APPLICATION_ID:
        if tail is None or tail.schema > SCHEMA_VERSION:
            raise newer(path, version)
        raise damaged(path, f"its header says schema {version}, and it is of schema {tail.schema}")


def _is_half(path: Path) -> bool:
    """Whether it may be sound only together with another file, which is looked at later.

    It died while its log was copied into it, or while it was made, when a rollback journal says what it was before.
    """
    unmade = read_tail(path) is None and _size(path.with_name(f"{path.name}-journal"))
    return bool(unmade or _size(wal_of(path)))


def _versions_in(wal: Path) -> list[int]:
    """The schema versions in the headers that a write-ahead log holds."""
    found = []
    try:
        with wal.open("rb") as file:
            head = file.read(_WAL_HEADER)
            size = struct.unpack(">I", head[8:12])[0] if len(head) == _WAL_HEADER else 0
            if size.bit_count() != 1 or not 512 <= size <= 65536:  # noqa: PLR2004 (what SQLite allows)
                return []
            while len(frame := file.read(_FRAME_HEADER + 100)) == _FRAME_HEADER + 100:
                page = frame[_FRAME_HEADER:]
                if frame[:4] == b"\0\0\0\1" and frame[8:16] == head[16:24] and page.startswith(_MAGIC):
                    found.append(int.from_bytes(page[_VERSION_AT : _VERSION_AT + 4], "big"))
                file.seek(size - 100, 1)
    except OSError:
        pass
    return found
