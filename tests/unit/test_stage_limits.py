"""How many stages a plan may have: D14."""

from __future__ import annotations

from core_making import plan_of, task

from daplug_supervisor.core.plan import Plan, Task
from daplug_supervisor.formats.checks import check


def said(plan: Plan) -> list[str]:
    return [f"{'.'.join(map(str, one.path))}: {one.message}" for one in check(plan) if "stage" in one.message]


def chain(count: int, **more: str) -> dict[str, Task]:
    return {f"t{at}": task(*([f"t{at - 1}"] if at else []), provider="codex", **more) for at in range(count)}


def test_ten_stages_with_barriers_are_enough() -> None:
    assert said(plan_of(chain(10), stages="barrier")) == []
    assert said(plan_of(chain(12), stages="barrier")) == [
        "tasks.t10: stage 11 of 12: with stages: barrier at most 10 are allowed"
    ]
    assert said(plan_of(chain(12))) == []


def test_the_parts_of_a_task_form_ten_stages_at_most() -> None:
    tasks = {"whole": task(), **chain(11, parent="whole")}
    assert said(plan_of(tasks)) == ["tasks.whole: its parts form 11 stages: at most 10 are allowed"]


def test_what_waits_for_nothing_that_there_is_is_not_counted() -> None:
    for wrong in (task("nobody"), task("t1", "wrong"), task(parent="nobody")):
        assert said(plan_of({**chain(12), "wrong": wrong}, stages="barrier")) == []
