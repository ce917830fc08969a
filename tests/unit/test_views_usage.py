"""What attempts cost: what nobody reports is unknown, and never zero."""

from __future__ import annotations

import json

import msgspec
import pytest
from build import BOOM, Provider, World, plan, result, task, used

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.plan import Budget
from daplug_supervisor.core.results import Usage
from daplug_supervisor.views.plan.preview import check
from daplug_supervisor.views.plan.text import check_text
from daplug_supervisor.views.providers import providers, providers_text
from daplug_supervisor.views.report.contents import report
from daplug_supervisor.views.report.metrics import metrics_text
from daplug_supervisor.views.task_detail import task_detail, task_text
from daplug_supervisor.views.tasks import tasks
from daplug_supervisor.views.usage import (
    budget_words,
    cost_word,
    money,
    tokens_word,
    total,
    used_words,
    uses,
)

FULL = Usage(input=12_000, cached=2_000, output=345, reasoning=7, cost=0.43)
TOKENS = Usage(input=1_000, output=50)


@pytest.mark.parametrize(
    ("usages", "words", "tokens", "cost"),
    [
        ([FULL], "12,345 tokens, $0.43", "12,345", "$0.43"),
        ([None], "unknown (the attempt does not report it)", "unknown", "unknown"),
        ([None, Usage()], "unknown (none of 2 attempts reports it)", "unknown", "unknown"),
        (
            [FULL, FULL, FULL, None, None],
            "37,035 tokens, $1.29 (2 of 5 attempts report nothing)",
            "37,035+",
            "$1.29+",
        ),
        ([TOKENS, TOKENS], "2,100 tokens, cost unknown", "2,100", "unknown"),
        (
            [TOKENS, FULL, None],
            "13,395 tokens, $0.43 (1 of 3 attempts report nothing, 1 of 3 attempts report no cost)",
            "13,395+",
            "$0.43+",
        ),
        ([Usage(cost=2.0)], "tokens unknown, $2.00", "unknown", "$2.00"),
        (
            [Usage(cost=2.0), FULL],
            "12,345 tokens, $2.43 (1 of 2 attempts report no tokens)",
            "12,345+",
            "$2.43",
        ),
        ([Usage(input=0, output=0, cost=0.0)], "0 tokens, $0.00", "0", "$0.00"),
    ],
)
def test_in_words(usages: list[Usage | None], words: str, tokens: str, cost: str) -> None:
    found = total(usages)
    assert found is not None
    assert (used_words(found), tokens_word(found), cost_word(found)) == (words, tokens, cost)


def test_parts_and_small_change() -> None:
    found = total([FULL, TOKENS])
    assert found is not None
    assert used_words(found, parts=True).startswith(
        "13,395 tokens (13,000 in, 2,000 of it cached, 395 out, 7 of it reasoning), $0.43"
    )
    assert (money(0.0042), money(0.01), money(1234.5)) == ("$0.0042", "$0.01", "$1,234.50")
    assert (total([]), tokens_word(None), cost_word(None)) == (None, "", "")


def night() -> World:
    """Attempts that report all, nothing, and tokens only; a command; an agent that could not be started."""
    pools = {"codex": Provider(), "gemini": Provider(), "local": Provider(worker="command")}
    tasks = {
        "a": task(budget=Budget(tokens=20_000, attempts=3)),
        "b": task(provider="gemini"),
        "sh": task(provider="local", instructions=None, command=("ls",)),
        "none": task(provider="gemini"),
    }
    world = World(plan(tasks, pools, budget=Budget(cost=5.0)))
    world.retried("a", why=used(FULL)).retried("a", why=used(None)).retried("b", why=used(TOKENS))
    world.failed("none", result("configuration", "no CLI", None, error="no CLI"))
    return world.failed("sh").tick(5)


def test_by_task_provider_and_run() -> None:
    found = uses(night().run)
    assert found.all is not None
    assert (found.all.attempts, found.all.unknown, found.all.tokens, found.all.cost) == (3, 1, 13_395, 0.43)
    assert {name: used.tokens for name, used in found.providers.items()} == {"codex": 12_345, "gemini": 1_050}
    assert {name: used.attempts for name, used in found.tasks.items()} == {"a": 2, "b": 1}


def test_of_one_task() -> None:
    world = night()
    found = task_detail(world.run, "a", world.at, True)
    assert [row.used and row.used.tokens for row in found.attempts] == [12_345, None]
    assert found.budget is not None
    assert budget_words(found.budget) == "2 of 3 tries, at least 12,345 of 20,000 tokens"
    text = task_text(found, world.at, 120)
    assert (
        "  used      12,345 tokens (12,000 in, 2,000 of it cached, 345 out, 7 of it reasoning), $0.43 (1"
        in text
    )
    assert "  budget    2 of 3 tries, at least 12,345 of 20,000 tokens\n" in text
    rows = [line.split()[5:7] for line in text.splitlines() if line.startswith("  #")]
    assert rows == [["12,345", "$0.43"], ["unknown", "unknown"]]
    assert [row.used.tokens if row.used else None for row in tasks(world.run, world.at, True)] == [
        12_345,
        1_050,
        None,
        None,
    ]


def test_a_command_costs_nothing_that_is_told() -> None:
    world = night()
    found = task_detail(world.run, "sh", world.at, True)
    assert (found.used, found.attempts[0].used) == (None, None)
    assert "used" not in task_text(found, world.at)


def test_in_a_report() -> None:
    world = night()
    full = report(world.run, world.at)
    data = json.loads(msgspec.json.encode(full))
    assert data["used"]["tokens"] == 13_395
    assert data["tasks_used"]["b"]["cost"] is None
    assert data["budget"]["spent_cost"] == 0.43
    text = metrics_text(full, 200)
    assert "  used                   13,395 tokens (13,000 in, 2,000 of it cached, 395 out, 7 of" in text
    assert "  used most by           a 12,345 tokens, $0.43, b 1,050 tokens\n" in text
    assert "  budget                 at least $0.43 of $5.00\n" in text
    assert "ok, 10s; used: 1,050 tokens, cost unknown\n" in text


def test_a_provider_that_left_the_plan_counts_as_an_agent() -> None:
    world = World(plan({"a": task(provider="old")}, {"codex": Provider(), "old": Provider()}))
    world.retried("a", why=used(FULL)).say(ev.PlanChanged(plan({"a": ()})))
    assert uses(world.run).providers["old"].tokens == 12_345


def test_providers_one_by_one() -> None:
    pools = {
        "codex": Provider(model="gpt", fallback=("gemini",), account="acme"),
        "gemini": Provider(parallel=1),
        "local": Provider(worker="command"),
    }
    world = World(plan({"a": (), "b": task(provider="gemini"), "old": task(provider="codex")}, pools))
    world.retried("a", why=used(FULL)).begin("b").say(
        ev.ProviderRested("codex", world.at + 60, "\x1b[2Jlimit")
    )
    rows = providers(world.run, world.at)
    assert [(row.name, row.state, row.attempts) for row in rows] == [
        ("codex", "resting", 1),
        ("gemini", "full", 0),
        ("local", "open", 0),
    ]
    assert json.loads(msgspec.json.encode(rows))[0]["fallback"] == ["gemini"]
    assert providers_text(world.run, rows, 70) == (
        "codex rests until 01:23:08Z (in 1m 00s): \\x1b[2Jlimit.\n"
        "  tasks     0 of 3 running, 2 ready, 0 backing off\n"
        "  worker    executor, model gpt\n"
        "  fallback  gemini\n"
        "  account   acme\n"
        "  ended     1 attempt\n"
        "  used      12,345 tokens (12,000 in, 2,000 of it cached, 345 out, 7\n"
        "            of it reasoning), $0.43\n"
        "\n"
        "gemini is full (1 of 1 running).\n"
        "  tasks   1 of 1 running, 0 ready, 0 backing off\n"
        "  worker  executor, model gemini\n"
        "  ended   0 attempts\n"
        "\n"
        "local takes tasks (0 of 3 running).\n"
        "  tasks   0 of 3 running, 0 ready, 0 backing off\n"
        "  worker  command\n"
        "  ended   0 attempts"
    )
    world = (
        World(plan({"a": ()}))
        .retried("a")
        .say(ev.PlanChanged(plan({"a": task(provider="gemini")}, {"gemini": Provider()})))
    )
    assert [row.attempts for row in providers(world.run, world.at)] == [0]
    world = World(plan({}))
    world.run.pools = {}
    assert providers_text(world.run, providers(world.run, world.at)) == "No providers."


# --- budgets in a plan --------------------------------------------------------------------------------------


def test_check_says_which_budgets_apply() -> None:
    tasks = {f"t{i}": task(budget=Budget(attempts=i + 1), timeout=5.0, estimate=5.0) for i in range(5)}
    found = check(plan(tasks, budget=Budget(1_000_000, 5.0, 20)))
    text = check_text(found, 200)
    assert "  budget            20 tries, 1,000,000 tokens, $5.00\n" in text
    assert "  budgets of tasks  t0 1 try; t1 2 tries; t2 3 tries; 2 more\n" in text
    assert json.loads(msgspec.json.encode(found))["assignments"][1]["budget"] == {"attempts": 2}


def test_check_warns_where_a_budget_cannot_hold() -> None:
    pools = {
        "codex": Provider(worker="cli", fallback=("old",)),
        "claude": Provider(worker="cli"),
        "old": Provider(),
        "opencode": Provider(),
        "mine": Provider(worker="mine"),
        "local": Provider(worker="command"),
    }
    each = {name: task(provider=name, timeout=5.0, estimate=5.0) for name in pools}
    warned = check(plan(each, pools, budget=Budget(cost=5.0, tokens=10))).warnings
    assert warned == (
        "budget in tokens: old may not report tokens, so it cannot hold there; a budget in attempts always holds",
        (
            "budget in cost: codex and old may not report what it costs, so it cannot hold there; "
            "a budget in attempts always holds"
        ),
    )
    assert check(plan(each, pools, budget=Budget(attempts=5))).warnings == ()
    each["codex"] = task(budget=Budget(tokens=10), timeout=5.0, estimate=5.0)
    [only] = check(plan(each, pools)).warnings
    assert only.startswith("budget in tokens: old may")


def test_check_warns_of_a_fallback_that_rests_as_well() -> None:
    pools = {"codex": Provider(fallback=("high",), account="acme"), "high": Provider(account="acme")}
    found = check(plan({"a": task(timeout=5.0, estimate=5.0)}, pools))
    assert found.warnings == ("provider codex: its fallback high has the same account, and rests with it",)


def test_nothing_is_spent_yet() -> None:
    world = World(plan({"a": ()}, budget=Budget(tokens=10, cost=1.0)))
    found = report(world.run, world.at)
    assert found.used is None
    assert found.budget is not None
    assert budget_words(found.budget) == "0 of 10 tokens, $0.00 of $1.00"
    world.retried("a", why=BOOM)
    assert uses(world.run).all == total([None])
