"""The power is cut after any system call: what was acknowledged is there, whatever else is."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from power import Disk, Step, can_trace, trace
from promises import Proof

from daplug_supervisor.core.results import Exit
from daplug_supervisor.core.state import State, apply
from daplug_supervisor.journal.sqlite import SqliteJournal
from daplug_supervisor.processes.ends import read_record

SCRIPT = str(Path(__file__).with_name("writing.py"))

needs_strace = pytest.mark.skipif(not can_trace(), reason="strace is missing, or must not trace here")


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Path]:
    """Where the traced program works: in memory if there is such a place, for it syncs a lot."""
    memory = Path("/dev/shm")
    folder = (memory if memory.is_dir() else tmp_path) / f"{tmp_path.parent.name}-{tmp_path.name}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def cuts(
    lives: list[list[Step]], base: Path, wanted: int, chance: random.Random
) -> Iterator[tuple[Disk, str]]:
    """So many moments at which the power is cut, over all the lives."""
    total = len(list(_followed(lives, base)))
    for disk in _followed(lives, base):
        if chance.random() < wanted / total / 3:
            for mode in ("nothing", "all", "some"):
                yield disk, mode
        elif chance.random() < wanted / total / 3:
            yield disk, "some"


def _followed(lives: list[list[Step]], base: Path) -> Iterator[Disk]:
    """The disk after each call that was about it."""
    disk = Disk(base / "disk")
    for life in lives:
        disk.new_life()
        for step in life:
            if disk.step(step):
                yield disk


async def check(state: Path, told: list[str]) -> None:
    """The journal opens, folds, and has all that was acknowledged."""
    last = max(map(int, told), default=0)
    if not state.is_dir():
        assert not told, "the directory is not there"
        return
    journal = SqliteJournal(state / "journal.db")
    await journal.open()
    try:
        folded = State()
        for mark in await journal.runs():
            async for entry in journal.read(mark.run):
                apply(folded, entry)
        assert folded.seq >= last, f"{last} was acknowledged, {folded.seq} is the last"
        assert journal._db is not None
        [(count,)] = list(await journal._db.execute_fetchall("SELECT count(*) FROM event"))
        assert count == folded.seq
        assert list(await journal._db.execute_fetchall("PRAGMA quick_check")) == [("ok",)]
    finally:
        await journal.close()


@needs_strace
@pytest.mark.promise("P6")
async def test_no_power_cut_loses_an_acknowledged_event(base: Path, tmp_path: Path, proof: Proof) -> None:
    chance = random.Random(20261121)
    (base / "disk").mkdir()
    lives = [
        trace(SCRIPT, base / "disk", "journal", life, proof.pick(3, 10), to=tmp_path / "trace")
        for life in range(proof.pick(2, 5))
    ]
    await _check_all(base, lives, proof.pick(120, 1500), chance, proof)


@needs_strace
@pytest.mark.promise("P6")
async def test_nor_while_the_journal_is_made(base: Path, tmp_path: Path, proof: Proof) -> None:
    (base / "disk").mkdir()
    life = trace(SCRIPT, base / "disk", "journal", 1, 1, to=tmp_path / "trace")
    for turn in range(proof.pick(1, 20)):
        chance = random.Random(turn)
        for number, disk in enumerate(_followed([life], base)):
            disk.cut(base / "cut", chance, "some")
            try:
                await check(base / "cut" / "new" / "state", disk.told)
            except Exception as error:
                raise AssertionError(f"turn {turn}, cut {number}: {error}") from error
            shutil.rmtree(base / "cut")
            proof.count("power cuts")


@needs_strace
@pytest.mark.promise("P6", "P17")
async def test_nor_after_an_fsync_that_failed(base: Path, tmp_path: Path, proof: Proof) -> None:
    """What the journal shows after a failed fsync may not be on the disk: nothing may be built on it."""
    chance = random.Random(3)
    for number in proof.pick([4, 12], [1, 2, 3, 4, 5, 7, 9, 12, 15, 20, 25]):
        shutil.rmtree(base / "disk", ignore_errors=True)
        (base / "disk").mkdir()
        lives = []
        for life in (1, 3, 5):
            inject = f"fdatasync:error=EIO:when={number}" if life == 3 else ""
            lives.append(
                trace(SCRIPT, base / "disk", "journal", life, 4, to=tmp_path / "trace", inject=inject)
            )
        assert any(step.call == "fdatasync" and step.result < 0 for step in lives[1]) or number > 12
        proof.count("injected faults")
        await _check_all(base, lives, proof.pick(60, 150), chance, proof)


async def _check_all(
    base: Path, lives: list[list[Step]], wanted: int, chance: random.Random, proof: Proof
) -> None:
    done, told = 0, []
    for number, (disk, mode) in enumerate(cuts(lives, base, wanted, chance)):
        folder, told = base / f"cut{number}", disk.told
        disk.cut(folder, chance, mode)
        try:
            await check(folder / "new" / "state", disk.told)
        except Exception as error:
            raise AssertionError(f"cut {number} ({mode}) after {told[-1:]}: {error}") from error
        shutil.rmtree(folder)
        done += 1
    assert done > wanted / 3
    assert len(told) > 10
    proof.count("power cuts", done)


@needs_strace
@pytest.mark.promise("P6")
def test_reports_are_whole_and_records_are_there(base: Path, tmp_path: Path, proof: Proof) -> None:
    chance, done = random.Random(5), 0
    for what in ("report", "record"):
        shutil.rmtree(base / "disk", ignore_errors=True)
        (base / "disk").mkdir()
        lives = [trace(SCRIPT, base / "disk", what, to=tmp_path / "trace")]
        for disk, mode in cuts(lives, base, proof.pick(60, 600), chance):
            folder = base / "cut"
            disk.cut(folder, chance, mode)
            last = max(map(int, disk.told), default=-1)
            if what == "report" and (folder / "state" / "report.json").exists():
                found = (folder / "state" / "report.json").read_bytes()
                assert found in [f"{number} ".encode() * 700 for number in range(max(0, last), 5)]
            elif what == "report":
                assert last < 0
            for number in range(1, last + 1 if what == "record" else 0):
                assert read_record(f"{folder}/state/runs/r/t/{number}") == Exit(number)
            shutil.rmtree(folder)
            done += 1
    proof.count("power cuts", done)
