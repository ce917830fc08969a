"""Acceptance, fix rounds and landing in virtual time: whoever is killed, stopped, cancelled or rebooted meanwhile.

What must hold whatever happens is in `proven` and `invariants`; the stories "mended" and "home" go through every other
simulation as well.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from invariants import check_ended
from promises import Proof
from simulated import PAUSE, Simulation, without_disk
from stories import HOME, MENDED, ONE, agent, plan
from story import Seen, Story
from test_supervisor_sim import crashed, ended, results

from daplug_supervisor import Supervisor
from daplug_supervisor.core import events as ev
from daplug_supervisor.core.commands import Command
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.results import Exit
from daplug_supervisor.testing import Script

quickly = pytest.fixture(autouse=True)(without_disk)
STORIES = {"mended": MENDED, "home": HOME}


def lived(directory: Path, story: Story, seed: int = 0) -> Simulation:
    """A simulation that nothing has happened to."""
    simulation = Simulation(directory, story, seed)
    assert simulation.live()
    check_ended(simulation)
    return simulation


def test_rounds_are_bounded_and_what_holds_in_the_end_is_done(tmp_path: Path) -> None:
    tasks = lived(tmp_path, MENDED).run().tasks
    assert {name: (task.status.value, task.fixes, task.last_fix) for name, task in tasks.items()} == {
        "a": ("done", 2, False),
        "b": ("done", 2, True),
        "c": ("done", 1, False),
        "d": ("stuck", 0, False),
    }
    assert tasks["a"].checks == 2, "a look that is lost is begun again, and the attempt is not"


def test_work_lands_as_it_was_looked_at_also_if_the_branch_moves_meanwhile(tmp_path: Path) -> None:
    simulation = lived(tmp_path, HOME)
    assert {task.status for task in simulation.run().tasks.values()} == {Status.DONE}
    assert simulation.branch.landed.count("somebody else") == 2
    assert len(simulation.events(ev.AttemptStarted)) == 4


@pytest.mark.parametrize("name", STORIES)
def test_after_a_power_cut_what_was_looked_at_is_looked_at_again(
    tmp_path: Path, proof: Proof, name: str
) -> None:
    """No attempt is paid for twice because the machine went down while somebody looked at what it had left."""
    whole = lived(tmp_path, STORIES[name])
    for _, base in crashed(Simulation(tmp_path, STORIES[name]), range(1, whole.steps + 1, proof.pick(37, 1))):
        base.time += 0.5
        base.world.reboot(base.time)
        again = ended(proof, base, 600.0)
        ends = {key: status for key, (status, _) in results(again).items()}
        assert ends == {key: status for key, (status, _) in results(whole).items()}


@pytest.mark.parametrize("name", STORIES)
def test_stopped_at_any_moment_it_goes_on_with_what_was_done(tmp_path: Path, proof: Proof, name: str) -> None:
    """In the same life and in the next one: the run halts although something is being looked at."""
    whole = lived(tmp_path, STORIES[name])
    for number in range(0, int(whole.time * 2), proof.pick(13, 1)):
        at = number / 2

        async def stopping(simulation: Simulation, supervisor: Supervisor, at: float = at) -> None:
            await anyio.sleep(at)
            simulation.stopped = True
            supervisor.stop()
            before = len(simulation.world.launched())
            await anyio.sleep(PAUSE / 2)
            run = supervisor.state.runs["p-1"]
            assert run.halt is None or run.halt.halted_at is not None, (
                "whoever stops it does not wait for a look"
            )
            assert len(simulation.world.launched()) <= before + 1

        simulation = Simulation(tmp_path, STORIES[name], number)
        if number % 2 and simulation.live(crash_at=whole.steps // 2 + number):
            continue
        assert simulation.live(meanwhile=stopping)
        check_ended(simulation)
        proof.count("stops")
        tasks = simulation.run().tasks.values()
        ends = {task.id: task.status for task in tasks}
        assert ends == {task.id: task.status for task in whole.run().tasks.values()}, number


def begun_anew(simulation: Simulation, task: str) -> list[ev.Event]:
    """The attempts at a task that began after somebody had cancelled it."""
    events = [entry.event for entry in simulation.entries()]
    asked = [place for place, event in enumerate(events) if isinstance(event, ev.CancelRequested)]
    after = events[asked[0] :] if asked else []
    return [event for event in after if isinstance(event, ev.AttemptStarted) and event.task == task]


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("task", ["a", "b", "c"])
def test_cancelled_at_any_moment_nothing_is_begun_anew(
    tmp_path: Path, proof: Proof, name: str, task: str
) -> None:
    """While it works, is looked at, or comes home: it lands or is cancelled, and gets no other attempt."""
    whole = lived(tmp_path, STORIES[name])
    for number in range(0, int(whole.time * 4), proof.pick(37, 1)):
        order = Command("1", "cancel", task=task)
        story = replace(STORIES[name], orders=((number / 4, order),))
        assert not begun_anew(lived(tmp_path, story, number), task), number
        proof.count("cancellations")


def test_cancelled_on_its_way_home(tmp_path: Path, proof: Proof) -> None:
    """The order comes just before what was found is recorded: a second look, on the branch, is not in vain then."""
    story, home = replace(HOME, orders=((13.0, Command("1", "cancel", task="b")),)), 0
    for seed in range(proof.pick(12, 200)):
        simulation = lived(tmp_path, story, seed)
        assert not begun_anew(simulation, "b"), seed
        home += bool(simulation.events(ev.CancelRequested)) and "p-1/b#1" in simulation.branch.landed
    assert home, "it never came at that moment"


def test_what_does_not_hold_with_what_others_have_landed_goes_back(tmp_path: Path, proof: Proof) -> None:
    """The work of a second task holds alone, and not on top of the first one; wherever it is killed."""
    tasks = {name: agent(name, cwd=None, worktree=True, accept=ONE) for name in "ab"}
    seen = [Seen(seconds=5.0, together=("code",)), Seen()]
    story = Story((plan(tasks),), {"b": [Script(4.0)]}, looks={"b": seen})
    whole = lived(tmp_path, story)
    assert [one.number for one in whole.run().tasks["b"].past] == [1, 2]
    assert whole.branch.landed == ["p-1/a#1", "p-1/b#2"]
    for step, base in crashed(Simulation(tmp_path, story), range(1, whole.steps + 1, proof.pick(13, 1))):
        simulation = ended(proof, base, 0.0)
        assert results(simulation) == results(whole), step


def test_what_was_lost_between_two_equal_failures_does_not_make_them_differ(tmp_path: Path) -> None:
    wrong = Seen(("code",), tree="the same")
    story = Story(
        (plan({"a": agent("a", accept=ONE)}),),
        {"a": [Script(1.0), Script(1.0, Exit(None)), Script(1.0)]},
        looks={"a": [wrong]},
    )
    task = lived(tmp_path, story).run().tasks["a"]
    kinds = [past.result.outcome.kind.value for past in task.past]
    assert kinds == ["verify_failed", "lost", "verify_failed", "verify_failed"]
    assert (task.status, task.last_fix) == (Status.FAILED, True)
