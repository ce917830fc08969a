"""Real CLIs that say "done" although nothing was done."""

from __future__ import annotations

import pytest
from world import World

DENIED = ["--permission-mode=dontAsk"]


@pytest.mark.promise("P31")
def test_claude_that_was_denied_its_tools_is_not_done(world: World) -> None:
    """In this mode it exits with 0, and its last word is a success."""
    pools = {"claude": world.provider("claude", options={"args": DENIED})}
    plan = world.place.write(world.plan({"a": "claude"}, providers=pools))
    ran = world.run("run", plan)
    assert ran.code == 1, ran
    world.show("its tools are denied", "claude")
    assert world.written("a") == []
    assert world.kinds("a") == ["unverified"]
    assert "Write" in world.place.task("a").past[-1].result.outcome.detail
    assert world.place.statuses() == {"a": "stuck"}


@pytest.mark.promise("P31")
@pytest.mark.parametrize("cli", ["codex", "claude"])
def test_a_task_that_has_to_change_something_and_did_not_is_not_done(world: World, cli: str) -> None:
    """The model says at once that it is done."""
    world.model.play("text")
    ran = world.run("run", world.place.write(world.plan({"a": cli}, require_diff=True)))
    world.show("says done, changed nothing", cli)
    assert (world.kinds("a"), ran.code) == (["unverified"], 1)
    assert world.place.statuses() == {"a": "stuck"}
