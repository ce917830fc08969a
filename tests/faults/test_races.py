"""Two supervisors that begin at one moment in one state directory, and a directory that goes away under one."""

from __future__ import annotations

import random
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cli import HOLD, MARKING, Place, alive, finish, opened, plan_of, sh, until
from forked import Ended, Forge, Life, forge
from promises import Proof

from daplug_supervisor.core import events as ev
from daplug_supervisor.errors import EXIT_BUSY, EXIT_USAGE

place = pytest.fixture(opened)
RUN = ("plan.json",)
HELD = plan_of({"a": sh(MARKING + HOLD)})


def check_loser(loser: Ended, winner: Ended, proof: Proof) -> None:
    """It says who holds the directory, and ends with its own exit code."""
    assert f"process {winner.pid} supervises" in loser.err, loser
    proof.measure("second supervisor ended after", loser.seconds, "s", at_most=1.0)


def race(place: Place, forked: Forge, proof: Proof, chance: random.Random, *, after_a_kill: bool) -> None:
    """Let two begin in an empty state directory, or in one whose supervisor was killed."""
    shutil.rmtree(place.state, ignore_errors=True)
    for path in place.target.glob("st*"):
        path.unlink()
    place.write(plan_of({"a": sh(f"{MARKING} sleep 0.12"), "b": sh(MARKING, "a")}))
    if after_a_kill:
        forked.run(place, Life(RUN, kill_at=chance.randint(30, 90)))
    late = [0.0, chance.choice([0.0, chance.uniform(0, 0.02)])]
    ended = forked.run(place, *(Life(RUN, delay=delay) for delay in chance.sample(late, 2)))
    over = [one for one in ended if one.code == 0]
    if len(over) == 1:
        [loser] = [one for one in ended if one.code != 0]
        assert loser.code == EXIT_BUSY, loser
        check_loser(loser, over[0], proof)
    else:  # the first was done before the second looked: that one began a run of its own, as it should
        assert len(over) == 2, ended
    runs = {entry.run for entry in place.entries() if entry.run}
    assert len(runs) == 1 or len(over) == 2
    assert sorted(line.split()[0] for line in place.lines()) == sorted("ab" * len(runs)), "started twice"
    tokens = [line.split()[1] for line in place.lines()]
    assert len(set(tokens)) == len(tokens), "an attempt was started twice"
    proof.count("races")


@pytest.mark.promise("P7")
def test_of_two_that_start_at_once_one_runs(tmp_path: Path, proof: Proof) -> None:
    """Never both, never none, and each task is started once. Some races find a dead supervisor's work."""

    def many(number: int) -> None:
        chance = random.Random(number)
        (tmp_path / str(number)).mkdir()
        place = Place(tmp_path / str(number))
        try:
            with forge() as forked:
                for count in range(proof.pick(6, 500)):
                    race(place, forked, proof, chance, after_a_kill=count % 5 == 0)
        finally:
            place.close()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(many, range(2)))


@pytest.mark.promise("P7")
def test_removing_the_lock_file_lets_nobody_in(place: Place) -> None:
    process = place.start(place.write(HELD))
    place.started("a")
    (place.state / "lock").unlink()
    second = place.run("plan.json")
    assert (second.code, "supervises" in second.err) == (EXIT_BUSY, True), second
    assert place.run("status").code == 0
    place.go()
    assert finish(process).code == 0
    assert len(place.lines()) == 1


@pytest.mark.promise("P7")
def test_a_directory_that_is_renamed_ends_its_supervisor_and_is_gone_on_with(place: Place) -> None:
    """Nothing more is started where another may begin; agents work on, and are taken back where it is now."""
    plan = plan_of({"a": sh(MARKING + HOLD), "b": sh(MARKING + HOLD), "c": sh(MARKING, "b")})
    process = place.start(place.write(plan))
    place.started("a", "b")
    place.state.rename(place.target / "elsewhere")
    place.go("b")
    ended = finish(process)
    assert (ended.code, "was renamed while it was in use" in ended.err) == (EXIT_USAGE, True), ended
    assert not place.state.exists()
    assert [line.split()[0] for line in place.lines()].count("c") == 0
    process = place.start("plan.json", "--state-dir", "elsewhere")
    place.started("c")
    place.go()
    assert finish(process).code == 0
    assert sorted(line.split()[0] for line in place.lines()) == ["a", "b", "c"]


@pytest.mark.promise("P7")
def test_a_directory_that_is_removed_ends_its_supervisor_and_its_agents(place: Place) -> None:
    """An agent that cleans up too much, say. Nobody could ever take the others back, so they are stopped."""
    task = sh(MARKING + "echo $$ > pid; sleep 1000", grace=0.2)
    process = place.start(place.write(plan_of({"a": task, "b": sh(HOLD), "c": sh(MARKING, "b")})))
    place.started("a")
    until(lambda: re.match(r"\d+\n", (place.target / "pid").read_text()), "its pid")
    shutil.rmtree(place.state)
    place.go()
    ended = finish(process)
    assert (ended.code, "was removed while it was in use" in ended.err) == (EXIT_USAGE, True), ended
    until(lambda: not alive(int((place.target / "pid").read_text())), "the agent stopped")
    place.nothing_left()


@pytest.mark.promise("P7")
def test_that_is_noticed_also_if_nothing_is_started(place: Place) -> None:
    process = place.start(place.write(HELD))
    place.started("a")
    until(lambda: place.events(ev.AttemptSpawned), "at work")
    shutil.rmtree(place.state)
    ended = finish(process)
    assert (ended.code, "was removed while it was in use" in ended.err) == (EXIT_USAGE, True), ended
