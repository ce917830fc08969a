"""The command's process is killed with SIGKILL, and the same command is given again."""

from __future__ import annotations

import random
import time
from collections import Counter
from functools import partial

import pytest
from cli import HOLD, MARKING, POOL, Place, Ran, alive, finish, kill, opened, plan_of, sh, until

from daplug_supervisor import Plan, Provider, Retry
from daplug_supervisor.core import events as ev
from daplug_supervisor.core.retry import delay

place = pytest.fixture(opened)


def crashed(place: Place, plan: Plan, *at_work: str) -> None:
    """Run a plan until these tasks are at work, then kill the supervisor."""
    process = place.start(place.write(plan))
    place.started(*at_work)
    kill(process)


def again(place: Place) -> Ran:
    ran = place.run("plan.json")
    assert ran.code == 0, ran
    place.nothing_left()
    return ran


def marked(place: Place) -> list[str]:
    """Which tasks have left a start marker, each once."""
    attempts = [line.split()[1] for line in place.lines()]
    assert len(set(attempts)) == len(attempts), "an attempt was started twice"
    return sorted(line.split()[0] for line in place.lines())


LATER = {"c": sh(MARKING, "a", "b")}
WORKING = plan_of({name: sh(MARKING + HOLD) for name in "ab"} | LATER)


def test_agents_live_on_and_are_taken_back(place: Place) -> None:
    crashed(place, WORKING, "a", "b")
    pids = {event.task: event.pid for event in place.events(ev.AttemptSpawned)}
    assert all(map(alive, pids.values()))
    process = place.start("plan.json")
    until(lambda: len(place.events(ev.RunStarted)) == 2, "the second supervisor")
    place.go()
    assert finish(process).code == 0
    assert {event.task: event.pid for event in place.events(ev.AttemptSpawned) if event.task in "ab"} == pids
    assert marked(place) == ["a", "b", "c"]
    place.nothing_left()


def test_an_agent_that_ended_meanwhile_is_not_started_again(place: Place) -> None:
    crashed(place, WORKING, "a", "b")
    place.go()
    until(lambda: not place.processes(), "agents and shims gone", 10)
    again(place)
    assert marked(place) == ["a", "b", "c"]
    assert [task.tries for task in place.folded().tasks.values()] == [1, 1, 1]


def test_a_failure_that_nobody_saw_is_a_failure(place: Place) -> None:
    plan = plan_of({"a": sh(f"{MARKING} {HOLD} exit 7", retry=Retry(attempts=1)), "b": sh(MARKING, "a")})
    crashed(place, plan, "a")
    place.go()
    until(lambda: not place.processes(), "agents and shims gone", 10)
    assert place.run("plan.json").code == 1
    [failed] = place.events(ev.TaskFailed)
    assert failed.result.exit.code == 7
    assert place.statuses() == {"a": "failed", "b": "pending"}


def test_its_time_is_kept_although_nobody_watches(place: Place) -> None:
    plan = plan_of({"a": sh(f"{MARKING} sleep 60", timeout=0.6, retry=Retry(attempts=1), grace=0.2)})
    crashed(place, plan, "a")
    until(lambda: not place.processes(), "the shim ending its tree", 10)
    assert place.run("plan.json").code == 1
    assert place.events(ev.TaskFailed)[0].result.outcome.kind == "timeout"


def test_killed_between_two_tries(place: Place) -> None:
    retry = Retry(attempts=3, backoff=1.0 / delay("p-1/a#1", 1, Retry(backoff=1.0)))
    process = place.start(place.write(plan_of({"a": sh(f"{MARKING} [ -e go ]", retry=retry)})))
    [scheduled] = until(lambda: place.events(ev.RetryScheduled), "the first try over")
    kill(process)
    place.go()
    again(place)
    second = [entry for entry in place.entries() if isinstance(entry.event, ev.AttemptStarted)][1]
    assert scheduled.not_before <= second.at
    assert marked(place) == ["a", "a"]
    assert place.task("a").tries == 2


def test_killed_while_it_was_halting(place: Place) -> None:
    process = place.start(place.write(WORKING))
    place.started("a", "b")
    assert place.run("halt", "lunch").code == 0
    kill(process)
    place.go()
    refused = place.run("plan.json")
    assert (refused.code, "lunch" in refused.err) == (3, True)
    assert place.run("resume").code == 0
    assert marked(place) == ["a", "b", "c"]
    place.nothing_left()


def test_ten_kills_at_random_moments(place: Place) -> None:
    """Thirty tasks over three pools; whatever is killed when, each does its work exactly once."""
    chance = random.Random(20261121)
    work = MARKING + "sleep 0.15; " + 'echo "$DAPLUG_TASK" >> effects'
    providers = {
        "p": Provider(worker="command", parallel=3),
        "q": POOL,
        "r": Provider(worker="command", parallel=1),
    }
    names = [f"t{number:02}" for number in range(30)]
    tasks = {}
    for number, name in enumerate(names):
        needs = chance.sample(names[:number], min(number, chance.randint(0, 2)))
        tasks[name] = sh(work, *needs, provider=chance.choice("pqr"))
    tasks["t29"] = sh(f"{HOLD} {work}", provider="q")  # so that it is not over before the last kill
    place.write(plan_of(tasks, providers))

    def started() -> int:
        return len(place.events(ev.SupervisorStarted))

    def at_work(wanted: int) -> bool:
        return started() >= wanted

    for kills in range(10):
        wanted = started() + 1
        process = place.start("plan.json")
        if kills % 2:  # on a slow machine it would else never be killed after its start
            until(partial(at_work, wanted), "the supervisor at work")
        time.sleep(chance.uniform(0.1, 0.5))
        kill(process)
    place.go()
    again(place)
    assert set(place.statuses().values()) == {"done"}
    assert Counter(place.lines("effects")) == Counter(names)
    assert marked(place) == names
    assert started() > 5
    assert len(place.events(ev.RunSubmitted)) == 1
