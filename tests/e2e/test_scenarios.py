"""Each scenario with each real CLI, through the worker `cli`: what it is read as, and what happens next."""

from __future__ import annotations

import pytest
from world import World

from daplug_supervisor.core import retry

whole = pytest.mark.whole
SLOW = {"opencode": 60, "gemini": 20}
"""About how many seconds, to begin with the longest."""

IDLE = {"opencode": 25.0, "gemini": 15.0}
"""For how many seconds a CLI may be silent: longer than it takes to start on a busy machine."""


def each(*small: str, but: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    """All CLIs; some of them in the plain tests too."""
    every = [cli for cli in ("codex", "claude", "gemini", "opencode") if cli not in but]
    marks = {cli: [pytest.mark.takes(SLOW.get(cli, 5)), *([] if cli in small else [whole])] for cli in every}
    return pytest.mark.parametrize("cli", [pytest.param(cli, marks=marks[cli]) for cli in every])


@each("codex", "claude")
async def test_it_writes_a_file(world: World, monkeypatch: pytest.MonkeyPatch, cli: str) -> None:
    """Two at once in a new home, where opencode may find its database in use: that uses no try."""
    monkeypatch.setattr(retry, "REST_FIRST", 0.5)
    async with world.supervisor() as supervisor:
        await world.ended(await supervisor.submit(world.plan({"a": cli, "b": cli})))
    world.done_once("a", "b")
    usage = world.place.task("a").past[-1].result.outcome.usage
    assert usage is not None
    assert usage.input is not None
    assert usage.input >= 2 * 1234
    world.show("a tool call", cli)


async def goes_by(world: World, monkeypatch: pytest.MonkeyPatch, cli: str, scenario: str) -> None:
    """Run one task, whose model misbehaves until an attempt has ended because of it."""
    monkeypatch.setattr(retry, "REST_FIRST", 0.5)
    world.model.play(scenario)
    async with world.supervisor() as supervisor:
        handle = await supervisor.submit(world.plan({"a": cli}))
        await world.failed(handle)
        world.model.play("tool")
        await world.ended(handle)


@pytest.mark.promise("P30")
@pytest.mark.parametrize(
    ("scenario", "kind"), [("429", "rate_limited"), ("500", "outage"), ("503", "outage")]
)
@each("codex", "claude")
async def test_a_limit_or_an_outage_uses_no_try(
    world: World, monkeypatch: pytest.MonkeyPatch, cli: str, scenario: str, kind: str
) -> None:
    """It goes on for longer than the CLI has patience, and then is over."""
    await goes_by(world, monkeypatch, cli, scenario)
    world.show(scenario, cli)
    assert world.kinds("a")[0] == kind
    world.done_once("a")


@pytest.mark.promise("P30")
@each(but=("codex", "claude"))
async def test_a_quota_without_a_stated_time(world: World, monkeypatch: pytest.MonkeyPatch, cli: str) -> None:
    await goes_by(world, monkeypatch, cli, "quota-3600")
    world.show("quota, no time stated", cli)
    assert world.kinds("a")[0] == "quota"
    world.done_once("a")


@pytest.mark.promise("P30")
@pytest.mark.parametrize("scenario", ["drop", "cut"])
@each("claude", but=("opencode",))
async def test_a_connection_that_breaks(
    world: World, monkeypatch: pytest.MonkeyPatch, cli: str, scenario: str
) -> None:
    await goes_by(world, monkeypatch, cli, scenario)
    world.show(scenario, cli)
    assert world.kinds("a")[0] == "outage"
    world.done_once("a")


@pytest.mark.promise("P30")
@each("claude", but=("codex",))
async def test_a_server_that_is_not_there(world: World, monkeypatch: pytest.MonkeyPatch, cli: str) -> None:
    monkeypatch.setattr(retry, "REST_FIRST", 0.5)
    world.model.stop()
    async with world.supervisor() as supervisor:
        handle = await supervisor.submit(world.plan({"a": cli}))
        await world.failed(handle)
        world.model.start()
        await world.ended(handle)
    world.show("refused", cli)
    assert world.kinds("a")[0] == "outage"
    world.done_once("a")


@pytest.mark.promise("P30")
@each("claude")
async def test_a_context_that_is_too_long_is_no_limit(world: World, cli: str) -> None:
    """No wait helps, so nothing is tried again."""
    world.model.play("400ctx")
    async with world.supervisor() as supervisor:
        await world.ended(await supervisor.submit(world.plan({"a": cli})))
    world.show("context too long", cli)
    assert world.kinds("a") == ["plan_error"]
    assert world.place.statuses() == {"a": "failed"}


async def is_ended_for_its_silence(world: World, cli: str, scenario: str, kinds: set[str]) -> None:
    async with world.supervisor() as supervisor:
        handle = await supervisor.submit(world.plan({"a": cli}, idle_timeout=IDLE.get(cli, 6.0)))
        await world.failed(handle)
        if scenario == "refused":
            world.model.start()
        world.model.play("tool")
        await world.ended(handle)
    world.show(scenario, cli)
    assert world.kinds("a")[0] in kinds
    world.done_once("a")


@pytest.mark.promise("P30")
@pytest.mark.parametrize("scenario", ["hang", "hangs"])
@each()
async def test_an_answer_that_does_not_come(
    world: World, monkeypatch: pytest.MonkeyPatch, scenario: str, cli: str
) -> None:
    """A CLI that would wait for ever is ended for its silence; one that gives up by itself has met an outage."""
    monkeypatch.setattr(retry, "REST_FIRST", 0.5)
    world.model.play(scenario)
    await is_ended_for_its_silence(world, cli, scenario, {"silent", "outage"})


@pytest.mark.promise("P30")
@each(but=("claude", "gemini"))
async def test_a_long_limit_that_is_waited_for_in_silence(
    world: World, monkeypatch: pytest.MonkeyPatch, cli: str
) -> None:
    """Told to come back in an hour, these CLIs would sit in their slot for so long."""
    monkeypatch.setattr(retry, "REST_FIRST", 0.5)
    world.model.play("429long")
    await is_ended_for_its_silence(world, cli, "429long", {"rate_limited", "silent"})


@pytest.mark.promise("P30")
@each(but=("claude", "gemini", "opencode"))
async def test_a_server_that_is_waited_for_in_silence(
    world: World, monkeypatch: pytest.MonkeyPatch, cli: str
) -> None:
    """codex waits for the network for ever."""
    monkeypatch.setattr(retry, "REST_FIRST", 0.5)
    world.model.stop()
    await is_ended_for_its_silence(world, cli, "refused", {"outage"})


@pytest.mark.promise("P30")
@each("claude")
def test_a_login_that_is_refused_stops_the_provider(world: World, cli: str) -> None:
    """Nothing is tried again before a person has said so; then all goes on, and no try is used up."""
    place = world.place
    world.model.play("401", cli)
    plan = place.write(world.plan({"a": cli, "b": cli}))
    ran = world.run("run", plan)
    assert ran.code == 3, ran
    assert {*world.kinds("a"), *world.kinds("b")} - {"outage"} == {"auth"}
    world.model.play("tool")
    assert world.run("provider", "resume", cli).code == 0
    assert world.run("resume").code == 0
    world.show("401", cli)
    world.done_once("a", "b")
