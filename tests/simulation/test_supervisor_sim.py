"""The real supervisor, in virtual time: crashed at every step of small plans, and again at every step after that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from invariants import check_ended
from promises import Proof
from simulated import DAY, Simulation, without_disk
from stories import DIAMOND, HOUR, STORIES, plan, task
from story import Story

from daplug_supervisor import Supervisor
from daplug_supervisor.core import events as ev
from daplug_supervisor.core.commands import Command
from daplug_supervisor.core.machine import Status

quickly = pytest.fixture(autouse=True)(without_disk)
DOWNTIMES = (0.0, 30.0, DAY)
TIMED = {"orders", "edited", "frail"}
"""Stories of which the end depends on when they were interrupted."""


def results(simulation: Simulation) -> dict[str, tuple[Status, int]]:
    """What came of each task, and how many tries that took."""
    runs = simulation.state().runs.values()
    return {f"{run.id}/{name}": (task.status, task.tries) for run in runs for name, task in run.tasks.items()}


def test_a_plan_of_hours_ends_in_no_time(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, DIAMOND)
    assert simulation.live()
    check_ended(simulation)
    assert {task.status for task in simulation.run().tasks.values()} == {Status.DONE}
    assert HOUR < simulation.time < 2 * HOUR
    assert [one.exit and one.exit.stopped for one in simulation.world.launched()].count("deadline") == 1


def crashed(simulation: Simulation, steps: Iterator[int] | range) -> Iterator[tuple[int, Simulation]]:
    """The simulation killed at each of these steps of its next life, with all that may be on disk then."""
    for step in steps:
        base = simulation.fork()
        if base.live(step):
            return
        yield step, base.fork()
        if base.unwritten:
            yield step, base.fork(kept=True)


def ended(proof: Proof, simulation: Simulation, downtime: float) -> Simulation:
    """Live on to the end after a downtime."""
    proof.count("crash points")
    simulation.time += downtime
    assert simulation.live()
    check_ended(simulation)
    proof.count("simulated days", simulation.time / DAY)
    return simulation


@pytest.mark.promise("P2", "P6")
@pytest.mark.parametrize("downtime", DOWNTIMES)
def test_killed_at_every_step_it_ends_the_same(tmp_path: Path, proof: Proof, downtime: float) -> None:
    whole = Simulation(tmp_path, DIAMOND)
    whole.live()
    assert whole.steps > 100
    stride = proof.pick(1 if downtime == DOWNTIMES[1] else 5, 1)
    for step, base in crashed(Simulation(tmp_path, DIAMOND), range(1, whole.steps + 1, stride)):
        simulation = ended(proof, base, downtime)
        assert results(simulation) == results(whole), f"killed at step {step}"
        assert simulation.run().tasks["left"].tries == 2
        assert len(simulation.world.launched()) == 6, "nothing was done twice, and nothing lost"


@pytest.mark.promise("P2", "P6")
@pytest.mark.parametrize("name", STORIES)
def test_killed_at_every_step_every_story_ends(tmp_path: Path, proof: Proof, name: str) -> None:
    story = STORIES[name]
    for seed in range(proof.pick(1, 4)):
        whole = Simulation(tmp_path, story, seed)
        whole.live()
        check_ended(whole)
        for step, base in crashed(
            Simulation(tmp_path, story, seed), range(1, whole.steps + 1, proof.pick(7, 1))
        ):
            for downtime in proof.pick(DOWNTIMES[step % 3 :][:1], DOWNTIMES):
                simulation = ended(proof, base.fork(), downtime)
                assert name in TIMED or results(simulation) == results(whole), (seed, step, downtime)


@pytest.mark.promise("P2", "P6")
@pytest.mark.parametrize("name", STORIES)
def test_killed_at_every_step_of_the_second_life_too(tmp_path: Path, proof: Proof, name: str) -> None:
    """The first death at every 16th step (of a chain at every one), the second one at every step."""
    story = STORIES[name]
    whole = Simulation(tmp_path, story, 1)
    whole.live()
    stride = proof.pick(whole.steps // 2, 1 if name == "chain" else 16)
    for first, base in crashed(Simulation(tmp_path, story, 1), range(2, whole.steps, stride)):
        base.time += DOWNTIMES[first // stride % 3]
        for second, again in crashed(base, range(1, 10_000, proof.pick(41, 1))):
            simulation = ended(proof, again, DOWNTIMES[second % 3])
            assert name in TIMED or results(simulation) == results(whole), (first, second)


@pytest.mark.promise("P2")
def test_a_command_is_answered_once(tmp_path: Path, proof: Proof) -> None:
    """Also if death comes between the answer and the file's removal: one that is refused, and one that ends the run."""
    orders = ((0.5, Command("refused", "skip", task="nobody")), (1.5, Command("last", "skip", task="c")))
    story = Story((plan({"a": task(), "b": task("a"), "c": task("b")}),), orders=orders)
    for _, base in crashed(Simulation(tmp_path, story), range(1, 10_000)):
        simulation = ended(proof, base, 0.0)
        assert Counter(answer.id for answer in simulation.events(ev.CommandAnswered)) == {
            "refused": 1,
            "last": 1,
        }


@pytest.mark.promise("P6")
def test_after_a_power_cut_at_any_step_what_ran_is_lost_and_tried_again(tmp_path: Path, proof: Proof) -> None:
    """A reboot takes the processes with it: each costs its attempt, and no try."""
    whole = Simulation(tmp_path, DIAMOND)
    whole.live()
    for step, base in crashed(Simulation(tmp_path, DIAMOND), range(1, whole.steps + 1, proof.pick(6, 1))):
        base.time += 0.5
        at_work = len(base.world.living(base.time))
        base.world.reboot(base.time)
        simulation = ended(proof, base, 600.0)
        tasks = simulation.run().tasks.values()
        kinds = [(task.id, past.result.outcome.kind) for task in tasks for past in task.past]
        assert {task.status for task in tasks} == {Status.DONE}, f"the power went at step {step}"
        assert sum(task.tries for task in tasks) == len([kind for _, kind in kinds if kind != "lost"])
        lost = len([kind for _, kind in kinds if kind == "lost"])
        assert at_work <= lost <= 2, "what waited at its gate may count as lost, too"


@pytest.mark.parametrize("name", STORIES)
def test_the_same_seed_is_the_same_story(tmp_path: Path, name: str) -> None:
    def trace() -> list[object]:
        simulation = Simulation(tmp_path, STORIES[name], 3)
        simulation.live(60)
        simulation.time += 5.0
        simulation.live()
        return simulation.trace()

    assert trace() == trace()


def test_it_waits_for_what_a_person_must_do_without_waiting_for_ever(tmp_path: Path) -> None:
    async def halting(_: Simulation, supervisor: Supervisor) -> None:
        await anyio.sleep(60)
        supervisor.halt("tea", "caller")

    simulation = Simulation(tmp_path, DIAMOND)
    assert simulation.live(meanwhile=halting)
    check_ended(simulation)
    assert [event.running for event in simulation.events(ev.HaltRequested)] == [("top",)]
    assert [event.by for event in simulation.events(ev.Resumed)] == ["command"]


@pytest.mark.promise("P2")
def test_stopping_stops_and_nothing_is_tried_again_before_somebody_resumes(tmp_path: Path) -> None:
    async def stopping(simulation: Simulation, supervisor: Supervisor) -> None:
        await anyio.sleep(60)
        simulation.stopped = True
        supervisor.stop()
        assert supervisor.state.runs["p-1"].halt
        await anyio.sleep(59)
        assert simulation.world.living(anyio.current_time()) == []
        assert len(simulation.world.launched()) == 1

    simulation = Simulation(tmp_path, DIAMOND)
    assert simulation.live(meanwhile=stopping)
    check_ended(simulation)
    [interrupted, done] = simulation.run().tasks["top"].past
    assert interrupted.result.outcome.kind == "interrupted"
    assert simulation.run().tasks["top"].tries == 1
    assert done.at == interrupted.ended_at + 60.0
