"""The real supervisor, in virtual time, among slow and failing disks, dying processes, power cuts and odd clocks."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from invariants import check_ended
from promises import Proof
from random_plans import story_at_random
from simulated import DAY, Meanwhile, Simulation, without_disk
from stories import FAN, RETRY, STORIES, plan, task
from story import Story

from daplug_supervisor import JournalError, Supervisor
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.plan import Retry
from daplug_supervisor.core.results import Exit
from daplug_supervisor.testing import Commit, Faults, Script

quickly = pytest.fixture(autouse=True)(without_disk)
Commits = Callable[[int], Commit]
YEAR = 365 * DAY
FEW = ("diamond", "resting", "orders", "two")

# --- the disk


class Failing:
    """A disk of which one commit fails; `at` is when."""

    def __init__(self, number: int, *, lost: bool) -> None:
        self.number, self.lost = number, lost
        self.at: float | None = None

    def __call__(self, number: int) -> Commit:
        if number != self.number:
            return Commit(0.01, 0.01)
        self.at = anyio.current_time()
        return Commit(0.01, 0.01, error="fsync failed", lost=self.lost)


@pytest.mark.promise("P17", "P2")
@pytest.mark.parametrize("name", STORIES)
def test_when_a_commit_fails_it_stops_and_the_next_life_goes_on(
    tmp_path: Path, proof: Proof, name: str
) -> None:
    """Each commit in turn, lost or on disk all the same. Agents live on; nothing more gets into that journal."""
    for lost in (True, False):
        for number in range(1, 1000, proof.pick(7, 1)):
            failing = Failing(number, lost=lost)
            simulation = Simulation(tmp_path, STORIES[name], number, commits=failing)
            with suppress(JournalError):
                simulation.live()
                assert failing.at is None, "nobody was told that it failed"
                break
            assert failing.at is not None
            proof.measure(
                "from a failed commit to the end", simulation.time - failing.at, "s (virtual)", at_most=1.0
            )
            assert simulation.time - failing.at < 1.0
            proof.count("injected faults")
            written = len(simulation.durable)
            alive = simulation.world.living(simulation.time)
            assert not [one for one in alive if one.asked and one.script.after_term == 0.0], "agents live on"
            simulation.commits = None
            assert len(simulation.durable) == written
            assert simulation.live()
            check_ended(simulation)


def slow(seed: int) -> Commits:
    """A disk that takes its time, another one each commit."""

    def commits(number: int) -> Commit:
        chance = random.Random(f"{seed} {number}")
        return Commit(chance.choice([0.0, 0.2, 3.0]), chance.choice([0.0, 0.2, 3.0]))

    return commits


def slow_once(which: int) -> Commits:
    """A disk that is full for an hour when one commit comes."""
    return lambda number: Commit(3600.0 if number == which else 0.0)


@pytest.mark.promise("P2", "P6")
@pytest.mark.parametrize("name", STORIES)
def test_killed_while_a_slow_disk_writes(tmp_path: Path, proof: Proof, name: str) -> None:
    """Between a group's appending, its being on disk and its being told there may be seconds."""
    for seed in range(proof.pick(1, 2)):
        for step in range(1, 10_000, proof.pick(31, 2)):
            base = Simulation(tmp_path, STORIES[name], seed, commits=slow(seed))
            if base.live(step):
                break
            for kept in (False, True) if base.unwritten else (False,):
                simulation = base.fork(kept=kept)
                assert simulation.live()
                check_ended(simulation)
                proof.count("crash points")


@pytest.mark.promise("P16")
def test_waiting_for_the_disk_takes_nothing_from_an_agents_time(tmp_path: Path) -> None:
    """The commit that lets an agent start takes an hour, for a full disk: its time-out begins after that."""
    story = Story((plan({"a": task(timeout=60.0, retry=Retry(attempts=1))}),), {"a": [Script(50.0)]})
    for number in range(1, 6):
        simulation = Simulation(tmp_path, story, commits=slow_once(number))
        assert simulation.live()
        check_ended(simulation)
        assert simulation.run().tasks["a"].status is Status.DONE, number


# --- processes, power and clocks


def harass(chance: random.Random) -> Meanwhile:
    """Somebody kills shims, and sets the clock."""

    async def meanwhile(simulation: Simulation, _: Supervisor) -> None:
        while True:
            await anyio.sleep(chance.choice([0.5, 40.0, 1000.0, 20_000.0]))
            living = simulation.world.living(anyio.current_time())
            if living and chance.random() < 0.5:
                simulation.world.kill_shim(chance.choice(living).identity.pid)
            if chance.random() < 0.5:
                simulation.clock.jump(chance.choice([-YEAR, -3600.0, 3600.0, YEAR]))

    return meanwhile


def history(directory: Path, seed: int, proof: Proof, most: int = 7, plans: int = 1) -> Simulation:
    """A plan by chance, in a world where everything goes wrong by chance."""
    chance = random.Random(seed)
    chances = {
        what: chance.choice([0.0, 0.0, 0.1])
        for what in ("refused", "at its gate", "just started", "midway", "record")
    }
    faults = Faults(seed, chances)  # type: ignore[arg-type]
    simulation = Simulation(
        directory,
        story_at_random(chance, most, plans),
        seed,
        commits=chance.choice([None, slow(seed)]),
        faults=faults,
    )
    ended = False
    for _ in range(5):
        meanwhile = harass(chance) if chance.random() < 0.4 else None
        ended = simulation.live(chance.randint(1, 40 * most), meanwhile)
        if ended:
            break
        proof.count("crash points")
        if simulation.unwritten and chance.random() < 0.5:
            simulation = simulation.fork(kept=True)
        simulation.time += chance.choice([0.0, 5.0, DAY])
        simulation.wall += chance.choice([0.0, 0.0, -YEAR, YEAR])
        if chance.random() < 0.2:
            simulation.world.reboot(simulation.time)
    if not ended:
        assert simulation.live()
    check_ended(simulation)
    proof.count("simulated days", simulation.time / DAY)
    proof.count("injected faults", faults.injected.total())
    return simulation


@pytest.mark.promise("P2", "P6")
def test_random_plans_end_whatever_goes_wrong(tmp_path: Path, proof: Proof) -> None:
    for seed in range(proof.pick(60, 1500)):
        history(tmp_path, seed, proof, plans=1 + seed % 3)


@pytest.mark.promise("P2", "P6")
def test_large_plans_end_whatever_goes_wrong(tmp_path: Path, proof: Proof) -> None:
    for seed in range(proof.pick(1, 15)):
        history(tmp_path, seed, proof, most=400, plans=2)


@pytest.mark.parametrize("seed", range(5))
def test_the_same_seed_is_the_same_history(tmp_path: Path, proof: Proof, seed: int) -> None:
    assert history(tmp_path, seed, proof).trace() == history(tmp_path, seed, proof).trace()


def spans(simulation: Simulation) -> list[tuple[float, float]]:
    return [(one.opened_at, one.ends_at) for one in simulation.world.launched()]


@pytest.mark.promise("P22")
@pytest.mark.parametrize("jump", [-YEAR, -20.0, 20.0, YEAR])
@pytest.mark.parametrize("name", [*FEW, "frail"])
def test_setting_the_clock_moves_nothing(tmp_path: Path, proof: Proof, name: str, jump: float) -> None:
    """While it lives, and between two lives: every attempt begins and ends when it would have."""

    def setting(by: float) -> Meanwhile:
        async def meanwhile(simulation: Simulation, _: Supervisor) -> None:
            await anyio.sleep(7.0)
            simulation.clock.jump(by)

        return meanwhile

    worst = 0.0
    for step in range(10, 10_000, proof.pick(60, 4)):
        base = Simulation(tmp_path, STORIES[name], step)
        if base.live(step):
            break
        ends = []
        for by in (0.0, jump):
            simulation = base.fork()
            simulation.time += 10.0
            simulation.wall += by
            assert simulation.live(meanwhile=setting(by))
            check_ended(simulation)
            ends.append(spans(simulation))
        moved = [abs(a - b) for one, two in zip(*ends, strict=True) for a, b in zip(one, two, strict=True)]
        worst = max(worst, *moved)
        assert worst < 2.0, (name, step)
    proof.measure("a time-out moved by a jump of a year", worst, "s (virtual)", at_most=2.0)


def test_what_comes_due_while_it_decides_is_not_missed(tmp_path: Path) -> None:
    """A task's wait is over in the moment between two looks at the clock, and nothing else will ever happen."""
    for number in range(0, 400, 4):
        story = Story(
            (plan({"a": task(retry=RETRY), "b": task()}),),
            {"a": [Script(1.0, Exit(1)), Script(1.0)], "b": [Script(1.6 + number / 1000)]},
            tick=0.01,
        )
        simulation = Simulation(tmp_path, story, number)
        assert simulation.live()
        check_ended(simulation)


@pytest.mark.promise("P2")
def test_limits_hold_in_the_world_when_a_plan_is_wide(tmp_path: Path, proof: Proof) -> None:
    """Forty tasks at once in a pool of two, killed again and again; `Watched` counts living processes."""
    wide = replace(FAN, plans=(plan({f"t{number}": task() for number in range(40)}),), scripts={})
    simulation = Simulation(tmp_path, wide)
    chance = random.Random(1)
    while not simulation.live(chance.randint(30, 200)):
        proof.count("crash points")
    check_ended(simulation)
