"""A program that embeds the supervisor is cancelled at every step of the loop, in each way there is."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from invariants import check_ended
from promises import Proof
from simulated import PAUSE, Simulation, without_disk
from stories import STORIES

from daplug_supervisor import NotPossibleError, Supervisor
from daplug_supervisor.core.commands import Command

quickly = pytest.fixture(autouse=True)(without_disk)
HOWS = ("task", "twice", "scope")
AT_ONCE = 0.001
"""Virtual seconds in which it has left after it was cancelled."""


async def everything(simulation: Simulation, supervisor: Supervisor) -> None:
    """Use all of the public interface, by and by."""
    await anyio.sleep(4.0)
    [run, *_] = supervisor.state.runs
    await supervisor.load(run)
    for command in (Command("x1", "cancel", task="b"), Command("x2", "skip", task="nobody")):
        try:
            await supervisor.command(command)
        except NotPossibleError:
            await anyio.sleep(0.5)
    supervisor.halt("a pause")
    await anyio.sleep(1.0)
    simulation.stopped = True
    supervisor.stop()
    await anyio.sleep(PAUSE / 2)
    await supervisor.resume()
    await anyio.sleep(PAUSE)


@pytest.mark.promise("P15")
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("name", STORIES)
def test_cancelled_at_every_step(tmp_path: Path, proof: Proof, name: str, how: str) -> None:
    """It leaves at once, leaves no task behind, and the next start goes on."""
    for at in range(2, 10_000, proof.pick(23, 1)):
        simulation = Simulation(tmp_path, STORIES[name])
        if not simulation.cancelled(at, how, everything):
            assert at > 50
            break
        proof.count("cancellations")
        assert simulation.leaving < AT_ONCE
        assert simulation.live()
        check_ended(simulation)


@pytest.mark.promise("P15")
@pytest.mark.parametrize("how", HOWS)
def test_cancelled_in_the_next_life_too(tmp_path: Path, proof: Proof, how: str) -> None:
    for first in range(5, 120, proof.pick(60, 13)):
        for second in range(3, 1000, proof.pick(41, 5)):
            simulation = Simulation(tmp_path, STORIES["orders"], first)
            assert simulation.cancelled(first, how)
            if not simulation.cancelled(second, how):
                break
            proof.count("cancellations", 2)
            assert simulation.live()
            check_ended(simulation)
