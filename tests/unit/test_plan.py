from __future__ import annotations

from typing import Any

import msgspec
import pytest
from core_making import plan_of, task

from daplug_supervisor.core.bundle import Bundle
from daplug_supervisor.core.plan import (
    DURATION_FIELDS,
    Assignment,
    Defaults,
    Id,
    Loop,
    Plan,
    PlanFile,
    Provider,
    Retry,
    Task,
    assignment,
    parse_duration,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("45m", 2700), ("1h30m", 5400), ("2d", 172800), ("1.5h", 5400), ("0s", 0), ("1m1m", 120)],
)
def test_a_duration_is_the_sum_of_its_parts(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "90", "s", "1h 30m", "1h30", "-1s", "1w", ".5s", "1..5s", "1e3s", "1s\n", "1S"]
)
def test_what_is_not_a_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["a", "0", "a.b_c-D", "x" * 64])
def test_letters_digits_and_a_few_signs_make_an_id(text: str) -> None:
    assert msgspec.convert(text, Id) == text


@pytest.mark.parametrize("text", ["", ".", "..", "-a", "_a", "a/b", "a b", "a\n", "ä", "x" * 65, "a\x00"])
def test_what_could_harm_a_path_or_a_line_is_no_id(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(text, Id)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (Task, {"surprise": 1}),
        (Task, {"command": []}),
        (Task, {"prompt": ""}),
        (Task, {"priority": 1001}),
        (Task, {"timeout": -1}),
        (Task, {"timeout": 367 * 86400}),
        (Task, {"needs": ["a b"]}),
        (Task, {"loop": {"completion_marker": "DONE\n"}}),
        (Task, {"loop": {"max_iterations": 0}}),
        (Task, {"retry": {"attempts": 0}}),
        (Task, {"sandbox": "loose"}),
        (Task, {"on_conflict": "force"}),
        (Provider, {"parallel": 0}),
        (Provider, {"variant": "huge"}),
        (Plan, {"name": "p", "tasks": {}, "version": 2}),
        (Plan, {"name": "p", "tasks": {"a b": {}}}),
        (Plan, {"name": "p", "tasks": {}, "on_failure": "panic"}),
    ],
)
def test_a_plan_outside_the_schema_is_refused(kind: Any, data: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(data, kind)


def test_three_tries_three_iterations_and_three_at_once_are_the_defaults() -> None:
    assert (Retry().attempts, Loop().max_iterations, Provider().parallel) == (3, 3, 3)
    assert (Task().timeout, Task().worktree, Plan("p", {}).on_failure) == (None, False, "continue")


def test_every_duration_field_is_a_field_of_the_schema() -> None:
    kinds = (Task, Retry, Plan, Provider, Defaults)
    fields = {field.name for kind in kinds for field in msgspec.structs.fields(kind)}
    assert fields >= DURATION_FIELDS


def test_whatever_defaults_may_say_a_task_may_say() -> None:
    own = {field.name for field in msgspec.structs.fields(Task)}
    assert own.issuperset(field.name for field in msgspec.structs.fields(Defaults))


def test_a_plan_file_without_a_name_is_told_from_one_with_it() -> None:
    assert msgspec.convert({"tasks": {}}, PlanFile).name is msgspec.UNSET


def test_a_plan_survives_json() -> None:
    spec = task("b", timeout=5.0, env={"K": "v"}, retry=Retry(1), loop=Loop(2, "DONE"), sandbox="strict")
    plan = plan_of(
        {"b": task(), "a": spec}, {"codex": Provider(options={"deep": [1, {"x": None}]})}, timeout=9.0
    )
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan


@pytest.mark.parametrize(
    ("spec", "provider", "expected"),
    [
        (Task(provider="plain"), "plain", ("plain", "executor", "plain", None, None)),
        (Task(provider="full"), "full", ("full", "command", "glm5", "opencode", "low")),
        (
            Task(provider="full", model="m", cli="c", variant="high"),
            "full",
            ("full", "command", "m", "c", "high"),
        ),
        (
            Task(provider="plain", model="m", cli="c", variant="high"),
            "full",
            ("full", "command", "glm5", "opencode", "low"),
        ),
        (Task(provider="full", model="m", cli="c"), "plain", ("plain", "executor", "plain", None, None)),
    ],
    ids=["names only", "provider's", "task's own", "not at a fallback", "nothing at a fallback"],
)
def test_a_task_names_the_model_only_for_its_own_provider(
    spec: Task, provider: str, expected: tuple[Any, ...]
) -> None:
    full = Provider(model="glm5", worker="command", cli="opencode", variant="low")
    plan = plan_of({"a": spec}, {"plain": Provider(), "full": full})
    assert assignment(plan, spec, provider) == Assignment(*expected)


def test_a_bundle_is_named_after_its_attempt() -> None:
    found = Bundle("r", "t", 3, "token", "/d", "/t", "/c", Task(), Assignment("p", "w", "m", None, None))
    assert found.name == "r/t#3"
