"""The disk is full: nothing is started, nothing is lost, and it goes on by itself."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import anyio
import pytest
from cli import HOLD, MARKING, Place, happened, opened, plan_of, reached, sh
from click.testing import CliRunner
from disks import on_small_disk
from promises import Proof

from daplug_supervisor import Supervisor
from daplug_supervisor.cli.main import cli
from daplug_supervisor.core import events as ev
from daplug_supervisor.core.bundle import Bundle, Command, Evidence
from daplug_supervisor.core.plan import Provider, Retry, Task
from daplug_supervisor.core.results import Outcome, OutcomeKind
from daplug_supervisor.errors import JournalError
from daplug_supervisor.journal.sqlite import SqliteJournal
from daplug_supervisor.supervisor import supervisor as supervising
from daplug_supervisor.supervisor.attempts import slot
from daplug_supervisor.workspace import bundles, room

place = pytest.fixture(opened)

SCRIPT = Path(__file__).with_name("small_disk.py")
SIZE = "40m"


@pytest.mark.promise("P16")
def test_on_a_full_disk_nothing_starts_and_it_goes_on_when_there_is_room(
    tmp_path: Path, proof: Proof
) -> None:
    cases = [("lives", 0), ("killed", 0), ("lives", 8 << 20), ("lives", 4096), ("killed", 65536)]
    for number, (killed, left) in enumerate(cases[: proof.pick(1, 5)] * proof.pick(1, 2)):
        folder = tmp_path / str(number)
        folder.mkdir()
        found = on_small_disk(folder, SIZE, SCRIPT, "full", killed, left)
        proof.count("injected faults")
        proof.measure("last start after the disk was full", found["stopped"], "s", at_most=1.0)
        proof.measure("a full disk is said", found["said"], "s", at_most=1.0)
        proof.measure("first start after there was room", found["went on"], "s", at_most=10.0)


@pytest.mark.promise("P16", "P14")
async def test_told_to_end_on_a_full_disk_it_does_not_wait_for_ever(
    place: Place, monkeypatch: pytest.MonkeyPatch, proof: Proof
) -> None:
    monkeypatch.setattr(supervising, "_LEAVE", 0.3)
    with pytest.raises(JournalError, match=r"the disk is full, .*agents go on running"):
        await _ended_on_a_full_disk(place)
    place.go()
    async with Supervisor(place.state) as supervisor:
        handle = await supervisor.submit(HOLDING, target=place.target)
        with anyio.fail_after(20):
            assert (await handle.wait()).counts["done"] == 2
    assert {task.tries for task in place.folded().tasks.values()} == {1}
    proof.count("injected faults")


async def _ended_on_a_full_disk(place: Place) -> None:
    async with Supervisor(place.state) as supervisor:
        handle = await supervisor.submit(HOLDING, target=place.target)
        await reached(lambda: len(place.lines()) == 2, "both are at work")
        await supervisor._recorder_now().settle()
        journal = supervisor._journal
        assert isinstance(journal, SqliteJournal)
        await limit(journal, 0)
        supervisor.halt("x" * 100_000)
        with anyio.fail_after(20):
            await handle.wait()


HOLDING = plan_of({name: sh(MARKING + HOLD, retry=Retry(attempts=1)) for name in "ab"})


@pytest.mark.promise("P16", "P14")
def test_a_signal_to_end_on_a_full_disk(tmp_path: Path, proof: Proof) -> None:
    if not proof.full:
        pytest.skip("takes as long as it waits for room; the test above is the short form")
    found = on_small_disk(tmp_path, SIZE, SCRIPT, "leaves")
    proof.count("injected faults")
    proof.measure("ended by SIGTERM on a full disk", found["left"], "s", at_most=10.0)


@pytest.mark.promise("P16")
def test_half_a_worktree_is_in_nobodys_way(tmp_path: Path, proof: Proof) -> None:
    found = on_small_disk(tmp_path, "12m", SCRIPT, "worktrees")
    proof.count("injected faults")
    proof.measure("a worktree after there was room", found["went on"], "s", at_most=10.0)


async def limit(journal: SqliteJournal, more: int) -> None:
    """Let the journal grow by so many pages, and then find its disk full."""
    assert journal._db is not None
    [(pages,)] = list(await journal._db.execute_fetchall("PRAGMA page_count"))
    await journal._db.execute_fetchall(f"PRAGMA max_page_count={pages + more}")


@pytest.mark.promise("P16")
async def test_the_journal_waits_for_room_and_tries_the_same_rows_again(tmp_path: Path, proof: Proof) -> None:
    told: list[tuple[str, str]] = []
    journal = SqliteJournal(tmp_path / "journal.db", tell=lambda *what: told.append(what))
    await journal.open()
    acknowledged: list[str] = []

    async def write(name: str, size: int) -> None:
        await journal.append(name, 1.0, [ev.Resumed("x" * size)])[1].wait()
        acknowledged.append(name)

    for turn in range(proof.pick(2, 20)):
        await limit(journal, 0)
        acknowledged.clear()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write, f"large{turn}", 100_000)
            await reached(lambda: told and told[-1][1], "it is told")
            tasks.start_soon(write, f"small{turn}", 10)
            await anyio.sleep(0.05)
            assert acknowledged == [], "nothing is acknowledged that is not on the disk"
            await limit(journal, 10_000)
        assert told[-1] == ("room in the journal", "")
        assert sorted(acknowledged) == [f"large{turn}", f"small{turn}"]
        proof.count("injected faults")
    await journal.close()
    again = SqliteJournal(tmp_path / "journal.db")
    await again.open()
    for turn in range(proof.pick(2, 20)):
        assert len([entry async for entry in again.read(f"large{turn}")]) == 1
    await again.close()


@pytest.mark.promise("P16")
async def test_closing_a_journal_that_waits_for_room_gives_up(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.db", tell=lambda *_: None)
    await journal.open()
    await limit(journal, 0)
    _, durable = journal.append("r", 1.0, [ev.Resumed("x" * 100_000)])
    await anyio.sleep(0.05)
    began = time.monotonic()
    await journal.close()
    with pytest.raises(JournalError, match="full"):
        await durable.wait()
    assert time.monotonic() - began < 10


class Scribe:
    """A worker with a prompt."""

    output_wanted = 0

    def problems(self, assignments: object) -> list[str]:
        return []

    def command(self, bundle: Bundle) -> Command:
        return Command(("cat", str(bundle.prompt_file)))

    def outcome(self, evidence: Evidence) -> Outcome:
        return Outcome(OutcomeKind.COMPLETED)


PROMPTED = plan_of(
    {"a": Task(instructions="Do it.", provider="q")}, {"q": Provider(worker="scribe", parallel=1)}
)


@pytest.mark.promise("P16")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
async def test_a_prompt_that_finds_no_room_waits_and_costs_no_try(
    place: Place, number: int, monkeypatch: pytest.MonkeyPatch, proof: Proof
) -> None:
    monkeypatch.setattr(slot, "_AGAIN", 0.05)
    write, fails = bundles.write, [1, 2, 3]

    def full(bundle: Bundle, prompt: str) -> None:
        if fails:
            fails.pop()
            raise OSError(number, os.strerror(number))
        write(bundle, prompt)

    monkeypatch.setattr(bundles, "write", full)
    async with Supervisor(place.state, workers={"scribe": Scribe()}) as supervisor:
        said: list[str] = []
        supervisor.notices.listen = said.append
        handle = await supervisor.submit(PROMPTED, target=place.target)
        with anyio.fail_after(20):
            report = await handle.wait()
    assert report.counts["done"] == 1
    assert [task.tries for task in place.folded().tasks.values()] == [1]
    assert len(place.events(ev.AttemptStarted)) == 1
    assert "no room on the disk to start p-1/a#1" in said[0]
    assert "all is well again" in said[1]
    proof.count("injected faults", 3)


@pytest.mark.promise("P16")
async def test_a_task_that_waits_for_room_can_be_halted(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(bundle: Bundle, prompt: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(slot, "_AGAIN", 0.05)
    monkeypatch.setattr(bundles, "write", full)
    async with Supervisor(place.state, workers={"scribe": Scribe()}) as supervisor:
        handle = await supervisor.submit(PROMPTED, target=place.target)
        await happened(handle, ev.AttemptStarted)
        supervisor.halt("enough")
        with anyio.fail_after(20):
            report = await handle.wait()
    assert report.halt is not None
    [retried] = place.events(ev.RetryScheduled)
    assert (retried.uses_try, retried.result.outcome.kind) == (False, "interrupted")


@pytest.mark.promise("P16")
async def test_nothing_starts_while_there_is_little_room(
    place: Place, monkeypatch: pytest.MonkeyPatch, proof: Proof
) -> None:
    """By the figures of the file system alone: before the disk is really full."""
    real = os.statvfs
    little = True

    def statvfs(path: str) -> os.statvfs_result:
        found = list(real(path))
        if little:
            found[4] = (room.LITTLE - 1) // found[1]
        return os.statvfs_result(found)

    monkeypatch.setattr(os, "statvfs", statvfs)
    async with Supervisor(place.state) as supervisor:
        handle = await supervisor.submit(plan_of({"a": sh("true")}), target=place.target)
        await reached(lambda: supervisor.notices.texts, "it is told")
        assert "nothing is started until there are 16 MiB" in supervisor.notices.texts[0]
        await anyio.sleep(0.2)
        assert handle.state.active == 0
        asked = CliRunner().invoke(cli, ["task", "why", "a", f"--state-dir={place.state}"])
        assert "nothing is started, because the disk of" in " ".join(asked.output.split())
        little = False
        with anyio.fail_after(20):
            assert (await handle.wait()).counts["done"] == 1
        assert supervisor.notices.texts == []
    proof.count("injected faults")


def test_what_the_file_system_does_not_tell_hinders_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert room.lack(str(tmp_path / "gone")) == ""
    figures = list(os.statvfs(tmp_path))
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(figures))
    figures[2:8] = [0, 0, 0, 0, 0, 0]
    assert room.lack("/") == ""
    figures[2:8] = [1 << 30, 1 << 30, 1 << 30, 1000, 3, 3]
    assert "room for 3 more files" in room.notice("/")
