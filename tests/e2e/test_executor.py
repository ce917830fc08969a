"""The real CLIs through daplug's own executor.py, where DAPLUG_EXECUTOR says where that is."""

from __future__ import annotations

import pytest
from cli import kill, until
from world import LONG, World

from daplug_supervisor import Loop, Plan, Provider
from daplug_supervisor.core import retry

pytestmark = pytest.mark.whole
POOLS = {
    "codex": Provider(model="codex"),
    # Without leave to write, claude says "done" all the same.
    "claude": Provider(model="cc-sonnet"),
    "gemini": Provider(model="gemini25flash"),
    "opencode": Provider(model="opencode"),
}
WRITERS = pytest.mark.parametrize(
    "cli",
    [
        "codex",
        pytest.param("gemini", marks=pytest.mark.takes(15)),
        pytest.param("opencode", marks=pytest.mark.takes(25)),
    ],
)


@pytest.fixture(autouse=True)
def daplug(world: World) -> None:
    world.with_executor()


def plan(world: World, cli: str, *names: str) -> Plan:
    return world.plan(dict.fromkeys(names or ("a",), cli), providers={cli: POOLS[cli]}, loop=Loop(1))


@WRITERS
async def test_it_writes_a_file(world: World, cli: str) -> None:
    async with world.supervisor() as supervisor:
        await world.ended(await supervisor.submit(plan(world, cli)))
    world.show("daplug: a tool call", cli)
    world.done_once("a")


@pytest.mark.promise("P30")
@WRITERS
async def test_a_limit_is_found_in_the_logs(world: World, monkeypatch: pytest.MonkeyPatch, cli: str) -> None:
    """The executor says nothing of why a CLI failed; its logs do."""
    monkeypatch.setattr(retry, "REST_FIRST", 0.5)
    world.model.play("429")
    async with world.supervisor() as supervisor:
        handle = await supervisor.submit(plan(world, cli))
        await world.failed(handle)
        world.model.play("tool")
        await world.ended(handle)
    world.show("daplug: 429", cli)
    assert world.kinds("a")[0] == "rate_limited"
    world.done_once("a")


@pytest.mark.promise("P1")
@WRITERS
def test_killed_while_it_is_at_work(world: World, cli: str) -> None:
    place, model = world.place, world.model
    model.play("hold")
    process = place.start("run", place.write(plan(world, cli)))
    until(lambda: cli in model.held, "it asks the model", LONG)
    kill(process)
    process = place.start("run", "plan.json")
    world.unhurried()
    world.supervised(2)
    model.play("tool")
    out, err = process.communicate(timeout=LONG)
    assert process.returncode == 0, out + err
    world.show("daplug: killed while at work", cli)
    assert world.kinds("a") == ["completed"]
    world.done_once("a")
    place.nothing_left()


@pytest.mark.promise("P31")
@pytest.mark.parametrize("require_diff", [False, True])
def test_claude_that_was_denied_its_tools_is_not_done(world: World, *, require_diff: bool) -> None:
    """daplug starts cc-sonnet so that it may not write; it says that it is done, and prints the marker."""
    pools = {"claude": POOLS["claude"]}
    made = world.plan({"a": "claude"}, providers=pools, loop=Loop(1), require_diff=require_diff)
    ran = world.run("run", world.place.write(made))
    world.show("daplug: its tools are denied", "claude")
    assert world.written("a") == []
    assert (world.kinds("a"), ran.code) == (["unverified"], 1)
    assert world.place.statuses() == {"a": "stuck"}
