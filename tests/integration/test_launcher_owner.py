"""Owners and launchers that die, and those who come after: nothing is lost, nothing runs twice, nothing is leaked."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import sys
from pathlib import Path

import anyio
import psutil
import pytest
from processes import end_of, finished, gone, launch, opened, owner, said, shell

from daplug_supervisor.core.results import Exit
from daplug_supervisor.errors import LaunchError
from daplug_supervisor.ports import Identity
from daplug_supervisor.processes import launch as launching
from daplug_supervisor.processes.ends import read_record
from daplug_supervisor.processes.launch import ShimLauncher
from daplug_supervisor.processes.tree import boot_id

HOLD = "until [ -e go ]; do sleep 0.01; done; exit"


async def test_what_ends_while_nobody_watches_is_known_exactly(tmp_path: Path) -> None:
    async with owner() as first:
        identities = {}
        for name, end in (("1", "exit 0"), ("2", "exit 77"), ("3", "kill -USR1 $$")):
            what = shell(
                tmp_path / name, f"echo ready; until [ -e go ]; do sleep 0.01; done; {end}", cwd=str(tmp_path)
            )
            identities[name] = await first.start(what)
            await said(tmp_path / name / "stdout.log")
        await first.kill()
    (tmp_path / "go").touch()
    for identity in identities.values():
        await gone(identity.pid)
    async with opened() as launcher:
        codes = [
            (await end_of(await launcher.attach(who, str(tmp_path / name)))).code
            for name, who in identities.items()
        ]
    assert codes == [0, 77, -signal.SIGUSR1]


async def test_what_lives_on_is_taken_back_and_waited_for(tmp_path: Path) -> None:
    async with owner() as first:
        identity = await first.start(shell(tmp_path, f"echo ready; {HOLD} 5", cwd=str(tmp_path)))
        await said(tmp_path / "stdout.log")
        await first.kill()
    async with opened() as launcher:
        attached = await launcher.attach(identity, str(tmp_path))
        with anyio.move_on_after(0.1) as scope:
            await attached.wait()
        assert scope.cancelled_caught, "it lives"
        (tmp_path / "go").touch()
        assert (await end_of(attached)).code == 5
        attached.stop()


async def test_who_dies_before_opening_the_gate_has_run_nothing(tmp_path: Path) -> None:
    async with owner() as first:
        identity = await first.start(None)
        everyone = psutil.Process(first.pid).children(recursive=True)
        assert identity.pid in {one.pid for one in everyone}
        await first.kill()
    for one in everyone:
        await gone(one.pid)
    async with opened() as launcher:
        attached = await launcher.attach(identity, str(tmp_path / "a"))
        attached.stop()
        with anyio.fail_after(5):
            assert await attached.wait() is None
    assert not (tmp_path / "a").exists()


async def test_idle_shims_and_the_launcher_end_with_their_owner(tmp_path: Path) -> None:
    async with owner() as first:
        for number in range(3):
            await first.start(shell(tmp_path / str(number), "exit 0"))
        everyone = psutil.Process(first.pid).children(recursive=True)
        assert len(everyone) >= 2
        await first.kill()
    for one in everyone:
        await gone(one.pid)


async def test_a_killed_launcher_is_replaced_and_what_runs_is_not_touched(tmp_path: Path) -> None:
    async with opened() as launcher:
        gate = await launcher.reserve()
        running = gate.open(shell(tmp_path / "a", f"{HOLD} 5", cwd=str(tmp_path)))
        for _ in range(2):
            assert launcher._process is not None
            launcher._process.kill()
            async with anyio.create_task_group() as tasks:  # all find it dead, one makes another
                for number in range(20):
                    tasks.start_soon(finished, launcher, shell(tmp_path / str(number), "exit 6"))
            assert launcher._reopening.statistics().locked is False
        await gone_but_one(launcher)
        (tmp_path / "go").touch()
        assert (await end_of(running)).code == 5


async def gone_but_one(launcher: ShimLauncher) -> None:
    """Of all the launchers that we have ever had, one lives."""
    assert launcher._process is not None
    children = [one.pid for one in psutil.Process().children() if not _zombie(one.pid)]
    assert children == [launcher._process.pid]


async def test_a_launcher_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(LaunchError, match=r"cannot start /no/such/python: No such file"):
        await ShimLauncher().open()


@pytest.mark.parametrize("others", ["answers", "is stopped too"])
async def test_a_launcher_that_does_not_answer_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: str
) -> None:
    """Whatever has stopped it: one may wait for it all night."""
    stopped: list[int] = []
    first = ShimLauncher.open

    def stop(launcher: ShimLauncher) -> None:
        assert launcher._process is not None
        stopped.append(launcher._process.pid)
        os.kill(stopped[-1], signal.SIGSTOP)

    async def again(launcher: ShimLauncher) -> None:
        await first(launcher)
        if others == "answers":
            monkeypatch.setattr(launching, "_START_PATIENCE", 20.0)
        else:
            stop(launcher)

    monkeypatch.setattr(launching, "_CLOSE_PATIENCE", 0.1)
    async with opened() as launcher:
        running = (await launcher.reserve()).open(shell(tmp_path / "a", f"{HOLD} 5", cwd=str(tmp_path)))
        while launcher.idle() is not None:
            pass
        stop(launcher)
        monkeypatch.setattr(launching, "_START_PATIENCE", 0.1)
        monkeypatch.setattr(ShimLauncher, "open", again)
        try:
            if others == "answers":
                assert (await finished(launcher, shell(tmp_path / "b", "exit 6"))).code == 6
            else:
                with pytest.raises(LaunchError, match=r"did not answer in 0\.1 s"):
                    await launcher.reserve()
            (tmp_path / "go").touch()
            assert (await end_of(running)).code == 5
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)


async def test_too_many_open_files_are_said(tmp_path: Path) -> None:
    async with opened() as launcher:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            gate = await launcher.reserve()
            while launcher.idle() is not None:
                pass
            lowest_free = os.dup(0)
            os.close(lowest_free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
            with pytest.raises(LaunchError, match="too many open files"):
                await launcher.reserve()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await launcher.reserve()
        assert (await end_of(gate.open(shell(tmp_path, "exit 8")))).code == 8


async def test_closed_is_closed(tmp_path: Path) -> None:
    launcher = ShimLauncher()
    with pytest.raises(LaunchError, match="closed"):
        await launcher.reserve()
    await launcher.open()
    gate = await launcher.reserve()
    await launcher.close()
    await launcher.close()
    with pytest.raises(LaunchError, match="closed"):
        await launcher.reserve()
    launcher.release(gate)
    assert launcher.idle() is None
    assert not (tmp_path / "a").exists()


async def test_a_cancelled_reservation_leaves_its_shim_to_the_next() -> None:
    async with opened() as launcher:
        while launcher.idle() is not None:
            pass
        with anyio.move_on_after(0):
            await launcher.reserve()
        first = await launcher.reserve()
        second = await launcher.reserve()
        assert first.identity != second.identity


async def test_the_launcher_is_out_of_reach_of_the_terminals_signals_from_its_first_moment() -> None:
    async with opened() as launcher:
        assert launcher._process is not None
        assert os.getsid(launcher._process.pid) == launcher._process.pid


async def test_shims_are_used_again_but_only_so_many_wait(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(launching, "MAX_IDLE", 3)
    async with opened() as launcher:
        gates = [await launcher.reserve() for _ in range(6)]
        known = {gate.identity for gate in gates}
        for gate in gates:
            launcher.release(gate)
        pids = set()
        for number in range(5):
            gate = launcher.idle() or await launcher.reserve()
            pids.add(gate.identity)
            await end_of(gate.open(shell(tmp_path / str(number), "exit 0")))
            launcher.release(gate)
        assert len(pids) <= 2
        assert pids <= known
        assert sum(psutil.pid_exists(one.pid) and not _zombie(one.pid) for one in known) <= 4


def _zombie(pid: int) -> bool:
    return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_two_hundred_attempts_leave_nothing(tmp_path: Path) -> None:
    async def count() -> tuple[int, int]:
        gc.collect()
        return sum(1 for _ in Path("/proc/self/fd").iterdir()), len(psutil.Process().children(recursive=True))

    async with opened() as launcher:
        await finished(launcher, shell(tmp_path / "first", "exit 0"))
    before = await count()
    async with opened() as launcher:
        limit = anyio.CapacityLimiter(10)

        async def one(number: int) -> None:
            async with limit:
                await finished(launcher, launch(tmp_path / str(number), "true"))

        async with anyio.create_task_group() as tasks:
            for number in range(200):
                tasks.start_soon(one, number)
        left = (await launcher.reserve()).open(shell(tmp_path / "left", f"{HOLD} 0", cwd=str(tmp_path)))
        shims = psutil.Process().children(recursive=True)
    (tmp_path / "go").touch()
    for shim in shims:
        await gone(shim.pid)
    async with opened():  # that launcher outlived us, with its shim: it is collected now
        pass
    del left
    assert await count() == before
    assert isinstance(read_record(str(tmp_path / "left")), Exit)


@pytest.mark.parametrize(
    ("record", "known"),
    [
        (b"", False),
        (b"\0" * 1024, False),
        (b"\xff\xfe", False),
        (b"[]", False),
        (b'{"state":"exited"', False),
        (b'{"state":"exited","code":"many"}', False),
        (b'{"state":"starting","mark":"a"}', False),
        (
            b'{"state":"exited","code":3,"stopped":"","seconds":1.5,"cpu":0.25,"max_rss":7}'.ljust(1023)
            + b"\n",
            True,
        ),
        (b'{"state":"exited","error":"no"}', True),
    ],
)
async def test_records_of_every_kind(tmp_path: Path, record: bytes, known: bool) -> None:
    (tmp_path / "process.json").write_bytes(record)
    for identity in (Identity(2**22 - 1, 5, boot_id()), Identity(os.getpid(), 5, "other boot")):
        attached = await ShimLauncher().attach(identity, str(tmp_path))
        attached.stop()
        found = await end_of(attached)
        assert found.known is known
        if b"1.5" in record:
            assert found == Exit(3, "", "", 1.5, 0.25, 7)
        if b"no" in record:
            assert found == Exit(None, error="no")


async def test_a_record_that_cannot_be_read_is_not_success(tmp_path: Path) -> None:
    (tmp_path / "process.json").mkdir()
    attached = await ShimLauncher().attach(Identity(2**22 - 1, 5, boot_id()), str(tmp_path))
    assert not (await end_of(attached)).known


async def test_an_owner_that_leaves_its_loop_in_a_hurry_leaves_no_readers(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with opened() as launcher:
        gate = await launcher.reserve()
        gate.open(shell(tmp_path, f"{HOLD} 0", cwd=str(tmp_path)))
        fd = gate._gate.fileno()  # type: ignore[attr-defined]
    assert not loop.remove_reader(fd)
    (tmp_path / "go").touch()
    await gone(gate.identity.pid)
