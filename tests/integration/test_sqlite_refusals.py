"""Files that the journal on SQLite refuses, or brings up to date; and what the readers say of them."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import anyio.to_thread
import pytest
from test_sqlite_journal import note, opened, pragma

from daplug_supervisor.errors import JournalError
from daplug_supervisor.journal import sqlite
from daplug_supervisor.journal.header import SCHEMA_VERSION
from daplug_supervisor.journal.reader import ReadOnlyJournal
from daplug_supervisor.journal.sqlite import SqliteJournal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


async def test_a_newer_journal_is_refused_and_not_touched(path: Path) -> None:
    async with opened(path) as journal:
        await journal.append("r", 1.0, note("a"))[1].wait()
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    path.with_suffix(".tail").unlink()  # which a newer version would have written too
    before = path.read_bytes(), path.stat().st_mtime_ns
    known = rf"schema {SCHEMA_VERSION + 1}, this one knows {SCHEMA_VERSION}"
    with pytest.raises(JournalError, match=rf"newer version \({known}\).*upgrade"):
        await SqliteJournal(path).open()
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert [file.name for file in path.parent.iterdir()] == ["journal.db"]
    with pytest.raises(JournalError, match="newer version"):
        ReadOnlyJournal(path)


async def test_what_is_not_ours_is_refused_and_not_touched(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE bookmarks (url)")
    before = path.read_bytes()
    with pytest.raises(JournalError, match="not a journal of daplug-supervisor; move it away"):
        await SqliteJournal(path).open()
    assert path.read_bytes() == before
    with pytest.raises(JournalError, match="not a journal of daplug-supervisor"):
        ReadOnlyJournal(path)
    path.write_text("Dear diary,\n" * 100)
    for refused in (SqliteJournal(path).open, lambda: anyio.to_thread.run_sync(ReadOnlyJournal, path)):
        with pytest.raises(JournalError, match="damaged: file is not a database"):
            await refused()
    assert path.read_text().startswith("Dear diary")


async def test_a_schema_that_never_was_is_damage(path: Path) -> None:
    async with opened(path):
        pass
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version=0")
    with pytest.raises(JournalError, match="damaged: there never was a schema 0"):
        await SqliteJournal(path).open()


async def test_an_older_schema_is_brought_up_to_date(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(path) as journal:
        await journal.append("r", 1.0, note("a"))[1].wait()
    monkeypatch.setattr(sqlite, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
    monkeypatch.setitem(sqlite.MIGRATIONS, SCHEMA_VERSION, "CREATE TABLE snapshot (run TEXT) STRICT;")
    async with opened(path) as journal:
        assert await pragma(journal, "user_version") == SCHEMA_VERSION + 1
        assert [entry.event async for entry in journal.read("r")] == note("a")


async def test_a_damaged_file_is_refused(path: Path) -> None:
    async with opened(path) as journal:
        for _ in range(50):
            await journal.append("r", 1.0, note("x" * 1000))[1].wait()
    data = bytearray(path.read_bytes())
    data[3 * 4096 : 4 * 4096] = b"\xa5" * 4096
    path.write_bytes(data)
    with pytest.raises(JournalError, match=r"damaged: .*doctor"):
        await SqliteJournal(path).open()
    assert path.read_bytes() == bytes(data)
    with closing(ReadOnlyJournal(path)) as reader:
        assert reader.damage()
        with pytest.raises(JournalError, match=r"damaged: .*doctor"):
            reader.runs()


async def test_an_event_that_this_version_does_not_know_is_said_with_its_number(path: Path) -> None:
    async with opened(path) as journal:
        await journal.append("r", 1.0, note("a"))[1].wait()
        chain = journal._chain
    row = chain.seal((2, "r", 2.0, "", "teleported", 1, '{"kind": "teleported"}'))
    with closing(sqlite3.connect(path)) as db:
        db.execute("INSERT INTO event VALUES (?,?,?,?,?,?,?,?,?)", row)
        db.commit()
    async with opened(path) as journal:
        with pytest.raises(JournalError, match=r"event 2 cannot be read: .*teleported.*upgrade"):
            [entry async for entry in journal.read("r")]


async def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "journal.db", tmp_path / "missing" / "journal.db", tmp_path):
        before = threading.active_count()
        with pytest.raises(JournalError, match=str(path)):
            await SqliteJournal(path).open()
        assert threading.active_count() <= before, "nobody is left who would speak to a closed loop"
        with pytest.raises(JournalError):
            ReadOnlyJournal(path)


def test_a_journal_that_is_just_being_made_is_not_called_somebody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.db"
    maker = sqlite3.connect(path, isolation_level=None)
    maker.execute("PRAGMA journal_mode=WAL")
    look = ReadOnlyJournal._tables

    def made_meanwhile(journal: ReadOnlyJournal) -> list[str]:
        maker.execute("CREATE TABLE event (seq INTEGER)")
        return look(journal)

    monkeypatch.setattr(ReadOnlyJournal, "_tables", made_meanwhile)
    with pytest.raises(JournalError, match="nothing is in it yet"):
        ReadOnlyJournal(path)
    maker.close()
