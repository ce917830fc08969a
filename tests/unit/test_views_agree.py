"""What views say of a waiting task is what `decide` does with it."""

from __future__ import annotations

from itertools import product

import pytest
from build import T0, Provider, World, plan, result, task

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.decide import Start, decide
from daplug_supervisor.core.plan import Budget
from daplug_supervisor.views.derived import STATES, state_of
from daplug_supervisor.views.waits import waits

POOLS = ("open", "full", "rests", "paused", "paused until", "stopped", "to be probed", "probed", "trusted")
PROVIDERS = {name: Provider(parallel=1 if name != "third" else 3) for name in ("second", "third")}


def put(world: World, pool: str, how: str) -> None:
    """Bring a pool into a condition; `busy-POOL` is a task of it."""
    if how in ("probed", "trusted", "to be probed"):
        world.say(ev.ProviderRested(pool, world.at, "429"))
    if how in ("full", "probed", "trusted"):
        world.begin(f"busy-{pool}")
    if how == "rests":
        world.say(ev.ProviderRested(pool, world.at + 900, "429"))
    elif how == "stopped":
        world.say(ev.ProviderStopped(pool, "401"))
    elif how.startswith("paused"):
        world.say(ev.ProviderPaused(pool, None if how == "paused" else world.at + 900))


@pytest.mark.parametrize("may_move", [True, False])
@pytest.mark.parametrize("later", [0.0, 30.0])
@pytest.mark.parametrize("run_full", ["", "parallel", "budget"])
def test_ready_is_what_is_started_next(run_full: str, later: float, *, may_move: bool) -> None:
    for own, second in product(POOLS, POOLS):
        pools = {"codex": Provider(parallel=2, fallback=("second",)), **PROVIDERS}
        if own == "full":
            pools["codex"] = Provider(parallel=1, fallback=("second",))
        tasks = {f"busy-{name}": task(provider=name) for name in pools} | {"a": task(fallback=may_move)}
        world = World(plan(tasks, pools, budget=Budget(attempts=9) if run_full == "budget" else None))
        if later:
            world.begin("a").say(ev.RetryScheduled("a", result("lost"), world.at + later, uses_try=False))
        put(world, "codex", own)
        put(world, "second", second)
        world.tick(0 if "trusted" not in (own, second) else 400)
        world.say(ev.RunStarted(("a",), 1 if run_full == "parallel" else None))
        if run_full == "budget":
            world.run.spent.attempts = 8
        told = state_of(world.run, world.run.tasks["a"], world.at)
        decision = decide(world.run, world.at)
        started = isinstance(decision, Start) and decision.task == "a"
        assert told in STATES
        assert (told == "ready") == started, (own, second, told, decision)


def test_a_pause_that_is_over_says_nothing() -> None:
    world = World(plan({"a": ()})).say(ev.ProviderPaused("codex", T0 + 60)).tick(60)
    assert state_of(world.run, world.run.tasks["a"], world.at) == "ready"


# --- what a live picture says -------------------------------------------------------------------------------


def test_a_line_for_each_wait() -> None:
    pools = {"codex": Provider(), "gemini": Provider(), "idle": Provider()}
    world = World(plan({"a": (), "b": task(provider="gemini")}, pools))
    assert list(waits(world.run, world.at)) == []
    world.retried("a", wait=24)
    assert list(waits(world.run, world.at)) == ["the next task is tried again in 24s"]
    world.begin("b")
    assert list(waits(world.run, world.at)) == []
    world.say(ev.RetryScheduled("b", result("quota"), uses_try=False))
    world.tick(24).say(ev.ProviderRested("gemini", world.at + 60, "429"), ev.ProviderRested("idle", T0 + 900))
    rests = "provider gemini rests until 01:23:32Z (in 1m 00s): 429"
    assert list(waits(world.run, world.at)) == [rests]
    world.say(ev.ProviderRested("codex", world.at + 90, "429"))
    assert list(waits(world.run, world.at)) == [
        "provider codex rests until 01:24:02Z (in 1m 30s): 429",
        rests,
        "nothing to do: it goes on by itself",
    ]
