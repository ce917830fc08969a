"""Providers and budgets from the command line: limits, pauses, what was used, and what may be spent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli import HOLD, MARKING, Place, finish, kill, opened, plan_of, sh, until

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.plan import Budget, Plan, Provider, Task

place = pytest.fixture(opened)

TELLER = """
import json
from daplug_supervisor.core.bundle import Command
from daplug_supervisor.core.results import Outcome, OutcomeKind, Usage

class Teller:
    output_wanted = 4096

    def __init__(self, settings): ...

    def problems(self, assignments): return []

    def account(self, chosen): return "acme"

    def command(self, bundle): return Command(("sh", "-c", bundle.spec.instructions), cwd=bundle.cwd)

    def outcome(self, evidence):
        said = json.loads(evidence.stdout.splitlines()[-1])
        usage = Usage(**said["usage"]) if "usage" in said else None
        until = evidence.now + said["rest"] if "rest" in said else None
        return Outcome(OutcomeKind(said["kind"]), said.get("detail", ""), until, usage=usage)
"""
"""A worker of another package: its agents say themselves how they ended, and what they cost."""

TWO = {"p": Provider(worker="command"), "q": Provider(worker="command")}


def teach(place: Place) -> None:
    """Bring the worker `teller` along, as an installed package would."""
    folder = place.home / "packages"
    metadata = folder / "teller-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: teller\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[daplug_supervisor.workers]\nteller = teller:Teller\n")
    (folder / "teller.py").write_text(TELLER)
    place.environ["PYTHONPATH"] = str(folder)


def told(kind: str = "completed", **more: object) -> str:
    return f"echo '{json.dumps({'kind': kind} | more)}'"


def agent(line: str, *needs: str, provider: str = "codex") -> Task:
    return Task(instructions=line, needs=needs, provider=provider, grace=0.5)


def test_a_provider_is_paused_and_resumed_while_a_supervisor_is_alive(place: Place) -> None:
    tasks = {"a": sh(MARKING + HOLD), "b": sh(MARKING, "a"), "c": sh(MARKING + HOLD, provider="q")}
    process = place.start("run", "--quiet", place.write(plan_of(tasks, TWO)))
    place.started("a", "c")
    ran = place.run("provider", "pause", "p", "--for", "2h", "--reason", "lunch\x1b[2J")
    assert (ran.code, "starts nothing more with p until " in ran.out) == (0, True)
    place.go("a")
    until(lambda: place.statuses()["a"] == "done", "a is done")
    why = place.run("task", "why", "b", "--json").json()
    assert (why["state"], why["next"]) == ("pool_paused", ["daplug-supervise provider resume p"])
    rows = place.run("provider", "list", "--json").json()
    assert [(row["name"], row["state"], row["ready"], row["attempts"]) for row in rows] == [
        ("p", "paused", 1, 1),
        ("q", "open", 0, 0),
    ]
    assert "lunch\\x1b[2J" in place.run("provider", "list").out
    assert place.run("provider", "resume", "p").out == "run p-1 starts tasks with p again\n"
    until(lambda: place.statuses()["b"] == "done", "b is done")
    place.go()
    assert finish(process).code == 0
    ran = place.run("provider", "pause", "p")
    assert (ran.code, "there is no unfinished run" in ran.err) == (2, True)
    place.nothing_left()


def test_a_pause_outlives_its_supervisor_and_can_be_set_without_one(place: Place) -> None:
    tasks = {"a": sh(MARKING + HOLD), "b": sh(MARKING, "a")}
    plan = place.write(plan_of(tasks, TWO))
    process = place.start("run", "--quiet", plan)
    place.started("a")
    kill(process)
    ran = place.run("provider", "pause", "p")
    assert (ran.code, "before 'daplug-supervise provider resume p'" in ran.out) == (0, True)
    place.go()
    process = place.start("run", "--quiet", plan)
    until(lambda: place.statuses()["a"] == "done", "a is done")
    status = place.run("status", "--json").json()
    assert (status["state"], status["next"]) == ("waiting", ["daplug-supervise provider resume p"])
    kill(process)
    assert place.run("provider", "resume", "p").code == 0
    assert place.run("run", "--quiet", plan).code == 0
    assert len(place.lines()) == 2


REFUSED = {
    "pause x": "run p-1 has no provider 'x'; it has p, q",
    "resume p": "provider p is not paused, and neither rests nor is stopped",
    "pause p --for soon": "'soon' is not a duration: write 90s, 45m, 1h30m",
    "pause p --for 0": "0: more than nothing, and at most 366d",
    "pause p --for 400d": "400d: more than nothing",
    "pause p --run q-7": "there is no run 'q-7'",
    "list --run q-7": "there is no run 'q-7'",
    "pause": "Missing argument",
}


def test_what_cannot_be_done_says_why(place: Place) -> None:
    process = place.start("run", "--quiet", place.write(plan_of({"a": sh(MARKING + HOLD)}, TWO)))
    place.started("a")
    kill(process)
    for words, message in REFUSED.items():
        ran = place.run("provider", *words.split())
        assert (ran.code, message in ran.err) == (2, True), ran.err
    assert place.events(ev.ProviderPaused, ev.ProviderResumed) == []


def limited(rest: float) -> Plan:
    """Its first attempt meets a limit, of an account that both its providers share."""
    limit = told("quota", detail="You have hit your usage limit.", rest=rest)
    line = f"{MARKING} test -e met && {told(usage={'input': 5, 'output': 1})} || {{ touch met; {limit}; }}"
    pools = {"codex": Provider(worker="teller"), "high": Provider(worker="teller")}
    return plan_of({"a": agent(line), "b": agent(told(), "a", provider="high")}, pools)


def test_a_run_that_waits_for_a_limit_says_so(place: Place) -> None:
    teach(place)
    process = place.start("run", place.write(limited(900)))
    until(lambda: place.events(ev.ProviderRested), "the limit was met")
    status = place.run("status", "--json").json()
    assert [row["name"] for row in status["providers"] if row["state"] == "resting"] == ["codex", "high"]
    assert "provider codex rests until " in status["sentence"]
    assert "Nothing to do: it goes on by itself" in status["sentence"]
    assert place.run("provider", "resume", "high").code == 0  # and with it all of its account
    ran = finish(process)
    assert ran.code == 0, ran.err
    assert "The provider rests until " in ran.err
    assert "used                   6 tokens (5 in, 1 out), cost unknown (2 of 3 attempts report" in ran.out
    shown = place.run("task", "show", "a", "--json").json()
    assert [row["used"]["tokens"] for row in shown["attempts"]] == [None, 6]


def test_a_limit_that_passes_uses_up_no_try(place: Place) -> None:
    teach(place)
    assert place.run("run", "--quiet", place.write(limited(0.5))).code == 0
    assert [task.tries for task in place.folded().tasks.values()] == [1, 1]
    assert len(place.lines()) == 2


def edited(place: Place, plan: Plan, budget: Budget) -> str:
    return place.write(Plan(plan.name, plan.tasks, plan.providers, budget=budget))


def test_a_run_halts_when_its_tries_are_spent_and_goes_on_when_it_may_spend_more(place: Place) -> None:
    plan = plan_of({name: sh(MARKING) for name in "abcd"})
    ran = place.run("run", edited(place, plan, Budget(attempts=2)))
    assert (ran.code, len(place.lines())) == (3, 2), ran.err
    assert "the run's budget is spent (tries: 2 of 2): raise it in the plan to go on" in ran.out.replace(
        "\n  ", " "
    )
    assert "  daplug-supervise run plan.json" in ran.out
    assert "budget                 2 of 2 tries: SPENT" in ran.out
    assert place.run("resume").code == 3  # with the same budget nothing can start
    assert place.run("run", edited(place, plan, Budget(attempts=5))).code == 0
    assert (len(place.lines()), set(place.statuses().values())) == (4, {"done"})


def test_a_run_halts_when_its_tokens_are_spent(place: Place) -> None:
    teach(place)
    line = MARKING + told(usage={"input": 500, "output": 100, "cost": 0.2})
    plan = plan_of({name: agent(line) for name in "abc"}, {"codex": Provider(worker="teller", parallel=1)})
    ran = place.run("run", edited(place, plan, Budget(tokens=1000, cost=50)))
    assert (ran.code, len(place.lines())) == (3, 2), ran.err
    assert "budget                 1,200 of 1,000 tokens, $0.40 of $50.00: SPENT" in ran.out
    ran = place.run("run", edited(place, plan, Budget(tokens=5000)), "--json")
    made = ran.json()
    assert (ran.code, made["used"]["tokens"], made["budget"]["spent_tokens"]) == (0, 1800, 1800)
    assert (
        json.loads(Path(place.state, "runs", "p-1", "report.json").read_text())["tasks_used"]["c"]["cost"]
        == 0.2
    )


def test_a_task_whose_budget_is_spent_is_stuck(place: Place) -> None:
    teach(place)
    line = MARKING + told("failed", detail="no", usage={"input": 500, "output": 100})
    task = Task(instructions=line, provider="codex", budget=Budget(tokens=500))
    ran = place.run("run", place.write(plan_of({"a": task}, {"codex": Provider(worker="teller")})))
    assert (ran.code, len(place.lines())) == (1, 1), ran.err
    why = place.run("task", "why", "a", "--json").json()
    assert why["status"] == "stuck"
    assert "its budget is spent (tokens: 600 of 500)" in why["sentence"]
    assert "raise the task's budget, then retry it" in why["sentence"]
