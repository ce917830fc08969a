"""What a .tasker directory says while a run goes on: from the journal alone, whatever is in the way."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from core_making import Story, plan_of

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.bundle import Bundle
from daplug_supervisor.core.claims import KEY
from daplug_supervisor.core.plan import Assignment, Commit, Criterion, Origin, Plan, Retry, Task
from daplug_supervisor.core.results import Exit, Finding, Outcome, OutcomeKind, Result, Usage
from daplug_supervisor.core.state import Run
from daplug_supervisor.core.tasker.records import ResultFiles
from daplug_supervisor.core.tasker.session_plan import BY_HAND, going_on, taken
from daplug_supervisor.supervisor.attempts.taught import taught
from daplug_supervisor.workspace.tasker import home as tasker_home
from daplug_supervisor.workspace.tasker.result import Ours, result
from daplug_supervisor.workspace.tasker.state import log_line, updated

ONCE = Retry(attempts=1)
CLAIM = {
    "files": {"created": ["a.py"], "modified": ["/target/b.py", "/etc/passwd", "x\x1b.py"]},
    "notes": "all \x1b[31mwell",
    "decisions": ["kept it simple"],
}


def session_plan(**tasks: Task) -> Plan:
    return plan_of(tasks, origin=Origin("tasker", ".tasker"))


def work(*needs: str, **more: Any) -> Task:
    given = {"accept": (Criterion("pytest tests", "tests pass"),), "retry": ONCE, "fix_rounds": 0, **more}
    return Task(title="A task", instructions="do it", provider="codex", needs=needs, **given)


def told(kind: OutcomeKind, detail: str = "", usage: Usage | None = None, **claim: Any) -> Result:
    return Result(Outcome(kind, detail, claim={KEY: claim} if claim else None, usage=usage), Exit(0))


def done(story: Story, name: str, **claim: Any) -> None:
    story.start(name)
    story.record(
        ev.AttemptExited(name, told(OutcomeKind.COMPLETED, usage=Usage(100, output=20, cost=0.5), **claim))
    )
    story.record(
        ev.VerificationPassed(name, (Finding(0, "tests pass", code=0, seconds=1.5, claimed="PASS"),))
    )


def failed(story: Story, name: str, result: Result) -> None:
    story.start(name)
    story.record(ev.TaskFailed(name, result))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / ".tasker").mkdir()
    (tmp_path / ".tasker" / "state.json").write_text('{"version": "2.0", "tasks": {}}')
    return tmp_path


def at(story: Story, target: Path) -> Run:
    story.run.target = str(target)
    return story.run


def state(target: Path) -> Any:
    return json.loads((target / ".tasker" / "state.json").read_text())


def test_a_run_is_told_in_the_words_of_the_session() -> None:
    story = Story(
        session_plan(a=work(), b=work("a"), c=work("b"), d=work(), e=work("d", commit=Commit("e: it")))
    )
    done(story, "a")
    story.record(ev.Landed("a", "c0ffee", ("a.py", "b.py")))
    failed(story, "b", told(OutcomeKind.VERIFY_FAILED, "no"))
    story.start("d")
    known = {"their own": True, "tasks": {"a": {"blocks": ["b"], "attempts": 2}, "old": {"status": "complete"}},
             "phase": {"current": "ready", "completed": ["definition"], "more": 1},
             "execution": {"total_tokens": 7, "total_cost_usd": 1, "current_phase": 3},
             "events": [4, {"type": "x"}]}  # fmt: skip
    found = updated(known, story.run)
    words = {name: task["status"] for name, task in found["tasks"].items()}
    assert words == {
        "a": "complete",
        "old": "complete",
        "b": "failed",
        "c": "blocked",
        "d": "running",
        "e": "pending",
    }
    assert found["their own"]
    assert found["tasks"]["c"]["error"] == "Blocked by failed task b"
    one = found["tasks"]["a"]
    assert (one["blocks"], one["attempts"], one["commit_sha"]) == (["b"], 3, "c0ffee")
    assert (one["files_created"], one["files_modified"]) == ([], ["a.py", "b.py"])
    assert one["verification"]["criteria"] == [
        {"name": "tests pass", "score": "PASS", "evidence": "exit code 0 after 1.5 s"}
    ]
    assert found["phase"] == {"current": "executing", "completed": ["definition", "ready"], "more": 1}
    assert found["execution"] == {
        "total_tokens": 127, "total_cost_usd": 1.5, "current_phase": 3, "active_tasks": ["d"],
        "completed_count": 2, "failed_count": 1,
    }  # fmt: skip
    assert found["events"][:2] == [4, {"type": "x"}]
    assert [(one["type"], one["task_id"]) for one in found["events"][2:]] == [
        ("task_started", "a"), ("tokens_logged", "a"), ("task_completed", "a"), ("task_started", "b"),
        ("task_failed", "b"), ("task_started", "d"),
    ]  # fmt: skip
    assert updated(found, story.run) == found, "the same run makes the same document"


def test_a_retry_takes_back_what_was_said_and_the_end_is_complete() -> None:
    story = Story(session_plan(a=work(), b=work("a")))
    failed(story, "a", told(OutcomeKind.FAILED, "broken"))
    found = updated({"phase": "ready", "tasks": [{"id": "a"}, {"no": "id"}]}, story.run)
    assert (found["tasks"]["a"]["error"], found["tasks"]["b"]["status"]) == ("broken", "blocked")
    story.record(ev.TaskReset("a"))
    done(story, "a")
    landing = updated(found, story.run, Ours(story.run, story.task("a"), landing=True), "abc")
    assert (landing["tasks"]["a"]["status"], landing["tasks"]["a"]["commit_sha"]) == ("complete", "abc")
    assert "error" not in landing["tasks"]["a"]
    assert landing["tasks"]["b"]["status"] == "pending"
    assert "error" not in landing["tasks"]["b"]
    story.record(ev.Landed("a"), ev.TaskSkipped("b", "not needed"))
    after = updated(landing, story.run)
    assert (after["phase"], after["tasks"]["b"]["status"]) == ("complete", "skipped")
    assert updated({}, story.run)["phase"] == {"current": "complete", "completed": ["ready", "executing"]}
    assert after["tasks"]["a"]["attempts"] == 2


def test_a_halt_is_told_and_taken_back() -> None:
    story = Story(session_plan(a=work()))
    assert "halt" not in updated({}, story.run)
    story.start("a")
    story.record(ev.HaltRequested("enough\x1b[2J", "command", ("a",)))
    found = updated({"halt": {"theirs": 1, "halted_at": "before"}}, story.run)
    assert found["halt"]["reason"] == "enough\\x1b[2J"
    assert (found["halt"]["running_tasks"], found["halt"]["theirs"]) == (["a"], 1)
    assert "halted_at" not in found["halt"]
    story.record(ev.RetryScheduled("a", told(OutcomeKind.FAILED)), ev.Halted())
    assert updated(found, story.run)["halt"]["halted_at"]
    story.record(ev.Resumed())
    assert updated(found, story.run)["halt"]["requested"] is False


@pytest.mark.parametrize(
    ("kind", "detail", "run", "claim", "category"),
    [
        (OutcomeKind.PLAN_ERROR, "dependency: a file is gone", "true", {}, "dependency"),
        (OutcomeKind.VERIFY_FAILED, "x", "pytest tests", {}, "test"),
        (OutcomeKind.VERIFY_FAILED, "x", "cargo build", {}, "compilation"),
        (OutcomeKind.VERIFY_FAILED, "x", "grep -q a b", {}, "validation"),
        (OutcomeKind.NO_RESULT, "x", "true", {"error": {"category": "test"}}, "validation"),
        (OutcomeKind.BLOCKED, "x", "true", {}, "dependency"),
        (OutcomeKind.BLOCKED, "x", "true", {"error": {"category": "compilation"}}, "compilation"),
        (OutcomeKind.TIMEOUT, "x", "true", {}, "runtime"),
    ],
)
def test_a_failure_has_a_category(
    kind: OutcomeKind, detail: str, run: str, claim: Any, category: str
) -> None:
    story = Story(session_plan(a=work(accept=(Criterion(run),))))
    findings = (Finding(0, "c", detail="exit code 1"), Finding(-1, "always"))
    failed(story, "a", Result(told(kind, detail, **claim).outcome, Exit(1), findings))
    found = Ours(story.run, story.task("a")).error()
    assert found is not None
    assert (found.category, found.message) == (category, detail)


def test_what_cannot_help_is_not_to_be_retried_and_what_is_cancelled_says_why() -> None:
    story = Story(session_plan(a=work(), b=work(), c=work()))
    failed(story, "a", told(OutcomeKind.FAILED, "x", error={"retryable": False}))
    story.start("b")
    story.record(ev.CancelRequested("b", "not \x1bnow"), ev.TaskCancelled("b", "not \x1bnow"))
    errors = {name: Ours(story.run, story.task(name)).error() for name in "abc"}
    assert errors["a"] is not None
    assert not errors["a"].retryable
    assert errors["b"] is not None
    assert (errors["b"].message, errors["b"].retryable) == ("not \\x1bnow", True)
    assert errors["c"] is None


def test_a_result_has_our_findings_and_the_claim_beside_them() -> None:
    story = Story(session_plan(a=work(commit=Commit("a: it"))))
    done(story, "a", **CLAIM)
    found = result(Ours(story.run, story.task("a"), landing=True), "c0ffee", "a: it")
    assert (found.status, found.verification.verdict, found.error) == ("success", "PASS", None)
    assert (found.files.created, found.files.modified) == (("a.py",), ("b.py",))
    assert found.verification.criteria[0].claimed == "PASS"
    assert found.verification.criteria[0].command == "pytest tests"
    assert found.git is not None
    assert (found.git.commit_sha, found.git.commit_message) == ("c0ffee", "a: it")
    assert found.notes == "all \\x1b[31mwell\nkept it simple"
    assert found.attempt == "r1/a#1"


def test_of_a_commit_that_was_looked_at_the_commit_counts() -> None:
    story = Story(session_plan(a=work()))
    done(story, "a", files={"created": ["said.py"]})
    shown = ResultFiles(("made.py",), ("changed.py",))
    ours = Ours(story.run, story.task("a"), landing=True, shown=shown)
    assert ours.files() == shown
    found = updated({"tasks": {"x": "no task"}}, story.run, ours, "c0ffee")
    story.record(ev.Landed("a", "c0ffee", ("made.py", "changed.py")))
    assert updated(found, story.run)["tasks"]["a"]["files_created"] == ["made.py"]


def test_log_lines_are_one_line_of_plain_text() -> None:
    line = log_line(0.0, "INFO", "spawn", "a\nb\x1b[31m\u202e")
    assert line == "[1970-01-01T00:00:00.000+00:00] [INFO] [orchestrator] spawn: a b\\x1b[31m\\u202e\n"


# --- on the disk ----------------------------------------------------------------------------------------------


def test_what_an_attempt_expects_is_there_and_nothing_is_told_twice(target: Path) -> None:
    story = Story(session_plan(a=work()))
    story.start("a")
    run = at(story, target)
    stale = target / ".tasker" / "bundles" / "a-result.json"
    stale.parent.mkdir()
    stale.write_text("of an earlier attempt")
    (target / ".tasker" / "state.json").chmod(0o664)
    assert tasker_home.begin(run, story.task("a")) == ""
    assert not stale.exists()
    assert {one.name for one in (target / ".tasker").iterdir()} == {
        "artifacts", "inputs", "tasks", "reports", "bundles", "logs", "state.json",
    }  # fmt: skip
    first = (target / ".tasker" / "state.json").stat()
    assert first.st_mode & 0o777 == 0o664
    assert tasker_home.begin(run, story.task("a")) == ""
    assert (target / ".tasker" / "state.json").stat().st_ino == first.st_ino, "nothing new, nothing written"
    log = target / ".tasker" / "logs" / "activity.log"
    log.write_text(log.read_text() + "an agent's line without an end")
    assert tasker_home.log(run, 5.0, "WARN", "validation", "look") == ""
    assert [line.partition("] [")[2] for line in log.read_text().splitlines()] == [
        "INFO] [orchestrator] spawn: r1/a#1: A task", "", "WARN] [orchestrator] validation: look",
    ]  # fmt: skip


def test_an_end_is_written_as_result_state_and_log(target: Path) -> None:
    story = Story(session_plan(a=work()))
    done(story, "a", **CLAIM)
    run = at(story, target)
    assert tasker_home.ended(run, story.task("a"), landing=True) == ""
    assert tasker_home.ended(run, story.task("a"), landing=True, commit="0" * 40, message="a: it") == ""
    found = json.loads((target / ".tasker" / "bundles" / "a-result.json").read_text())
    assert found["git"] == {"committed": True, "commit_sha": "0" * 40, "commit_message": "a: it"}
    assert state(target)["tasks"]["a"]["status"] == "complete"
    assert (target / ".tasker" / "logs" / "activity.log").read_text().count(
        "task-result: r1/a#1: success"
    ) == 1


def test_a_failed_end_says_why(target: Path) -> None:
    story = Story(session_plan(a=work()))
    failed(story, "a", told(OutcomeKind.TIMEOUT, "too slow"))
    assert tasker_home.ended(at(story, target), story.task("a")) == ""
    found = json.loads((target / ".tasker" / "bundles" / "a-result.json").read_text())
    assert found["error"] == {"category": "runtime", "message": "too slow", "retryable": True}
    assert (
        "[ERROR] [orchestrator] task-result: r1/a#1: failed (runtime): too slow"
        in (target / ".tasker" / "logs" / "activity.log").read_text()
    )


def test_what_is_skipped_is_no_success_and_its_last_result_stays(target: Path) -> None:
    story = Story(session_plan(a=work()))
    failed(story, "a", told(OutcomeKind.FAILED, "no"))
    run = at(story, target)
    assert tasker_home.ended(run, story.task("a")) == ""
    written = (target / ".tasker" / "bundles" / "a-result.json").read_bytes()
    story.record(ev.TaskReset("a"), ev.TaskSkipped("a", "not\nneeded"))
    for _ in range(2):
        assert tasker_home.ended(run, story.task("a")) == ""
    assert (target / ".tasker" / "bundles" / "a-result.json").read_bytes() == written
    assert state(target)["tasks"]["a"]["status"] == "skipped"
    log = (target / ".tasker" / "logs" / "activity.log").read_text().splitlines()
    assert [line.partition("orchestrator] ")[2] for line in log if "skip" in line] == [
        "skip: r1/a: not needed"
    ]


def test_a_stale_result_goes_where_the_next_attempt_works(target: Path) -> None:
    story = Story(session_plan(a=work()))
    story.start("a")
    stale = target / "wt" / ".tasker" / "bundles" / "a-result.json"
    stale.parent.mkdir(parents=True)
    stale.write_text("of an earlier attempt")
    assert tasker_home.begin(at(story, target), story.task("a"), str(target / "wt")) == ""
    assert not stale.exists()


@pytest.mark.parametrize("text", ["{", "[]", "[" * 10_000, "\xff"])
def test_a_broken_state_is_left_as_it_is_and_told(text: str, target: Path) -> None:
    story = Story(session_plan(a=work()))
    path = target / ".tasker" / "state.json"
    path.write_bytes(text.encode("latin-1"))
    assert "it is left as it is" in tasker_home.saved(at(story, target))
    assert path.read_bytes() == text.encode("latin-1")


def test_links_and_fifos_in_the_way_are_told_and_not_followed(target: Path) -> None:
    story = Story(session_plan(a=work()))
    failed(story, "a", told(OutcomeKind.FAILED))
    run, home, victim = at(story, target), target / ".tasker", target / "victim"
    victim.mkdir()
    (home / "state.json").unlink()
    (home / "state.json").symlink_to(victim / "state.json")
    (home / "bundles").symlink_to(victim)
    (home / "logs").mkdir()
    os.mkfifo(home / "logs" / "activity.log")
    said = tasker_home.ended(run, story.task("a"))
    for name in ("bundles/a-result.json", "state.json", "logs/activity.log"):
        assert f".tasker/{name} cannot be used" in said
    assert ".tasker/bundles cannot be used" in tasker_home.begin(run, story.task("a"))
    assert list(victim.iterdir()) == []
    (home / "bundles").unlink()
    (home / "bundles" / "a-result.json").mkdir(parents=True)
    assert "bundles/a-result.json cannot be used: Is a directory" in tasker_home.ended(run, story.task("a"))


def test_a_full_disk_is_for_the_caller_to_wait_for(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    story = Story(session_plan(a=work()))
    story.start("a")
    monkeypatch.setattr(tasker_home, "write_atomically", full)
    with pytest.raises(OSError, match="No space"):
        tasker_home.saved(at(story, target))


def test_its_stop_file_counts_only_for_its_own_runs(target: Path) -> None:
    mine, other = Story(session_plan(a=work())), Story(plan_of("a"))
    stop = target / ".tasker" / "STOP"
    assert not tasker_home.stop_requested(at(mine, target))
    stop.symlink_to("nowhere")
    assert tasker_home.stop_requested(mine.run)
    assert not tasker_home.stop_requested(at(other, target))
    tasker_home.clear_stop(other.run)
    assert os.path.lexists(stop)
    tasker_home.clear_stop(mine.run)
    assert not os.path.lexists(stop)
    tasker_home.clear_stop(mine.run)


# --- going on, and results as that system teaches them --------------------------------------------------------


def test_what_a_run_has_done_is_no_edit_of_its_plan() -> None:
    story = Story(session_plan(a=work(), b=work("a"), c=work("a", "b")))
    done(story, "a")
    story.record(ev.Landed("a"))
    assert going_on(story.run, session_plan(b=work(), c=work("b")), {"a"}) == story.run.plan
    new = going_on(story.run, session_plan(b=work(), c=work("b", "x"), x=work()), {"a"})
    assert {name: task.needs for name, task in new.tasks.items()} == {
        "a": (), "b": ("a",), "c": ("a", "b", "x"), "x": (),
    }  # fmt: skip
    assert set(going_on(story.run, session_plan(c=work()), {"a"}).tasks) == {"a", "c"}


def test_what_a_person_has_done_by_hand_is_taken_as_done() -> None:
    story = Story(session_plan(a=work(), b=work(), c=work(), d=work()))
    failed(story, "a", told(OutcomeKind.FAILED))
    story.start("c")
    events = taken(story.run, {"a", "b", "c"})
    assert events == (ev.TaskReset("a", BY_HAND), ev.TaskAdopted("a", BY_HAND), ev.TaskAdopted("b", BY_HAND))
    story.record(*events)
    assert taken(story.run, {"a", "b", "c"}) == ()


def test_a_result_as_that_system_teaches_it_is_found_or_refused(target: Path) -> None:
    who = Assignment("p", "cli", "m", None, None)
    bundle = Bundle("r", "T001", 1, "t", "/d", str(target), str(target / "wt"), Task(), who)
    assert taught(bundle, bundle.cwd) is None
    path = target / ".tasker" / "bundles" / "T001-result.json"
    path.parent.mkdir()
    path.write_text('{"task_id": "T001", "status": "success", "notes": "mine"}')
    found = taught(bundle, bundle.cwd)
    assert msgspec.to_builtins(found)["notes"] == "mine"
    path.write_text("T001: SUCCESS")
    assert "T001-result.json is refused: it is no JSON" in str(taught(bundle, bundle.cwd))
    path.unlink()
    path.symlink_to("/etc/passwd")
    assert "T001-result.json cannot be read" in str(taught(bundle, bundle.cwd))
