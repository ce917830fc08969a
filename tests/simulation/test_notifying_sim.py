"""People are told, in virtual time: what they have to know is never missed, and a crash tells it once more at most."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from invariants import check_ended, is_hook
from simulated import Simulation, without_disk
from stories import plan, task
from story import Story

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.plan import Notify, Plan, Provider, Retry
from daplug_supervisor.core.results import Exit
from daplug_supervisor.testing import Script

quickly = pytest.fixture(autouse=True)(without_disk)

PROVIDERS = {"pool": Provider(worker="command", parallel=4), "q": Provider(worker="command")}
TASKS = {
    "bad": task(retry=Retry(attempts=1)),
    "worse": task(retry=Retry(attempts=1)),
    "slow": task(),
    "login": task(provider="q"),
    "after": task("bad"),
}
SCRIPTS = {
    "bad": [Script(5.0, Exit(1))],
    "worse": [Script(5.2, Exit(1))],
    "slow": [Script(3.0, Exit(75)), Script(400.0)],
    "login": [Script(2.0, Exit(77)), Script(2.0)],
}


def story(notify: Notify) -> Story:
    told: Plan = plan(dict(TASKS), providers=PROVIDERS, notify=notify)
    return Story((told,), SCRIPTS)


STORY = story(Notify(command=("tell", "somebody")))


def sent(simulation: Simulation) -> list[str]:
    """The messages, in order."""
    launches = [one.launch for one in simulation.world.launched() if one.launch is not None]
    return [one.env["DAPLUG_MESSAGE"] for one in launches if is_hook(one)]


def keys(simulation: Simulation) -> list[str]:
    return [event.key.partition("/1800")[0] for event in simulation.events(ev.Notified)]


def test_each_episode_is_told_once_and_what_comes_together_in_one_message(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, STORY)
    assert simulation.live()
    check_ended(simulation)
    assert sorted(keys(simulation)) == [
        "finished/1",
        "halted/1",
        "limited/pool:pool",
        "needs_person/bad/1",
        "needs_person/pool:q",
        "needs_person/worse/1",
    ]
    assert [event.detail for event in simulation.events(ev.Notified)] == [""] * 6
    titles = [text.splitlines()[0] for text in sent(simulation)]
    assert titles[-2:] == ["Run p-1 is halted", "Run p-1 has finished"]
    both = [text for text in sent(simulation) if "Task bad failed" in text]
    assert len(both) == 1
    assert "Task worse failed" in both[0], "what comes within a moment is one message"


def test_a_plan_that_tells_nobody_takes_not_one_step_more(tmp_path: Path) -> None:
    quiet, told = Simulation(tmp_path / "a", story(Notify())), Simulation(tmp_path / "b", STORY)
    for one in (quiet, told):
        one.directory.mkdir()
        assert one.live()
    assert sent(quiet) == []
    assert quiet.events(ev.Notified) == []
    assert quiet.steps < told.steps


def test_what_nobody_wants_to_know_is_not_told(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, story(Notify(command=("tell",), on=("halted",))))
    assert simulation.live()
    assert keys(simulation) == ["halted/1"]


def test_killed_at_any_moment_nothing_is_missed_and_nothing_told_more_than_once_again(tmp_path: Path) -> None:
    whole = Simulation(tmp_path, STORY)
    assert whole.live()
    again = 0
    for step in range(1, whole.steps, whole.steps // 18):
        simulation = Simulation(tmp_path, STORY)
        if simulation.live(step):
            break
        simulation.time += 7.0
        assert simulation.live()
        check_ended(simulation)
        told = Counter(keys(simulation))
        assert {told["needs_person/bad/1"], told["needs_person/worse/1"]} == {1}, step
        assert 1 <= told["finished/1"] + told["finished/2"] <= 2, step
        for words in ("Task bad failed", "Task worse failed", "has finished:"):
            times = sum(words in text for text in sent(simulation))
            assert 1 <= times <= 2, (step, words)
            again += times == 2
        assert max(told.values()) == 1
    assert again, "some deaths came between sending and recording"


def test_what_cannot_be_sent_holds_nothing_up(tmp_path: Path) -> None:
    class Deaf(Simulation):
        """A place in which the command that tells people never ends."""

    simulation = Deaf(tmp_path, story(Notify(command=("tell",), timeout=20.0)))
    script = simulation.world.script
    simulation.world.script = lambda launch: Script(1e6) if is_hook(launch) else script(launch)
    assert simulation.live()
    check_ended(simulation)
    quiet = Simulation(tmp_path / "quiet", story(Notify()))
    quiet.directory.mkdir()
    assert quiet.live()
    assert simulation.time <= quiet.time + 2 * 20.0 + 3.0, "two ends, each with one last message"
    assert all("20 s" in event.detail for event in simulation.events(ev.Notified))
