"""The real supervisor, in virtual time: crashed at every step of a plan, and at random over random plans."""

from __future__ import annotations

import math
import random
from pathlib import Path

import anyio
import pytest
from simulated import Simulation, plan_at_random

from daplug_supervisor import Supervisor
from daplug_supervisor.core import events as ev
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.plan import Plan, Provider, Retry, Task
from daplug_supervisor.core.results import Exit
from daplug_supervisor.testing import Script, World

HOUR = 3600.0
RETRY = Retry(attempts=3, backoff=5.0)
DIAMOND = Plan(
    "p",
    {
        "top": Task(command=("true",), provider="pool"),
        "left": Task(command=("true",), provider="pool", needs=("top",), retry=RETRY),
        "right": Task(command=("true",), provider="pool", needs=("top",), timeout=60.0, retry=RETRY),
        "end": Task(command=("true",), provider="pool", needs=("left", "right")),
    },
    {"pool": Provider(worker="command", parallel=2)},
)
SCRIPTS = {
    "top": [Script(HOUR)],
    "left": [Script(10.0, Exit(1)), Script(10.0)],
    "right": [Script(math.inf, after_term=None), Script(5.0)],
}


def test_a_plan_of_hours_ends_in_no_time(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, DIAMOND, SCRIPTS)
    assert simulation.live()
    simulation.check_ended()
    assert {task.status for task in simulation.run().tasks.values()} == {Status.DONE}
    assert HOUR < simulation.time < 2 * HOUR
    assert [one.exit and one.exit.stopped for one in simulation.world.launched()].count("deadline") == 1


@pytest.mark.parametrize("downtime", [0.0, 30.0, 86400.0])
def test_killed_at_every_step_it_ends_the_same(tmp_path: Path, downtime: float) -> None:
    whole = Simulation(tmp_path, DIAMOND, SCRIPTS)
    whole.live()
    assert whole.steps > 100
    for step in range(1, whole.steps + 1):
        simulation = Simulation(tmp_path, DIAMOND, SCRIPTS)
        assert not simulation.live(step, crash_on_leaving=True) or step >= whole.steps - 1
        simulation.time += downtime
        assert simulation.live(), f"killed at step {step}"
        simulation.check_ended()
        assert {task.status for task in simulation.run().tasks.values()} == {Status.DONE}, (
            f"killed at step {step}"
        )
        assert simulation.run().tasks["left"].tries == 2
        assert len(simulation.world.launched()) == 6, "nothing was done twice, and nothing lost"


def simulate(directory: Path, seed: int) -> Simulation:
    chance = random.Random(seed)
    simulation = Simulation(directory, *plan_at_random(chance), seed=seed)

    async def killer(_: Supervisor, world: World) -> None:
        while True:
            await anyio.sleep(chance.choice([0.5, 40.0, 1000.0]))
            living = world.living(anyio.current_time())
            if living:
                world.kill_shim(chance.choice(living).identity.pid)

    for _ in range(5):
        meanwhile = killer if chance.random() < 0.3 else None
        if simulation.live(chance.randint(1, 150), meanwhile):
            break
        simulation.time += chance.choice([0.0, 5.0, 86400.0])
    else:
        assert simulation.live()
    simulation.check_ended()
    return simulation


def test_killed_at_random_random_plans_end(tmp_path: Path) -> None:
    crashes = [simulate(tmp_path, seed).crashes for seed in range(300)]
    assert sum(crashes) > 150


@pytest.mark.parametrize("seed", range(5))
def test_the_same_seed_is_the_same_story(tmp_path: Path, seed: int) -> None:
    assert simulate(tmp_path / "a", seed).trace() == simulate(tmp_path / "a", seed).trace()


def test_it_waits_for_what_a_person_must_do_without_waiting_for_ever(tmp_path: Path) -> None:
    async def halting(supervisor: Supervisor, _: World) -> None:
        await anyio.sleep(60)
        supervisor.halt("tea", "caller")

    simulation = Simulation(tmp_path, DIAMOND, SCRIPTS)
    assert simulation.live(meanwhile=halting)
    assert simulation.run().finished_at is None
    assert [task.status for task in simulation.run().tasks.values()] == [Status.DONE] + [Status.PENDING] * 3
    assert [event.running for event in simulation.events(ev.HaltRequested)] == [("top",)]
    assert simulation.live()
    simulation.check_ended()
