"""A reader that never ends keeps the write-ahead log from being copied: it is told of before the log is large."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from cli import Place, opened, plan_of, reached, sh, until
from click.testing import CliRunner
from promises import Proof

from daplug_supervisor import Supervisor
from daplug_supervisor.cli.main import cli
from daplug_supervisor.core import events as ev
from daplug_supervisor.errors import JournalError
from daplug_supervisor.journal import sqlite, wal
from daplug_supervisor.journal.header import shm_of, wal_of
from daplug_supervisor.journal.reader import ReadOnlyJournal
from daplug_supervisor.journal.sqlite import SqliteJournal
from daplug_supervisor.supervisor import supervisor as supervising

place = pytest.fixture(opened)

READER = """
import sqlite3, sys
db = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True, isolation_level=None)
db.execute("BEGIN")
db.execute("SELECT count(*) FROM event").fetchall()
print("reads", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def endless(journal: Path) -> Iterator[int]:
    """Another process in the middle of reading; gives its pid."""
    words = [sys.executable, "-c", READER, str(journal)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"reads\n"
        try:
            yield process.pid
        finally:
            process.kill()


@pytest.mark.promise("P20")
async def test_a_reader_that_never_ends_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proof: Proof
) -> None:
    told: dict[str, str] = {wal.GROWN: ""}
    if not proof.full:
        monkeypatch.setattr(wal, "LARGE", 2 << 20)
    monkeypatch.setattr(sqlite, "LOOK", 0.1)
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path, tell=told.__setitem__)
    await journal.open()

    async def write() -> None:
        await journal.append("r", 1.0, [ev.Resumed("x" * 20_000)] * 10)[1].wait()

    await write()
    largest, warned = 0, 0.0
    with endless(path) as pid:
        crossed = time.monotonic()
        while not told[wal.GROWN]:
            await write()
            size = wal_of(path).stat().st_size
            if size < 64 << 20:
                crossed = time.monotonic()
            largest = max(largest, size)
            assert size < 80 << 20, "nobody is told"
        warned = max(0.0, time.monotonic() - crossed)
        assert f"process {pid} has been reading" in told[wal.GROWN]
        assert wal.readers(shm_of(path)) == [pid]
        assert str(pid) in wal.large(path)
    await reached(lambda: told[wal.GROWN] == "", "it is over, without anything being written")
    await write()
    await reached(lambda: wal_of(path).stat().st_size <= wal.KEPT, "the log is small again")
    assert wal.large(path) == ""
    await journal.close()
    assert not wal_of(path).exists()
    proof.count("injected faults")
    proof.measure("write-ahead log when it is told of", largest / (1 << 20), "MiB", at_most=64)
    proof.measure("told after 64 MiB", warned, "s", at_most=60)


@pytest.mark.promise("P20")
async def test_our_own_readers_hold_nothing(tmp_path: Path, proof: Proof) -> None:
    """As many readers as you like that follow: the log is copied all the same, and begins anew."""
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path, tell=lambda *_: None)
    await journal.open()
    await journal.append("r", 1.0, [ev.RunStarted()])[1].wait()
    readers = [ReadOnlyJournal(path) for _ in range(3)]
    after, largest = 0, 0
    for _ in range(proof.pick(100, 1000)):
        await journal.append("r", 1.0, [ev.Resumed("x" * 20_000)] * 10)[1].wait()
        for reader in readers:
            found = reader.read("r", after)
        after = found[-1].seq
        largest = max(largest, wal_of(path).stat().st_size)
    assert largest < 12 << 20
    proof.measure("write-ahead log with readers that follow", largest / (1 << 20), "MiB", at_most=64)
    for reader in readers:
        reader.close()
    await journal.close()


@pytest.mark.promise("P20")
def test_events_that_are_followed_hold_nothing(place: Place) -> None:
    """The command ``events --follow`` reads, and lets go before it waits."""
    place.write(plan_of({"a": sh("true")}))
    assert place.run("plan.json").code == 0
    follower = place.start("events", "--follow")
    assert follower.stdout is not None
    lines = iter(follower.stdout.readline, "")
    until(lambda: "run_finished" in (line := next(lines)) or "finished" in line, "it has read all")
    with contextlib.closing(sqlite3.connect(place.state / "journal.db", isolation_level=None)) as db:
        db.execute("CREATE TABLE more (text TEXT)")
        until(lambda: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall() == [(0, 0, 0)], "nobody reads")
    follower.kill()


@pytest.mark.promise("P20")
def test_other_commands_see_it_as_well(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wal, "LARGE", 1 << 20)
    place.write(plan_of({"a": sh("true")}))
    assert place.run("plan.json").code == 0
    with (
        contextlib.closing(sqlite3.connect(place.state / "journal.db", isolation_level=None)) as db,
        endless(place.state / "journal.db") as pid,
    ):
        db.execute("PRAGMA wal_autocheckpoint=0")
        db.execute("CREATE TABLE more (text TEXT)")
        while wal_of(place.state / "journal.db").stat().st_size < wal.LARGE:
            db.execute("INSERT INTO more VALUES (?)", ("x" * 300_000,))
        db.execute("DROP TABLE more")
        if Path("/proc/locks").exists():
            for command in ("status", "doctor"):
                ran = CliRunner().invoke(
                    cli, [command, "--state-dir", str(place.state)], standalone_mode=False
                )
                assert f"process {pid} has been reading" in ran.output.replace("\n", " "), command


async def test_an_error_while_the_log_is_copied_fails_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite keeps it to itself when it copies by itself. A full disk is no error: the log waits for room."""
    monkeypatch.setattr(wal, "_EVERY", 1)
    journal = SqliteJournal(tmp_path / "journal.db")
    await journal.open()
    assert journal._db is not None
    fetch, codes = journal._db.execute_fetchall, [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_FSYNC]

    async def failing(query: str, *values: object) -> object:
        if "wal_checkpoint" in query:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = codes.pop(0)
            raise error
        return await fetch(query, *values)

    journal._db.execute_fetchall = failing  # type: ignore[assignment]
    await journal.append("r", 1.0, [ev.RunStarted()])[1].wait()
    _, durable = journal.append("r", 1.0, [ev.RunStarted()])
    await durable.wait()  # it was written, and is durable
    await reached(lambda: journal._error is not None, "it fails")
    with pytest.raises(JournalError, match="I/O"):
        journal.append("r", 1.0, [ev.RunStarted()])
    await durable.wait()
    await journal.close()


WRITER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("holds", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def a_writer(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that keeps a journal locked until its input ends."""
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "holds\n"
        yield holder


async def hurry(journal: SqliteJournal) -> None:
    """Wait only a moment for somebody else before that is told."""
    assert journal._db is not None
    await journal._db.execute_fetchall("PRAGMA busy_timeout=10")


@pytest.mark.promise("P16")
async def test_somebody_who_keeps_the_journal_locked_is_told_of_and_waited_for(
    tmp_path: Path, proof: Proof
) -> None:
    """Nothing is lost by it, and the night goes on when it is over."""
    path = tmp_path / "journal.db"
    told: list[tuple[str, str]] = []
    journal = SqliteJournal(path, tell=lambda *what: told.append(what))
    await journal.open()
    await journal.append("r", 1.0, [ev.Resumed("before")])[1].wait()
    await hurry(journal)
    async with anyio.create_task_group() as tasks:
        with a_writer(path) as holder:
            durable = journal.append("r", 1.0, [ev.Resumed("meanwhile")])[1]
            tasks.start_soon(durable.wait)
            await reached(lambda: any(text for _, text in told), "it is told")
            assert f"process {holder.pid} keeps {path} locked" in next(text for _, text in told if text)
    assert told[-2:] == [(sqlite.TURN, ""), (sqlite.ROOM, "")]
    entries = [entry async for entry in journal.read("r")]
    assert [entry.event for entry in entries] == [ev.Resumed("before"), ev.Resumed("meanwhile")]
    with a_writer(path):
        durable = journal.append("r", 1.0, [ev.Resumed("never")])[1]
        await journal.close()
        with pytest.raises(JournalError, match="locked"):
            await durable.wait()
    proof.count("injected faults")


@pytest.mark.promise("P16", "P14")
async def test_told_to_end_while_the_journal_is_locked_it_does_not_wait_for_ever(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervising, "_LEAVE", 0.3)
    with (
        contextlib.ExitStack() as held,
        pytest.raises(JournalError, match=r"keeps it locked, .*go on running"),
    ):
        await _left_while_locked(place, held)


async def _left_while_locked(place: Place, held: contextlib.ExitStack) -> None:
    async with Supervisor(place.state) as supervisor:
        journal = supervisor._journal
        assert isinstance(journal, SqliteJournal)
        await hurry(journal)
        held.enter_context(a_writer(place.state / "journal.db"))
