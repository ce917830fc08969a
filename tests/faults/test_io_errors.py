"""Input and output errors at every durable call: the supervisor stops, agents live on, and the next start goes on."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import cli
import pytest
from cli import HOLD, MARKING, PATIENCE, Place, happened, opened, plan_of, sh, until
from driven import fresh
from power import can_trace
from promises import Proof
from test_disk_full import PROMPTED, Scribe

from daplug_supervisor import Plan, Report, RunHandle, Supervisor
from daplug_supervisor.core import events as ev
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.plan import Provider, Retry
from daplug_supervisor.errors import JournalError, StateDirectoryError
from daplug_supervisor.journal.sqlite import SqliteJournal
from daplug_supervisor.workspace import bundles

place = pytest.fixture(opened)

ONCE = Retry(attempts=1)
POOLS = {"p": Provider(worker="command", parallel=2), "q": Provider(worker="command", parallel=1)}
CHAIN = {f"t{number}": sh(MARKING + "sleep 0.05", provider="q", retry=ONCE) for number in range(4)}
PLAN = plan_of({name: sh(MARKING + HOLD, retry=ONCE) for name in "ab"} | CHAIN, POOLS)

needs_strace = pytest.mark.skipif(not can_trace(), reason="strace is missing, or must not trace here")


class Failing:
    """The command, with an error injected at the N-th call of a kind on the journal's files."""

    def __init__(
        self, place: Place, call: str = "", error: str = "", when: str = "", files: str = ""
    ) -> None:
        self.trace = place.target / "trace"
        inject = ["-e", f"inject={call}:error={error}:when={when}"] if call else []
        paths = [word for name in files.split() for word in ("-P", str(place.state / name))]
        calls = "pwrite64,fsync,fdatasync,ftruncate,unlink,openat"
        self._said = place.target / "said"
        with self._said.open("w") as said:  # not a pipe: strace holds it open until the last agent has ended
            self.process = subprocess.Popen(
            ["strace", "-D", "-f", "-qq", "-ttt", "-y", "-s", "0", "-e", "signal=none", "-o", str(self.trace), *paths,
             "-e", f"trace={calls}", *inject, cli.PROGRAM, "plan.json"],
            cwd=place.target, env=place.environ, start_new_session=True, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said,
        )  # fmt: skip
        place.others.append(self.process)  # type: ignore[arg-type]
        self.ended = 0.0

    @property
    def text(self) -> str:
        return self._said.read_text()

    def finish(self) -> int:
        code = self.process.wait(PATIENCE)
        self.ended = time.time()
        return code

    def lines(self) -> list[str]:
        return self.trace.read_text().splitlines()


FILES = "journal.db journal.db-wal"


def count(folder: Path) -> Counter[str]:
    """How often a run without faults calls what."""
    with fresh(folder) as place:
        place.write(PLAN)
        place.go()
        failing = Failing(place, files=FILES)
        assert failing.finish() == 0, failing.text
        until(lambda: not place.processes(), "all gone")
        return Counter(re.findall(r"^\d+ +[\d.]+ (\w+)\(", "\n".join(failing.lines()), re.MULTILINE))


def check_one(place: Place, call: str, error: str, when: int) -> float | None:
    """Inject one error; returns how long the supervisor took to end, or None if it went on."""
    place.write(PLAN)
    failing = Failing(place, call, error, f"{when}", FILES)
    end = time.monotonic() + PATIENCE
    while failing.process.poll() is None and time.monotonic() < end:
        if place.events(ev.Landed, task="t3"):
            place.go()  # the error is behind us, or will come when the last tasks end
        time.sleep(0.02)
    code = failing.finish()
    told = until(
        lambda: [line for line in failing.lines() if "INJECTED" in line] or ["-"] * (code == 0), "injected"
    )
    took = None
    if code != 0:
        assert code == 5, (code, failing.text)
        until(lambda: "daplug-supervise: " in failing.text, "it says why")
        assert "journal.db" in failing.text, failing.text
        made = (place.state / "journal.tail").exists()
        assert not made or "agents go on running" in failing.text, failing.text
        assert "Traceback" not in failing.text, failing.text
        took = failing.ended - float(told[0].split()[1])
        if made:  # else nothing was in it
            check_not_retried(failing.lines())
        begun = {event.task for event in place.events(ev.AttemptSpawned)} & {"a", "b"}
        started = {line.split()[0] for line in place.lines()} & {"a", "b"}
        assert started <= begun, "nothing runs that is not durable"
        if "go" not in {path.name for path in place.target.iterdir()}:
            assert len(place.processes(attempts=True)) >= len(started), "agents live on"
    place.go()
    if not place.events(ev.RunFinished):  # else the same command would begin another run
        ran = place.run("plan.json")
        assert ran.code == 0, ran
    assert set(place.statuses().values()) == {"done"}
    assert Counter(line.split()[0] for line in place.lines()) == Counter([*"ab", *CHAIN])
    landed = {event.task for event in place.events(ev.Landed)}
    assert set(re.findall(r"(\w+): Done", failing.text)) <= landed
    return took


def check_not_retried(lines: list[str]) -> None:
    """After an fsync that failed nothing is written to that file, and nothing is synced."""
    at = next(number for number, line in enumerate(lines) if "INJECTED" in line)
    failed = re.search(r" f(?:data)?sync\(\d+<([^>]+)>", lines[at])
    if failed is not None:
        again = re.compile(rf" (pwrite64|fsync|fdatasync|ftruncate)\(\d+<{re.escape(failed[1])}>")
        assert [line for line in lines[at + 1 :] if again.search(line)] == []


@needs_strace
@pytest.mark.promise("P17")
def test_an_error_at_any_durable_call_ends_it_and_loses_nothing(tmp_path: Path, proof: Proof) -> None:
    counts = count(tmp_path / "counted") if proof.full else Counter[str]()
    assert not proof.full or (counts["fdatasync"] > 10 and counts["pwrite64"] > 30), counts
    cases = [("fdatasync", "EIO", 9)]
    for call, error, number in proof.pick(
        [], [("fdatasync", "EIO", 8), ("pwrite64", "EIO", 8), ("pwrite64", "ENOSPC", 4), ("fdatasync", "ENOSPC", 2),
             ("ftruncate", "EIO", 2), ("fsync", "EIO", 2), ("openat", "EIO", 2), ("unlink", "EIO", 1)]
    ):  # fmt: skip
        most = counts[call]
        cases += [(call, error, 1 + turn * most // number) for turn in range(min(number, most))]
    for number, (call, error, when) in enumerate(cases):
        with fresh(tmp_path / str(number)) as place:
            try:
                took = check_one(place, call, error, when)
            except BaseException as failure:
                raise AssertionError(f"{error} at {call} {when}: {failure}") from failure
        proof.count("injected faults")
        if took is not None:
            proof.measure("ended after an I/O error (under strace)", took, "s", at_most=1.0)


@pytest.mark.promise("P17")
@pytest.mark.parametrize("text", ["disk I/O error", "attempt to write a readonly database"])
async def test_a_failed_write_ends_it_at_once(place: Place, text: str, proof: Proof) -> None:
    """Wherever strace is missing: any group fails that is not the first."""
    for when in proof.pick([4], list(range(1, 9))):
        plan = plan_of(
            {name: sh(MARKING + HOLD, retry=ONCE) for name in "ab"} | CHAIN, POOLS, name=f"w{when}"
        )
        (place.target / "go").unlink(missing_ok=True)
        journal = SqliteJournal(place.state / "journal.db", tell=lambda *_: None)
        tried: list[float] = []
        with contextlib.suppress(JournalError):
            await run(
                Supervisor(place.state, journal=journal),
                plan,
                place,
                partial(fail_at, journal, when, text, tried),
            )
        if tried:
            proof.measure("ended after an I/O error", time.monotonic() - tried[0], "s", at_most=1.0)
        assert len(tried) == 1 or (when > 4 and not tried), "nothing is tried again"
        place.go()
        assert (await run(Supervisor(place.state), plan, place)).counts["done"] == 6
        assert {task.tries for task in place.folded(f"w{when}-1").tasks.values()} == {1}
        proof.count("injected faults")
    counts = Counter(line.split()[1] for line in place.lines())
    assert set(counts.values()) == {1}, "an attempt was started twice"


async def run(
    supervisor: Supervisor, plan: Plan, place: Place, before: Callable[[], None] = lambda: None
) -> Report:
    """Run a plan to its end. A run that could not be written to its end goes on until that is noticed."""
    async with supervisor:
        before()
        handle = await supervisor.submit(plan, target=place.target)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_go_at_last, handle, place)
            with anyio.fail_after(PATIENCE / 2):
                found = await handle.wait()
            tasks.cancel_scope.cancel()
    return found


async def _go_at_last(handle: RunHandle, place: Place) -> None:
    """When only those are left that hold, let them go."""
    while handle.state.counts[Status.DONE] < len(CHAIN):
        await anyio.sleep(0.02)
    place.go()


def fail_at(journal: SqliteJournal, when: int, text: str, tried: list[float]) -> None:
    """From its N-th group on the journal cannot be written."""
    db, left = journal._db, [when]
    assert db is not None
    insert = db.execute_insert

    async def failing(*what: object) -> object:
        left[0] -= 1
        if left[0] > 0:
            return await insert(*what)
        tried.append(time.monotonic())
        error = sqlite3.OperationalError(text)
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        raise error

    db.execute_insert = failing  # type: ignore[assignment]


@pytest.mark.promise("P17")
async def test_a_prompt_that_cannot_be_written_is_not_the_tasks_fault(
    place: Place, monkeypatch: pytest.MonkeyPatch, proof: Proof
) -> None:
    def fails(bundle: object, prompt: str) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    write = bundles.write
    monkeypatch.setattr(bundles, "write", fails)
    with pytest.raises(StateDirectoryError, match=r"Input/output error; .*agents go on running"):
        await run(Supervisor(place.state, workers={"scribe": Scribe()}), PROMPTED, place)
    monkeypatch.setattr(bundles, "write", write)
    assert (await run(Supervisor(place.state, workers={"scribe": Scribe()}), PROMPTED, place)).counts[
        "done"
    ] == 1
    assert [task.tries for task in place.folded().tasks.values()] == [1]
    proof.count("injected faults")


@pytest.mark.promise("P17")
@pytest.mark.parametrize("prompted", [True, False])
async def test_a_state_directory_that_turns_read_only(
    place: Place, prompted: bool, monkeypatch: pytest.MonkeyPatch, proof: Proof
) -> None:
    """Nothing new can be made in it. The agents that run are not touched, and no task fails for it."""
    tasks = {"a": sh(MARKING + HOLD, retry=ONCE), "b": sh(MARKING, provider="q", retry=ONCE)}
    pools = {"p": Provider(worker="command", parallel=1), "q": Provider(worker="command", parallel=1)}
    if prompted:
        tasks["b"] = PROMPTED.tasks["a"]
        pools["q"] = PROMPTED.providers["q"]
    plan = plan_of(tasks, pools)
    workers = {"scribe": Scribe()} if prompted else {}
    async with Supervisor(place.state, workers=workers) as supervisor:
        handle = await supervisor.submit(plan, target=place.target, only=["a"])
        await happened(handle, ev.AttemptSpawned)
        place.started("a")
    runs = place.state / "runs" / "p-1"
    if os.geteuid() == 0:  # who may write anywhere meets something in the way instead
        monkeypatch.setattr("daplug_supervisor.workspace.files.StateDirectory.writable", lambda _: False)
        (runs / "b").write_text("")
    else:
        place.state.chmod(0o500)
        runs.chmod(0o500)
    try:
        with pytest.raises(StateDirectoryError, match="cannot be written any more, agents go on running"):
            await run(Supervisor(place.state, workers=workers), plan, place)
        assert len(place.processes(attempts=True)) >= 1, "the agent lives on"
    finally:
        if os.geteuid() == 0:
            (runs / "b").unlink()
        else:
            place.state.chmod(0o700)
            runs.chmod(0o700)
    monkeypatch.undo()
    place.go()
    assert (await run(Supervisor(place.state, workers=workers), plan, place)).counts["done"] == 2
    assert {task.tries for task in place.folded().tasks.values()} == {1}
    proof.count("injected faults")


@pytest.mark.promise("P17")
@pytest.mark.parametrize("name", ["journal.db", "journal.db-wal"])
async def test_what_goes_to_a_removed_journal_is_not_acknowledged(
    tmp_path: Path, name: str, proof: Proof
) -> None:
    journal = SqliteJournal(tmp_path / "journal.db")
    await journal.open()
    await journal.append("r", 1.0, [ev.Resumed("there")])[1].wait()
    shutil.move(tmp_path / name, tmp_path / "elsewhere")
    _, durable = journal.append("r", 1.0, [ev.Resumed("nowhere")])
    with pytest.raises(
        JournalError, match=r"was removed or replaced while it was in use; agents go on running"
    ):
        await durable.wait()
    await journal.close()
    proof.count("injected faults")
