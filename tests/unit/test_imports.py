"""daplug's own plans: .sprint-state.json, and what at_runner.py prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from daplug_supervisor.core.plan import Loop, Provider
from daplug_supervisor.errors import PlanError
from daplug_supervisor.formats import foreign, load_foreign, load_plan
from daplug_supervisor.formats.imported import Imported


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("001-a", "002-b", "003-c", "api/005-d"):
        path = tmp_path / "prompts" / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def loaded(root: Path, document: object, name: str = ".sprint-state.json") -> Imported:
    path = root / name
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    found = foreign.read(path, root)
    assert found is not None
    assert load_plan(path) == found.plan
    return found


def sprint(**more: Any) -> dict[str, Any]:
    prompts = [
        {"id": "001", "status": "completed", "path": "prompts/001-a.md", "model": "codex", "merged": False},
        {"id": "002", "status": "pending", "path": "/moved/prompts/002-b.md", "model": "gemini"},
        {"id": "003", "status": "failed", "model": "claude"},
        {"id": "api/005", "status": "in_progress", "path": None, "model": None},
    ]
    return {
        "schema_version": 1, "sprint_id": "existing prompts", "paused_at": None, "phases": [["002", "003"]],
        "dependencies": {"001": [], "002": ["001"], "003": ["002"], "api/005": ["003", "001"], "gone": ["010"]},
        "options": {"models": "glm5, codex", "max_parallel": 2, "worktree": True, "loop": True, "max_iterations": 5},
        "prompts": prompts,
    } | more  # fmt: skip


def test_a_sprint(root: Path) -> None:
    found = loaded(root, sprint())
    assert found.parallel == 2
    assert found.plan.name == "existing-prompts"
    assert {name: (task.provider, task.needs) for name, task in found.plan.tasks.items()} == {
        "002-b": ("gemini", ()),
        "003-c": ("claude-claude", ("002-b",)),
        "api-005-d": ("glm5", ("003-c",)),
    }
    assert found.plan.providers["claude-claude"] == Provider("claude", 2, cli="claude")
    task = found.plan.tasks["002-b"]
    assert (task.worktree, task.loop, task.timeout) == (True, Loop(5), 2700.0)
    assert (found.plan.timeout, found.notes) == (
        10800.0,
        (
            "api/005 is in progress in the sprint: see that it does not run twice",
            "1 of 4 prompts are completed or skipped, and left out",
        ),
    )


def test_options_of_a_sprint(root: Path) -> None:
    options = {"models": ["kimi"], "completion_marker": "DONE", "max_parallel": 0, "base_branch": "trunk"}
    prompts = [{"id": "001", "status": "pending"}]
    found = loaded(root, sprint(options=options, prompts=prompts, dependencies={}))
    task = found.plan.tasks["001-a"]
    assert (task.provider, task.base, task.worktree, task.loop) == ("kimi", "trunk", False, Loop(1, "DONE"))
    assert (found.parallel, found.notes) == (1, ())
    assert list(loaded(root, sprint(options={}, prompts=prompts)).plan.providers) == ["codex"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"paused_at": "2026-01-01"}, r"paused_at: the sprint is paused since 2026-01-01 \(resume it"),
        ({"schema_version": 2}, "schema_version: version 2 is not known"),
        ({"dependencies": {"002": ["010"]}}, r"dependencies.002.0: 002 depends on '010', which is no prompt"),
        ({"dependencies": {"002": ["003"], "003": ["002"]}}, "wait for each other: "),
        ({"dependencies": {"002": "003"}}, "dependencies"),
        ({"prompts": []}, "prompts: nothing is left to be done"),
        ({"prompts": [{"id": "001", "status": "skipped"}]}, "nothing is left"),
        ({"prompts": [{"id": "099"}]}, "prompts.0.path: there is no prompt '099'"),
        ({"prompts": [{"id": "001", "status": "lost"}]}, "Invalid enum value 'lost'"),
        ({"prompts": [{"id": "001"}, {"id": "001"}]}, "prompts.1.id: '001' is there twice"),
        ({"prompts": [{"id": "001", "model": "a b"}]}, "prompts.0.model: 'a b' is not a model"),
        ({"prompts": [{"id": ""}]}, "prompts.0.path"),
        ({"options": {"max_parallel": "x"}}, "options.max_parallel"),
    ],
)
def test_what_is_wrong_with_a_sprint(root: Path, more: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message) as caught:
        loaded(root, sprint(**more))
    assert all(problem.file.endswith(".sprint-state.json") for problem in caught.value.problems)


PHASES = [
    {"phase": 1, "prompts": [1, 2], "strategy": "parallel"},
    {"phase": 2, "prompts": ["api/005", 1], "strategy": "parallel"},
    {"phase": 3, "prompts": [3], "strategy": "parallel"},
]


def order(found: Imported) -> dict[str, tuple[str, ...]]:
    return {name: task.needs for name, task in found.plan.tasks.items()}


def test_phases_of_at_runner(root: Path) -> None:
    expected = {"001-a": (), "002-b": (), "api-005-d": ("001-a", "002-b"), "003-c": ("api-005-d",)}
    assert order(loaded(root, PHASES, "at.json")) == expected
    assert order(loaded(root, {"phases": PHASES}, "at.json")) == expected
    plan = {"model": "gemini", "flags": {"worktree": True, "loop": True}, "phases": PHASES, "total_phases": 3}
    found = loaded(root, {"plan": plan, "validation": {"ok": True, "missing": []}}, "at.json")
    assert (order(found), list(found.plan.providers), found.plan.name) == (expected, ["gemini"], "at-run")
    assert all(task.worktree for task in found.plan.tasks.values())
    one_by_one = [{"phase": 1, "prompts": [1, 2], "strategy": "sequential"}, *PHASES[1:]]
    assert order(loaded(root, one_by_one, "at.json")) == {
        "001-a": (), "002-b": ("001-a",), "api-005-d": ("002-b",), "003-c": ("api-005-d",),
    }  # fmt: skip


def test_the_graph_that_at_runner_found(root: Path) -> None:
    def auto(**more: object) -> dict[str, Any]:
        graph = {"1": [], "2": ["1", "77"], "api/005": ["2"], "3": [], "99": ["1"]}
        return {"plan": {"phases": PHASES}, "auto_deps": {"dependency_graph": graph, **more}}

    expected = {"001-a": (), "002-b": ("001-a",), "api-005-d": ("002-b",), "003-c": ()}
    assert order(loaded(root, auto(), "at.json")) == expected
    found = loaded(root, auto(cycle_detected=True, cycle_prompts=[1, "api/005"]), "at.json")
    assert order(found)["003-c"] == ("api-005-d",)
    assert found.notes == ("the prompts wait for each other (1, api/005), so they run one after another",)
    assert order(loaded(root, auto(dependency_graph={"1": []}), "at.json"))["003-c"] == ("api-005-d",)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            {"plan": {"phases": PHASES}, "validation": {"missing": [{"query": "9"}]}},
            "did not find prompt '9'",
        ),
        ([{"phase": 1, "prompts": []}], "phases.0.prompts: the phase is empty"),
        ([{"phase": 1, "prompts": [9]}], "phases.0.prompts.0: there is no prompt '009'"),
        ([{"phase": 1, "prompts": [None]}], "plan.phases"),
        ({"plan": {"phases": PHASES, "model": "-"}}, "plan.model: '-' is not a model"),
    ],
)
def test_what_is_wrong_with_a_plan_of_at_runner(root: Path, document: object, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        loaded(root, document, "at.json")


@pytest.mark.parametrize(
    "document",
    [
        {"tasks": {"phases": {"command": ["true"]}}, "name": "phases"},
        {"tasks": {}, "phases": PHASES},
        {"phases": []},
        {"phases": [{"phase": 1}]},
        {"plan": 3, "phases": 1},
        [{"phase": 1}],
        {"sprint_id": "x", "prompts": []},
        '"phases"',
        '{"phases": ',
    ],
)
def test_other_files_are_none_of_daplugs(root: Path, document: object) -> None:
    path = root / "plan.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    assert load_foreign(path) is None
    assert load_foreign(root) is None
    assert load_foreign(root / "plan.yaml") is None
    assert load_foreign(root / "nosuch.json") is None
    assert load_foreign(str(root / ("x" * 300)) + ".json") is None
