"""Stages with barriers, in the views: who waits for which stage, and why."""

from __future__ import annotations

from build import World, plan, task

from daplug_supervisor.core import events as ev
from daplug_supervisor.views.derived import blocked_by, blocks, held_by, is_ready
from daplug_supervisor.views.status import status
from daplug_supervisor.views.status_text import status_line
from daplug_supervisor.views.tasks import tasks, tasks_text
from daplug_supervisor.views.why import Why, why


def staged() -> World:
    """a and b, then c (which needs only a) and d; then e."""
    return World(plan({"a": (), "b": (), "c": ("a",), "d": ("a", "b"), "e": ("c",)}, stages="barrier")).done(
        "a"
    )


def ask(world: World, name: str) -> Why:
    return why(world.run, name, world.at, live=True)


def test_a_task_whose_needs_are_met_waits_for_the_stage_before() -> None:
    world = staged().begin("b")
    found = ask(world, "c")
    assert (found.state, found.sentence, found.next) == (
        "waiting_for_stage",
        "Waits for 1 task of stage 1 of 3, and with stages: barrier all of that comes first: b (running).",
        (),
    )
    assert not is_ready(world.run, world.run.tasks["c"], world.at)
    assert ask(world, "e").sentence == "Waits for c (waiting for stage); first comes b."
    line = status_line(status(world.run, world.at, True))
    assert line.endswith("stage 1 of 3, 1 at work, 3 waiting (2 blocked, 1 waiting for stage)")
    assert "waiting for stage" in tasks_text(tasks(world.run, world.at, True), world.at, 80)


def test_a_task_of_a_stage_that_fails_holds_all_later_ones() -> None:
    world = staged().failed("b")
    assert ask(world, "c").sentence == (
        "Blocked by failed task b: with stages: barrier, stage 2 of 3 waits for all before it."
    )
    assert ask(world, "c").next[1] == "daplug-supervise task retry b"
    assert held_by(world.run) == blocked_by(world.run) == {"d": "b", "c": "b", "e": "b"}
    assert blocks(world.run, ["b"], 100) == {"b": 3}
    assert blocks(world.run, ["b"], 2) == {}
    world.say(ev.RunFinished())
    assert status(world.run, world.at, True).sentence == (
        "Nothing more can happen by itself: 1 done, 1 failed, 2 blocked and 1 waiting for stage."
    )


def test_what_several_tasks_wait_for_is_looked_at_once() -> None:
    names = {f"b{at}": ("a",) for at in range(3)}
    world = World(plan({"a": (), "slow": (), **names, "end": tuple(names)}, stages="barrier")).done("a")
    assert ask(world, "end").sentence == (
        "Waits for b0 (waiting for stage), b1 (waiting for stage) and b2 (waiting for stage); first comes slow."
    )


def test_when_all_is_done_nothing_is_held() -> None:
    world = World(plan({"a": (), "b": task("a")}, stages="barrier")).done("a", "b")
    assert held_by(world.run) == {}
    assert status(world.run, world.at, True).stage == 2


def test_a_task_of_a_later_stage_that_was_cancelled_holds_those_after_it_already_now() -> None:
    world = staged().begin("b").say(ev.TaskCancelled("d"))
    assert held_by(world.run) == {"e": "d"}
    assert ask(world, "e").sentence == "Blocked by cancelled task d; it needs c first."
    assert ask(world, "c").state == "waiting_for_stage"
    assert blocks(world.run, ["d"], 100) == {"d": 1}
