"""What views say of a waiting task is what `decide` does with it."""

from __future__ import annotations

from itertools import product
from random import Random

import pytest
from build import T0, Provider, World, plan, result, task

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.decide import Complete, Finish, Start, decide
from daplug_supervisor.core.delegation import children_done
from daplug_supervisor.core.machine import SATISFIED, Status
from daplug_supervisor.core.plan import Budget, Plan, Task
from daplug_supervisor.core.queues import flaw
from daplug_supervisor.views.derived import (
    STATES,
    blocked_by,
    blockers,
    held_by,
    is_dead_end,
    is_ready,
    state_of,
)
from daplug_supervisor.views.evaluation.figures import evaluate
from daplug_supervisor.views.evaluation.ledger import ledger
from daplug_supervisor.views.report.contents import report
from daplug_supervisor.views.rows import wanted
from daplug_supervisor.views.status import status
from daplug_supervisor.views.task_detail import task_detail
from daplug_supervisor.views.tasks import tasks
from daplug_supervisor.views.waits import waits
from daplug_supervisor.views.why import why

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


# --- families and stages ----------------------------------------------------------------------------------------


def random_plan(chance: Random, size: int) -> Plan:
    """Tasks that need each other and are parts of each other, now and then with barriers."""
    specs: dict[str, Task] = {}
    for at in range(size):
        parent = f"t{chance.randrange(at)}" if at and chance.random() < 0.4 else None
        needs = {f"t{chance.randrange(at)}" for _ in range(chance.randrange(3)) if at} - {parent}
        specs[f"t{at}"] = task(*sorted(needs), parent=parent)
    stages = "barrier" if chance.random() < 0.4 else "dag"
    found = plan(specs, {"codex": Provider(parallel=2)}, stages=stages)
    return found if not flaw(found) else random_plan(chance, size)


def random_world(seed: int) -> World:
    """Some tasks delegated, some with an end that only a person gets on with, some done."""
    chance = Random(seed)
    world = World(random_plan(chance, chance.randrange(3, 12)))
    for name, one in world.run.tasks.items():
        what = chance.random()
        if one.status is not Status.PENDING:
            continue
        if what < 0.5 and (one.children or what < 0.03):
            world.say(ev.Delegated(name))
        elif is_ready(world.run, one, world.at) and what > 0.6:
            how = chance.choice((world.done, world.failed, world.stuck))
            how(name)
        elif what > 0.95:
            world.say(ev.TaskCancelled(name))
    return world


def go_on(world: World) -> World:
    """All that can happen without a person happens, and succeeds."""
    for _ in range(100):
        decision = decide(world.run, world.at)
        if isinstance(decision, Start):
            world.done(decision.task)
        elif isinstance(decision, Complete):
            one = world.run.tasks[decision.task]
            world.say(children_done(world.run, one, "t9"), ev.VerificationPassed(one.id), ev.Landed(one.id))
        else:
            assert isinstance(decision, Finish)
            return world
    raise AssertionError("it never ends")


@pytest.mark.parametrize("seeds", [range(at, at + 100) for at in range(0, 400, 100)])
def test_held_is_what_is_left_when_all_else_has_gone_on(seeds: range) -> None:
    for seed in seeds:
        world = random_world(seed)
        told = held_by(world.run)
        roots = {name: blockers(world.run, name).dead for name in told}
        for name, root in told.items():
            assert is_dead_end(world.run.tasks[root])
            assert root in roots[name] or root == name, (seed, name)
        go_on(world)
        left = {
            name
            for name, one in world.run.tasks.items()
            if one.status not in SATISFIED and (one.status in (Status.PENDING, Status.DELEGATED))
        }
        assert set(told) == left, seed
        assert held_by(world.run).keys() == left


def test_views_count_the_same() -> None:
    for seed in range(150):
        world = random_world(seed)
        run, at = world.run, world.at
        found, listed, made = status(run, at, True), tasks(run, at, True), report(run, at)
        counts = found.counts
        inside = ("ready", "backing_off", "blocked", "not_selected", "waiting_for_stage")
        assert counts["pending"] == sum(counts[word] for word in inside)
        for word in inside:
            assert counts[word] == sum(row.state == word for row in listed if row.status == "pending")
        assert counts["ready"] == sum(is_ready(run, one, at) for one in run.tasks.values())
        needed = [one for one in run.tasks.values() if wanted(run, one)]
        assert found.needs_person == len(found.attention) == len(needed)
        wants = [row.wants for row in found.attention]
        assert (len(made.failures), len(made.waiting)) == (wants.count("repair"), wants.count("parts"))
        assert made.counts["blocked"] == len(blocked_by(run))
        progress = {row.task: row.progress for row in listed}
        assert progress == {row.task: row.progress for row in evaluate(run).tasks}
        assert progress == {row.task: row.progress for row in ledger(run).tasks}
        assert progress == {name: task_detail(run, name, at, True).progress for name in run.tasks}
        assert {row.task for row in made.families} == {name for name, done in progress.items() if done}
        for row in found.delegated:
            done = row.progress
            sentence = why(run, row.task, at, live=True).sentence
            assert sentence.startswith(f"Delegated ({done.done}/{done.total}) ")
            assert ("a person" in sentence) == (row.held_by is not None), seed
