"""A whole process tree ends with its agent: the zoo, the re-forker, stops, deadlines, and shims that are killed."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
import pytest_asyncio
from processes import (
    end_of,
    finished,
    gone,
    launch,
    new_token,
    none_with,
    opened,
    owner,
    said,
    shell,
    with_token,
)

from daplug_supervisor.ports import Identity, Launch
from daplug_supervisor.processes.launch import ShimLauncher

ZOO = Path(__file__).parents[1] / "zoo.sh"
DEAF = "trap '' TERM; echo ready; while :; do sleep 0.05; done"

REFORKER = """
import os, sys, time
pause = float(sys.argv[2])
print("ready", flush=True)
end = time.monotonic() + 20  # should we not end it
while time.monotonic() < end:
    if os.fork(): os._exit(0)
    os.setsid()
    if pause: time.sleep(pause)
"""


@pytest_asyncio.fixture
async def launcher() -> AsyncIterator[ShimLauncher]:
    async with opened() as launcher:
        yield launcher


@pytest.fixture
def token() -> str:
    return new_token()


def zoo(directory: Path, token: str, *more: str, grace: float = 0.2) -> Launch:
    return launch(directory, "/bin/sh", str(ZOO), token, sys.executable, *more, grace=grace)


async def test_nothing_of_the_zoo_outlives_its_agent(
    launcher: ShimLauncher, tmp_path: Path, token: str
) -> None:
    assert (await finished(launcher, zoo(tmp_path, token))).code == 7
    assert with_token(token) == []


async def test_nothing_of_the_zoo_outlives_a_stop(launcher: ShimLauncher, tmp_path: Path, token: str) -> None:
    gate = await launcher.reserve()
    attached = gate.open(zoo(tmp_path, token, "stay"))
    await said(tmp_path / "stdout.log", "ready")
    assert len(with_token(token)) >= 8
    attached.stop()
    began = time.monotonic()
    assert (await end_of(attached)).stopped == "request"
    assert time.monotonic() - began < 1.2, "grace and a second"
    assert with_token(token) == []


async def test_the_zoo_of_a_shim_that_is_killed_ends_too(
    launcher: ShimLauncher, tmp_path: Path, token: str
) -> None:
    gate = await launcher.reserve()
    attached = gate.open(zoo(tmp_path, token, "stay"))
    await said(tmp_path / "stdout.log", "ready")
    os.kill(gate.identity.pid, signal.SIGKILL)
    found = await end_of(attached)
    assert (found.code, found.known, found.stopped) == (None, False, "")
    await none_with(token)


async def test_without_a_launcher_what_can_be_found_of_a_killed_shim_is_ended(
    tmp_path: Path, token: str
) -> None:
    """All but what left the session and wiped its environment."""
    text = f"sleep 1.{token}111 & setsid sleep 2.{token}111 & env -i sleep 3.{token}111 & echo ready; wait"
    async with owner() as first:
        identity = await first.start(shell(tmp_path, text))
        await said(tmp_path / "stdout.log", "ready")
        await first.kill()
    os.kill(identity.pid, signal.SIGKILL)
    await gone(identity.pid)
    async with opened() as launcher:
        found = await end_of(await launcher.attach(identity, str(tmp_path)))
    assert not found.known
    assert with_token(token) == []


@pytest.mark.parametrize("pause", [0, 0.001, 0.05])
async def test_a_tree_that_forks_itself_anew_for_ever_ends(
    launcher: ShimLauncher, tmp_path: Path, token: str, pause: float
) -> None:
    what = launch(tmp_path / "a", sys.executable, "-I", "-S", "-c", REFORKER, token, str(pause))
    began = time.monotonic()
    assert (await finished(launcher, what)).code == 0
    assert time.monotonic() - began < 2
    assert with_token(token) == []
    gate = await launcher.reserve()
    attached = gate.open(
        shell(tmp_path / "b", f"{sys.executable} -I -S -c '{REFORKER}' {token} {pause}; sleep 1000")
    )
    await said(tmp_path / "b" / "stdout.log", "ready")
    os.kill(gate.identity.pid, signal.SIGKILL)
    assert not (await end_of(attached)).known
    await none_with(token)
    assert (await finished(launcher, shell(tmp_path / "c", "exit 4"))).code == 4, "others go on"


async def test_who_holds_the_output_open_delays_nothing(
    launcher: ShimLauncher, tmp_path: Path, token: str
) -> None:
    began = time.monotonic()
    found = await finished(launcher, shell(tmp_path, f"setsid sleep 1000.{token} & exit 3"))
    assert found.code == 3
    assert time.monotonic() - began < 1
    assert with_token(token) == []


async def test_an_agent_is_asked_then_killed(launcher: ShimLauncher, tmp_path: Path) -> None:
    polite = "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.01; done"
    for name, text, grace, code, least in (("polite", polite, 60.0, 5, 0.0), ("deaf", DEAF, 0.4, -9, 0.4)):
        gate = await launcher.reserve()
        attached = gate.open(shell(tmp_path / name, text, grace=grace))
        await said(tmp_path / name / "stdout.log", "ready")
        began = time.monotonic()
        attached.stop()
        found = await end_of(attached)
        assert (found.code, found.stopped) == (code, "request")
        assert least <= time.monotonic() - began < least + 1
    assert (tmp_path / "polite" / "stdout.log").read_text() == "ready\nbye\n"


async def test_asking_twice_kills_at_once(launcher: ShimLauncher, tmp_path: Path) -> None:
    gate = await launcher.reserve()
    attached = gate.open(
        shell(tmp_path, "trap 'echo asked' TERM; echo ready; while :; do sleep 0.01; done", grace=900)
    )
    await said(tmp_path / "stdout.log", "ready")
    attached.stop()
    await said(tmp_path / "stdout.log", "asked")
    attached.stop()
    found = await end_of(attached)
    assert (found.code, found.stopped) == (-9, "request")


async def test_a_stop_that_comes_too_late_does_not_reach_the_next_attempt(
    launcher: ShimLauncher, tmp_path: Path
) -> None:
    """The shim has told its end; we ask it to stop before we have heard of that."""
    for number in range(20):
        gate = launcher.idle() or await launcher.reserve()
        attached = gate.open(shell(tmp_path / f"{number}a", "exit 0"))
        time.sleep(0.02)
        attached.stop()
        assert (await end_of(attached)).code in (0, -15)
        launcher.release(gate)
        attached.stop()
        found = await finished(launcher, shell(tmp_path / f"{number}b", "exit 6"))
        assert (found.code, found.stopped) == (6, ""), number


@pytest.mark.parametrize("text", ["echo ready; sleep 1000", DEAF])
async def test_the_deadline_holds_without_anybody(tmp_path: Path, text: str, token: str) -> None:
    deadline = time.monotonic() + 3.0  # by then it has begun, also on a busy machine
    async with owner() as first:
        what = shell(tmp_path, f"sleep 1000.{token} & {text}", deadline=deadline, grace=0.2)
        identity = await first.start(what)
        await said(tmp_path / "stdout.log", "ready")
        await first.kill()
    await gone(identity.pid)
    assert time.monotonic() >= deadline
    assert with_token(token) == []
    async with opened() as launcher:
        found = await end_of(await launcher.attach(identity, str(tmp_path)))
    assert (found.code, found.stopped) == (-9 if text == DEAF else -15, "deadline")
    assert found.seconds < 10


async def test_a_deadline_that_is_over_ends_it_at_once(launcher: ShimLauncher, tmp_path: Path) -> None:
    found = await finished(launcher, shell(tmp_path, "sleep 1000", deadline=time.monotonic() - 5))
    assert (found.code, found.stopped) == (-15, "deadline")


async def test_a_shim_that_dies_before_its_gate_opens_has_run_nothing(
    launcher: ShimLauncher, tmp_path: Path
) -> None:
    gate = await launcher.reserve()
    os.kill(gate.identity.pid, signal.SIGKILL)
    await gone(gate.identity.pid)
    at_once = gate.open(shell(tmp_path / "a", "touch ran", cwd=str(tmp_path)))
    gate = await launcher.reserve()
    os.kill(gate.identity.pid, signal.SIGKILL)
    await gone(gate.identity.pid)
    await anyio.sleep(0.05)  # the loop has heard of it
    later = gate.open(shell(tmp_path / "b", "touch ran", cwd=str(tmp_path)))
    with anyio.fail_after(5):
        assert await at_once.wait() is None
        assert await later.wait() is None
    later.stop()
    launcher.release(gate)
    assert not (tmp_path / "ran").exists()


async def test_a_pid_that_somebody_else_has_now_is_left_alone(launcher: ShimLauncher, tmp_path: Path) -> None:
    """Not attached to, not signalled, and not swept: not even its session, which has the same number."""
    stranger = await anyio.open_process(["sleep", "1000"], start_new_session=True)
    try:
        (tmp_path / "process.json").write_text('{"state":"starting","mark":"gone"}')
        for identity in (
            Identity(stranger.pid, 12345, _boot()),
            Identity(stranger.pid, 12345, "another boot"),
        ):
            attached = await launcher.attach(identity, str(tmp_path))
            attached.stop()
            assert not (await end_of(attached)).known
        with anyio.move_on_after(0.1):
            await stranger.wait()
        assert stranger.returncode is None
    finally:
        stranger.kill()
        await stranger.aclose()


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
