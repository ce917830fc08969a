"""The journal on SQLite, on real files: what is acknowledged is on disk, and what is wrong is refused."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import anyio
import anyio.abc
import anyio.to_thread
import pytest

from daplug_supervisor.core import events as ev
from daplug_supervisor.errors import JournalError
from daplug_supervisor.journal import reader as reading
from daplug_supervisor.journal import sqlite
from daplug_supervisor.journal.header import APPLICATION_ID, SCHEMA_VERSION
from daplug_supervisor.journal.reader import ReadOnlyJournal
from daplug_supervisor.journal.sqlite import SqliteJournal
from daplug_supervisor.ports import RunMark
from daplug_supervisor.testing import check_journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteJournal]:
    journal = SqliteJournal(path)
    await journal.open()
    try:
        yield journal
    finally:
        await journal.close()


async def pragma(journal: SqliteJournal, name: str) -> object:
    assert journal._db is not None
    return next(iter(await journal._db.execute_fetchall(f"PRAGMA {name}")))[0]


def seqs(path: Path) -> list[int]:
    with closing(ReadOnlyJournal(path)) as reader:
        return [entry.seq for entry in reader.read(None)]


def note(text: str) -> list[ev.Event]:
    return [ev.Resumed(text)]


async def test_it_keeps_the_contract_of_a_journal(path: Path) -> None:
    await check_journal(lambda: SqliteJournal(path))


async def test_the_settings_that_durability_rests_on(path: Path) -> None:
    async with opened(path) as journal:
        assert await pragma(journal, "journal_mode") == "wal"
        assert await pragma(journal, "synchronous") == 2  # FULL
        assert await pragma(journal, "fullfsync") == 1
        assert await pragma(journal, "checkpoint_fullfsync") == 1
        assert await pragma(journal, "application_id") == APPLICATION_ID == int.from_bytes(b"daps", "big")
        assert await pragma(journal, "user_version") == SCHEMA_VERSION
        for file in path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name
    with closing(sqlite3.connect(path)) as db:
        assert {row[1]: row[5] for row in db.execute("PRAGMA table_list")}["event"] == 1  # STRICT
        with pytest.raises(sqlite3.IntegrityError):
            db.execute("INSERT INTO event VALUES (1, 'r', 'late', '', 'k', 1, '{}', 1, 1)")


async def test_what_waits_at_the_same_moment_is_one_transaction(path: Path) -> None:
    async with opened(path) as journal:
        assert journal._db is not None
        said: list[str] = []
        await journal._db.set_trace_callback(said.append)
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as reader:
            before = reader.execute("PRAGMA data_version").fetchone()
            groups = [journal.append("r", 1.0, note(str(number)))[1] for number in range(500)]
            assert seqs(path) == [], "nothing is seen before it is durable"
            await groups[0].wait()
            assert len(set(map(id, groups))) == 1
            assert len(seqs(path)) == 500
            assert reader.execute("PRAGMA data_version").fetchone() != before
        assert [line.split()[0] for line in said] == ["INSERT", "SELECT"], said


async def test_those_who_follow_in_the_same_turn_join_the_group(path: Path) -> None:
    async with opened(path) as journal:
        groups = set()

        async def writer(number: int) -> None:
            _, group = journal.append("r", 1.0, note(str(number)))
            groups.add(group)
            await group.wait()

        async with anyio.create_task_group() as tasks:
            for number in range(100):
                tasks.start_soon(writer, number)
        assert len(groups) <= 2
    assert seqs(path) == list(range(1, 101))


async def test_large_events_and_many_pages_of_them(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "PAGE", 10)
    async with opened(path) as journal:
        large = 'ä\x00"\\\n' * 500_000
        journal.append("other", 1.0, note(large))
        for number in range(25):
            journal.append("r", float(number), note(str(number)))
        _, durable = journal.append("r", 1e15 + 0.5, note("last"))
        await durable.wait()
        assert [entry.event.by async for entry in journal.read("other")] == [large]
        found = [entry async for entry in journal.read("r")]
        assert [entry.seq for entry in found] == list(range(2, 28))
        assert found[-1].at == 1e15 + 0.5


WRITER = """
import anyio, sys
from pathlib import Path
from daplug_supervisor.core import events as ev
from daplug_supervisor.journal.sqlite import SqliteJournal
async def main():
    journal = SqliteJournal(Path(sys.argv[1]))
    await journal.open()
    async def write(name):
        while True:
            entries, durable = journal.append(name, 1.0, [ev.Resumed("x" * 200), ev.Halted()])
            await durable.wait()
            print(*(entry.seq for entry in entries), flush=True)
    async with anyio.create_task_group() as tasks:
        for name in "abcd":
            tasks.start_soon(write, name)
anyio.run(main)
"""


async def test_killed_at_any_instant_it_keeps_all_that_it_acknowledged(path: Path) -> None:
    chance = random.Random(3)
    told = 0
    for _ in range(5):
        process = await anyio.open_process([sys.executable, "-c", WRITER, str(path)], stderr=None)
        assert process.stdout is not None
        data = await process.stdout.receive()
        with anyio.move_on_after(chance.uniform(0.0, 0.15)):
            while True:
                data += await process.stdout.receive()
        process.kill()
        async for more in process.stdout:
            data += more
        await process.wait()
        await process.aclose()
        acknowledged = {
            int(seq)
            for line in data.splitlines(keepends=True)
            if line.endswith(b"\n")
            for seq in line.split()
        }
        async with opened(path) as journal:
            there = {entry.seq for run in "abcd" async for entry in journal.read(run)}
        assert acknowledged <= there
        assert there == set(range(1, len(there) + 1)), "a transaction is there whole or not at all"
        assert len(there) % 2 == 0, "so is what was appended together"
        told += len(acknowledged)
    assert told > 50


async def test_a_full_disk_stops_it_and_loses_nothing_acknowledged(path: Path) -> None:
    journal = SqliteJournal(path)
    await journal.open()
    await journal.append("r", 1.0, note("kept"))[1].wait()
    pages = await pragma(journal, "page_count")
    assert await pragma(journal, f"max_page_count={pages}") == pages
    _, lost = journal.append("r", 1.0, note("x" * 100_000))
    with pytest.raises(JournalError, match=r"cannot be written: .*full; free some space"):
        await lost.wait()
    for _ in range(2):
        with pytest.raises(JournalError, match="full"):
            journal.append("r", 1.0, note("small"))
    assert [entry.event async for entry in journal.read("r")] == note("kept")
    await journal.close()
    async with opened(path) as journal:
        assert [entry.event async for entry in journal.read("r")] == note("kept")
        await journal.append("r", 1.0, note("x" * 100_000))[1].wait()


async def test_readers_read_while_the_writer_writes(path: Path) -> None:
    async with opened(path) as journal, anyio.create_task_group() as tasks:
        found: list[list[int]] = []

        async def read() -> None:
            while not found or len(found[-1]) < 40:
                found.append(await anyio.to_thread.run_sync(seqs, path))

        await journal.append("r", 1.0, note("0"))[1].wait()
        tasks.start_soon(read)
        for number in range(1, 40):
            await journal.append("r", 1.0, note(str(number)))[1].wait()
    assert all(one == list(range(1, len(one) + 1)) for one in found)
    assert sorted(found, key=len) == found
    with closing(ReadOnlyJournal(path)) as reader:
        assert (reader.last_seq(), reader.damage()) == (40, [])
        assert reader.runs() == []


async def test_readers_read_page_by_page(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PAGE", 10)
    async with opened(path) as journal:
        for number in range(25):
            journal.append("ab"[number % 2], 1.0, note(str(number)))
        _, durable = journal.append("b", 1.0, [ev.RunStarted()])
        await durable.wait()
    with closing(ReadOnlyJournal(path)) as reader:
        assert [entry.seq for entry in reader.read(None)] == list(range(1, 27))
        assert [entry.seq for entry in reader.read("a", after=5)] == list(range(7, 27, 2))
        assert reader.runs() == [RunMark("b", 26, finished=False)]


@pytest.mark.parametrize("turns", range(4))
async def test_when_its_owner_is_cancelled_nobody_waits_for_ever(path: Path, turns: int) -> None:
    scope = anyio.CancelScope()

    async def own(*, task_status: anyio.abc.TaskStatus[SqliteJournal]) -> None:
        with scope:
            async with opened(path) as journal:
                task_status.started(journal)
                await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        journal = await tasks.start(own)
        _, durable = journal.append("r", 1.0, note("a"))
        for _ in range(turns):
            await anyio.sleep(0)
        scope.cancel()
        acknowledged = False
        with anyio.fail_after(10), contextlib.suppress(JournalError):
            await durable.wait()
            acknowledged = True
    assert not acknowledged or seqs(path) == [1]
    with pytest.raises(JournalError):
        journal.append("r", 1.0, note("b"))


OPENER = """
import anyio, sys
from pathlib import Path
from daplug_supervisor.journal.sqlite import SqliteJournal
from daplug_supervisor.errors import JournalError
async def cancel(scope, after):
    await anyio.sleep(after)
    scope.cancel()
async def main():
    opened = 0
    for number in range(60):
        journal = SqliteJournal(Path(sys.argv[1]) / f"{number}.db")
        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as scope:
                tasks.start_soon(cancel, scope, number * 0.0005)
                await journal.open()
                opened += 1
                await journal.close()
        assert journal._db is None
    try:
        await SqliteJournal(Path(sys.argv[1])).open()
    except JournalError:
        print("opened", 0 < opened < 60)
anyio.run(main)
"""


def test_no_thread_is_left_behind_that_would_hang_the_interpreter(tmp_path: Path) -> None:
    """However opening ends: well, refused, or cancelled at any of its awaits."""
    command = [sys.executable, "-c", OPENER, str(tmp_path)]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert result.stdout == "opened True\n", result.stderr
    assert result.stderr == ""
