"""A .tasker of eight tasks, run to its end: one agent lies, two do not fit, one is mended and one is not."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from cli import Place, finish, kill, opened, until
from repositories import git, snapshots
from tasker_story import EIGHT, HONEST, RUN, SHARED, STORY, WORDS, prepare, read, words
from todo_plan import Turns, starts, subjects, tell

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.machine import Status
from daplug_supervisor.workspace.git import run_branch

place = pytest.fixture(opened)
EVERY = [one["id"] for one in EIGHT]
TITLES = {one["id"]: f"{one['id']}: {one['name']}" for one in EIGHT}
LANDED = [name for name in EVERY if name != "T006"]
FILES = {
    "config.txt": "someone@example.org",
    "prices.txt": "right",
    "honest.txt": "now",
    "app.txt": "header\nfooter",
    "all.txt": "right header footer",
    "release.txt": "out",
    "notes.txt": "of a person",
}


def until_a_person_is_asked(place: Place, story: Turns, *more: str) -> Path:
    """Run the session as far as it gets by itself; T004 and T005 begin together, and T004 is done first."""
    home = prepare(place, story)
    command = place.start(*WORDS, *more)
    until(lambda: {"T004", "T005"} <= set(starts(place)), "both are at work")
    (place.home / "story" / "go-T004").touch()
    until(lambda: place.events(ev.Landed, task="T004"), "the header has landed")
    (place.home / "story" / "go-T005").touch()
    out, err = command.communicate(timeout=50)
    assert command.returncode == 1, (out, err)
    assert words(home) == {
        **dict.fromkeys(EVERY, "complete"),
        "T003": "failed",
        "T006": "failed",
        "T008": "blocked",
    }
    return home


def what_failed(place: Place, home: Path) -> None:
    """One has lied, and one could not be mended; both are told so, and none of their work is left."""
    run = place.folded(RUN)
    assert {name: run.tasks[name].status for name in ("T003", "T006")} == {
        "T003": Status.FAILED,
        "T006": Status.FAILED,
    }
    assert run.tasks["T003"].last_fix, "after rounds that did not help, one last attempt"
    assert run.tasks["T006"].last_fix
    lie = read(home, "bundles/T003-result.json")
    assert (lie["status"], lie["verification"]["verdict"], "git" in lie) == ("failed", "FAIL", False)
    (criterion,) = lie["verification"]["criteria"]
    assert (criterion["claimed"], criterion["status"], criterion["exit_code"]) == ("PASS", "FAIL", 1)
    assert lie["error"] == {
        "category": "test",
        "message": run.tasks["T003"].past[-1].result.outcome.detail,
        "retryable": True,
    }
    bad = read(home, "bundles/T006-result.json")
    assert (bad["status"], bad["error"]["category"]) == ("failed", "validation")
    assert len([line for line in starts(place) if line == "T006"]) == 5, (
        "an attempt, three rounds, a last one"
    )
    assert not (place.target / "manual.txt").exists()
    assert (place.target / "notes.txt").read_text() == "of a person\n"
    assert git(place.target, "status", "--porcelain", "--", ":!.tasker") == ""
    assert read(home, "reports/evaluation-report.json")["run"] == RUN


def to_the_end(place: Place, home: Path, *more: str) -> None:
    """A person skips what could not be mended, and has the lie tried again."""
    skipped = place.run("task", "skip", "T006", "--reason=nobody reads it")
    assert skipped.code == 0, skipped.err
    tell(place, {**STORY, **HONEST})
    retried = place.run("task", "retry", "T003")
    assert retried.code == 0, retried.err
    ran = place.run(*WORDS, *more)
    assert ran.code == 0, (ran.out, ran.err)
    assert words(home) == {**dict.fromkeys(EVERY, "complete"), "T006": "skipped"}
    assert place.folded(RUN).finished_at is not None
    again = place.run(*WORDS, *more)
    assert (again.code, "Nothing is left to be done" in again.err) == (0, True), again


def what_is_there(place: Place, home: Path, branch: str) -> None:
    """One commit a task with its own files; what the session says fits it."""
    told = subjects(place, branch)
    assert sorted(told) == sorted(TITLES[name] for name in LANDED)
    for earlier, later in (("T001", "T002"), ("T002", "T007"), ("T005", "T007"), ("T003", "T008")):
        assert told.index(TITLES[earlier]) < told.index(TITLES[later])
    for name, text in FILES.items():
        assert git(place.target, "show", f"{branch}:{name}") == text
    state = read(home, "state.json")
    for one in EIGHT:
        name = one["id"]
        if name == "T006":
            continue
        sha = git(place.target, "log", "--format=%H", f"--grep=^{TITLES[name]}$", branch)
        shown = git(place.target, "show", "--format=", "--name-only", sha).split()
        assert shown == [work["path"] for work in one["files"]], "its own files, and nothing of the session"
        result = read(home, f"bundles/{name}-result.json")
        assert (result["status"], result["verification"]["verdict"]) == ("success", "PASS")
        assert {row["status"] for row in result["verification"]["criteria"]} == {"PASS"}
        assert result["git"] == {"committed": True, "commit_sha": sha, "commit_message": TITLES[name]}
        assert state["tasks"][name]["commit_sha"] == sha
    assert read(home, "bundles/T004-result.json")["notes"].startswith("as I was taught")
    assert git(place.target, "status", "--porcelain", "--", ":!.tasker") == ""
    the_session_is_whole(place, home, state)
    the_reports(place, home)


def the_session_is_whole(place: Place, home: Path, state: dict[str, Any]) -> None:
    counted = Counter(starts(place))
    assert {name: task["attempts"] for name, task in state["tasks"].items()} == counted
    assert {name: counted[name] for name in ("T001", "T002", "T004", "T007", "T008")} == {
        "T001": 1,
        "T002": 2,
        "T004": 1,
        "T007": 1,
        "T008": 1,
    }
    assert (state["phase"]["current"], state["execution"]["active_tasks"]) == ("complete", [])
    assert (state["execution"]["completed_count"], state["execution"]["failed_count"]) == (7, 0)
    log = (home / "logs" / "activity.log").read_text().splitlines()
    assert len(log) == len(set(log))
    assert sum("spawn: " in line for line in log) == counted.total()
    assert sum(": success" in line for line in log) == len(LANDED)
    assert sum(": failed (" in line for line in log) == 2
    (skipped,) = [line for line in log if "skip: " in line]
    assert skipped.endswith(f"{RUN}/T006: nobody reads it")
    assert read(home, "bundles/T006-result.json")["verification"]["verdict"] == "FAIL", "it stays what it was"


def the_reports(place: Place, home: Path) -> None:
    found = read(home, "artifacts/fsm-coverage.execute.json")
    first, second = found["machines"][0]["transitions"]["details"]
    (evidence,) = first["evidence"]
    assert (first["id"], first["verified"], first["covering_tasks"]) == ("TR1", True, ["T001"])
    assert (evidence["task_id"], evidence["evidence_type"], evidence["exit_code"]) == ("T001", "test", 0)
    assert evidence["command"] == "test -f config.txt"
    assert (second["id"], second["verified"], bool(second["why"])) == ("TR2", False, True)
    rules = {one["id"]: one["verified"] for one in found["invariants"]["details"]}
    assert rules == {"I1": True, "I2": False}
    assert found["uncovered"] == ["TR2", "I2"]
    evaluated = read(home, "reports/evaluation-report.json")
    counts = evaluated["counts"]
    assert (counts["total"], counts["done"], counts["skipped"], counts["failed"]) == (8, 7, 1, 0)
    text = (home / "reports" / "evaluation-report.txt").read_text()
    report = place.run("report", RUN)
    assert report.code == 0, report.err
    for said in (text, report.out):
        assert re.search(r"agents call passed and that fail: \d times, in T003", said)
    assert "T001: it has an @" in report.out


def test_eight_tasks_in_worktrees(place: Place) -> None:
    home = until_a_person_is_asked(place, STORY, "--worktree")
    what_failed(place, home)
    conflicts = [one for one in place.events(ev.RetryScheduled) if one.result.outcome.kind == "conflict"]
    assert [one.task for one in conflicts] == ["T005"]
    told = (place.state / "runs" / RUN / "T005" / "2" / "prompt.md").read_text()
    assert "conflict markers" in told
    assert starts(place).count("T003") == 3, "the same failure on the same files is not tried again unchanged"
    to_the_end(place, home, "--worktree")
    what_is_there(place, home, run_branch.name(RUN))
    assert subjects(place, "main") == []


def test_eight_tasks_in_a_shared_checkout(place: Place) -> None:
    home = until_a_person_is_asked(place, SHARED)
    what_failed(place, home)
    (saved,) = [ref for ref in snapshots(place.target) if "T006" in ref]
    assert git(place.target, "show", f"{saved}:manual.txt").startswith("bad")
    assert git(place.target, "show", f"{saved}:notes.txt").startswith("bad")
    to_the_end(place, home)
    what_is_there(place, home, "main")


def test_killed_while_it_lands_and_is_complete_for_the_session(place: Place) -> None:
    """Git is kept busy with the commit; by then the session says that the task is complete."""
    home = prepare(
        place, {"T001": [{"hold": "go", **STORY["T001"][0]}], "T002": STORY["T002"][1:]}, EIGHT[:2]
    )
    filters = place.target / ".git" / "info" / "attributes"
    go = place.home / "go-commit"
    git(place.target, "config", "filter.slow.clean", f"until [ -e {go} ]; do sleep 0.02; done; cat")
    command = place.start(*WORDS)
    until(lambda: starts(place), "it is at work")
    filters.write_text("config.txt filter=slow\n")
    (place.home / "story" / "go").touch()
    until(lambda: words(home)["T001"] == "complete", "the session says that it is complete")
    kill(command)
    assert place.task("T001", RUN).status is Status.LANDING
    assert subjects(place, "main") == [], "it has not landed"
    go.touch()
    ran = finish(place.start(*WORDS))
    assert ran.code == 0, (ran.out, ran.err)
    assert words(home) == {"T001": "complete", "T002": "complete"}
    assert starts(place) == ["T001", "T002"], "no agent has worked twice"
    assert subjects(place, "main") == [TITLES["T001"], TITLES["T002"]]
    for name, sha in zip(
        ("T001", "T002"), git(place.target, "log", "--reverse", "--format=%H").split()[1:], strict=True
    ):
        assert read(home, f"bundles/{name}-result.json")["git"]["commit_sha"] == sha
        assert read(home, "state.json")["tasks"][name]["commit_sha"] == sha
    log = (home / "logs" / "activity.log").read_text().splitlines()
    assert len(log) == len(set(log)) == 4
