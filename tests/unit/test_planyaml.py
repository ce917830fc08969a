"""Plan files: what they mean, and that everything wrong with them is said, with its place and a remedy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from daplug_supervisor.core.plan import Loop, Provider, Retry
from daplug_supervisor.errors import PlanError
from daplug_supervisor.formats.plans import planyaml

A = "tasks: {a: {command: [x]}}"


def loads(text: Any, file: Any = "plan.yaml", name: Any = "plan", processors: Any = 4) -> Any:
    data = text.encode() if isinstance(text, str) else text
    return planyaml.loads(data, file=file, default_name=name, processors=processors)


def problems(text: Any, file: Any = "plan.yaml") -> Any:
    with pytest.raises(PlanError) as caught:
        loads(text, file)
    for problem in caught.value.problems:
        assert problem.message
        assert problem.file == file
        assert str(problem).isprintable()
    return caught.value.problems


def both(yaml_text: Any) -> Any:
    """The same plan from YAML and from JSON."""
    return loads(yaml_text), loads(json.dumps(yaml.safe_load(yaml_text)), file="plan.json")


FULL = """
version: 1
name: add-oauth
on_failure: halt
timeout: 3h
providers:
  codex:    {model: codex-high, parallel: 2, fallback: [opencode]}
  opencode: {model: glm5, parallel: 3, options: {a: [1, 2.5, null, true, text, {b: c}]}, env: {K: v}}
defaults:
  provider: codex
  timeout: 45m
  retry: {attempts: 5, backoff: 30s}
  loop: {max_iterations: 4}
  env: {A: "1", B: "2"}
  worktree: true
  require_diff: true
tasks:
  db:
    title: Schema
    prompt: "012"
    retry: {attempts: 1, max_backoff: 1h30m}
    env: {B: "3"}
  api:
    blocked_by: [db]
    prompt: providers/013
    timeout: 90
    sandbox: strict
    variant: none
  notes:
    needs: [db, api]
    command: ["sh", "-c", "git log -3 > NOTES"]
"""


def test_defaults_are_written_into_the_tasks() -> None:
    for plan in both(FULL):
        db, api, notes = plan.tasks.values()
        assert (plan.name, plan.version, plan.on_failure, plan.timeout) == ("add-oauth", 1, "halt", 10800.0)
        assert db.retry == Retry(attempts=1, backoff=30.0, max_backoff=5400.0)
        assert db.env == {"A": "1", "B": "3"}
        assert db.timeout == 2700.0
        assert db.require_diff
        assert (db.provider, api.provider, notes.provider) == ("codex", "codex", "local")
        assert api.needs == ("db",)
        assert api.timeout == 90.0
        assert (api.sandbox, api.variant) == ("strict", "none")
        assert api.loop == Loop(max_iterations=4)
        assert api.env == {"A": "1", "B": "2"}
        # What is for agents only does not reach commands.
        assert not notes.require_diff
        assert notes.loop == Loop()
        assert notes.worktree
        assert notes.timeout == 2700.0
        assert plan.providers["local"] == Provider(worker="command", parallel=4)
        assert list(plan.providers) == ["codex", "opencode", "local"]
        assert plan.providers["opencode"].options == {"a": [1, 2.5, None, True, "text", {"b": "c"}]}


def test_yaml_and_json_give_the_same_plan() -> None:
    one, other = both(FULL)
    assert one == other


def test_equal_defaults_are_shared() -> None:
    plan = loads("defaults: {retry: {attempts: 9}}\ntasks: {a: {command: [x]}, b: {command: [x]}}")
    assert plan.tasks["a"].retry is plan.tasks["b"].retry


@pytest.mark.parametrize(
    ("text", "providers"),
    [
        (A, {"local": Provider(worker="command", parallel=4)}),
        (f"providers: {{local: {{parallel: 2}}}}\n{A}", {"local": Provider(worker="command", parallel=2)}),
        (
            f"providers: {{local: {{env: {{A: b}}}}}}\n{A}",
            {"local": Provider(None, 4, "command", env={"A": "b"})},
        ),
        (
            "tasks: {a: {instructions: x, provider: claude}}",
            {"claude": Provider(model="claude", cli="claude")},
        ),
        (
            "providers: {mine: {fallback: [gemini]}}\ntasks: {a: {instructions: x}}",
            {"mine": Provider(fallback=("gemini",)), "gemini": Provider(model="gemini")},
        ),
        (
            "providers: {local: {}, mine: {}}\ntasks: {a: {instructions: x}}",
            {"local": Provider(worker="command", parallel=4), "mine": Provider()},
        ),
        (
            (
                "providers: {odd: {worker: third}, local: {fallback: [odd]}}\n"
                "tasks: {a: {command: [x], provider: odd}, b: {instructions: x, provider: odd}}"
            ),
            {"odd": Provider(worker="third"), "local": Provider(None, 4, "command", fallback=("odd",))},
        ),
    ],
)
def test_providers(text: Any, providers: Any) -> None:
    assert loads(text).providers == providers


def test_a_default_model_stays_with_its_provider() -> None:
    plan = loads(
        "defaults: {provider: codex, model: codex-high, timeout: 5}\n"
        "tasks: {a: {prompt: x}, b: {prompt: x, provider: gemini}, c: {prompt: x, provider: codex, model: m}}"
    )
    assert [task.model for task in plan.tasks.values()] == ["codex-high", None, "m"]
    assert [task.timeout for task in plan.tasks.values()] == [5.0, 5.0, 5.0]


def test_texts_are_taken_as_they_are_written() -> None:
    plan = loads(
        "name: 1e3\ndefaults: {provider: codex}\n"
        "tasks: {001: {prompt: 012, title: no}, 0x1: {prompt: 1.0, needs: [001], owner: 2001-01-01, base: ~~}"
        ",\n"
        " on: {command: [1:30, true, 010, !!str 5, ! 6], env: {DEBUG: 1}, labels: [no]}}"
    )
    assert plan.name == "1e3"
    assert list(plan.tasks) == ["001", "0x1", "on"]
    first, second, third = plan.tasks.values()
    assert (first.prompt, first.title) == ("012", "no")
    assert (second.prompt, second.needs, second.owner, second.base) == ("1.0", ("001",), "2001-01-01", "~~")
    assert third.command == ("1:30", "true", "010", "5", "6")
    assert third.env == {"DEBUG": "1"}
    assert third.labels == ("no",)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("FALSE", False),
        ("yes", "yes"),
        ("off", "off"),
        ("~", None),
        ("", None),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("+5", 5),
        ("1:30", "1:30"),
        ("2001-01-01", "2001-01-01"),
        ("1_000", "1_000"),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-1.5", -1.5),
        ("'1'", "1"),
        ("!!int 7", 7),
        ("!!float 7", 7),
        ("!!null ~", None),
        ("!!bool true", True),
        ("!!map {}", {}),
        ("!!seq []", []),
    ],
)
def test_scalars_follow_yaml_1_2(text: Any, value: Any) -> None:
    plan = loads(f"providers: {{p: {{options: {{v: {text} }}}}}}\n{A}")
    found = plan.providers["p"].options["v"]
    assert (found, type(found)) == (value, type(value))


def test_null_leaves_a_field_unset() -> None:
    plan = loads("defaults: {cli: claude}\ntasks: {a: {prompt: x, cli: null, provider: codex, timeout: ~}}")
    assert (plan.tasks["a"].cli, plan.tasks["a"].timeout) == (None, None)


def test_yaml_in_braces_is_yaml_unless_it_is_named_json() -> None:
    assert loads("{tasks: {a: {command: [x]}}}").tasks
    assert "not valid JSON" in problems("{tasks: {a: {command: [x]}}}", "plan.json")[0].message
    assert loads("\ufeff" + json.dumps({"tasks": {"a": {"command": ["x"]}}})).tasks
    assert loads("\ufeff" + A).tasks


@pytest.mark.parametrize(
    ("stem", "name"), [("a b", "a-b"), ("..", "plan"), ("ünï", "n"), ("x" * 99, "x" * 64), ("_a_", "a")]
)
def test_the_default_name_fits(stem: Any, name: Any) -> None:
    assert loads(A, name=stem).name == name


@pytest.mark.parametrize(
    "task",
    [
        {"command": ["x"], "title": 5},
        {"command": ["\U0001f600 \\ \u202e \x07"]},
        {"command": ["x"], "priority": 3.0, "timeout": 1e2, "title": 'a"b'},
        {"command": ["x"], "retry": {"backoff": "1m"}, "estimate": "2h"},
    ],
)
def test_json_read_the_slow_way_means_the_same(task: Any) -> None:
    document = {"tasks": {"a": task}, "providers": {"p": {"options": {"deep": [[{}]]}}}}
    plan = loads(json.dumps(document), "plan.json")
    assert plan.tasks["a"].command == tuple(task["command"])
    assert loads(json.dumps(document, ensure_ascii=False).replace("\x07", ""), "plan.json").tasks.keys() == {
        "a"
    }


@pytest.mark.parametrize("size", [planyaml.MAX_YAML_BYTES, planyaml.MAX_JSON_BYTES])
def test_size_is_checked_before_reading(tmp_path: Path, size: Any) -> None:
    is_json = size == planyaml.MAX_JSON_BYTES
    path = tmp_path / ("big.json" if is_json else "big.yaml")
    with path.open("wb") as file:
        file.truncate(size + 1)
    with pytest.raises(PlanError, match=f"larger than {size // 2**20} MiB"):
        planyaml.load(path, processors=1)
    if not is_json:
        with pytest.raises(PlanError, match="write large plans as JSON"):
            loads(b" " * (size + 1))


def test_load(tmp_path: Path) -> None:
    path = tmp_path / "my plan.yaml"
    path.write_text(A)
    plan = planyaml.load(path, processors=0)
    assert plan.name == "my-plan"
    assert plan.providers["local"].parallel == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.yaml", "there is no such file"),
        ("", "is a directory"),
        ("fifo", "is not a regular file"),
        ("x" * 300, "cannot be read: File name too long"),
        ("a\0b", "cannot be read: embedded null byte"),
        ("file/plan.yaml", "cannot be read: Not a directory"),
    ],
)
def test_what_is_no_plan_file(tmp_path: Path, name: Any, message: Any) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").write_text("")
    with pytest.raises(PlanError) as caught:
        planyaml.load(tmp_path / name, processors=1)
    (problem,) = caught.value.problems
    assert problem.message == message
    assert problem.remedy
    assert problem.file.isprintable()


def test_json_does_not_import_yaml() -> None:
    code = (
        "import sys; from daplug_supervisor.formats.plans import planyaml\n"
        'plan = b\'{"tasks": {"a": {"command": ["x"]}}}\'\n'
        "planyaml.loads(plan, file='', default_name='', processors=1)\n"
        "print('yaml' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "False\n"
    )
