"""What a plan will do, before it runs: D11, D12, D16, D17."""

from __future__ import annotations

import json

import msgspec
from build import Plan, Provider, plan, task
from msgspec.structs import replace

from daplug_supervisor.core.plan import Origin
from daplug_supervisor.views.plan.preview import check
from daplug_supervisor.views.plan.text import check_text


def document() -> Plan:
    """The six-subtask example of D16."""
    providers = {
        "codex": Provider(model="gpt", parallel=1, fallback=("opencode",)),
        "opencode": Provider(model="glm5"),
        "local": Provider(worker="command"),
    }

    def sub(*needs: str, estimate: float = 600.0, **more: object) -> object:
        return task(*needs, timeout=1800.0, estimate=estimate, **more)

    tasks = {
        "design": sub(title="Design", owner="ann"),
        "backend": sub("design", estimate=1200.0, owner="bob", title="Back end"),
        "frontend": sub("design", owner="ann", title="Front \x1b[1mend"),
        "tests": sub("backend", "frontend", provider="opencode", model="glm5-air"),
        "audit": sub("tests"),
        "docs": sub("audit"),
    }
    return plan(tasks, providers)  # type: ignore[arg-type]


def test_stages_of_the_example() -> None:
    found = check(document())
    assert found.stages == (("design",), ("backend", "frontend"), ("tests",), ("audit",), ("docs",))
    assert found.critical_path == ("design", "backend", "tests", "audit", "docs")
    assert (found.estimate, found.total_estimate, found.parallel) == (3600.0, 4200.0, 2)
    assert (found.bottlenecks, found.owners) == (("design",), {"ann": 2, "bob": 1})
    assert found.warnings == ()


def test_data() -> None:
    found = json.loads(msgspec.json.encode(check(document())))
    assert found["stages"][1] == ["backend", "frontend"]
    assert found["providers"][0] == {
        "name": "codex",
        "worker": "executor",
        "model": "gpt",
        "limit": 1,
        "tasks": 5,
        "widest": 2,
        "at_once": 1,
        "estimate": 3600.0,
        "fallback": ["opencode"],
    }
    assert found["providers"][2]["estimate"] is None
    assert found["assignments"][3] == {
        "task": "tests",
        "title": "do it",
        "stage": 3,
        "provider": "opencode",
        "worker": "executor",
        "model": "glm5-air",
        "cli": None,
        "needs": ["backend", "frontend"],
        "timeout": 1800.0,
        "estimate": 600.0,
        "owner": "",
        "budget": None,
    }


def test_text() -> None:
    assert check_text(check(document()), 90) == (
        "Plan add-oauth: 6 tasks in 5 stages\n"
        "  widest stage   2 tasks\n"
        "  longest chain  design > backend > tests > audit > docs, 1h 00m\n"
        "  all estimates  1h 10m\n"
        "  time           60-70 minutes, at most 1 at once\n"
        "  most needed    design\n"
        "  owners         ann 2, bob 1\n"
        "\n"
        "Stages (not barriers: a task starts when its own needs are met)\n"
        "   1  design\n"
        "   2  backend, frontend\n"
        "   3  tests\n"
        "   4  audit\n"
        "   5  docs\n"
        "\n"
        "Bottlenecks\n"
        "  stage 1: all 5 other tasks wait for design\n"
        "  stage 3: tests must wait for backend and frontend, and all 2 tasks after it wait for\n"
        "  tests\n"
        "  stage 4: audit must wait for tests, and the task after it waits for audit\n"
        "  provider codex: 1 place for up to 2 tasks at once\n"
        "\n"
        "Providers\n"
        "  provider  worker    model  tasks  most at once                 fallback\n"
        "  codex     executor  gpt    5      1 (limit 1, widest stage 2)  opencode\n"
        "  opencode  executor  glm5   1      1 (limit 3, widest stage 1)\n"
        "  local     command   local  0      0 (limit 3, widest stage 0)\n"
        "\n"
        "Tasks\n"
        "  task      provider  model     timeout  needs                 title\n"
        "  design    codex     gpt       30m 00s                        Design\n"
        "  backend   codex     gpt       30m 00s  design                Back end\n"
        "  frontend  codex     gpt       30m 00s  design                Front \\x1b[1mend\n"
        "  tests     opencode  glm5-air  30m 00s  backend and frontend  do it\n"
        "  audit     codex     gpt       30m 00s  tests                 do it\n"
        "  docs      codex     gpt       30m 00s  audit                 do it"
    )


def test_warnings() -> None:
    providers = {"codex": Provider(fallback=("nobody",)), "idle": Provider()}
    found = check(
        plan({"a": (), "b": task(timeout=5.0), "c": task(instructions=None, command=("ls",))}, providers)
    )
    assert found.warnings == (
        "no timeout: a; an agent that hangs keeps its slot until a person looks",
        "no task has an estimate: the critical path counts tasks, not time",
        "provider codex: its fallback nobody is not a provider of this plan",
        "provider idle is not used",
    )
    assert (found.estimate, found.total_estimate) == (None, None)
    text = check_text(found, 60)
    assert "Warnings\n  no timeout: a; an agent that hangs keeps its slot until a\n  person looks\n" in text
    assert "  longest chain  a\n" in text
    some = check(plan({"a": task(timeout=5.0, estimate=9.0), "b": task(timeout=5.0)}))
    assert some.warnings == ("no estimate: b; the critical path counts them as one second",)


def test_wide_and_long_plans_are_cut() -> None:
    wide = check_text(check(plan({f"task-{i:02}": () for i in range(40)})), 60)
    assert "   1  task-00, task-01, task-02, task-03 and 36 more\n" in wide
    assert "  and 20 more tasks" in wide
    long = check_text(check(plan({f"t{i}": (f"t{i - 1}",) if i else () for i in range(22)})), 200)
    assert "> t19 and 2 more\n" in long
    assert "  20  t19\n  and 2 more stages\n" in long


def test_a_name_wider_than_the_line_is_still_shown() -> None:
    text = check_text(check(plan({"a" * 60: (), "b": ()})), 40)
    assert f"   1  {'a' * 60} and 1 more\n" in text


def test_an_empty_plan() -> None:
    found = check(plan({}))
    assert (found.parallel, found.stages, found.critical_path) == (0, (), ())
    assert check_text(found).startswith("Plan add-oauth: 0 tasks in 0 stages\n")


def test_who_may_not_write_is_named_before_it_costs_anything() -> None:
    tasks = {
        "a": task(provider="cc"),
        "b": task(provider="cc", require_diff=True),
        "c": task(provider="cc", sandbox=True),
        "d": task(provider="codex"),
    }
    providers = {"cc": Provider(model="cc-sonnet"), "codex": Provider()}
    [told] = [line for line in check(plan(tasks, providers)).warnings if "no leave to write" in line]
    assert told.startswith("a: daplug gives claude no leave")
    assert "`worker: cli`" in told
    session = replace(
        plan(tasks, providers), origin=Origin("tasker", ".tasker")
    )  # there is no plan to say that in
    [told] = [line for line in check(session).warnings if "no leave to write" in line]
    assert told.endswith("all the same; name another model with --provider")
