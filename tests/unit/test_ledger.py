"""What a run's directory says of it beside the report: A54."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from build import World, plan, result, task
from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.plan import Provider
from daplug_supervisor.core.results import Finding
from daplug_supervisor.core.secrets import Mask
from daplug_supervisor.supervisor.closing import reports
from daplug_supervisor.supervisor.closing.ledger import PARTS, write_ledger
from daplug_supervisor.supervisor.closing.reports import write_report
from daplug_supervisor.views.evaluation.ledger import ledger
from daplug_supervisor.workspace.files import StateDirectory

SECRET = "hunter2hunter2"


def mixed() -> World:
    specs = {"a": task(worktree=True), "b": task("a"), "c": task(), "d": task("c")}
    world = World(plan(specs, {"codex": Provider(model="gpt-x")}))
    world.retried("a").begin("a").tick(5)
    found = Finding(0, "tests", detail=f"it says {SECRET}", blame="code")
    world.say(
        ev.AttemptExited("a", replace(result(), findings=(found,))),
        ev.VerificationPassed("a", (Finding(0, "tests"),), ("it edits its own tests",)),
        ev.StepDone("a", "commit", "abc"),
        ev.StepDone("a", "merge", "def"),
        ev.Landed("a", "def", ("x.py",)),
    )
    world.failed("c")
    return world.begin("b")


def test_each_attempt_is_told_with_who_did_it_and_how_it_ended() -> None:
    rows = ledger(mixed().run).dispatch
    assert [(row.task, row.attempt, row.provider, row.model, row.worktree, row.outcome) for row in rows] == [
        ("a", 1, "codex", "gpt-x", True, "failed"),
        ("a", 2, "codex", "gpt-x", True, "completed"),
        ("b", 1, "codex", "gpt-x", False, ""),
        ("c", 1, "codex", "gpt-x", False, "failed"),
    ]
    assert rows[2].ended_at is None
    assert rows[0].ended_at is not None


def test_tasks_proof_and_merges_are_told() -> None:
    found = ledger(mixed().run)
    assert [(row.task, row.status, row.attempts) for row in found.tasks] == [
        ("a", "done", 2), ("b", "running", 1), ("c", "failed", 1), ("d", "pending", 0),
    ]  # fmt: skip
    (proof,) = found.verification
    assert (proof.task, proof.held, proof.flags) == ("a", 1, ("it edits its own tests",))
    (merge,) = found.merge
    assert (merge.steps, merge.commit, merge.files) == ({"commit": "abc", "merge": "def"}, "def", ("x.py",))


def test_a_provider_that_the_plan_no_longer_has_is_told_without_its_model() -> None:
    world = mixed()
    task_a = world.run.tasks["a"]
    task_a.past = tuple(replace(past, provider="gone") for past in task_a.past)
    assert [row.model for row in ledger(world.run).dispatch][:2] == ["", ""]


def test_what_is_verified_at_this_moment_is_told_once() -> None:
    world = World(plan({"a": task()}))
    world.begin("a").say(ev.AttemptExited("a", result()))
    assert [(row.task, row.attempt, row.outcome) for row in ledger(world.run).dispatch] == [
        ("a", 1, "completed")
    ]


def test_the_directory_of_a_run_holds_it_all_and_no_secret(tmp_path: Path) -> None:
    directory, run = StateDirectory(tmp_path / "state"), mixed().run
    run.tasks["a"].findings = (Finding(0, "tests", detail=f"it says {SECRET} \x1b[31m"),)
    for name in "ab":
        (directory.run("r1") / name).mkdir(parents=True)
    (directory.run("r1") / "c").symlink_to(tmp_path)
    write_ledger(directory, run, Mask([SECRET]))
    folder = directory.run("r1")
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.json"))
    assert files == [
        "a/report.json", "b/report.json", "dispatch.json", "merge.json", "plan.json", "tasks.json",
        "verification.json",
    ]  # fmt: skip
    told = {path: (folder / path).read_text() for path in files}
    assert all(SECRET not in text and "\x1b" not in text for text in told.values())
    assert json.loads(told["plan.json"])["name"] == "add-oauth"
    assert json.loads(told["a/report.json"])["status"] == "done"
    assert json.loads(told["tasks.json"])[0] == json.loads(told["a/report.json"])
    assert not (tmp_path / "report.json").exists()


def test_of_a_very_large_run_only_the_report_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, run = StateDirectory(tmp_path / "state"), mixed().run
    monkeypatch.setattr(reports, "MOST_TASKS", len(run.tasks) - 1)
    write_report(directory, run, 10.0, Mask([]))
    folder = directory.run("r1")
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "report.json", "report.txt"]
    monkeypatch.setattr(reports, "MOST_TASKS", len(run.tasks))
    write_report(directory, run, 10.0, Mask([]))
    assert {f"{part}.json" for part in ("plan", *PARTS)} < {path.name for path in folder.iterdir()}
