"""Budgets and accounts in a plan file."""

from __future__ import annotations

import json

import pytest

from daplug_supervisor.core.plan import Budget, Plan
from daplug_supervisor.errors import PlanError
from daplug_supervisor.formats.plans.planyaml import loads


def load(text: str) -> Plan:
    return loads(text.encode(), file="plan.yaml", default_name="p", processors=2)


TEXT = """
budget: {attempts: 20, cost: 5}
defaults: {provider: codex, budget: {tokens: 1000}}
tasks:
  a: {prompt: "1"}
  b: {prompt: "2", budget: {attempts: 2}}
  c: {command: [x]}
  d: {command: [x], budget: {attempts: 2}}
"""


def test_budgets_of_run_and_tasks_are_read() -> None:
    plan = load(TEXT)
    assert plan.budget == Budget(cost=5.0, attempts=20)
    assert [task.budget for task in plan.tasks.values()] == [
        Budget(tokens=1000),
        Budget(attempts=2),
        None,  # what a command costs is not counted
        Budget(attempts=2),
    ]
    straight = json.dumps({"budget": {"tokens": 5}, "tasks": {"a": {"command": ["x"]}}})
    assert loads(straight.encode(), file="p.json", default_name="p", processors=2).budget == Budget(tokens=5)


@pytest.mark.parametrize(
    ("text", "field", "message"),
    [
        ("budget: {}\ntasks: {a: {command: [x]}}", "budget", "limits nothing"),
        (
            "defaults: {budget: {}}\ntasks: {a: {prompt: x, provider: codex}}",
            "defaults.budget",
            "limits nothing",
        ),
        ("tasks: {a: {command: [x], budget: {}}}", "tasks.a.budget", "limits nothing"),
        (
            "tasks: {a: {command: [x], budget: {cost: 1}}}",
            "tasks.a.budget.cost",
            "what a command costs is not counted",
        ),
        (
            'providers: {codex: {account: "a\\e"}}\ntasks: {a: {command: [x]}}',
            "providers.codex.account",
            "'a\\x1b' cannot name an account",
        ),
        (
            f"providers: {{codex: {{account: {'x' * 201}}}}}\ntasks: {{a: {{command: [x]}}}}",
            "providers.codex.account",
            "cannot name an account",
        ),
    ],
)
def test_what_cannot_be(text: str, field: str, message: str) -> None:
    with pytest.raises(PlanError) as caught:
        load(text)
    [problem] = caught.value.problems
    assert problem.field == field
    assert message in problem.message
    assert problem.remedy
