"""Journals of other versions, and rows that no version wrote."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from cli import Place, opened, plan_of, sh
from damage import T0, Author, files_of, folder, lay_out, several, written
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from promises import Proof

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.state import State
from daplug_supervisor.errors import JournalError, SupervisorError
from daplug_supervisor.journal import sqlite
from daplug_supervisor.journal.header import APPLICATION_ID, SCHEMA_VERSION, wal_of
from daplug_supervisor.journal.reader import ReadOnlyJournal, examine, script_of
from daplug_supervisor.journal.rows import COLUMNS, Chain, tail_of
from daplug_supervisor.journal.sqlite import SqliteJournal
from daplug_supervisor.supervisor import recovery
from daplug_supervisor.supervisor.repair import journal as repair
from daplug_supervisor.views.log import log_text
from daplug_supervisor.workspace.files import StateDirectory

place = pytest.fixture(opened)
GOLDEN = Path(__file__).parents[1] / "golden"


def seen(path: Path) -> dict[str, tuple[bytes, int]]:
    """The bytes of a journal's files, and when each was written last."""
    return {one.name: (one.read_bytes(), one.stat().st_mtime_ns) for one in files_of(path) if one.exists()}


def raise_version(path: Path) -> None:
    """As a newer version would leave it; in the log, if there is one."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA wal_autocheckpoint=0")
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
        for file in files_of(path):
            if file.exists():
                shutil.copy2(file, path.parent / f"kept-{file.name}")
    for file in files_of(path):
        kept = path.parent / f"kept-{file.name}"
        if kept.exists():
            kept.replace(file)
    tail_of(path).unlink()


@pytest.mark.promise("P19")
@pytest.mark.parametrize("closed", [True, False])
def test_a_newer_journal_is_refused_by_every_command_and_not_touched(place: Place, closed: bool) -> None:
    place.state.mkdir(mode=0o700)
    files = anyio.run(lambda: written("several", closed=closed)).files
    path = lay_out(files, place.state)
    raise_version(path)
    before = seen(path)
    commands: list[list[str]] = [
        [place.write(plan_of({"a": sh("true")}))], ["resume"], ["status"], ["halt"], ["doctor", "--repair"],
    ]  # fmt: skip
    for command in commands:
        ran = place.run(*command)
        assert (ran.code, ran.out, "upgrade daplug-supervisor" in ran.err) == (5, "", True), (command, ran)
        assert seen(path) == before, command
    ran = place.run("doctor")
    assert (ran.code, "upgrade daplug-supervisor" in ran.out) == (5, True)
    assert seen(path) == before
    assert not list(place.state.glob("damaged-*"))


@pytest.mark.promise("P19")
@pytest.mark.parametrize("golden", sorted(GOLDEN.glob("journal-v*.db")), ids=lambda path: path.stem)
def test_every_released_journal_is_gone_on_with(golden: Path, tmp_path: Path) -> None:
    """What it replays to is held word for word by tests/golden."""
    path = Path(shutil.copy(golden, tmp_path / "journal.db"))
    before = read(path)

    async def go_on() -> None:
        for _ in range(2):
            journal = SqliteJournal(path)
            await journal.open()
            entries, durable = journal.append("small-1", 1.0, [ev.Resumed("me")])
            await durable.wait()
            before.extend(entries)
            await journal.close()

    anyio.run(go_on)
    assert read(path) == before
    with closing(ReadOnlyJournal(path)) as journal:
        assert (journal.version, journal.damage()) == (SCHEMA_VERSION, [])


@pytest.mark.promise("P19")
def test_bringing_it_up_to_date_fails_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(shutil.copy(GOLDEN / "journal-v1.db", tmp_path / "journal.db"))
    before = read(path)
    with monkeypatch.context() as patch:
        patch.setitem(sqlite.MIGRATIONS, 1, sqlite.MIGRATIONS[1] + "INSERT INTO nothing VALUES (1);")
        with pytest.raises(JournalError):
            anyio.run(SqliteJournal(path).open)
    with closing(ReadOnlyJournal(path)) as journal:
        assert (journal.version, journal.read(None)) == (1, before)


def read(path: Path) -> list[ev.Entry]:
    with closing(ReadOnlyJournal(path)) as journal:
        return journal.read(None)


# --- rows that no version wrote -----------------------------------------------------------------------------------


def make(path: Path, contents: list[tuple[Any, ...]], *, version: int = SCHEMA_VERSION) -> None:
    """A valid journal of any rows: their checksums are right."""
    chain = Chain()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(script_of(version))
        db.execute(f"PRAGMA application_id={APPLICATION_ID}")
        db.execute(f"PRAGMA user_version={version}")
        for content in contents:
            if version == 1:
                db.execute("INSERT INTO event VALUES (?,?,?,?,?,?,?)", content)
            else:
                db.execute(f"INSERT INTO event ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?)", chain.seal(content))


def everything(path: Path) -> list[str]:
    """Do all that is done with a journal; returns what the errors say."""
    said: list[str] = []

    def attempt(function: Any) -> None:
        try:
            function()
        except SupervisorError as error:
            said.append(str(error))

    async def load() -> None:
        journal = SqliteJournal(path)
        await journal.open()
        try:
            await recovery.load(journal)
        finally:
            await journal.close()

    def look() -> None:
        with closing(ReadOnlyJournal(path)) as journal:
            for mark in journal.runs():
                state = State()
                for entry in journal.read(mark.run, mark.first_seq - 1):
                    recovery.replay(state, entry)
                assert mark.run in state.runs
            for entry in journal.read(None):
                log_text(entry)

    attempt(look)
    attempt(lambda: examine(path))
    attempt(lambda: anyio.run(load))
    attempt(lambda: repair.look(path))
    attempt(lambda: repair.plan(StateDirectory(path.parent), T0))
    return said


@pytest.mark.promise("P18", "P19")
@pytest.mark.parametrize(
    ("kind", "version", "data", "words"),
    [
        ("teleported", 1, '{"kind":"teleported"}', "kind 'teleported' is not known here; a newer version"),
        ("halted", 2, '{"kind":"halted"}', "kind 'halted' in version 2 is not known here; a newer version"),
        ("halted", 1, '{"kind":"resumed"}', "contradicts itself"),
        ("landed", 1, '{"kind":"landed","task":"b"}', "contradicts itself"),
        ("halted", 1, "", "cannot be read"),
        ("halted", 1, "\x00", "cannot be read"),
        ("halted", 1, "[" * 100_000, "cannot be read"),
        ("resumed", 1, '{"kind":"resumed","by":NaN}', "cannot be read"),
        ("attempt_spawned", 1, '{"kind":"attempt_spawned","task":"","pid":1e999}', "cannot be read"),
    ],
)
def test_an_event_that_is_none_is_said_with_its_number(
    tmp_path: Path, kind: str, version: int, data: str, words: str
) -> None:
    path = tmp_path / "journal.db"
    make(path, [(1, "", T0, "", "halted", 1, '{"kind":"halted"}'), (2, "", T0, "", kind, version, data)])
    with pytest.raises(JournalError, match="event 2") as caught:
        read(path)
    assert words in str(caught.value)
    everything(path)


def _texts() -> st.SearchStrategy[str]:
    odd = st.sampled_from(["", "p-1", "t0", "\x00", "\x1b[31m", "../..", "p-2", "run_finished", "é" * 300])
    return odd | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def _values() -> st.SearchStrategy[Any]:
    numbers = st.sampled_from([0, -1, 2**31, 2**63, 2**64, 10**400, 1e308, -1e308, 0.0])
    leaf = st.none() | st.booleans() | numbers | st.integers() | st.floats(allow_nan=False) | _texts()
    return st.recursive(
        leaf,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts(), inner, max_size=3),
        max_leaves=8,
    )


@st.composite
def _mutated(draw: st.DrawFn) -> tuple[Any, ...]:
    """A row of a true history, with something else in a field of the event or in a column."""
    number = draw(st.integers(0, len(_TRUE) - 1))
    row = list(_TRUE[number])
    event = msgspec.json.decode(row[6])
    what = draw(st.integers(0, 3))
    if what == 0:
        event[draw(st.sampled_from([*event, "result", "task", "extra"]))] = draw(_values())
    elif what == 1:
        column = draw(st.integers(1, 5))
        if column == 2:
            row[2] = draw(st.floats(allow_nan=False))
        elif column == 5:
            row[5] = draw(st.integers(-(2**62), 2**62))
        else:
            row[column] = draw(_texts())
    elif what == 2:
        row[6] = draw(_texts())
        return tuple(row)
    else:
        event["kind"] = row[4] = draw(st.sampled_from(list(ev.KINDS)))
    row[6] = json.dumps(event)
    return tuple(row)


def _true_rows() -> list[tuple[Any, ...]]:
    author = Author(3)
    several(author)
    rows, seq = list[tuple[Any, ...]](), 0
    for run, events in author.groups:
        for event in events:
            seq += 1
            task = getattr(event, "task", "")
            rows.append((seq, run, T0 + seq, task, event.kind, event.version, ev.encode(event).decode()))
    return rows


_TRUE = _true_rows()


@pytest.mark.promise("P18")
def test_rows_that_nobody_wrote(proof: Proof) -> None:
    """Each is refused with a clear error or fits; nothing else happens."""

    @settings(
        max_examples=proof.pick(40, 1500),
        suppress_health_check=list(HealthCheck),
        deadline=None,
        database=None,
    )
    @given(st.lists(_mutated(), min_size=1, max_size=3), st.sampled_from([1, SCHEMA_VERSION]))
    def judge(changed: list[tuple[Any, ...]], version: int) -> None:
        rows = {row[0]: row for row in _TRUE} | {row[0]: row for row in changed}
        with folder() as here:
            make(here / "journal.db", list(rows.values()), version=version)
            for text in everything(here / "journal.db"):
                assert "daplug-supervise doctor" in text or "upgrade" in text, text
        proof.count("fuzz inputs")

    judge()


@pytest.mark.promise("P18")
def test_an_old_journal_without_checksums_that_is_damaged(proof: Proof) -> None:
    """Less is noticed in it, but never is there a crash, and a repair always ends in a sound journal."""
    whole = (GOLDEN / "journal-v1.db").read_bytes()
    for seed in range(proof.pick(20, 600)):
        chance = random.Random(seed)
        data = bytearray(whole)
        for _ in range(chance.choice([1, 1, 8])):
            at = chance.randrange(len(data) * 8)
            data[at // 8] ^= 1 << at % 8
        with folder() as here:
            path = lay_out({"journal.db": bytes(data)}, here)
            everything(path)
            with contextlib.suppress(JournalError):  # one that seems newer
                if repair.look(path):
                    repair.repair(StateDirectory(here), T0)
                    assert repair.look(path) == []
        proof.count("bit flips")


@pytest.mark.promise("P19")
def test_a_header_that_only_looks_newer_is_damage() -> None:
    """A flipped bit in the version: the tail knows which schema it was."""
    truth = anyio.run(lambda: written("running", closed=True))
    with folder() as here:
        path = lay_out(truth.files, here)
        data = bytearray(path.read_bytes())
        data[63] ^= 1 << 6
        path.write_bytes(data)
        assert not wal_of(path).exists()
        with pytest.raises(JournalError, match=f"its header says schema {data[63]}"):
            examine(path)
        assert repair.repair(StateDirectory(here), T0).losses == []
        assert read(path)[:-1] == truth.entries
