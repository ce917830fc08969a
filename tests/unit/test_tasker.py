"""A .tasker directory is read whatever its version, and nothing in it can do harm."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daplug_supervisor.core.instructions.template import fill
from daplug_supervisor.core.plan import Provider, Task
from daplug_supervisor.core.tasker.records import FileWork, SessionTask
from daplug_supervisor.errors import NotPlannedError, PlanError
from daplug_supervisor.formats import foreign, load_plan
from daplug_supervisor.formats.tasker import home as tasker_home
from daplug_supervisor.formats.tasker import plan as tasker
from daplug_supervisor.formats.tasker.files import MOST_BYTES

EXAMPLE = Path(__file__).parents[2] / "examples" / "tasker"
T1: dict[str, Any] = {
    "id": "T001",
    "name": "First",
    "phase": 1,
    "behaviors": ["B1"],
    "files": [{"path": "a.py", "action": "create"}],
    "acceptance_criteria": [{"criterion": "it is there", "verification": "test -e a.py"}],
}


def write(target: Path, files: dict[str, Any]) -> Path:
    """A session with these files; what is None is left out."""
    every = {"state.json": {"phase": {"current": "ready"}}, "tasks/T001.json": T1, **files}
    for name, value in every.items():
        path = target / ".tasker" / name
        if value is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            text = value if isinstance(value, bytes) else value.encode() if isinstance(value, str) else None
            path.write_bytes(json.dumps(value).encode() if text is None else text)
    return target


def problems(target: Path) -> list[str]:
    with pytest.raises(PlanError) as caught:
        tasker.read(target)
    return [str(problem).replace(f"{target}/", "") for problem in caught.value.problems]


def test_the_example_is_a_plan_of_three_tasks() -> None:
    found = tasker.read(EXAMPLE)
    plan = found.plan
    assert (found.parallel, found.target, found.notes) == (3, EXAMPLE, ())
    assert plan.name == "tasker"
    assert plan.origin is not None
    assert (plan.origin.format, plan.origin.path) == ("tasker", ".tasker")
    assert {name: task.needs for name, task in plan.tasks.items()} == {
        "T001": (), "T002": ("T001",), "T003": ("T001",),
    }  # fmt: skip
    second = plan.tasks["T002"]
    assert second.title == "Command line"
    assert second.commit is not None
    assert second.commit.message == "T002: Command line"
    assert second.files == ("greeter/__main__.py",)
    assert (second.result, second.rollback, second.priority, second.provider) == (True, True, -2, "claude")
    assert [(one.name, one.run) for one in second.accept] == [
        ("The command prints the greeting", "python3 -m greeter Ada | grep -qx 'Hello, Ada!'"),
        ("Without a name the exit code is 2", "python3 -m greeter; test $? -eq 2"),
    ]
    assert plan.providers["claude"].parallel == 3


def test_an_agent_is_told_its_whole_bundle_with_absolute_paths_and_nothing_of_other_tasks() -> None:
    said = tasker.read(EXAMPLE).plan.tasks["T002"].instructions
    assert said is not None
    home = f"{EXAMPLE}/.tasker"
    for text in (
        "# T002: Command line\n",
        f"`{home}/bundles/T002-bundle.json`",
        f"Target directory: `{EXAMPLE}`",
        "- B3 PrintGreeting (output): Print the greeting; without a name exit with code 2\n",
        "- domain: Greeting\n",
        f"- create `{EXAMPLE}/greeter/__main__.py` (api): python3 -m greeter NAME\n",
        f"- `{EXAMPLE}/greeter/core.py`\n",
        "nothing but the standard library",
        "- transition TR1: S1 Called -> S2 Greeted: greet [if I1 there is a name]\n",
        "- guards that must hold: I1\n",
        "- states that are reached: S2 Greeted, S3 Refused\n",
        "2. Without a name the exit code is 2\n\n       python3 -m greeter; test $? -eq 2\n",
        f"Append to `{home}/logs/activity.log`",
        "[INFO] [task-executor] decision: T002: ",
        "    T002: SUCCESS\n    T002: FAILED - ",
    ):
        assert text in said, text
    assert "T003" not in said
    assert "test_core" not in said


def test_in_a_worktree_files_are_named_from_there() -> None:
    chosen = tasker.Chosen(
        "p",
        {"p": Provider(fallback=("q",)), "q": Provider(fallback=("p",)), "r": Provider()},
        Task(worktree=True),
    )
    plan = tasker.read(EXAMPLE, chosen).plan
    said = plan.tasks["T002"].instructions or ""
    assert "- create `greeter/__main__.py`" in said
    assert "a worktree of your own" in said
    assert "Target directory" not in said
    assert set(plan.providers) == {"p", "q"}
    assert plan.tasks["T002"].worktree


@pytest.mark.parametrize("word", [".tasker", ".tasker/state.json", "."])
def test_it_is_found_by_its_directory_its_state_and_its_target(
    word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {})
    monkeypatch.chdir(tmp_path)
    assert list(load_plan(word).tasks) == ["T001"]
    assert tasker_home.find(tmp_path / word) is not None


def test_other_directories_and_files_are_something_else(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{}")
    assert tasker_home.find(tmp_path) is None
    assert tasker_home.find(tmp_path / "state.json") is None
    assert foreign.read(tmp_path / "state.json", tmp_path) is None


def test_without_a_session_or_tasks_one_has_to_plan_first(tmp_path: Path) -> None:
    for files, words in (
        ({"state.json": None}, "there is no session"),
        ({"tasks/T001.json": None}, r"has no tasks \(its phase is ready\)"),
        ({"tasks/T001.json": None, "state.json": {}}, "has no tasks: plan first"),
    ):
        target = tmp_path / str(len(words))
        with pytest.raises(NotPlannedError, match=words) as caught:
            tasker.read(write(target, files))
        assert caught.value.exit_code == 1
    with pytest.raises(NotPlannedError, match="plan first"):
        load_plan(tmp_path / "nothing" / ".tasker")


def test_what_is_over_is_left_out_and_not_waited_for(tmp_path: Path) -> None:
    tasks = {
        f"tasks/T00{n}.json": {"id": f"T00{n}", "phase": n, "depends_on": [f"T00{n - 1}"]} for n in (2, 3, 4)
    }
    tasks["tasks/T003.json"]["blocked_by"] = ["T000", "T002"]
    words = {
        "T000": "complete",
        "T001": "completed",
        "T002": "skipped",
        "T003": "failed",
        "T004": "in_progress",
    }
    state = {
        "phase": "executing",
        "tasks": {name: {"status": word, "error": None} for name, word in words.items()},
    }
    found = tasker.read(write(tmp_path, {**tasks, "state.json": state}))
    assert {name: task.needs for name, task in found.plan.tasks.items()} == {"T003": (), "T004": ("T003",)}
    assert "2 of 4 tasks are complete or skipped, and left out" in found.notes
    every = {"tasks": [{"id": name, "status": "complete"} for name in words]}
    found = tasker.read(write(tmp_path, {"state.json": every}))
    assert found.plan.tasks == {}
    assert "4 of 4 tasks are complete or skipped, and left out" in found.notes


def test_the_order_is_by_phase_and_then_by_wave_and_id(tmp_path: Path) -> None:
    given = {
        "T001": (2, 1),
        "T002": (1, 2),
        "T003": (1, 1),
        "T004": (2, 1),
        "T005": (-3, 0),
        "T006": (5000, 0),
    }
    files = {f"tasks/{name}.json": {"id": name, "phase": p, "wave": w} for name, (p, w) in given.items()}
    plan = tasker.read(write(tmp_path, files)).plan
    assert list(plan.tasks) == ["T005", "T003", "T002", "T001", "T004", "T006"]
    assert [task.priority for task in plan.tasks.values()] == [0, -1, -1, -2, -2, -1000]


def test_tasks_come_in_several_shapes(tmp_path: Path) -> None:
    other = {
        "title": "Second\n\x1b[31mred",
        "needs": ["T001"],
        "dependencies": {"tasks": ["T001"], "external": ["a database"]},
        "behaviors": [{"id": "B7"}],
        "files": ["b.py", {"path": f"{tmp_path}/c/../c.py", "action": "new", "layer": "data"},
                  {"path": "d", "action": "delete"}],
        "acceptance_criteria": [
            "it is nice",
            {"description": "it is linted", "command": "ruff check ."},
            {"criterion": "it answers", "verification": "curl -f localhost"},
            {"criterion": "it looks good", "verification": "Manual check by a designer"},
        ],
        "context": "why not",
        "constraints": ["no globals"],
        "state_machine": {"transitions_covered": ["TR9"]},
    }  # fmt: skip
    third = {
        "constraints": "plain words",
        "context": {"spec_ref": {"quote": "as said"}, "steel_thread": False},
    }
    found = tasker.read(write(tmp_path, {"tasks/T002.json": other, "tasks/T003.json": third}))
    task = found.plan.tasks["T002"]
    said = task.instructions or ""
    assert task.title == "Second \\x1b[31mred"
    assert task.files == ("b.py", "c.py", "d")
    assert task.needs == ("T001",)
    assert [(one.run, one.category) for one in task.accept] == [
        ("ruff check .", "static"), ("curl -f localhost", "runtime"),
    ]  # fmt: skip
    for text in ("- a database\n", "- description: why not\n", '- patterns: ["no globals"]\n', "- transition TR9\n",
                 "1. it is nice\n", f"- create `{tmp_path}/c.py` (data)", "- B7\n"):  # fmt: skip
        assert text in said, text
    assert "- raw: plain words" in (found.plan.tasks["T003"].instructions or "")
    assert '- spec_ref: {"quote":"as said"}' in (found.plan.tasks["T003"].instructions or "")
    assert "T002: no command shows that it is nice, and 1 more: that is left to a person" in found.notes
    assert "T003: it has no acceptance criteria: that is left to a person" in found.notes
    assert "T002: artifacts/capability-map.json does not have B7" in found.notes


def test_artifacts_come_in_several_shapes(tmp_path: Path) -> None:
    machine = {"id": "M1", "states_file": "s.json", "transitions_file": "t.json"}
    guard = {
        "id": "TR1",
        "trigger": {"type": "event", "name": "go"},
        "guard": "ready",
        "guards": [{"condition": None}],
    }
    found = tasker.home(
        write(
            tmp_path,
            {
                "artifacts/capability-map.json": {
                    "domains": [{"capabilities": [{"behaviors": [{"id": "B1"}]}]}]
                },
                "artifacts/physical-map.json": {
                    "file_mapping": [{"files": ["x", {"path": "./a.py", "layer": "api"}, {"path": "b.py"}]}]
                },
                "artifacts/fsm/index.json": {"machines": [machine, {"id": "M2"}]},
                "artifacts/fsm/s.json": {"states": [{"id": "S1", "name": "one"}, {}]},
                "artifacts/fsm/t.json": {"transitions": [guard, {"id": "TR2", "trigger": {}}]},
                "inputs/spec.md": "# Spec",
            },
        )
    )
    assert found.has_spec
    assert found.layer_of(FileWork("a.py")) == "api"
    assert found.layer_of(FileWork("a.py", layer="own")) == "own"
    assert found.behaviors["B1"].capability == ""
    assert found.machines["M1"].states == {"S1": "one"}
    one = found.machines["M1"].transitions[0]
    assert (one.trigger, [guard.condition for guard in one.guards]) == ("go", ["", "ready"])
    assert found.machines["M2"].transitions == ()
    assert set(found.checksums) == {"capability_map", "physical_map", "fsm_index"}
    assert found.session.tasks.get("T001", SessionTask("T001")).status == "pending"


def test_a_person_is_told_what_looks_wrong_with_the_session(tmp_path: Path) -> None:
    verdict = {"verdict": "BLOCKED", "summary": "T001 is \x1b]0;vague"}
    state = {"target_dir": "/elsewhere", "artifacts": {"task_validation": verdict}}
    notes = tasker.read(write(tmp_path, {"state.json": state})).notes
    assert f"state.json names the target /elsewhere; this one is {tmp_path}" in notes
    assert "the verdict on this plan is BLOCKED: T001 is \\x1b]0;vague" in notes
    many = {f"tasks/T{n}.json": {"id": f"T{n}"} for n in range(100, 130)}
    notes = tasker.read(write(tmp_path, many)).notes
    assert len(notes) == 21
    assert notes[-1] == "and 11 more notes"


@pytest.mark.parametrize(
    ("document", "field", "words"),
    [
        ([], "document", "expected an object, found a list"),
        ({"id": "../T001"}, "id", "'../T001' is not an id"),
        ({"id": 7}, "id", "'7' is not an id"),
        ({"id": "T002"}, "id", "its file has another name"),
        ({"name": ["x"]}, "name", "Expected `str`, got `array`"),
        ({"phase": "one"}, "phase", "Expected `int`, got `str`"),
        ({"behaviors": "B1"}, "behaviors", "expected a list, found text"),
        ({"behaviors": [1]}, "behaviors.0", "expected text, found a number"),
        ({"files": {}}, "files", "expected a list, found an object"),
        ({"files": [[]]}, "files.0", "expected an object, found a list"),
        ({"files": [{}]}, "files.0.path", "expected text, found null"),
        ({"files": [{"path": "a", "action": "chmod"}]}, "files.0.action", "Invalid enum value 'chmod'"),
        ({"files": [{"path": "a"}, {"path": "b", "purpose": 1}]}, "files.1.purpose", "Expected `str`, got `int`"),
        ({"acceptance_criteria": [{"criterion": "x", "verification": ["ls"]}]}, "acceptance_criteria.0.verification",
         "expected a line for the shell, as text, found a list"),
        ({"acceptance_criteria": [True]}, "acceptance_criteria.0", "expected an object, found true or false"),
        ({"dependencies": ["T009"]}, "dependencies", "there is no task 'T009'"),
        ({"dependencies": ["T001"]}, "needs.0", "a task cannot need itself"),
        ({"context": 5}, "context", "Expected `object`, got `int`"),
        ({"state_machine": {"guards_enforced": 1}}, "state_machine.guards_enforced", "expected a list"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_task_is_told_with_its_file_and_field(
    document: Any, field: str, words: str, tmp_path: Path
) -> None:
    (found,) = problems(write(tmp_path, {"tasks/T001.json": document}))
    assert found.startswith(f".tasker/tasks/T001.json: {field}: ")
    assert words in found
    assert found.endswith(")"), "there is a remedy"


@pytest.mark.parametrize(
    ("name", "document", "where"),
    [
        ("state.json", [], "document"),
        ("state.json", {"tasks": {"T001": {"status": "resting"}}}, "tasks"),
        ("state.json", {"tasks": [4]}, "tasks.0"),
        ("state.json", {"tasks": 4}, "tasks"),
        ("state.json", {"phase": 4}, "phase"),
        ("artifacts/capability-map.json", {"domains": {}}, "domains"),
        (
            "artifacts/capability-map.json",
            {"domains": [{"capabilities": [{"behaviors": [{}]}]}]},
            "domains.0.capabilities.0.behaviors.0.document",
        ),
        ("artifacts/physical-map.json", {"file_mapping": [1]}, "file_mapping.0"),
        ("artifacts/fsm/index.json", {"machines": [{"id": 1}]}, "machines.0.id"),
        ("artifacts/fsm/index.json", {"machines": [{"id": "M1", "files": 1}]}, "machines.0.files"),
    ],
)
def test_what_is_wrong_in_other_files_is_told_with_the_field(
    name: str, document: Any, where: str, tmp_path: Path
) -> None:
    (found,) = problems(write(tmp_path, {name: document}))
    assert found.startswith(f".tasker/{name}: {where}")


@pytest.mark.parametrize("path", ["../out", "/etc/passwd", ".git/config", ".tasker/state.json", ".daplug/x", ":(top)x",
                                  "-rf", "", ".", "a/../..", "link/x", "x" * 2000])  # fmt: skip
def test_a_task_cannot_be_given_files_that_are_not_the_projects(path: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    target = tmp_path / "target"
    target.mkdir()
    (target / "link").symlink_to("../out")
    document = {**T1, "files": ["fine.py", path]}
    (found,) = problems(write(target, {"tasks/T001.json": document}))
    assert "files.1.path" in found
    assert "name a file of the project" in found


def test_a_path_may_have_signs_that_git_knows(tmp_path: Path) -> None:
    document = {**T1, "files": ["app/[id]/page.tsx", "a b/ü.py"]}
    plan = tasker.read(write(tmp_path, {"tasks/T001.json": document})).plan
    assert plan.tasks["T001"].files == ("app/[id]/page.tsx", "a b/ü.py")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"{", "is no JSON"),
        (b'{"id": "T001",\n "name": }', "T001.json:2:1: is no JSON"),
        (b"\xff\xfe{}", "is no JSON"),
        (b'{"name": "\xff"}', "is no JSON"),
        (b"[" * 20_000, "nested too deep"),
        (b'{"name": "a\\u0000b"}', "contains a NUL character"),
        (b'{"name": "ghp_' + b"a1B2c3D4e5" * 4 + b'"}', "holds a GitHub token"),
        (b" " * (MOST_BYTES + 1), "it is larger than 16 MiB"),
    ],
)
def test_hostile_bytes_are_problems(text: bytes, words: str, tmp_path: Path) -> None:
    (found,) = problems(write(tmp_path, {"tasks/T001.json": text}))
    assert words in found
    assert found.isprintable()


def test_an_escaped_backslash_is_no_nul_character(tmp_path: Path) -> None:
    document = b'{"name": "writes \\\\u0000"}'
    assert (
        tasker.read(write(tmp_path, {"tasks/T001.json": document})).plan.tasks["T001"].title
        == "writes \\u0000"
    )


def test_links_fifos_and_directories_are_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text("{}")

    def link(path: Path) -> None:
        path.symlink_to(secret)

    ways: list[tuple[str, Callable[[Path], None]]] = [
        ("state.json", link),
        ("state.json", os.mkfifo),
        ("state.json", Path.mkdir),
        ("tasks/T001.json", link),
        ("inputs/constraints.md", link),
    ]
    for number, (name, make) in enumerate(ways):
        target = write(tmp_path / str(number), {name: None})
        (target / ".tasker" / name).parent.mkdir(exist_ok=True)
        make(target / ".tasker" / name)
        (found,) = problems(target)
        assert f"{name}: cannot be read: " in found
        assert "put an ordinary file in its place" in found


def test_folders_that_are_links_lead_nowhere(tmp_path: Path) -> None:
    write(tmp_path / "other", {})
    target = write(tmp_path / "target", {"tasks/T001.json": None})
    (target / ".tasker" / "tasks").symlink_to(tmp_path / "other" / ".tasker" / "tasks")
    assert problems(target) == [
        ".tasker/tasks: cannot be read: a link is not followed (make it an ordinary directory)"
    ]
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / ".tasker").symlink_to(tmp_path / "other" / ".tasker")
    assert any("a link is not followed" in one for one in problems(tmp_path / "linked"))


@pytest.mark.parametrize("name", ["../../../secret.json", "/etc/passwd", "a//b", "./t.json"])
def test_a_state_machine_cannot_name_files_elsewhere(name: str, tmp_path: Path) -> None:
    index = {"machines": [{"id": "M1", "files": {"transitions": name}}]}
    (found,) = problems(write(tmp_path, {"artifacts/fsm/index.json": index}))
    assert "its name leads elsewhere" in found


def test_there_is_an_end_to_tasks_and_to_problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = write(tmp_path, {f"tasks/T{n}.json": b"{" for n in range(1, 8)})
    monkeypatch.setattr(tasker_home, "MAX_PROBLEMS", 3)
    assert len(problems(target)) == 3
    monkeypatch.setattr(tasker_home, "MOST_TASKS", 5)
    assert problems(target) == [".tasker/tasks: 8 tasks: at most 5 are allowed (split the plan)"]


def test_tasks_that_wait_for_each_other_are_refused(tmp_path: Path) -> None:
    files = {"tasks/T001.json": {"needs": ["T002"]}, "tasks/T002.json": {"needs": ["T001"]}}
    (found,) = problems(write(tmp_path, files))
    assert "wait for each other" in found
    with pytest.raises(PlanError, match=r"state\.json: providers"):
        tasker.read(write(tmp_path / "b", {}), tasker.Chosen("p", {"p": Provider(fallback=("p",))}))


@pytest.mark.parametrize(
    "text", ["${T009.outputs.x}", "$${a.outputs.b}", "${ T1.outputs.y }", "${HOME}", "$$"]
)
def test_what_the_planner_wrote_is_never_filled_in(text: str, tmp_path: Path) -> None:
    document = {**T1, "context": {"domain": f"say {text} aloud"}}
    said = tasker.read(write(tmp_path, {"tasks/T001.json": document})).plan.tasks["T001"].instructions
    assert f"- domain: say {text} aloud\n" in fill(said or "", {})


def test_a_file_may_be_hidden(tmp_path: Path) -> None:
    target = write(tmp_path, {"tasks/.T002.json": b"{", "tasks/notes.txt": b"x"})
    assert list(tasker.read(target).plan.tasks) == ["T001"]
