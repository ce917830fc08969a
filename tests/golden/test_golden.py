"""Journals that were released replay to what they always replayed to."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from make import HERE, STORY, told, write

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.state import State, fold
from daplug_supervisor.journal.header import SCHEMA_VERSION
from daplug_supervisor.journal.reader import MARKS, ReadOnlyJournal, script_of
from daplug_supervisor.journal.sqlite import SqliteJournal
from daplug_supervisor.ports import RunMark

GOLDEN = sorted(HERE.glob("journal-v*.db"))
UNREACHED = "unreached"
"""A run of the first one, of kinds that no transition led to then: they are read, and not folded."""

BEGAN = {"journal-v1": 52, "journal-v2": 52, "journal-v3": 75}
"""The first event of the second run."""


def replayed(path: Path) -> State:
    with closing(ReadOnlyJournal(path)) as journal:
        return fold(entry for entry in journal.read(None) if entry.run != UNREACHED)


@pytest.fixture(params=GOLDEN, ids=lambda path: path.stem)
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """A copy (reading a journal makes files beside it), and what is expected of it."""
    return Path(shutil.copy(request.param, tmp_path)), request.param.with_suffix(".json")


def test_there_is_one_for_every_schema_version() -> None:
    assert [path.stem for path in GOLDEN] == [f"journal-v{number}" for number in range(1, SCHEMA_VERSION + 1)]
    assert all(path.stat().st_size < 100_000 for path in GOLDEN)


def test_it_replays_to_the_same_state(golden: tuple[Path, Path]) -> None:
    path, expected = golden
    assert json.loads(json.dumps(told(replayed(path)))) == json.loads(expected.read_text())


async def test_a_supervisor_of_today_goes_on_with_it(golden: tuple[Path, Path]) -> None:
    path, _ = golden
    before = replayed(path)
    journal = SqliteJournal(path)
    await journal.open()
    marks = [mark for mark in await journal.runs() if mark.run != UNREACHED]
    assert marks == [
        RunMark("add-oauth-1", 2, finished=True),
        RunMark("small-1", BEGAN[path.stem], finished=False),
    ]
    entries, durable = journal.append("small-1", 1.0, [ev.RunFinished()])
    await durable.wait()
    await journal.close()
    assert entries[0].seq == before.seq + (1 if path.name == GOLDEN[-1].name else 3)
    assert replayed(path).runs["small-1"].finished_at == 1.0


def test_the_latest_has_every_kind_of_event() -> None:
    told_kinds = {event.kind for _, events in STORY for event in events}
    assert told_kinds == set(ev.KINDS)


def test_it_holds_its_story_word_for_word(tmp_path: Path) -> None:
    path = Path(shutil.copy(GOLDEN[-1], tmp_path))
    with closing(ReadOnlyJournal(path)) as journal:
        found = [(entry.run, entry.event) for entry in journal.read(None)]
    assert found == [(run, event) for run, events in STORY for event in events]


async def test_what_is_written_today_is_the_same_bytes_in_every_row(tmp_path: Path) -> None:
    """A change of the format that nobody meant shows here; one that is meant gets a new version."""
    await write(tmp_path / "new.db")
    old = Path(shutil.copy(GOLDEN[-1], tmp_path))
    tables = []
    for path in (old, tmp_path / "new.db"):
        with closing(sqlite3.connect(path)) as db:
            tables.append(db.execute("SELECT * FROM event ORDER BY seq").fetchall())
            tables.append(db.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall())
    assert tables[:2] == tables[2:]


def test_the_runs_of_a_long_journal_are_found_by_its_index() -> None:
    """SQLite uses an index of some rows only if a query asks for them in the same words."""
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(script_of(SCHEMA_VERSION))
        steps = [step for *_, step in db.execute(f"EXPLAIN QUERY PLAN {MARKS}")]
    assert "SCAN event USING INDEX run_mark" in steps
