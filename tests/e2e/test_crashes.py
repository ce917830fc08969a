"""A supervisor that is killed while real CLIs are at work: they go on, are taken back, and nothing is done twice."""

from __future__ import annotations

import pytest
from cli import kill, until
from world import LONG, World

from daplug_supervisor.core.machine import Status

whole = pytest.mark.whole


@pytest.mark.promise("P1")
@pytest.mark.parametrize(
    "clis",
    [
        pytest.param(("codex", "claude"), id="codex-claude"),
        pytest.param(("gemini", "opencode"), id="gemini-opencode", marks=[whole, pytest.mark.takes(40)]),
    ],
)
@pytest.mark.parametrize("ends", ["after", "before"])
def test_killed_while_they_are_at_work(world: World, clis: tuple[str, ...], ends: str) -> None:
    """The agents get their answer after the next start, or before it, when there is no supervisor at all."""
    place, model = world.place, world.model
    model.play("hold")
    process = place.start("run", place.write(world.plan({cli: cli for cli in clis})))
    until(lambda: set(clis) <= model.held, "all ask the model", LONG)
    kill(process)
    if ends == "before":
        model.play("tool")
        until(lambda: not place.processes(attempts=True), "all ended", LONG)
    process = place.start("run", "plan.json")
    world.unhurried()
    if ends == "after":
        world.supervised(2)
        model.play("tool")
    out, err = process.communicate(timeout=LONG)
    assert process.returncode == 0, out + err
    for cli in clis:
        assert world.kinds(cli) == ["completed"]
        world.show(f"killed, agents end {ends} the next start", cli, cli)
    world.done_once(*clis)
    place.nothing_left()


@pytest.mark.promise("P9", "P10")
@pytest.mark.parametrize(
    "cli",
    [
        pytest.param("codex"),
        pytest.param("gemini", marks=[whole, pytest.mark.takes(15)]),
        pytest.param("opencode", marks=[whole, pytest.mark.takes(25)]),
        pytest.param("claude"),
    ],
)
def test_nothing_is_left_of_a_cancelled_one(world: World, cli: str) -> None:
    """Its tool sleeps; claude and opencode put tools into sessions of their own, and gemini takes no SIGTERM."""
    place = world.place
    world.model.play("sleep")
    more = (
        {"options": {"args": ["--permission-mode=acceptEdits", "--allowedTools=Bash"]}}
        if cli == "claude"
        else {}
    )
    plan = world.plan({"a": cli}, providers={cli: world.provider(cli, **more)})
    process = place.start("run", place.write(plan))
    world.unhurried()
    until(world.sleeps, "its tool sleeps", LONG)
    assert world.run("task", "cancel", "a").code == 0
    process.communicate(timeout=LONG)
    assert place.statuses() == {"a": str(Status.CANCELLED)}
    assert not world.sleeps()
    world.show("cancelled while a tool runs", cli)
    place.nothing_left()
