"""An edited plan between two starts: what has started stays as it was, the rest follows."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest
from build import Plan, Provider, Retry, Task, World, plan, task
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.changes import changes
from daplug_supervisor.core.machine import Status
from daplug_supervisor.errors import PlanError

Specs = Mapping[str, Task | tuple[str, ...]]


def summary(old: Specs | Plan, new: Specs | Plan, started: Collection[str] = ()) -> tuple[str, ...]:
    first, second = (it if isinstance(it, Plan) else plan(it) for it in (old, new))
    return changes(first, second, started).summary


def test_nothing_changed() -> None:
    same = plan({"a": (), "b": ("a",)})
    found = changes(same, plan({"a": (), "b": ("a",)}), ["a"])
    assert found.summary == ()
    assert found.plan == same


def test_added_removed_changed() -> None:
    old: Specs = {"x": task(timeout=60.0), "y": (), "z": ()}
    new: Specs = {"x": task(timeout=120.0), "z": (), "w": ("z",)}
    assert summary(old, new) == ("task x: timeout 60s -> 120s", "task w: added", "task y: removed")


def test_every_kind_of_value_is_told() -> None:
    old = task("q", title="T", retry=Retry(3), env={"TOKEN": "secret"}, owner="ann")
    new = task(retry=Retry(5, backoff=9.0), worktree=True, env={"TOKEN": "other"}, title="x" * 50, priority=3)
    [line] = summary({"a": old, "q": ()}, {"a": new, "q": ()})
    assert line == (
        "task a: title changed, needs q -> none, priority 0 -> 3, retry.attempts 3 -> 5, "
        "retry.backoff 30s -> 9s, worktree no -> yes, env changed, owner ann -> none"
    )


def test_providers() -> None:
    old = plan({"a": ()}, {"codex": Provider(parallel=2), "old": Provider()})
    new = plan({"a": ()}, {"codex": Provider(parallel=3, options={"key": 1}), "new": Provider()})
    assert summary(old, new) == (
        "provider codex: parallel 2 -> 3, options changed",
        "provider new: added",
        "provider old: removed",
    )


def test_the_plan_itself() -> None:
    new = replace(plan({"a": ()}), name="other", on_failure="halt", timeout=60.0)
    assert summary({"a": ()}, new) == (
        "plan: name add-oauth -> other, on_failure continue -> halt, timeout none -> 60s",
    )


# --- what has started ---------------------------------------------------------------------------------------


def test_a_started_task_stays_as_it_was() -> None:
    old, new = plan({"w": task(timeout=60.0)}), plan({"w": task(timeout=5.0)})
    found = changes(old, new, ["w"])
    assert found.plan.tasks["w"].timeout == 60.0
    assert found.summary == (
        "task w: changed, but it has started: kept as it was (retry it to use the new plan)",
    )


def test_a_started_task_is_not_removed_nor_what_it_needs() -> None:
    old = plan({"a": (), "b": ("a",), "c": ("b",), "d": ("c",), "e": ()})
    found = changes(old, plan({"e": ()}), ["c"])
    assert set(found.plan.tasks) == {"a", "b", "c", "e"}
    assert found.plan.tasks["c"] == old.tasks["c"]
    assert found.summary == (
        "task a: not in the plan any more, but b, which is kept, needs it: kept",
        "task b: not in the plan any more, but started task c needs it: kept",
        "task c: not in the plan any more, but it has started: kept",
        "task d: removed",
    )


def test_a_started_task_still_in_the_plan_keeps_a_removed_need() -> None:
    old, new = plan({"a": (), "b": ("a",)}), plan({"b": ()})
    found = changes(old, new, {"b"})
    assert found.plan.tasks == {"b": old.tasks["b"], "a": old.tasks["a"]}


def test_providers_of_started_tasks_stay_with_their_fallbacks() -> None:
    providers = {
        "codex": Provider(fallback=("glm",)),
        "glm": Provider(fallback=("codex", "gone")),
        "gone": Provider(),
        "other": Provider(),
    }
    old = plan({"a": ()}, providers)
    new = plan({"b": task(provider="new")}, {"new": Provider()})
    found = changes(old, new, ["a"])
    assert set(found.plan.providers) == {"new", "codex", "glm", "gone"}
    assert found.summary[:3] == (
        "provider new: added",
        "provider codex: not in the plan any more, but started tasks may use it: kept",
        "provider glm: not in the plan any more, but started tasks may use it: kept",
    )


def test_started_names_that_the_old_plan_does_not_know_mean_nothing() -> None:
    assert summary({"a": ()}, {"a": (), "b": ()}, ["b"]) == ("task b: added",)


def test_a_cycle_with_what_has_started_is_refused() -> None:
    with pytest.raises(PlanError, match="cycle") as caught:
        changes(plan({"a": (), "b": ("a",)}), plan({"a": ("b",), "b": ()}), ["b"])
    [problem] = caught.value.problems
    assert "a needs b needs a" in problem.message or "b needs a needs b" in problem.message
    assert problem.remedy.startswith("retry the started tasks first")


def test_two_ids_that_differ_only_in_case_are_refused() -> None:
    with pytest.raises(PlanError, match="upper and lower case"):
        changes(plan({"Build": ()}), plan({"build": ()}), ["Build"])
    assert summary({"Build": ()}, {"build": ()}) == ("task build: added", "task Build: removed")


# --- together with the state --------------------------------------------------------------------------------

_NAMES = "abcdef"


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    names = draw(st.lists(st.sampled_from(_NAMES), unique=True, min_size=1).map(sorted))
    providers = draw(st.lists(st.sampled_from(["codex", "glm", "gem"]), unique=True, min_size=1))
    tasks = {
        name: task(
            *draw(st.lists(st.sampled_from(names[:i]), unique=True) if i else st.just([])),
            provider=draw(st.sampled_from(providers)),
            priority=draw(st.integers(0, 1)),
        )
        for i, name in enumerate(names)
    }
    return plan(tasks, {name: Provider(fallback=tuple(providers[:1])) for name in providers})


@given(plans(), plans(), st.data())
def test_the_state_takes_every_merged_plan(old: Plan, new: Plan, data: st.DataObject) -> None:
    world = World(old)
    for name in sorted(old.tasks):
        ready = not world.run.tasks[name].unmet
        how = data.draw(st.sampled_from(["begin", "done", "failed", "nothing"])) if ready else "nothing"
        if how != "nothing":
            getattr(world, how)(name)
    started = {name for name, it in world.run.tasks.items() if it.status is not Status.PENDING}
    found = changes(old, new, started)
    world.say(ev.PlanChanged(found.plan, found.summary))
    assert started <= found.plan.tasks.keys()
    assert all(found.plan.tasks[name] == old.tasks[name] for name in started)
    assert bool(found.summary) >= (found.plan != old)
    assert changes(found.plan, found.plan, started).summary == ()
