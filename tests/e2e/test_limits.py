"""Provider limits with real CLIs: they are waited for until the stated time, and nothing else is kept back."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from cli import finish, kill, until
from world import LONG, World

from daplug_supervisor.core import events as ev

whole = pytest.mark.whole
SUBSCRIPTION = {"ANTHROPIC_API_KEY": "", "CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-mock"}
"""claude is told when a limit ends only if it is logged in with a subscription."""

EACH = pytest.mark.parametrize(
    "cli", [pytest.param("codex", marks=[whole, pytest.mark.takes(80)]), pytest.param("claude")]
)


def rested(world: World) -> ev.Entry:
    """The entry of the first rest, once it is in the journal."""
    entries = until(
        lambda: [one for one in world.place.entries() if isinstance(one.event, ev.ProviderRested)],
        "a rest",
        LONG,
    )
    return entries[0]


@pytest.mark.promise("P30")
@pytest.mark.parametrize("crash", [False, True], ids=["waiting", "killed"])
@EACH
def test_it_goes_on_at_the_stated_time(world: World, cli: str, crash: bool) -> None:
    """The only provider says "try again at ...". codex says so to the minute, claude to the second."""
    place, model = world.place, world.model
    world.login(SUBSCRIPTION)
    resets_at = int(time.time()) + 8
    model.play(f"quota-{resets_at}")
    process = place.start("run", place.write(world.plan({"a": cli, "b": cli})))
    world.unhurried()
    rest = rested(world)
    until(lambda: place.folded().active == 0, "all at rest")
    asked = len(model.asked)
    if crash:
        kill(process)
        process = place.start("run", "plan.json")
        world.unhurried()
        world.supervised(2)
    why = world.run("task", "why", "a")
    assert "usage limit" in why.out + why.err or "session limit" in why.out + why.err, why
    out, err = process.communicate(timeout=LONG)
    assert process.returncode == 0, out + err
    world.show(f"quota until a stated time{', killed while waiting' if crash else ''}", cli)
    assert resets_at - 0.01 <= rest.event.until <= resets_at + 61
    assert {one.answer for one in model.asked[asked:]} == {"tool"}
    assert set(world.kinds("a")) == {"quota", "completed"}
    world.done_once("a", "b")


@pytest.mark.promise("P30")
@pytest.mark.parametrize(
    "cli", [pytest.param("claude"), pytest.param("gemini", marks=[whole, pytest.mark.takes(20)])]
)
def test_a_long_rest_ends_when_a_person_says_so(world: World, cli: str) -> None:
    """429 with Retry-After 3600: it rests for so long, and `provider resume` ends that."""
    place = world.place
    world.model.play("429long")
    process = place.start("run", place.write(world.plan({"a": cli})))
    world.unhurried()
    rest = rested(world)
    assert 3400 < rest.event.until - rest.at < 3700
    world.model.play("tool")
    assert world.run("provider", "resume", cli).code == 0
    assert finish(process).code == 0
    world.show("429long", cli)
    assert world.kinds("a") == ["rate_limited", "completed"]
    world.done_once("a")


@pytest.mark.promise("P30")
def test_a_fallback_takes_over_from_a_limited_provider(world: World) -> None:
    """And a task that may not be taken over waits; others are not kept back."""
    world.model.play("quota-3600", "codex")
    pools = {
        "codex": world.provider("codex", parallel=1, fallback=("claude",)),
        "claude": world.provider("claude"),
    }
    plan = world.place.write(world.plan({"a": "codex", "b": "codex", "c": "claude"}, providers=pools))
    assert world.run("run", plan).code == 0
    world.show("quota, with a fallback", "codex")
    assert world.kinds("a") == ["quota", "completed"]
    assert world.kinds("b") == ["completed"]
    assert [one.key for one in world.model.asked].count("codex") == 1
    world.done_once("a", "b", "c")


@pytest.mark.promise("P30")
def test_after_a_limit_one_task_looks_whether_it_is_over(world: World) -> None:
    """Three at once meet a limit; when its time has come one tries, the others follow when that one was answered."""
    world.login(SUBSCRIPTION)
    resets_at = int(time.time()) + 6
    world.model.play(f"quota-{resets_at}")
    names = ("a", "b", "c")
    plan = world.plan(
        dict.fromkeys(names, "claude"), providers={"claude": world.provider("claude", parallel=3)}
    )
    process = world.place.start("run", world.place.write(plan))
    world.unhurried()
    rested(world)
    until(lambda: world.place.folded().active == 0, "all at rest")
    _, err = process.communicate(timeout=LONG)
    assert process.returncode == 0, err
    started = [one for one in world.place.entries() if isinstance(one.event, ev.AttemptStarted)]
    after = [one for one in started if one.at >= resets_at]
    assert len(after) == len(names)
    [answered] = [
        one.at
        for one in world.place.entries()
        if isinstance(one.event, ev.AttemptExited) and one.event.task == after[0].event.task
    ]
    assert all(one.at >= answered for one in after[1:])
    assert all(first.at <= second.at for first, second in pairwise(after))
    world.show("quota, three tasks at once", "claude")
    world.done_once(*names)
