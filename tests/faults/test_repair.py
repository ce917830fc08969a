"""Repairs: interrupted anywhere, of journals that lost their beginning, beside foreign files."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from damage import DONE, Truth, destroy, folder, lay_out, leave_records, written
from promises import Proof
from test_damaged_journal import NOW, Judge

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.plan import Plan, Provider, Task
from daplug_supervisor.core.state import Run, fold
from daplug_supervisor.errors import JournalError
from daplug_supervisor.journal.header import repair_of
from daplug_supervisor.journal.reader import ReadOnlyJournal, examine
from daplug_supervisor.journal.rows import Chain
from daplug_supervisor.journal.salvage import Salvaged
from daplug_supervisor.journal.sqlite import SqliteJournal
from daplug_supervisor.supervisor.repair import journal as repair
from daplug_supervisor.supervisor.repair.mend import mend
from daplug_supervisor.workspace.files import StateDirectory


@pytest.fixture(scope="module")
def truth() -> Truth:
    return anyio.run(lambda: written("several", closed=False))


def read(path: Path) -> list[ev.Entry]:
    with closing(ReadOnlyJournal(path)) as journal:
        return journal.read(None)


def told(place: Path) -> list[tuple[int, bytes]]:
    """The events of a journal, wherever it is."""
    return [
        (one.seq, ev.encode(one.event).replace(str(place).encode(), b"HERE"))
        for one in read(place / "journal.db")
    ]


def repaired(truth: Truth, files: dict[str, bytes], place: Path) -> tuple[dict[str, Run], str]:
    """The runs after a repair, and all that was said to be lost."""
    path = lay_out(files, place)
    leave_records(truth, place / "runs")
    with pytest.raises(JournalError):
        examine(path)
    made = repair.repair(StateDirectory(place), NOW)
    said = "\n".join(f"{loss.about}: {loss.message} -> {loss.remedy}" for loss in made.losses)
    return fold(read(path)).runs, said


# --- interrupted --------------------------------------------------------------------------------------------------


class _KilledError(BaseException):
    """Whoever repaired was killed."""


CALLS = ("rename", "mkdir", "open", "fsync", "replace")


def interrupt(patch: pytest.MonkeyPatch, at: int, error: BaseException) -> None:
    """Let so many calls that change files succeed, and none after them."""
    calls = 0

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **more: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > at:
                raise error
            return real(*args, **more)

        return called

    for name in CALLS:
        patch.setattr(os, name, wrap(getattr(os, name)))


@pytest.mark.promise("P18")
@pytest.mark.parametrize("error", [_KilledError(), OSError(errno.ENOSPC, "No space left on device")], ids=str)
def test_interrupted_anywhere_it_is_the_old_journal_or_the_new_one(
    truth: Truth, error: BaseException, proof: Proof
) -> None:
    files = dict(truth.files)
    destroy(files, *[truth.kept[seq] for seq in (30, 31, 90)])
    durable = {name: data for name, data in files.items() if not name.endswith("-shm")}
    with folder() as whole:
        lay_out(files, whole)
        leave_records(truth, whole / "runs")
        wanted = repair.repair(StateDirectory(whole), NOW)
        expected = told(whole)
    at, interrupted = 0, True
    while interrupted:
        with folder() as here:
            path = lay_out(files, here)
            leave_records(truth, here / "runs")
            directory = StateDirectory(here)
            with pytest.MonkeyPatch.context() as patch:
                interrupt(patch, at, error)
                try:
                    repair.repair(directory, NOW)
                    interrupted = False
                except (JournalError, _KilledError):
                    proof.count("crash points" if isinstance(error, _KilledError) else "injected faults")
            decided = repair_of(path).exists()
            if decided:
                with pytest.raises(JournalError, match="interrupted"):
                    examine(path)
            elif not list(here.glob("damaged-*")):
                assert all((here / name).read_bytes() == data for name, data in durable.items())
            if repair.look(path):
                again = repair.repair(directory, NOW)
                assert [loss.about for loss in again.losses] == [loss.about for loss in wanted.losses]
            assert told(here) == expected
            [kept] = here.glob("damaged-*")
            assert all((kept / name).read_bytes() == data for name, data in durable.items())
            assert sorted(one.name for one in kept.iterdir()) == sorted([*files, "losses.json"])
            assert not (here / "journal.preparing").exists()
        at += proof.pick(5, 1)
    assert at > 15


@pytest.mark.promise("P18")
def test_what_is_kept_is_never_overwritten(truth: Truth) -> None:
    with folder() as here:
        for _ in range(3):
            files = dict(truth.files)
            destroy(files, truth.kept[30])
            lay_out(files, here)
            repair.repair(StateDirectory(here), NOW)
        assert sorted(one.name.partition("Z")[2] for one in here.glob("damaged-*")) == ["", "-2", "-3"]


# --- what was lost ------------------------------------------------------------------------------------------------


def submissions(truth: Truth, run: str) -> list[int]:
    return [one.seq for one in truth.entries if one.run == run and isinstance(one.event, ev.RunSubmitted)]


@pytest.mark.promise("P18")
def test_a_run_whose_plan_is_lost_does_not_go_on_and_keeps_its_name() -> None:
    truth = anyio.run(lambda: written("running", closed=False))
    [seq] = submissions(truth, "p-1")
    files = dict(truth.files)
    destroy(files, truth.kept[seq])
    with folder() as here:
        runs, said = repaired(truth, files, here)
        assert "p-1: its plan was lost" in said
        assert str(here / "runs" / "p-1") in said
        run = runs["p-1"]
        assert run.halt is not None
        assert run.halt.by == "command"
        assert run.plan.name == "p", "so that the plan's next run does not take its directories"
        true = truth.state.runs["p-1"].tasks
        assert {name for name, task in run.tasks.items() if task.status is Status.DONE} == {
            name for name, task in true.items() if task.status is Status.DONE
        }
        for task in run.tasks.values():
            assert task.status not in (Status.PENDING, Status.RUNNING), task.id


@pytest.mark.promise("P18")
def test_a_journal_of_which_nothing_is_left_gives_no_number_twice(truth: Truth) -> None:
    files = {name: b"\xa5" * len(data) for name, data in truth.files.items()}
    with folder() as here:
        runs, said = repaired(truth, files, here)
        assert set(runs) == {run for run, _, _ in truth.records}
        assert "nothing says how far the journal went" in said
        for run in runs.values():
            assert run.halt is not None
            assert {task.status for task in run.tasks.values()} == {Status.STUCK}
            for task in run.tasks.values():
                assert task.attempt is not None
                ran = max(number for r, t, number in truth.records if (r, t) == (run.id, task.id))
                assert task.attempt.number == ran, "the next attempt has a directory of its own"
                assert f"daplug-supervise task retry {task.id} --run {run.id}" in task.remedy


@pytest.mark.promise("P18")
def test_runs_that_lost_nothing_go_on_as_before(truth: Truth) -> None:
    """What is lost lies before they began."""
    early = next(one for one in truth.entries if isinstance(one.event, ev.Landed))
    files = dict(truth.files)
    destroy(files, truth.kept[early.seq])
    with folder() as here:
        runs, _ = repaired(truth, files, here)
        for name in ("p-2", "q-2"):
            assert runs[name].halt is None
            assert runs[name].tasks == truth.state.runs[name].tasks


COMPLETED: dict[Status, list[ev.Event]] = {
    Status.VERIFYING: [],
    Status.REVIEWING: [ev.ReviewRequested("t")],
    Status.LANDING: [ev.VerificationPassed("t")],
    Status.DELEGATED: [ev.RetryScheduled("t", DONE), ev.Delegated("t")],
}
"""What follows on the first attempt's end until the task is there."""


@pytest.mark.promise("P18")
@pytest.mark.parametrize("status", COMPLETED)
@pytest.mark.parametrize("again", [False, True])
def test_what_may_have_been_sent_back_to_its_agent_is_not_accepted_as_it_is(
    tmp_path: Path, status: Status, *, again: bool
) -> None:
    """The attempt that followed works in the same place, perhaps at this moment."""
    plan = Plan("p", {"t": Task(command=("true",), provider="p")}, {"p": Provider(worker="command")})
    begun = [ev.RunSubmitted(plan, str(tmp_path)), ev.RunStarted(), ev.AttemptStarted("t", 1, "one", "p")]
    chain, rows = Chain(), []
    events = [
        *begun,
        ev.AttemptSpawned("t", 4_100_000, 77, "boot"),
        ev.AttemptExited("t", DONE),
        *COMPLETED[status],
    ]
    for seq, event in enumerate(events, 1):
        task = "t" if isinstance(event, ev.TaskEvent) else ""
        rows.append(chain.seal((seq, "p-1", NOW, task, event.kind, event.version, ev.encode(event).decode())))
    last = len(events)
    directory = StateDirectory(tmp_path)
    for number in (1, 2) if again else (1,):
        record = Path(directory.attempt("p-1", "t", number)) / "process.json"
        record.parent.mkdir(parents=True)
        record.write_text('{"state":"starting","mark":"","shim":0}')
    salvaged = Salvaged(rows, [(last + 1, last + 3)], end_known=True, last=last + 3)
    run = mend(directory, salvaged, directory.journal, NOW).state.runs["p-1"]
    assert run.halt is not None
    found = run.tasks["t"]
    assert found.attempt is not None
    assert (found.status, found.attempt.number) == ((Status.STUCK, 2) if again else (status, 1))


@pytest.mark.promise("P18")
def test_the_log_of_another_journal_adds_nothing(truth: Truth, proof: Proof) -> None:
    other = anyio.run(lambda: written("several", 2, closed=False))
    judge = Judge()

    def swap(files: dict[str, bytes], _chance: random.Random) -> str:
        files["journal.db-wal"] = other.files["journal.db-wal"]
        return "the log of another journal"

    def garbage(files: dict[str, bytes], chance: random.Random) -> str:
        files["journal.db-shm"] = chance.randbytes(32768)
        return "garbage in the shared memory"

    def foreign_tail(files: dict[str, bytes], _chance: random.Random) -> str:
        files["journal.tail"] = other.files["journal.tail"]
        return "the tail of another journal"

    for damage in (swap, garbage, foreign_tail):
        judge.look(truth, damage, 0)
        proof.count("injected faults")
    assert judge.verdicts == {"repaired": 2, "harmless": 1}


@pytest.mark.promise("P18")
async def test_a_repaired_journal_is_written_on(truth: Truth) -> None:
    files = dict(truth.files)
    destroy(files, truth.kept[30])
    with folder() as here:
        repaired(truth, files, here)
        path = here / "journal.db"
        before = read(path)
        for _ in range(2):
            journal = SqliteJournal(path)
            await journal.open()
            entries, durable = journal.append("", 1.0, [ev.SupervisorStopped()])
            await durable.wait()
            before += entries
            await journal.close()
        assert read(path) == before
        assert repair.look(path) == []
