"""`bundle`, `evaluate`, `fsm`, `archive` and `schema NAME` as a user types them: B45, B32, A54."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cli
import pytest
import session_making as making
from cli import Place, plan_of, sh

from daplug_supervisor.core.plan import Criterion, Task
from daplug_supervisor.formats.plans import schema


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    yield from cli.opened(tmp_path, monkeypatch)


def test_bundles_of_a_session_are_made_checked_listed_and_removed(place: Place) -> None:
    session = making.session(place.target)
    assert place.run("bundle", "list").out == "There are no bundles.\n"
    made = place.run("bundle", "generate", "T001", "--json")
    assert (made.code, made.json()) == (0, [{"task": "T001", "path": f"{session}/bundles/T001-bundle.json"}])
    assert place.run("bundle", "validate", "T001").out == "T001: its bundle has the right form\n"
    good = place.run("bundle", "validate-integrity", "T001")
    assert (good.code, good.out) == (0, "T001: GOOD: it is what it was made from\n")
    making.write(session / "inputs" / "spec.md", "# Other\n")
    drift = place.run("bundle", "validate-integrity", "T001", "--json")
    assert (drift.code, drift.json()["verdict"], drift.json()["changed"]) == (
        2,
        "drift",
        ["inputs/spec.md has changed"],
    )
    listed = place.run("bundle", "list")
    assert "T001  drift" in listed.out
    (session / "artifacts" / "capability-map.json").unlink()
    failed = place.run("bundle", "validate-integrity", "T001")
    assert (failed.code, failed.out) == (
        1, "T001: FAILED: it may not be used (dependency)\n  artifacts/capability-map.json: it is gone\n",
    )  # fmt: skip
    assert place.run("bundle", "clean").out == "removed the bundles of: T001\n"
    assert place.run("bundle", "validate", "T001").code == 1


def test_all_bundles_of_tasks_that_could_start_are_made_at_once(place: Place, tmp_path: Path) -> None:
    session = making.session(place.target, statuses={"T003": "running"})
    made = place.run("bundle", "generate-ready", "--target", str(place.target), cwd=tmp_path)
    assert (made.code, made.out) == (0, f"T001: {session}/bundles/T001-bundle.json\n")
    making.write(place.target / "src" / "address.py", "@")
    making.set_state(session, {"T001": "complete", "T003": "skipped"})
    assert place.run("bundle", "generate-ready").out == f"T002: {session}/bundles/T002-bundle.json\n"
    making.set_state(session, {"T001": "failed", "T002": "blocked", "T003": "complete"})
    assert place.run("bundle", "generate-ready").out == "No task is ready.\n"


def test_a_bundle_that_cannot_be_made_says_why(place: Place) -> None:
    making.session(place.target)
    found = place.run("bundle", "generate", "T002")
    assert found.code == 1
    assert "T002: src/address.py, of a task before: it is missing" in found.err
    assert place.run("bundle", "generate", "../x", "--json").json()["error"]["code"] == "bundle"


def test_a_malformed_bundle_is_told_with_the_place_in_it(place: Place) -> None:
    session = making.session(place.target)
    place.run("bundle", "generate", "T001")
    path = session / "bundles" / "T001-bundle.json"
    path.write_text(path.read_text().replace('"src/address.py"', "7", 1))
    found = place.run("bundle", "validate", "T001")
    assert found.code == 1
    assert "Expected `str`, got `int` - at `$.files[0].path`" in found.err


def test_results_are_told_line_by_line_as_scripts_read_them(place: Place) -> None:
    result = place.target / "T001-result.json"
    making.write(
        result,
        {
            "version": "1.0", "task_id": "T001", "name": "Do\x1b[31m it", "status": "success", "started_at": "x",
            "completed_at": "y", "files": {"created": ["a.py"], "modified": []},
            "verification": {"verdict": "PASS", "criteria": [{"name": "n", "status": "PASS"}]},
        },
    )  # fmt: skip
    found = place.run("bundle", "result-info", str(result))
    assert found.out.splitlines() == [
        "task_id:T001", "name:Do\\x1b[31m it", "status:success", "verdict:PASS", "criteria:1 of 1 pass",
        "created:a.py",
    ]  # fmt: skip
    making.write(result, {"task_id": "T001"})
    bad = place.run("bundle", "result-info", str(result), "--json")
    assert (bad.code, bad.json()["error"]["code"]) == (1, "bundle")


def test_without_a_session_what_there_is_to_do_is_said(place: Place) -> None:
    for words in (("generate", "a"), ("generate-ready",), ("clean",)):
        found = place.run("bundle", *words)
        assert (found.code, "there is no .tasker directory here" in found.err) == (2, True)
    found = place.run("bundle", "list", "--target", str(place.home))
    assert (found.code, "has no .tasker directory" in found.err) == (2, True)


# --- runs ---------------------------------------------------------------------------------------------------


def run_of(place: Place, **more: Any) -> None:
    """A run of commands: `good` proves itself, `bad` does not, and `after` waits for it."""
    never = Criterion("test -e never", "never is there")
    tasks: dict[str, Task] = {
        "good": sh("echo hi > good.txt", accept=(Criterion("test -e good.txt", "TR1: good is there"),)),
        "bad": sh("true", accept=(never,), fix_rounds=0),
        "after": sh("true", "bad"),
    }
    found = place.run("run", place.write(plan_of(tasks, **more)), "--quiet")
    assert found.code == 1, found.err


def test_a_run_of_any_plan_can_be_evaluated(place: Place) -> None:
    run_of(place)
    text = place.run("evaluate")
    assert text.code == 0
    assert text.out.startswith("Evaluation of run p-1 of plan p\n")
    assert "functional criteria    1 of 2 hold" in text.out
    found = place.run("evaluate", "p-1", "--format", "json").json()
    assert found["counts"] | {"done": 1, "failed": 1, "blocked": 1} == found["counts"]
    assert [row["task"] for row in found["failures"][0]["tasks"]] == ["bad"]
    numbers = place.run("evaluate", "--metrics-only", "--json").json()
    assert "failures" not in numbers
    assert numbers["first_attempt_success_rate"] == 1.0
    assert place.run("evaluate", "--output", "e.txt").out == ""
    assert (place.target / "e.txt").read_text() == place.run("evaluate").out
    assert place.run("evaluate", "--format", "json", "--output", "e.json").code == 0
    assert json.loads((place.target / "e.json").read_text()) == found
    assert place.run("evaluate", "--output", "no/such/e.txt").code == 2
    assert place.run("fsm", "coverage").code == 2


def test_a_run_of_commands_has_no_bundles_and_says_so(place: Place) -> None:
    run_of(place)
    assert place.run("bundle", "list").out == "There are no bundles: only agents get one.\n"
    for verb in ("validate", "validate-integrity"):
        found = place.run("bundle", verb, "good", "--run", "p-1")
        assert (found.code, "only agents get one" in found.err + found.out) == (1, True)
    assert place.run("bundle", "validate", "after").code == 1


def test_a_run_is_archived_listed_and_restored(place: Place) -> None:
    run_of(place)
    made = place.run("archive", "execution", "shop", "--json").json()
    assert (made["run"], made["left_out"]) == ("p-1", [])
    folder = place.state / "archive" / made["id"]
    assert made["path"] == str(folder)
    manifest = json.loads((folder / "archive-manifest.json").read_text())
    paths = {one["path"] for one in manifest["files"]}
    assert {"state.json", "plan.json", "reports/p-1/report.txt", "logs/p-1/good/1/stdout.log"} <= paths
    assert (folder / "logs/p-1/good/1/stdout.log").is_file()
    assert json.loads((folder / "state.json").read_text())["tasks"][0]["task"] == "good"
    (row,) = place.run("archive", "list", "--json").json()
    assert (row["id"], row["project"], row["state"]) == (made["id"], "shop", "finished")
    assert place.run("archive", "list", "--project", "other").out == "There are no archives.\n"
    assert made["id"] in place.run("archive", "list").out
    log = place.state / "runs" / "p-1" / "good" / "1" / "stdout.log"
    log.unlink()
    dry = place.run("archive", "restore", made["id"], "--dry-run")
    assert (dry.code, "1 restored" in dry.out, log.exists()) == (0, True, False)
    stamp = made["id"].rpartition("/")[2]
    back = place.run("archive", "restore", stamp, "--project", "shop")
    assert (back.code, log.exists()) == (0, True)
    (folder / "logs/p-1/good/1/stdout.log").write_text("forged")
    log.unlink()
    bad = place.run("archive", "restore", made["id"], "--json")
    assert (bad.code, [one["became"] for one in bad.json() if one["became"] != "same"]) == (1, ["damaged"])
    assert place.run("archive", "restore", "none").code == 2
    assert place.run("archive", "execution", "../x").code == 1
    assert place.run("archive", "execution").out.startswith("target/execution/")


def test_nothing_is_put_among_the_files_of_a_run_that_goes_on(place: Place) -> None:
    place.run("run", place.write(plan_of({"a": sh("exit 3", retry=cli.SOON)})), "--quiet")
    made = place.run("archive", "execution", "--json").json()
    again = place.run("task", "retry", "a")
    assert again.code == 0, again.err
    found = place.run("archive", "restore", made["id"])
    assert (found.code, "is not over" in found.err) == (2, True)


def test_there_is_a_schema_of_every_document(place: Place) -> None:
    names = ["plan", "bundle", "result", "task-result", "verification"]
    assert {*names} == {"plan", *schema.SCHEMAS}
    found = {name: place.run("schema", name).json() for name in names}
    assert place.run("schema").json() == found["plan"]
    assert all(one["$schema"] == schema.DIALECT for one in found.values())
    assert "checksums" in found["bundle"]["$defs"]["TaskBundle"]["required"]
    assert place.run("schema", "nothing").code == 2
