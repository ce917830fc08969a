"""Both launchers keep the contract: the one with processes, and the one that pretends."""

from __future__ import annotations

from pathlib import Path

import pytest

from daplug_supervisor.processes.launch import ShimLauncher
from daplug_supervisor.testing import FakeLauncher, World, check_launcher, checked_script, run


async def test_the_launcher_with_processes(tmp_path: Path) -> None:
    await check_launcher(ShimLauncher, tmp_path)


@pytest.mark.parametrize("seed", [None, *range(10)])
def test_the_launcher_that_pretends(tmp_path: Path, seed: int | None) -> None:
    world = World(checked_script)
    run(lambda: check_launcher(lambda: FakeLauncher(world), tmp_path), seed)
