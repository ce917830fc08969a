"""A damaged journal is refused whole, and repaired: what is intact comes back, what is lost is listed."""

from __future__ import annotations

import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from damage import COARSE, Truth, files_of, flip, folder, lay_out, leave_records, truncate, written
from promises import Proof

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.decide import Start, decide
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.state import State, apply, fold
from daplug_supervisor.errors import JournalError
from daplug_supervisor.journal.reader import ReadOnlyJournal, examine
from daplug_supervisor.journal.sqlite import SqliteJournal
from daplug_supervisor.supervisor.repair import journal as repair
from daplug_supervisor.workspace.files import StateDirectory

Damage = Callable[[dict[str, bytes], random.Random], str]
NOW = 1_795_300_000.0


@pytest.fixture(scope="module")
def truths() -> list[Truth]:
    async def make() -> list[Truth]:
        return [
            await written(name, closed=closed)
            for name, closed in [
                ("running", True), ("running", False), ("finished", True), ("finished", False), ("several", False),
            ]
        ]  # fmt: skip

    return anyio.run(make)


class Judge:
    """Looks at what becomes of one damaged journal after another."""

    def __init__(self) -> None:
        self.verdicts: Counter[str] = Counter()
        self.slowest = 0.0
        self.worst_loss = 0
        self.intact = 0

    def look(self, truth: Truth, damage: Damage, seed: int) -> None:
        files = dict(truth.files)
        what = f"{truth.name}, seed {seed}: {damage(files, random.Random(seed))}"
        began = time.monotonic()
        try:
            with folder() as place:
                self._judge(truth, files, place, exact=damage is flip)
        except Exception as error:
            error.add_note(what)
            raise
        self.slowest = max(self.slowest, time.monotonic() - began)

    def _judge(self, truth: Truth, files: dict[str, bytes], place: Path, *, exact: bool) -> None:
        path = lay_out(files, place)
        leave_records(truth, place / "runs")
        shown = self._view(path)
        assert shown is None or shown == truth.entries, "a view shows what is not so"
        try:
            chain = examine(path)
        except JournalError:
            self.verdicts["repaired"] += 1
        else:
            self.verdicts["harmless"] += 1
            assert chain is not None
            assert shown == truth.entries, "a silently different state"
            return
        for name, data in files.items():
            assert name.endswith("-shm") or (place / name).read_bytes() == data, f"{name} was changed"
        directory = StateDirectory(place)
        assert repair.look(path), "refused, and yet the doctor finds nothing"
        foretold = repair.plan(directory, NOW) if self.verdicts["repaired"] % 5 == 1 else None
        made = repair.repair(directory, NOW)
        assert made.kept is not None
        assert foretold is None or made.losses == foretold.losses
        for name, data in files.items():
            assert name.endswith("-shm") or (made.kept / name).read_bytes() == data, f"{name} was not kept"
        self._check(truth, path, made, files, exact=exact)
        assert repair.look(path) == []

    @staticmethod
    def _view(path: Path) -> list[ev.Entry] | None:
        try:
            journal = ReadOnlyJournal(path)
        except JournalError:
            return None
        try:
            return journal.read(None)
        except JournalError:
            return None
        finally:
            journal.close()

    def _check(
        self, truth: Truth, path: Path, made: repair.Repair, files: dict[str, bytes], *, exact: bool
    ) -> None:
        new = self._view(path)
        assert new is not None
        known = {entry.seq: entry for entry in truth.entries}
        there = {entry.seq: entry for entry in new}
        [told] = [entry.event for entry in new if isinstance(entry.event, ev.JournalRepaired)]
        listed = {seq for first, last in told.lost for seq in range(first, last + 1)} | set(told.dropped)
        open_end = any("nothing says how far" in loss.message for loss in made.losses)
        highest = max((seq for seq in known if there.get(seq) == known[seq]), default=0)
        for seq, entry in known.items():
            if there.get(seq) != entry:
                replaced = (
                    isinstance(there[seq].event, ev.RunSubmitted) if seq in there and seq in listed else True
                )
                assert seq in listed or (open_end and seq > highest), f"event {seq} is lost, and not listed"
                assert replaced, f"event {seq} is another"
        lost = sum(there.get(seq) != entry and seq not in told.dropped for seq, entry in known.items())
        if exact:
            assert lost <= 1, f"{lost} events lost to one bit"
        self.worst_loss = max(self.worst_loss, lost)
        self._check_intact(truth, there, files, told)
        self._check_safe(truth, fold(new))

    def _check_intact(
        self, truth: Truth, there: dict[int, ev.Entry], files: dict[str, bytes], told: ev.JournalRepaired
    ) -> None:
        """Whatever of the file stands whole in what is left was recovered."""
        for entry in truth.entries:
            record = truth.kept[entry.seq]
            if any(record in data for data in files.values()):
                self.intact += 1
                found = there.get(entry.seq) == entry or entry.seq in told.dropped
                assert found, f"event {entry.seq} is intact, and was not recovered"

    @staticmethod
    def _check_safe(truth: Truth, state: State) -> None:
        """Nothing starts that had been started, neither by itself nor when a person goes on with the run."""
        for run in state.runs.values():
            true = truth.state.runs.get(run.id)
            assert true is not None, "a run that never was"
            for task in run.tasks.values():
                if task.status is Status.RUNNING and true.tasks[task.id].status is not Status.RUNNING:
                    assert task.attempt is not None
                    record = truth.records[run.id, task.id, task.attempt.number]
                    assert record.get("code") == 0, f"{task.id} is at work again"
            for asked in (False, True):
                if asked and run.finished_at is None:
                    apply(state, ev.Entry(state.seq + 1, run.id, NOW, ev.Resumed("command")))
                while isinstance(start := decide(run, NOW), Start):
                    task = run.tasks[start.task]
                    number = task.attempt.number if task.attempt else 0
                    ran = max((n for r, t, n in truth.records if (r, t) == (run.id, task.id)), default=0)
                    assert ran <= number, f"{task.id} was started already"
                    status = true.tasks[start.task].status
                    assert status is Status.PENDING or (asked and not ran), f"{task.id} is {status}"
                    apply(
                        state,
                        ev.Entry(
                            state.seq + 1,
                            run.id,
                            NOW,
                            ev.AttemptStarted(task.id, number + 1, "x", start.provider),
                        ),
                    )


@pytest.mark.promise("P18")
def test_a_bit_or_the_end_of_a_file(truths: list[Truth], proof: Proof) -> None:
    judge = Judge()
    for seed in range(proof.pick(100, 10_000)):
        judge.look(truths[seed % len(truths)], truncate if seed % 5 == 4 else flip, seed)
        proof.count("bit flips")
    _tell(judge, proof)


@pytest.mark.promise("P18")
def test_pages_and_files(truths: list[Truth], proof: Proof) -> None:
    judge = Judge()
    for seed in range(proof.pick(40, 1_000)):
        judge.look(truths[seed % len(truths)], COARSE[seed % 3 if seed % 7 else 3], seed)
        proof.count("injected faults")
    _tell(judge, proof)


def _tell(judge: Judge, proof: Proof) -> None:
    total = sum(judge.verdicts.values())
    proof.measure("damage that harmed nothing", 100 * judge.verdicts["harmless"] / total, "%")
    proof.measure("slowest check and repair", judge.slowest, "s", at_most=10.0)
    proof.measure("most events lost at once", judge.worst_loss, "events")
    assert judge.verdicts["repaired"] > 0
    assert judge.intact > 0


def _without(files: dict[str, bytes], place: Path, where: str) -> Path:
    """The journal with events removed by SQLite itself, so that its structure is sound."""
    path = lay_out(files, place)
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"DELETE FROM event WHERE {where}")
        db.commit()
    return path


@pytest.mark.promise("P18")
@pytest.mark.parametrize("where", ["seq = 1", "seq = 17", "seq BETWEEN 9 AND 20", "seq > 30", "seq > 0"])
def test_missing_events_are_noticed_wherever_they_were(truths: list[Truth], where: str) -> None:
    with folder() as place:
        path = _without(truths[0].files, place, where)
        with pytest.raises(JournalError, match="missing"):
            examine(path)
        assert Judge._view(path) is None


@pytest.mark.promise("P18")
def test_an_event_that_was_altered_is_noticed_whatever_the_column(truths: list[Truth]) -> None:
    columns = {
        "run": "'p-2'", "at": "at + 0.000001", "task": "'t9'", "kind": "'halted'", "version": "0",
        "data": "replace(data, '1', '2')", "before": "before + 1", "sum": "sum + 1",
    }  # fmt: skip
    for column, value in columns.items():
        with folder() as place:
            path = lay_out(truths[0].files, place)
            with closing(sqlite3.connect(path)) as db:
                db.execute(f"UPDATE event SET {column} = {value} WHERE seq = 12")
                db.commit()
            with pytest.raises(JournalError, match="event 12"):
                examine(path)


@pytest.mark.promise("P18")
async def test_a_refused_journal_is_not_changed_by_a_supervisor(truths: list[Truth]) -> None:
    """To open it for writing would cut a damaged write-ahead log off."""
    truth = truths[1]
    log = bytearray(truth.files["journal.db-wal"])
    log[len(log) // 2] ^= 1
    files = truth.files | {"journal.db-wal": bytes(log)}
    with folder() as place:
        path = lay_out(files, place)
        with pytest.raises(JournalError, match="missing at its end"):
            await SqliteJournal(path).open()
        for file in files_of(path):
            assert file.name.endswith("-shm") or file.read_bytes() == files[file.name]
