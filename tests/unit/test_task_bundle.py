"""The bundles of `.tasker` tasks: B32, B43, B44, B47, B48."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import session_making as making

from daplug_supervisor.core.tasker import bundle as pure
from daplug_supervisor.core.tasker.bundle import Integrity, TaskBundle
from daplug_supervisor.core.tasker.records import Home
from daplug_supervisor.errors import BundleError, PlanError
from daplug_supervisor.formats.tasker.home import home
from daplug_supervisor.supervisor.attempts.tasker_bundles import TaskBundles
from daplug_supervisor.workspace import folders
from daplug_supervisor.workspace.tasker import bundles as task_bundles
from daplug_supervisor.workspace.tasker import checksums

MADE = "2026-11-21T01:22:03.000Z"
NOW = 1795224123.0


def made(tmp_path: Path, name: str = "T001", **options: Any) -> tuple[Path, TaskBundle]:
    session = making.session(tmp_path, **options)
    return session, task_bundles.generate(home(tmp_path), name, MADE)


def with_dependency(tmp_path: Path) -> Path:
    """A session in which T001 is over and has left its file, and T002 has its bundle."""
    session = making.session(tmp_path, statuses={"T001": "complete"})
    making.write(tmp_path / "src" / "address.py", "@")
    task_bundles.generate(home(tmp_path), "T002", MADE)
    return session


def test_a_bundle_has_all_that_an_executor_needs(tmp_path: Path) -> None:
    session, bundle = made(tmp_path)
    found = json.loads(task_bundles.path_of(str(session), "T001").read_text())
    assert found == json.loads(msgspec.json.encode(bundle))
    assert (found["version"], found["task_id"], found["name"], found["phase"]) == (
        "1.0",
        "T001",
        "Do T001",
        1,
    )
    assert (found["target_dir"], found["bundle_created_at"]) == (str(tmp_path), MADE)
    assert [one["description"] for one in found["behaviors"] if one["id"] == "B1"] == ["refuse without @"]
    assert [one["name"] for one in found["behaviors"]] == ["check address", "check password"]
    assert found["files"] == [
        {"path": "src/address.py", "action": "create", "purpose": "addresses", "layer": "domain"}
    ]
    assert found["acceptance_criteria"][0]["verification"] == "test -e src/address.py"
    assert found["constraints"] == {"raw": "Python only.\n", "language": "python"}
    assert found["context"] == {
        "domain": "Accounts", "capability": "Login", "capability_id": "C1", "steel_thread": True,
        "spec": f"{session}/inputs/spec.md",
    }  # fmt: skip
    machine = found["state_machine"]
    assert (machine["transitions_covered"], machine["guards_enforced"]) == (["TR1"], ["I1"])
    assert machine["transitions_detail"] == [
        {
            "id": "TR1", "from_state": "S1", "to_state": "S2", "trigger": "login",
            "guards": [{"condition": "address is valid", "invariant_id": "I1"}],
        }
    ]  # fmt: skip
    assert set(found["checksums"]["artifacts"]) == {
        "artifacts/capability-map.json", "artifacts/physical-map.json", "artifacts/fsm/index.json", "inputs/spec.md",
        "inputs/constraints.md", "tasks/T001.json", "artifacts/fsm/M1.states.json",
        "artifacts/fsm/M1.transitions.json",
    }  # fmt: skip
    assert task_bundles.integrity(str(session), "T001") == Integrity("T001", "good")


def test_a_bundle_of_a_task_without_anything_beside_it(tmp_path: Path) -> None:
    session = tmp_path / ".tasker"
    making.write(session / "tasks" / "T9.json", {"id": "T9"})
    making.set_state(session)
    bundle = task_bundles.generate(home(tmp_path), "T9", MADE)
    assert (bundle.name, bundle.state_machine, bundle.context, bundle.constraints) == ("T9", None, {}, {})
    assert bundle.checksums.artifacts["inputs/spec.md"] == ""
    assert task_bundles.integrity(str(session), "T9").verdict == "good"


def test_files_of_tasks_before_are_named_and_watched(tmp_path: Path) -> None:
    session = with_dependency(tmp_path)
    bundle = task_bundles.read(str(session), "T002")
    assert bundle.dependencies == pure.BundleDependencies(("T001",), ("src/address.py",), ())
    making.write(tmp_path / "src" / "address.py", "@@")
    found = task_bundles.integrity(str(session), "T002")
    assert (found.verdict, found.code, found.changed) == ("drift", 2, ("src/address.py has changed",))
    (tmp_path / "src" / "address.py").unlink()
    found = task_bundles.integrity(str(session), "T002")
    assert (found.verdict, found.code, found.category) == ("failed", 1, "dependency")
    assert found.problems == ("src/address.py, of a task before: it is missing",)


CHANGES: dict[str, Callable[[Path], object]] = {
    "artifacts/capability-map.json has changed": lambda at: making.write(
        at / "artifacts/capability-map.json", {**making.CAPABILITIES, "version": "1.1"}
    ),
    "artifacts/fsm/M1.transitions.json has changed": lambda at: making.write(
        at / "artifacts/fsm/M1.transitions.json", {**making.TRANSITIONS, "more": 1}
    ),
    "inputs/spec.md has changed": lambda at: making.write(at / "inputs/spec.md", "# Other\n"),
    "inputs/spec.md is gone": lambda at: (at / "inputs/spec.md").unlink(),
    "tasks/T001.json has changed": lambda at: making.write(at / "tasks/T001.json", making.task("T001")),
    "bundles/T001-bundle.json was edited": lambda at: edited(at, name="Something easier"),
}


def edited(session: Path, **fields: Any) -> None:
    """Somebody edits the bundle of T001."""
    path = task_bundles.path_of(str(session), "T001")
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


@pytest.mark.parametrize("change", CHANGES)
def test_what_has_changed_since_is_drift_and_is_named(tmp_path: Path, change: str) -> None:
    session, _ = made(tmp_path)
    CHANGES[change](session)
    found = task_bundles.integrity(str(session), "T001")
    assert (found.verdict, found.code, found.changed, found.problems) == ("drift", 2, (change,), ())


def test_what_is_new_is_drift_too(tmp_path: Path) -> None:
    making.session(tmp_path)
    spec = tmp_path / ".tasker" / "inputs" / "spec.md"
    spec.unlink()
    task_bundles.generate(home(tmp_path), "T001", MADE)
    making.write(spec, "# Login\n")
    found = task_bundles.integrity(str(tmp_path / ".tasker"), "T001")
    assert found.changed == ("inputs/spec.md is new",)


def test_a_directory_that_was_moved_is_drift(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    made(tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    found = task_bundles.integrity(str(tmp_path / "new" / ".tasker"), "T001")
    assert (found.verdict, found.changed) == ("drift", (f"the directory is now {tmp_path}/new",))


FAILURES: dict[str, Callable[[Path], object]] = {
    "artifacts/capability-map.json: it is gone": lambda at: (at / "artifacts/capability-map.json").unlink(),
    "artifacts/physical-map.json: it is no JSON any more": lambda at: making.write(
        at / "artifacts/physical-map.json", "{nonsense"
    ),
    "artifacts/capability-map.json: it cannot be read": lambda at: linked(
        at / "artifacts/capability-map.json"
    ),
    "tasks/T001.json: it cannot be read": lambda at: pipe(at / "tasks/T001.json"),
    "bundles/T001-bundle.json: there is no such bundle": lambda at: (
        at / "bundles/T001-bundle.json"
    ).unlink(),
    "bundles/T001-bundle.json: it cannot be read": lambda at: pipe(at / "bundles/T001-bundle.json"),
    "bundles/T001-bundle.json: Input data was truncated": lambda at: making.write(
        at / "bundles/T001-bundle.json", "{"
    ),
    "at `$.files[0].path`": lambda at: edited(at, files=[{"path": 7}]),
    "at `$.checksums.artifacts": lambda at: edited(at, checksums={"artifacts": {"x": "md5:1"}}),
    "at `$.task_id`": lambda at: edited(at, task_id="T002"),
    "missing required field": lambda at: making.write(at / "bundles/T001-bundle.json", {"task_id": "T001"}),
    "../../secret: it is no file in": lambda at: edited(
        at, checksums={"artifacts": {"../../secret": ""}, "dependencies": {}}
    ),
}


def linked(path: Path) -> None:
    path.rename(path.with_suffix(".other"))
    path.symlink_to(path.with_suffix(".other"))


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("why", FAILURES)
def test_what_is_missing_malformed_or_no_file_may_not_be_used(tmp_path: Path, why: str) -> None:
    making.write(tmp_path / "secret", "hush")
    (tmp_path / "a").mkdir()
    session, _ = made(tmp_path / "a")
    FAILURES[why](session)
    found = task_bundles.integrity(str(session), "T001")
    assert (found.verdict, found.code, found.category) == ("failed", 1, "dependency")
    assert any(why in one for one in found.problems), found.problems


@pytest.mark.parametrize(
    "text", ["null", "[]", "7", "[" * 100_000, '{"version": "2.0"}', "\udcff", "", "{}" * 9]
)
def test_a_bundle_may_hold_anything(tmp_path: Path, text: str) -> None:
    session, _ = made(tmp_path)
    path = session / "bundles" / "T001-bundle.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert task_bundles.integrity(str(session), "T001").verdict == "failed"
    with pytest.raises(BundleError, match=r"bundles/T001-bundle\.json: "):
        task_bundles.read(str(session), "T001")


def test_a_name_that_leads_elsewhere_is_no_task(tmp_path: Path) -> None:
    session, _ = made(tmp_path)
    for name in ("../T001", "", "a/b", "-x", "T001\n"):
        assert task_bundles.integrity(str(session), name).verdict == "failed"
        with pytest.raises(BundleError):
            task_bundles.generate(home(tmp_path), name, MADE)


# --- dependencies -------------------------------------------------------------------------------------------


def state_of(tmp_path: Path, **known: Any) -> Home:
    session = making.session(tmp_path)
    tasks = {
        "T001": {"id": "T001", "status": "complete", **known},
        "T002": {"id": "T002", "status": "pending"},
    }
    making.set_state(session, tasks=tasks)
    return home(tmp_path)


def test_what_a_task_says_that_it_has_left_must_be_there(tmp_path: Path) -> None:
    found = state_of(tmp_path, files_created=["src/other.py"], files_modified=[f"{tmp_path}/README"])
    with pytest.raises(BundleError, match=r"src/other\.py, of a task before: it is missing"):
        task_bundles.generate(found, "T002", MADE)
    making.write(tmp_path / "src" / "other.py", "x")
    making.write(tmp_path / "README", "x")
    assert task_bundles.generate(found, "T002", MADE).dependencies.files == ("src/other.py", "README")


def test_what_was_only_planned_may_be_missing_once_the_task_is_over(tmp_path: Path) -> None:
    assert task_bundles.generate(state_of(tmp_path), "T002", MADE).dependencies.files == ()


def test_what_is_not_over_must_have_left_what_was_planned(tmp_path: Path) -> None:
    making.session(tmp_path)
    with pytest.raises(BundleError, match="of a task before: it is missing"):
        task_bundles.generate(home(tmp_path), "T002", MADE)


def test_a_skipped_task_leaves_nothing_and_one_that_has_gone_is_missed(tmp_path: Path) -> None:
    session = making.session(tmp_path, statuses={"T001": "skipped"})
    assert task_bundles.generate(home(tmp_path), "T002", MADE).dependencies.files == ()
    (session / "tasks" / "T001.json").unlink()
    assert task_bundles.generate(home(tmp_path), "T002", MADE).dependencies.files == ()
    making.set_state(session)
    with pytest.raises(BundleError, match="task T001, which it needs, has no file"):
        task_bundles.generate(home(tmp_path), "T002", MADE)


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "", "a\0b"])
def test_files_outside_the_target_are_not_looked_at(tmp_path: Path, path: str) -> None:
    (tmp_path / "a").mkdir()
    found = state_of(tmp_path / "a", files_created=[path]) if "\0" not in path else None
    if found is None:
        assert pure.below(path, str(tmp_path)) is None
        return
    with pytest.raises(BundleError, match="it is not in"):
        task_bundles.generate(found, "T002", MADE)


def test_links_of_dependencies_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    making.write(tmp_path / "out" / "f", "secret")
    target = tmp_path / "a"
    target.mkdir()
    (target / "way").symlink_to(tmp_path / "out")
    found = state_of(target, files_created=["way/f"])
    with pytest.raises(BundleError, match="it leads out of"):
        task_bundles.generate(found, "T002", MADE)
    (target / "link").symlink_to(tmp_path / "out" / "f")
    (target / "folder").mkdir()
    os.mkfifo(target / "pipe")
    found = state_of(target, files_created=["link", "folder"])
    first = task_bundles.generate(found, "T002", MADE).checksums.dependencies
    making.write(tmp_path / "out" / "f", "other secret")
    assert task_bundles.generate(found, "T002", MADE).checksums.dependencies == first
    with pytest.raises(BundleError, match="pipe, of a task before: it cannot be read"):
        task_bundles.generate(state_of(target, files_created=["pipe"]), "T002", MADE)


def test_of_a_large_file_its_beginning_and_its_length_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checksums, "_LARGE", 10)
    monkeypatch.setattr(checksums, "_BLOCK", 5)
    session = with_dependency(tmp_path)
    sums = []
    for text in ("0123456789a", "0123456789b", "0123456789bb", "0123456789"):
        making.write(tmp_path / "src" / "address.py", text)
        sums.append(
            task_bundles.generate(home(tmp_path), "T002", MADE).checksums.dependencies["src/address.py"]
        )
    assert sums[0] == sums[1]
    assert len(set(sums)) == 3
    assert task_bundles.integrity(str(session), "T002").verdict == "good"


def test_what_changes_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    session = making.session(tmp_path)
    before = home(tmp_path)
    making.write(session / "tasks" / "T001.json", {**making.task("T001"), "name": "other"})
    with pytest.raises(BundleError, match="it changed while it was read"):
        task_bundles.generate(before, "T001", MADE)


def test_a_link_in_the_place_of_the_bundles_is_not_followed(tmp_path: Path) -> None:
    session = making.session(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (session / "bundles").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"directory|symbolic"):
        task_bundles.generate(home(tmp_path), "T001", MADE)
    assert list((tmp_path / "elsewhere").iterdir()) == []


# --- before an attempt --------------------------------------------------------------------------------------


def test_before_an_attempt_a_bundle_is_made_kept_made_anew_or_refused(tmp_path: Path) -> None:
    session = making.session(tmp_path)
    bundles = TaskBundles(tmp_path)
    assert bundles.ready("T001", NOW) == Integrity("T001", "good")
    path = session / "bundles" / "T001-bundle.json"
    first = path.read_bytes()
    assert b"2026-11-21T01:22:03" in first
    assert bundles.ready("T001", NOW + 60) == Integrity("T001", "good")
    assert path.read_bytes() == first
    making.write(session / "inputs" / "spec.md", "# Other\n")
    drifted = bundles.ready("T001", NOW + 120)
    assert drifted == Integrity("T001", "drift", ("inputs/spec.md has changed",), regenerated=True)
    assert task_bundles.integrity(str(session), "T001").verdict == "good"
    path.write_text("{")
    broken = bundles.ready("T001", NOW + 180)
    assert (broken.verdict, broken.regenerated) == ("drift", True)
    assert "bundles/T001-bundle.json: " in broken.changed[0]
    assert bundles.ready("T002", NOW).problems == ("src/address.py, of a task before: it is missing",)
    assert bundles.ready("../T001", NOW).verdict == "failed"


def test_a_task_whose_file_breaks_meanwhile_fails_alone(tmp_path: Path) -> None:
    session = making.session(tmp_path)
    bundles = TaskBundles(tmp_path)
    assert bundles.ready("T001", NOW).verdict == "good"
    making.write(session / "tasks" / "T002.json", "{")
    assert bundles.ready("T003", NOW).verdict == "good"
    found = bundles.ready("T002", NOW)
    assert (found.verdict, found.category) == ("failed", "dependency")
    assert "T002.json" in found.problems[0]
    assert TaskBundles(tmp_path).ready("T003", NOW).verdict == "good"  # it has its bundle
    making.write(session / "artifacts" / "capability-map.json", "{")
    assert bundles.ready("T003", NOW).verdict == "failed"
    (session / "state.json").unlink()
    (session / "bundles" / "T003-bundle.json").unlink()
    assert "no session" in TaskBundles(tmp_path).ready("T003", NOW).problems[0]


def test_what_is_known_already_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = making.session(tmp_path)
    reads = []

    def counted(target: Path) -> Home:
        reads.append(target)
        return home(target)

    monkeypatch.setattr("daplug_supervisor.supervisor.attempts.tasker_bundles.home", counted)
    bundles = TaskBundles(tmp_path)
    bundles.ready("T001", NOW)
    making.write(tmp_path / "src" / "address.py", "@")
    making.set_state(
        session,
        tasks={"T001": {"id": "T001", "status": "complete", "files_created": ["src/address.py"]}},
    )
    assert bundles.ready("T002", NOW).verdict == "good"
    assert task_bundles.read(str(session), "T002").dependencies.files == ("src/address.py",)
    assert len(reads) == 1
    making.write(session / "tasks" / "T003.json", {**making.task("T003"), "name": "other"})
    assert bundles.ready("T003", NOW).verdict == "good"
    assert task_bundles.read(str(session), "T003").name == "other"
    assert len(reads) == 2
    making.write(session / "state.json", "{")
    (session / "bundles" / "T003-bundle.json").unlink()
    assert bundles.ready("T003", NOW).verdict == "failed"


# --- listing, removing, results -----------------------------------------------------------------------------


def test_bundles_are_listed_and_removed_and_results_stay(tmp_path: Path) -> None:
    session, _ = made(tmp_path)
    task_bundles.generate(home(tmp_path), "T003", MADE)
    making.write(session / "bundles" / "T003-result.json", "{}")
    making.write(session / "bundles" / "-odd-bundle.json", "{}")
    making.write(session / "bundles" / "T009-bundle.json", "{")
    making.write(session / "inputs" / "spec.md", "# Other\n")
    rows = task_bundles.listing(str(session))
    assert [(row.task, row.name, row.verdict) for row in rows] == [
        ("T001", "Do T001", "drift"), ("T003", "Do T003", "drift"), ("T009", "", "failed"),
    ]  # fmt: skip
    assert task_bundles.clean(str(session)) == ("T001", "T003", "T009")
    assert sorted(path.name for path in (session / "bundles").iterdir()) == [
        "-odd-bundle.json",
        "T003-result.json",
    ]
    assert task_bundles.clean(str(session)) == ()
    assert task_bundles.listing(str(tmp_path)) == ()


RESULT: dict[str, Any] = {
    "version": "1.0",
    "task_id": "T001",
    "name": "Do it",
    "status": "failed",
    "started_at": MADE,
    "completed_at": MADE,
    "files": {"created": ["a"], "modified": ["b"]},
    "verification": {
        "verdict": "FAIL",
        "criteria": [
            {"name": "x", "status": "PASS", "evidence": "ok"},
            {"name": "y", "status": "FAIL", "evidence": "no"},
        ],
    },
    "error": {"category": "test", "message": "2 failed", "retryable": True},
    "notes": "hm",
}


def test_a_result_is_told_in_short(tmp_path: Path) -> None:
    path = tmp_path / "T001-result.json"
    making.write(path, RESULT)
    found = task_bundles.result_info(path)
    assert (found.task, found.status, found.verdict, found.criteria, found.passed) == (
        "T001",
        "failed",
        "FAIL",
        2,
        1,
    )
    assert (found.category, found.message, found.retryable, found.notes) == ("test", "2 failed", True, "hm")
    assert (found.created, found.modified) == (("a",), ("b",))
    making.write(path, {key: value for key, value in RESULT.items() if key != "error"})
    assert task_bundles.result_info(path).retryable is None


def test_what_an_attempt_handed_in_is_told_as_a_claim(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    making.write(path, {"status": "success", "acceptance_criteria": [{"id": "1", "status": "PASS"}]})
    found = task_bundles.result_info(path)
    assert (found.task, found.status, found.verdict, found.passed, found.category) == (
        "", "success", "claimed only", 1, "",
    )  # fmt: skip
    making.write(path, {"error": {"category": "runtime", "message": "no"}})
    assert task_bundles.result_info(path).message == "no"


BAD_RESULTS = [
    ({**RESULT, "status": "partly"}, r"\$\.status"),
    ({**RESULT, "error": {"category": "magic", "message": "", "retryable": True}}, r"\$\.error\.category"),
    ({**RESULT, "verification": {"verdict": "MAYBE"}}, r"\$\.verification\.verdict"),
    ({key: value for key, value in RESULT.items() if key != "files"}, "files"),
    ({"status": "yes"}, "status"),
    ('{"task_id": ', "malformed|truncated"),
    ('{"task_id": ' + "[" * 100_000, "no result"),
    ("", "empty"),
]


@pytest.mark.parametrize(("content", "why"), BAD_RESULTS)
def test_a_malformed_result_is_refused_with_the_reason(tmp_path: Path, content: object, why: str) -> None:
    path = tmp_path / "r.json"
    making.write(path, content)
    with pytest.raises(BundleError, match=why) as error:
        task_bundles.result_info(path)
    assert "it is no result" in str(error.value)


def test_a_result_that_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "none", tmp_path, tmp_path / "pipe", Path("a\0b")):
        with pytest.raises(BundleError, match="it cannot be read"):
            task_bundles.result_info(path)


def test_a_file_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    session, _ = made(tmp_path)
    with pytest.raises(OSError, match="longer than"):
        folders.read_whole(session / "inputs" / "spec.md", limit=3)
    with pytest.raises(BundleError, match="there is no such task"):
        task_bundles.generate(home(tmp_path), "T009", MADE)
    assert folders.read_below(session, "nothing/here") is None


def test_a_session_with_a_broken_artifact_says_so(tmp_path: Path) -> None:
    making.write(making.session(tmp_path) / "artifacts" / "capability-map.json", "{")
    with pytest.raises(PlanError, match=r"capability-map\.json"):
        home(tmp_path)
