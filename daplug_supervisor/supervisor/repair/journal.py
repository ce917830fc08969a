"""Repairing a damaged journal: a new one of what can be read, in the place of the old one, which is kept.

Until it is decided, everything happens in a directory of its own. The decision is one rename, of that directory to
`header.repair_of`; from then on nobody opens the journal until the repair has come to its end, and whoever repairs
goes on where it was interrupted. So a crash or a full disk leaves the old journal or the new one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.state import fold
from daplug_supervisor.errors import IllegalTransitionError, JournalError
from daplug_supervisor.journal.header import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    refuse,
    repair_of,
    shm_of,
    wal_of,
)
from daplug_supervisor.journal.reader import ReadOnlyJournal, script_of
from daplug_supervisor.journal.rows import COLUMNS, Chain, End, tail_of, tail_text
from daplug_supervisor.journal.salvage import Salvaged, salvage
from daplug_supervisor.supervisor.repair.mend import Loss, Mended, mend
from daplug_supervisor.workspace.files import StateDirectory, write_atomically

LOSSES = "losses.json"
"""Beside the damaged files: what the repair could not bring back."""

_NEW = "new"


class _Told(Struct, frozen=True):
    """`LOSSES`."""

    found: int
    losses: list[Loss]


class Repair(Struct, frozen=True):
    """What a repair brought, or would bring: how many events it found, and what is lost. `kept`: the old files."""

    kept: Path | None
    found: int
    losses: list[Loss]


def look(path: Path) -> list[str]:
    """What is wrong with a journal, a line each; empty if nothing is.

    Raises:
        JournalError: it is no damage that a repair could mend: a newer version wrote it, or it is no journal.
    """
    try:
        if not refuse(path):
            return []
        with closing(ReadOnlyJournal(path)) as journal:
            found = journal.damage()
            if not found:
                fold(journal.read(None))
            return [_short(line) for line in found]
    except JournalError as error:
        if _is_mendable(str(error), path):
            return [_short(str(error))]
        raise
    except IllegalTransitionError as error:
        return [str(error)]


def _short(line: str) -> str:
    """What is damaged, without what is said of it to whoever wants to start something."""
    return line.partition(" is damaged: ")[2].partition("; nothing was")[0] or line


def _is_mendable(text: str, path: Path) -> bool:
    if " is damaged: " in text or "was interrupted" in text:
        return True
    return "is not a journal of" in text and bool(salvage(path).rows)


def plan(directory: StateDirectory, now: float) -> Repair:
    """What a repair would bring. Changes nothing."""
    salvaged = salvage(directory.journal)
    return Repair(None, len(salvaged.rows), mend(directory, salvaged, directory.journal, now).losses)


def repair(directory: StateDirectory, now: float) -> Repair:
    """Put a new journal of what can be read in the place of a damaged one. The caller holds the lock.

    Raises:
        JournalError: it cannot be done; nothing was changed.
    """
    path = directory.journal
    kept = _free(directory.path / datetime.fromtimestamp(now, UTC).strftime("damaged-%Y%m%dT%H%M%SZ"))
    if not repair_of(path).exists():
        _prepare(directory, kept.name, now)
    try:
        _bring_to_end(path, kept)
        told = msgspec.json.decode((kept / LOSSES).read_bytes(), type=_Told)
    except (OSError, msgspec.DecodeError) as error:
        raise JournalError(
            f"the repair of {path} was interrupted: {error}; 'daplug-supervise doctor --repair' brings it to its end"
        ) from error
    return Repair(kept, told.found, told.losses)


def _prepare(directory: StateDirectory, kept: str, now: float) -> None:
    """Make the new journal, and decide."""
    path = directory.journal
    salvaged = salvage(path)
    made = mend(directory, salvaged, path, now)
    preparing = path.with_name("journal.preparing")
    try:
        shutil.rmtree(preparing, ignore_errors=True)
        for folder in (preparing, preparing / _NEW):
            folder.mkdir(mode=0o700)
        write_atomically(preparing / LOSSES, msgspec.json.encode(_Told(len(salvaged.rows), made.losses)))
        _write(preparing / _NEW / path.name, made, salvaged, kept, now)
        _sync(preparing / _NEW, preparing)
        preparing.rename(repair_of(path))
    except (OSError, sqlite3.Error) as error:
        with contextlib.suppress(OSError):
            shutil.rmtree(preparing)
        raise JournalError(f"{path} could not be repaired: {error}; nothing was changed") from error


def _write(path: Path, made: Mended, salvaged: Salvaged, kept: str, now: float) -> None:
    """Write the new journal, as one file, and check it."""
    dropped = tuple(entry.seq for entry in made.dropped)
    last = max([salvaged.last, *(entry.seq for entry in made.entries)])
    told = ev.Entry(last + 1, "", now, ev.JournalRepaired(kept, tuple(salvaged.lost), dropped))
    chain = Chain()
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for setting in ("journal_mode=DELETE", "synchronous=FULL", "fullfsync=1"):
            db.execute(f"PRAGMA {setting}")
        db.executescript(
            f"BEGIN IMMEDIATE; {script_of(SCHEMA_VERSION)} PRAGMA application_id={APPLICATION_ID}; "
            f"PRAGMA user_version={SCHEMA_VERSION};"
        )
        for entry in (*made.entries, told):
            event = entry.event
            content = (
                entry.seq, entry.run, float(entry.at), entry.task, event.kind, event.version,
                ev.encode(event).decode(),
            )  # fmt: skip
            db.execute(f"INSERT INTO event ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?)", chain.seal(content))  # noqa: S608
        db.execute("COMMIT")
    assert chain.own is not None, "there is one event at least"  # noqa: S101
    tail_of(path).write_bytes(tail_text(End(SCHEMA_VERSION, chain.own, chain.seq, chain.sum)))
    tail_of(path).chmod(0o600)
    with closing(ReadOnlyJournal(path)) as journal:
        fold(journal.read(None))


def _bring_to_end(path: Path, kept: Path) -> None:
    """Move the old files away and the new ones into their place, from wherever it was interrupted."""
    place = repair_of(path)
    new = place / _NEW
    for old, also in _moves(path, new):
        if also.exists() and os.path.lexists(old) and not os.path.lexists(place / old.name):
            old.rename(place / old.name)
    _sync(place, path.parent)
    for name in (tail_of(path).name, path.name):
        if (new / name).exists():
            (new / name).rename(path.with_name(name))
            _sync(path.parent)
    shutil.rmtree(new, ignore_errors=True)
    place.rename(kept)
    _sync(path.parent)


def _moves(path: Path, new: Path) -> Iterator[tuple[Path, Path]]:
    """What is moved away, each with the new file that is there as long as it is to be moved."""
    yield path, new / path.name
    yield wal_of(path), new / path.name
    yield shm_of(path), new / path.name
    yield tail_of(path), new / tail_of(path).name


def _free(path: Path) -> Path:
    """A name that nothing has: what is kept is never overwritten."""
    number = 1
    found = path
    while os.path.lexists(found):
        number += 1
        found = path.with_name(f"{path.name}-{number}")
    return found


def _sync(*directories: Path) -> None:
    for directory in directories:
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            for name in os.listdir(directory):  # noqa: PTH208
                with contextlib.suppress(OSError):
                    inner = os.open(directory / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                    try:
                        os.fsync(inner)
                    finally:
                        os.close(inner)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
