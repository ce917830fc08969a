"""An agent that eats the memory is the one that goes, and it is said; and a disk without room for an exit record."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from cli import PATIENCE, Place, plan_of, sh
from cli import opened as opened_place
from processes import end_of, finished, gone, new_token, opened, owner, said, shell, with_token
from promises import Proof

from daplug_supervisor import Retry
from daplug_supervisor.core import events as ev
from daplug_supervisor.processes.launch import ShimLauncher

place = pytest.fixture(opened_place)

MIB = 1 << 20
ONCE = Retry(attempts=1)
HOG = f"{sys.executable} -I -S -c 'held = []\nwhile True: held.append(bytearray(b\"x\" * (1 << 20)))'"
OWN_SCORE = "cat /proc/self/oom_score_adj"
V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


@pytest_asyncio.fixture
async def launcher() -> AsyncIterator[ShimLauncher]:
    async with opened() as launcher:
        yield launcher


@contextlib.contextmanager
def small_world(room: int) -> Iterator[Path]:
    """A control group with so much memory; its `cgroup.procs` takes who is to be in it."""
    base, limit = (V1, "memory.limit_in_bytes") if V1.is_dir() else (V2, "memory.max")
    group = base / f"daplug-test-{new_token()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control groups can be made here: {error.strerror}")
    try:
        try:
            (group / limit).write_text(str(room))
        except OSError as error:
            pytest.skip(f"no limit on memory can be set here: {error.strerror}")
        with contextlib.suppress(OSError):
            (group / "memory.swap.max").write_text("0")
        yield group / "cgroup.procs"
    finally:
        end = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError):
                group.rmdir()
            if not group.exists() or time.monotonic() > end:
                break
            time.sleep(0.05)


@pytest.mark.promise("P23")
async def test_an_agent_is_chosen_before_its_shim(
    proof: Proof, launcher: ShimLauncher, tmp_path: Path
) -> None:
    own = int(Path("/proc/self/oom_score_adj").read_text())
    for number in range(proof.pick(5, 200)):
        gate = launcher.idle() or await launcher.reserve()
        directory = tmp_path / str(number)
        attached = gate.open(shell(directory, f"({OWN_SCORE}) & {OWN_SCORE}; wait"))
        assert (await end_of(attached)).code == 0
        scores = (directory / "stdout.log").read_text().split()
        assert scores == [str(min(1000, own + 500))] * 2, "and its first child has inherited it"
        assert int(Path(f"/proc/{gate.identity.pid}/oom_score_adj").read_text()) == own
        launcher.release(gate)


@pytest.mark.promise("P23")
def test_the_agent_dies_first_and_it_is_said(proof: Proof, place: Place) -> None:
    """All are in one control group, as in a container: supervisor, launcher, shims and agents."""
    for number in range(proof.pick(1, 10)):
        with small_world(200 * MIB) as group:
            tasks = {
                "hog": sh(HOG, retry=ONCE),
                "wrapped": sh(f"{HOG}; exit $?", retry=ONCE),
                "killed": sh("sleep 0.2; kill -9 $$", retry=ONCE),
                "modest": sh("sleep 1; echo fine"),
            }
            file = place.write(plan_of(tasks, name=f"p{number}"))
            process = place.start(
                "run", file, preexec_fn=lambda group=group: group.write_text(str(os.getpid()))
            )
            _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1, "the supervisor lived, and told how it went"
        ends = {event.task: event.result for event in place.events(ev.TaskFailed)}
        for name in ("hog", "wrapped"):
            assert "killed: out of memory (" in ends[name].outcome.detail, err
            assert ends[name].exit.lack == "memory"
            assert ends[name].exit.max_rss > 50 * MIB
        assert ends["wrapped"].exit.code == 137
        assert place.statuses(f"p{number}-1")["modest"] == "done"
        assert "out of memory" in place.run("report").out
        place.nothing_left()
        proof.count("injected faults", 2)


@pytest.mark.promise("P23")
async def test_what_the_system_does_not_put_down_to_the_memory_is_not_labelled(
    proof: Proof, launcher: ShimLauncher, tmp_path: Path
) -> None:
    """A limit of its own, at which it gives up by itself; and a kill."""
    for number in range(proof.pick(1, 20)):
        limited = await finished(launcher, shell(tmp_path / f"{number}a", f"ulimit -v 200000; {HOG}"))
        assert (limited.code, limited.lack) == (1, "")
        assert b"MemoryError" in (tmp_path / f"{number}a" / "stderr.log").read_bytes()
        killed = await finished(launcher, shell(tmp_path / f"{number}b", "kill -9 $$"))
        assert (killed.code, killed.lack) == (-9, "")


@contextlib.contextmanager
def small_disk(folder: Path, kind: str) -> Iterator[Path]:
    """A file system of a few megabytes."""
    folder.mkdir()
    how = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)]
    if kind == "ext4":
        if shutil.which("mkfs.ext4") is None:
            pytest.skip("mkfs.ext4 is not on the PATH")
        image = folder.with_suffix(".image")
        image.write_bytes(bytes(8 * MIB))
        made = subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], capture_output=True, check=False)
        if made.returncode:
            pytest.skip("no ext4 can be made here")
        how = ["mount", "-o", "loop", str(image), str(folder)]
    if os.geteuid() != 0 or subprocess.run(how, capture_output=True, check=False).returncode:
        pytest.skip(f"no {kind} can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.promise("P3", "P16")
@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
async def test_a_disk_that_fills_up_meanwhile_does_not_lose_the_exit_record(
    proof: Proof, tmp_path: Path, kind: str
) -> None:
    """Its room was taken before the agent was started. Nobody else hears of the end: the supervisor is gone."""
    with small_disk(tmp_path / "disk", kind) as disk:
        for number in range(proof.pick(1, 20)):
            token, directory = new_token(), disk / str(number)
            fill = f"dd if=/dev/zero of='{disk}/full' bs=4k 2>/dev/null"
            again = f"{fill} oflag=append conv=notrunc"
            text = f"sync; {fill}; {again}; touch '{tmp_path}/{number}'; sleep 1.{token}; exit 5"
            async with owner() as first:
                identity = await first.start(shell(directory, text))
                await said(tmp_path / str(number), "")
                assert os.statvfs(disk).f_bavail == 0
                await first.kill()
            for pid in with_token(f"1.{token}"):
                if Path(f"/proc/{pid}/comm").read_text() == "sleep\n":
                    os.kill(pid, 9)
            await gone(identity.pid)
            if kind == "ext4":
                subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=False, capture_output=True)
                subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
            async with opened() as launcher:
                found = await end_of(await launcher.attach(identity, str(directory)))
            assert (found.code, found.known) == (5, True)
            (disk / "full").unlink()
            proof.count("injected faults")


@pytest.mark.promise("P16")
async def test_what_has_no_room_for_its_exit_record_is_not_started(
    proof: Proof, launcher: ShimLauncher, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", "tmpfs") as disk:
        subprocess.run(["dd", "if=/dev/zero", f"of={disk}/full", "bs=4k"], capture_output=True, check=False)
        for number in range(proof.pick(1, 10)):
            ran = tmp_path / f"ran{number}"
            found = await finished(launcher, shell(disk / str(number), f"touch '{ran}'"))
            assert (found.code, found.lack) == (None, "disk")
            assert "No space left on device" in found.error
            assert not ran.exists()
            proof.count("injected faults")
        (disk / "full").unlink()
        assert (await finished(launcher, shell(disk / "after", "exit 6"))).code == 6
