"""`gc`, and what a report and `task show` say of worktrees."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cli import HOLD, MARKING, Place, kill, opened, plan_of, sh, until
from repositories import commit, git, reachable, snapshots

from daplug_supervisor import Retry
from daplug_supervisor.core import events as ev
from daplug_supervisor.workspace import gc
from daplug_supervisor.workspace.git import changes
from daplug_supervisor.workspace.git.registry import Record
from daplug_supervisor.workspace.git.worktrees import worktree

place = pytest.fixture(opened)

WHO = "git -c user.name=t -c user.email=t@example.org"
COMMIT = f"{WHO} add -A; {WHO} commit -qm work"
TREE: dict[str, Any] = {"worktree": True, "land": False, "retry": Retry(attempts=1)}


def begin(place: Place) -> None:
    git(place.target, "init", "-q", "-b", "main")
    commit(place.target, "file", "one\n")


def of(found: Any, what: str = "worktree") -> dict[str, tuple[bool, str]]:
    return {item["task"]: (item["removed"], item["why"]) for item in found["items"] if item["what"] == what}


def test_what_is_merged_goes_and_what_is_not_stays(place: Place) -> None:
    begin(place)
    tasks = {
        "merged": sh(f"echo merged > merged; {COMMIT}", **TREE),
        "nothing": sh("true", **TREE),
        "alone": sh(f"echo alone > alone; {COMMIT}", **TREE),
        "dirty": sh("echo dirty > dirty; echo two > file; false", **TREE),
        "task": sh("echo the task > TASK.md", **TREE),
    }
    plan = place.write(plan_of(tasks))
    assert place.run(plan).code == 1
    git(place.target, "merge", "-q", "daplug/p-1-merged")
    git(place.target, "branch", "daplug/mine-not-theirs")
    git(place.target, "worktree", "add", "-q", "../elsewhere")
    seen = place.run("gc", "--dry-run", "--json").json()
    assert of(seen) == {
        "merged": (True, "all of its work is merged or saved"),
        "nothing": (True, "all of its work is merged or saved"),
        "task": (True, "all of its work is merged or saved"),
        "alone": (False, "1 commit on no other branch: merge it, or say --save"),
        "dirty": (False, "uncommitted work in 2 files: merge it, or say --save"),
    }
    assert seen["dry_run"]
    assert len(list((place.target / ".worktrees").iterdir())) == 5
    done = place.run("gc", "--json").json()
    assert of(done) == of(seen)
    assert done["size"] == seen["size"] > 0
    assert sorted(path.name for path in (place.target / ".worktrees").iterdir()) == ["p-1-alone", "p-1-dirty"]
    branches = git(place.target, "branch", "--format=%(refname:short)").split()
    kept = ["daplug/mine-not-theirs", "daplug/p-1-alone", "daplug/p-1-dirty", "elsewhere", "main"]
    assert sorted(branches) == kept
    assert snapshots(place.target) == []
    saved = place.run("gc", "--save")
    assert saved.code == 0, saved.err
    assert "refs/daplug/snapshots/p-1-dirty/1" in saved.out
    assert not (place.target / ".worktrees").exists()
    assert len(snapshots(place.target)) == 2
    assert all(reachable(place.target, content) for content in ("alone", "dirty", "two"))
    assert "nothing to remove" in place.run("gc").out
    again = place.run(plan)  # what failed is tried again, in a new worktree
    assert again.code == 1
    assert (place.target / ".worktrees" / "p-1-dirty" / "dirty").exists()


def test_what_is_not_over_is_not_touched(place: Place) -> None:
    begin(place)
    plan = place.write(plan_of({"a": sh(MARKING + HOLD.replace('"go', '"../../go'), **TREE)}))
    process = place.start(plan)
    until((place.target / ".worktrees" / "p-1-a" / "starts").exists, "the task at work")
    refused = place.run("gc")
    assert refused.code == 4
    assert "supervises" in refused.err
    kill(process)
    assert of(place.run("gc", "--json").json()) == {"a": (False, "run p-1 is not finished")}
    place.go("a")
    assert place.run(plan).code == 0
    folder = place.target / ".worktrees" / "p-1-a"
    with subprocess.Popen(["cat"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cat:
        assert cat.stdin is not None
        assert cat.stdout is not None
        cat.stdin.write(b"x")
        cat.stdin.flush()
        assert cat.stdout.read(1) == b"x"
        found = of(place.run("gc", "--json", "--save").json())
        assert found == {"a": (False, f"process {cat.pid} works in {folder}")}
        cat.stdin.close()
    other = place.run("gc", "--json", "--state-dir", "../other")
    assert other.code == 2
    assert of(place.run("gc", "--json", "--save").json())["a"][0]


def test_worktrees_of_another_state_directory_are_left_to_it(place: Place) -> None:
    begin(place)
    one = place.write(plan_of({"a": sh("true", **TREE)}, name="one"), "one.json")
    two = place.write(plan_of({"a": sh("true", **TREE)}, name="two"), "two.json")
    assert place.run(one).code == 0
    assert place.run(two, "--state-dir", "../state").code == 0
    found = place.run("gc", "--json").json()["items"]
    kept = [item for item in found if not item["removed"]]
    assert [item["why"] for item in kept] == [
        f"it belongs to {place.target.parent / 'state'}: say --state-dir"
    ]
    assert [path.name for path in (place.target / ".worktrees").iterdir()] == ["two-1-a"]


def test_old_files_of_attempts_go_and_the_report_stays(place: Place) -> None:
    plan = place.write(
        plan_of({"a": sh("echo said", retry=Retry(attempts=1)), "b": sh("exit 3", retry=Retry(attempts=1))})
    )
    assert place.run(plan).code == 1
    entries = len(place.entries())
    assert place.run("gc").out == "There is nothing to remove.\n"
    assert place.run("gc", "--older-than", "yesterday").code == 2
    found = of(place.run("gc", "--older-than", "0s", "--json").json(), "attempts")
    assert found == dict.fromkeys("ab", (True, "the run has been over for long enough"))
    assert [path.name for path in (place.state / "runs" / "p-1" / "a").iterdir()] == ["report.json"]
    assert (place.state / "runs" / "p-1" / "report.txt").exists()
    gone = place.run("task", "logs", "b")
    assert gone.code == 2
    assert "removed by gc" in gone.err
    assert len(place.entries()) == entries
    assert place.run("report").code == 0
    assert place.run(plan).code == 1  # it goes on, with the next attempt
    assert [event.number for event in place.events(ev.AttemptStarted, task="b")] == [1, 2]


def test_it_goes_on_where_it_was_interrupted(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(place)
    assert place.run(place.write(plan_of({"a": sh("echo x > x", **TREE)}))).code == 0
    path = place.target / ".worktrees" / "p-1-a"
    (path / ".git").unlink()
    base = git(place.target, "rev-parse", "HEAD")
    (place.target / ".git" / "daplug" / "p-1-a.json").write_text(
        json.dumps({"owner": f"{place.state}/runs/p-1/a", "path": str(path), "base": base, "state": "making"})
    )
    found = of(place.run("gc", "--json").json())
    assert found == {"a": (True, "it was never finished, and nobody has worked in it")}
    assert not path.exists()


def test_what_cannot_be_removed_is_told_and_the_rest_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    commit(tmp_path, "file", "one\n")
    for name in ("a", "b"):
        worktree(tmp_path, owner=f"/state/runs/p-1/{name}", name=name)
    git(tmp_path / ".worktrees" / "a", "init", "-q", "inner")

    def whose(record: Record) -> tuple[str, str]:
        return "p-1", record.owner[-1]

    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(gc, "remove", broken)
        found = list(gc.worktrees(str(tmp_path / ".git"), lambda _: "", whose, save=True, dry=False))
    inner = tmp_path / ".worktrees" / "a" / "inner"
    assert [item.why for item in found] == [
        f"{inner} is a repository of its own: move it away", "[Errno 5] Input/output error",
    ]  # fmt: skip
    assert not any(item.removed for item in found)


# --- what is told ---------------------------------------------------------------------------------------------


def test_uncommitted_work_and_overlaps_are_told(place: Place) -> None:
    begin(place)
    tasks = {
        "good": sh(f"echo a > shared; echo a > own; {COMMIT}", **TREE),
        "bad": sh(f"echo b > shared; {COMMIT}; echo more > file; echo x > 'new\x1bfile'; exit 3", **TREE),
        "plain": sh("true"),
    }
    done = place.run(place.write(plan_of(tasks)), "--json")
    assert done.code == 1
    report = done.json()
    folder = place.target / ".worktrees" / "p-1-bad"
    first = report["worktrees"][0]
    assert git(place.target, "cat-file", "-t", first.pop("base")) == "commit"
    assert first == {
        "task": "bad", "status": "failed", "path": str(folder), "branch": "daplug/p-1-bad", "commits": 1,
        "changed": 3, "uncommitted": 2, "files": ["file", "new\x1bfile"],
    }  # fmt: skip
    assert [(row["task"], row["commits"], row["uncommitted"]) for row in report["worktrees"][1:]] == [
        ("good", 1, 0)
    ]
    assert report["overlaps"] == [
        {"tasks": ["good", "bad"], "count": 1, "files": ["shared"], "side_by_side": ["good", "bad"]}
    ]
    text = place.run("report").out
    assert "bad (failed): " in text
    assert "in .worktrees/p-1-bad" in " ".join(text.split())
    assert "good and bad, side by side: shared" in text
    assert "\x1b" not in text
    shown = place.run("task", "show", "bad").out
    assert "branch daplug/p-1-bad, 1 commit" in shown
    assert "uncommitted" in shown
    commit(folder, "later", "x\n")
    assert place.run("task", "show", "bad", "--json").json()["worktree"]["commits"] == 2
    assert place.run("task", "show", "plain", "--json").json()["worktree"] is None
    subprocess.run(["rm", "-rf", str(folder), str(place.target / ".git" / "worktrees")], check=True)
    assert place.run("task", "show", "bad").code == 0
    assert "bad (failed)" in place.run("report").out, "what was when the run ended"


def test_what_has_landed_may_go_and_the_branch_of_the_run_stays(place: Place) -> None:
    begin(place)
    plan = plan_of({"a": sh("echo a > a", worktree=True)})
    assert place.run(place.write(plan)).code == 0
    assert of(place.run("gc", "--json").json()) == {"a": (True, "all of its work is merged or saved")}
    branches = git(place.target, "branch", "--format=%(refname:short)").split()
    assert sorted(branches) == ["daplug/run/p-1", "main"]
    assert git(place.target, "show", "daplug/run/p-1:a") == "a"


def test_a_repository_that_is_gone_never_fails_a_report(place: Place) -> None:
    begin(place)
    line = "rm -rf ../../.git; true"
    done = place.run(place.write(plan_of({"a": sh(line, **TREE)})), "--json")
    assert done.code == 0, done.err
    assert done.json()["worktrees"] == []
    (place.state / "runs" / "p-1" / "work.json").write_bytes(b"\xff[")
    assert place.run("report").code == 0
    assert place.run("task", "show", "a").code == 0
    assert place.run("gc").code == 0


def test_looking_at_changes_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    commit(tmp_path, "file", "one\n")
    path = worktree(tmp_path, owner="/state/runs/p-1/a", name="a").path
    for number in range(30):
        Path(path, f"{number:02}").touch()
    Path(os.fsencode(path).decode(), os.fsdecode(b"\xff")).touch()
    names = {"/state/runs/p-1/a": "a"}
    whole = changes.work_of(str(tmp_path), names, 20.0)["a"]
    assert (len(whole.files), whole.more) == (31, False)
    assert "\\xff" in whole.uncommitted
    monkeypatch.setattr(changes, "_MOST_FILES", 10)
    assert len(changes.work_of(str(tmp_path), names, 20.0)["a"].uncommitted) == 10
    monkeypatch.setattr(changes, "_MOST_BYTES", 30)
    cut = changes.work_of(str(tmp_path), names, 20.0)["a"]
    assert cut.more
    assert 0 < len(cut.uncommitted) < 10
    assert changes.work_of(str(tmp_path), names, 0.0) == {}
    assert changes.work_of(str(tmp_path / "nowhere"), names, 20.0) == {}
