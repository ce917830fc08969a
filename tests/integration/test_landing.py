"""Verified work comes home: one commit a task on the run's branch, whatever happens in between."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli import Place, kill, plan_of, sh, until
from repositories import commit, git, reachable

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.plan import Commit, Criterion, Plan, Retry, Task

BRANCH = "daplug/run/p-1"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    git(made.target, "init", "-q", "-b", "main")
    commit(made.target, "f", "one\n")
    git(made.target, "config", "user.name", "A Person")
    git(made.target, "config", "user.email", "person@example.org")
    yield made
    made.close()


def own(line: str, *needs: str, **more: Any) -> Task:
    """A task with a worktree of its own."""
    return sh(line, *needs, worktree=True, **more)


def held(place: Place) -> str:
    """The beginning of a shell line that goes on when the test says so, with a file in the target."""
    return f"until [ -e {place.target}/go ]; do sleep 0.02; done; "


def landed(place: Place, branch: str = BRANCH) -> list[str]:
    """The subjects of what has landed, oldest first."""
    return git(place.target, "log", "--reverse", "--format=%s", f"main..{branch}").splitlines()


def run(place: Place, plan: Plan) -> int:
    return place.run("run", place.write(plan)).code


def test_dependents_begin_with_what_came_before_and_one_branch_is_left_to_review(place: Place) -> None:
    head = git(place.target, "rev-parse", "HEAD")
    tasks = {
        "a": own("echo a > a.txt", title="first"),
        "b": own("echo b > b.txt", title="second"),
        "c": own("cat a.txt b.txt > c.txt; echo rest > TASK.md", "a", "b"),
        "d": own("true", "c"),
    }
    assert run(place, plan_of(tasks)) == 0
    assert sorted(landed(place)[:2]) == ["a: first", "b: second"]
    assert landed(place)[2:] == ["c: c"]
    assert git(place.target, "show", f"{BRANCH}:c.txt") == "a\nb"
    assert "TASK.md" not in git(place.target, "ls-tree", "--name-only", BRANCH).split()
    said = git(place.target, "log", "-1", "--format=%an%n%B", BRANCH).splitlines()
    assert said[0] == "A Person"
    assert said[-3:] == ["Daplug-Run: p-1", "Daplug-Task: c", "Daplug-Attempt: p-1/c#1"]
    assert git(place.target, "rev-parse", "HEAD") == head, "the user's checkout is left alone"
    assert git(place.target, "status", "--porcelain", "--untracked-files=no") == ""
    tasks_of = place.folded().tasks
    assert tasks_of["c"].files == ("c.txt",)
    assert tasks_of["c"].commit == git(place.target, "rev-parse", BRANCH)
    assert (tasks_of["d"].commit, tasks_of["d"].files) == ("", ())
    report = (place.state / "runs" / "p-1" / "report.txt").read_text()
    assert BRANCH in report


def test_where_the_branch_has_moved_the_criteria_run_again_on_what_lands(place: Place) -> None:
    counting = f"echo x >> {place.target}/looked-$DAPLUG_TASK"
    tasks = {
        "a": own("echo a > a.txt", accept=(Criterion(run=counting),)),
        "b": own(held(place) + "echo b > b.txt", accept=(Criterion(run=counting),)),
    }
    command = place.start("run", place.write(plan_of(tasks)))
    until(lambda: place.events(ev.Landed, task="a"), "a has landed")
    (place.target / "go").touch()
    assert command.wait(20) == 0
    counts = [len((place.target / f"looked-{name}").read_text().split()) for name in "ab"]
    assert counts == [1, 2]
    assert landed(place) == ["a: a", "b: b"]


def test_work_that_passes_alone_and_not_together_does_not_land(place: Place) -> None:
    """`b` passes where it was made, and not on top of `a`: it goes back, begins there, and is mended."""
    mend = "if test -f a.txt; then echo fits > b.txt; else echo b > b.txt; fi"
    accept = (Criterion(run="test ! -f a.txt || grep fits b.txt", name="they fit"),)
    tasks = {"a": own("echo a > a.txt"), "b": own(held(place) + mend, accept=accept)}
    command = place.start("run", place.write(plan_of(tasks)))
    until(lambda: place.events(ev.Landed, task="a"), "a has landed")
    (place.target / "go").touch()
    assert command.wait(20) == 0
    (again,) = place.events(ev.RetryScheduled)
    assert again.result.findings[0].label == "they fit"
    assert git(place.target, "show", f"{BRANCH}:b.txt") == "fits"
    assert landed(place) == ["a: a", "b: b"]


def conflicting(place: Place, second: str) -> dict[str, Task]:
    return {"a": own("echo a > f"), "b": own(held(place) + second)}


def test_what_does_not_fit_goes_back_with_both_sides_in_the_files(place: Place) -> None:
    mend = (
        "if grep -q '<<<<<<<' f; then cp f saw; printf 'a\\nb\\n' > f; mv saw ../../saw; else echo b > f; fi"
    )
    command = place.start("run", place.write(plan_of(conflicting(place, mend))))
    until(lambda: place.events(ev.Landed, task="a"), "a has landed")
    (place.target / "go").touch()
    assert command.wait(20) == 0
    assert (place.target / "saw").read_text() == "<<<<<<< landed\na\n=======\nb\n>>>>>>> yours\n"
    (again,) = place.events(ev.RetryScheduled)
    assert (again.result.outcome.kind, again.uses_try) == ("conflict", False)
    assert "f; the files hold both" in again.result.outcome.detail
    assert git(place.target, "show", f"{BRANCH}:f") == "a\nb"
    assert landed(place) == ["a: a", "b: b"]


def test_what_still_does_not_fit_waits_for_a_person_and_nothing_is_lost(place: Place) -> None:
    command = place.start("run", place.write(plan_of(conflicting(place, "echo mine >> f"))))
    until(lambda: place.events(ev.Landed, task="a"), "a has landed")
    (place.target / "go").touch()
    assert command.wait(20) == 1
    task = place.folded().tasks["b"]
    assert (task.status, task.conflicts) == (Status.STUCK, 1)
    assert "f" in task.reason
    assert landed(place) == ["a: a"]
    assert reachable(place.target, "one\nmine")


def test_what_is_not_to_land_stays_where_it_is(place: Place) -> None:
    assert run(place, plan_of({"a": own("echo a > a.txt", land=False)})) == 0
    assert git(place.target, "branch", "--list", BRANCH) == ""
    assert (place.target / ".worktrees" / "p-1-a" / "a.txt").read_text() == "a\n"


def test_in_a_shared_checkout_only_what_the_plan_names_is_committed(place: Place) -> None:
    (place.target / "mine").write_text("not yet\n")
    git(place.target, "add", "mine")
    tasks = {
        "a": sh("echo a > a.txt; echo b > b.txt", commit=Commit(message="add a", files=("a.txt",))),
        "b": sh("true", "a", commit=Commit(files=("nothing.txt",))),
        "c": sh("echo c > c.txt", "a", commit=Commit(files=("c.txt",), when="test -f never")),
        "d": sh("echo d > d.txt", "a", commit=Commit(files=("d.txt",), when="test -f a.txt")),
    }
    assert run(place, plan_of(tasks)) == 0
    assert sorted(git(place.target, "log", "--format=%s", "-2").splitlines()) == ["add a", "d: d"]
    status = git(place.target, "status", "--porcelain", "--", "mine", "a.txt", "b.txt", "c.txt", "d.txt")
    assert status.splitlines() == ["A  mine", "?? b.txt", "?? c.txt"]
    steps = {event.task: event.detail for event in place.events(ev.StepDone)}
    assert steps["b"] == "nothing to commit"
    assert steps["c"] == "not wanted: its condition does not hold"


@pytest.mark.parametrize("status", ["verifying", "landing"])
def test_killed_on_the_way_home_it_lands_once(place: Place, status: str) -> None:
    """Every place where it may be killed is enumerated in tests/faults/test_landing_kills.py."""
    go = f"until [ -e {place.target}/go ]; do sleep 0.02; done"
    tasks = {
        "a": own("echo a > a.txt", accept=(Criterion(run=go),) if status == "verifying" else ()),
        "b": own("echo b > b.txt; sleep 0.3", accept=(Criterion(run=go),)),
    }
    plan = place.write(plan_of(tasks))
    command = place.start("run", plan)
    until(lambda: len(place.events(ev.VerificationStarted)) >= 1, "criteria run")
    kill(command)
    (place.target / "go").touch()
    assert place.run("run", plan).code == 0
    assert sorted(landed(place)) == ["a: a", "b: b"]
    assert len(place.events(ev.AttemptStarted)) == 2


def test_a_second_retry_after_a_person_said_so_lands(place: Place) -> None:
    tasks = {
        "a": own(
            "echo a > a.txt", accept=(Criterion(run=f"test -f {place.target}/ok"),), retry=Retry(attempts=1)
        )
    }
    plan = place.write(plan_of(tasks))
    assert place.run("run", plan).code == 1
    (place.target / "ok").touch()
    assert place.run("run", plan).code == 0
    assert landed(place) == ["a: a"]


def test_nothing_lands_on_a_branch_that_somebody_works_on(place: Place) -> None:
    tasks = {"a": own("echo a > a.txt"), "b": own(held(place) + "echo b > b.txt")}
    command = place.start("run", place.write(plan_of(tasks)))
    until(lambda: place.events(ev.Landed, task="a"), "a has landed")
    git(place.target, "worktree", "add", "-q", "../review", BRANCH)
    (place.target / "go").touch()
    assert command.wait(20) == 1
    task = place.folded().tasks["b"]
    assert (task.status, task.findings) == (Status.STUCK, ())
    assert "checked out in" in task.reason
    git(place.target, "worktree", "remove", "../review")
    assert place.run("run", "plan.json").code == 0
    assert landed(place) == ["a: a", "b: b"]


def test_what_criteria_leave_behind_does_not_land(place: Place) -> None:
    leaves = (
        "mkdir -p cache/deep && echo x > cache/deep/x && echo y > y.pyc && ln -s / link && echo more >> f"
    )
    fails_first = f"{leaves}; test -f a.txt && test -f {place.target}/again"
    line = f"echo a > a.txt; test -e {place.target}/once && touch {place.target}/again; touch {place.target}/once"
    assert run(place, plan_of({"a": own(line, accept=(Criterion(run=fails_first),))})) == 0
    assert len(place.events(ev.RetryScheduled)) == 1
    assert git(place.target, "diff", "--name-only", f"main..{BRANCH}").splitlines() == ["a.txt", "f"]
    left = sorted(path.name for path in (place.target / ".worktrees" / "p-1-a").iterdir())
    assert left == [".git", "a.txt", "f"]


def test_what_criteria_or_a_person_changed_after_the_look_lands_only_if_it_passes(place: Place) -> None:
    accept = (Criterion(run="grep -q one f", name="first"), Criterion(run="echo broken > f"))
    task = own("echo a > a.txt", accept=accept, retry=Retry(attempts=1))
    looked = (Criterion(run="! grep broken b.txt", name="whole"),)
    tasks = {"a": task, "b": own("echo b > b.txt", accept=looked, review="human", retry=Retry(attempts=1))}
    assert run(place, plan_of(tasks)) == 1
    assert landed(place) == []
    assert place.folded().tasks["a"].findings[0].label == "first"
    (place.target / ".worktrees" / "p-1-b" / "b.txt").write_text("broken\n")
    assert place.run("task", "approve", "b").code == 0
    assert place.run("resume").code == 1
    assert landed(place) == []
    assert [one.status for one in place.folded().tasks["b"].findings] == ["FAIL"]


def test_repositories_that_criteria_make_are_in_nobodys_way(place: Place) -> None:
    makes = "mkdir -p made/deep && git init -q made/deep/inner && echo x > made/deep/inner/x"
    assert run(place, plan_of({"a": own("echo a > a.txt", accept=(Criterion(run=makes),))})) == 0
    assert landed(place) == ["a: a"]
    assert not (place.target / ".worktrees" / "p-1-a" / "made").exists()


def test_work_that_others_have_landed_already_is_looked_at_with_theirs(place: Place) -> None:
    accept = (Criterion(run="test ! -f a.txt", name="alone"),)
    same = "echo same > same.txt"
    tasks = {
        "a": own(f"{same}; echo a > a.txt"),
        "b": own(held(place) + same, accept=accept, retry=Retry(attempts=1)),
    }
    command = place.start("run", place.write(plan_of(tasks)))
    until(lambda: place.events(ev.Landed, task="a"), "a has landed")
    (place.target / "go").touch()
    assert command.wait(20) == 1
    assert [one.status for one in place.folded().tasks["b"].findings] == ["FAIL"]
