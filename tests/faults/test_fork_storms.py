"""Agents that fork without end: they end when they are told to, and others go on meanwhile."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import pytest_asyncio
from animals import animal, as_nobody, built
from processes import end_of, finished, launch, new_token, none_with, opened, said, shell, with_token
from promises import Proof

from daplug_supervisor.processes.launch import ShimLauncher

__all__ = ["built"]

STORMS = [(1, 0), (8, 0), (30, 0), (8, 1000), (100, 2000)]
"""How many chains of forks at once, and for how many microseconds each link rests."""

LIMIT = 120
"""Processes that a user may have who is bombed."""


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, built: str) -> Iterator[Path]:
    """Where an ordinary user is at home, as whom launchers and shims run: root has no limit on its processes."""
    with TemporaryDirectory(dir=Path(built).parent if built else None) as folder:
        if os.geteuid() == 0:
            as_nobody(Path(folder), monkeypatch)
        yield Path(folder)


@pytest_asyncio.fixture
async def launcher(home: Path) -> AsyncIterator[ShimLauncher]:
    del home
    async with opened() as launcher:
        yield launcher


@pytest.mark.promise("P11")
@pytest.mark.parametrize("how", ["its agent ends", "it is stopped", "its shim is killed"])
async def test_a_storm_of_forks_ends(
    proof: Proof, launcher: ShimLauncher, home: Path, built: str, how: str
) -> None:
    worst = 0.0
    for number, (chains, pause) in enumerate(proof.pick(STORMS[1:4], STORMS * 6)):
        token, directory = new_token(), home / str(number)
        stays = ["stay"] if how != "its agent ends" else []
        gate = launcher.idle() or await launcher.reserve()
        attached = gate.open(animal(directory, token, built, "chains", chains, pause, *stays, grace=0.0))
        await said(directory / "stdout.log", "ready")
        began = time.monotonic()
        if how == "it is stopped":
            attached.stop()
        elif how == "its shim is killed":
            os.kill(gate.identity.pid, signal.SIGKILL)
        found = await end_of(attached)
        assert found.known == (how != "its shim is killed")
        await none_with(f"zoo-{token}", within=0.0 if found.known else 5.0)
        worst = max(worst, time.monotonic() - began)
        launcher.release(gate)
        proof.count("kills")
    proof.measure(f"slowest end of a storm of forks when {how}", worst, "s", at_most=1.0)


@pytest.mark.promise("P11")
async def test_other_tasks_go_on_meanwhile(
    proof: Proof, launcher: ShimLauncher, home: Path, built: str
) -> None:
    quiet: list[float] = []
    stormy: list[float] = []
    for times in (quiet, stormy):
        token, directory = new_token(), home / f"storm{len(stormy)}{times is stormy}"
        if times is stormy:
            storm = (await launcher.reserve()).open(
                animal(directory, token, built, "chains", 20, 200, "stay", grace=0.0)
            )
            await said(directory / "stdout.log", "ready")
        for number in range(proof.pick(10, 200)):
            began = time.monotonic()
            found = await finished(launcher, shell(directory / f"other{number}", "exit 5"))
            times.append(time.monotonic() - began)
            assert found.code == 5
    storm.stop()
    await end_of(storm)
    assert with_token(f"zoo-{token}") == []
    proof.measure("slowest other task without a storm", max(quiet), "s")
    proof.measure("slowest other task during a storm", max(stormy), "s", at_most=1.0)


@pytest.mark.promise("P11")
async def test_a_bomb_that_uses_up_all_processes_of_its_user(proof: Proof, home: Path, built: str) -> None:
    """Up to a limit. Others of that user cannot be started meanwhile, say why, and can be when it is over."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to be a user that has no other processes")
    if not built:
        pytest.skip("needs a C compiler")
    wrapper = Path(sys.executable)
    wrapper.write_text(wrapper.read_text().replace("&& exec", f"&& exec prlimit --nproc={LIMIT}"))
    for number in range(proof.pick(1, 5)):
        token, folder = new_token(), home / str(number)
        async with opened() as launcher:
            spare = await launcher.reserve()
            gate = await launcher.reserve()
            attached = gate.open(launch(folder / "bomb", built, f"zoo-{token}", "bomb", "400", grace=0.0))
            await said(folder / "bomb" / "stdout.log", "full")
            refused = await end_of(spare.open(shell(folder / "refused", "exit 0")))
            assert (refused.code, refused.lack) == (None, "processes"), refused
            began = time.monotonic()
            attached.stop()
            await end_of(attached)
            proof.measure("slowest end of a fork bomb", time.monotonic() - began, "s", at_most=1.0)
            assert with_token(f"zoo-{token}") == []
            launcher.release(spare)
            assert (await finished(launcher, shell(folder / "after", "exit 6"))).code == 6
            proof.count("kills")
