"""Work that is divided: the workspace is freed, the parts build on it and on each other, and one result comes home."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import landings
import pytest
from cli import Place, ended, opened, plan_of, reached, sh
from landings import listed
from msgspec.structs import replace
from repositories import commit, git, new_repository, reachable

from daplug_supervisor import Provider, RunHandle, Supervisor
from daplug_supervisor.core import events as ev
from daplug_supervisor.core.commands import Command
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.model import Attempt, Run, TaskState
from daplug_supervisor.core.plan import Commit, Criterion, Retry, Task
from daplug_supervisor.core.surgery.new_tasks import NewTask
from daplug_supervisor.supervisor.attempts import looks
from daplug_supervisor.supervisor.attempts.delegating import Released, release
from daplug_supervisor.workspace import room
from daplug_supervisor.workspace.git import handover, trees
from daplug_supervisor.workspace.git.running import GitError

BRANCH = "daplug/run/p-1"
ONE = {"p": Provider(worker="command", parallel=1)}
AT_WORK = 'echo "$DAPLUG_TASK" >> {target}/starts; touch {target}/ready-$DAPLUG_TASK; '
HOLDS = AT_WORK + "while [ ! -e {target}/go-$DAPLUG_TASK ]; do sleep 0.02; done; "


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    for made in opened(tmp_path, monkeypatch):
        git(made.target, "init", "-q", "-b", "main")
        commit(made.target, "f", "one\n")
        commit(made.target, ".gitignore", "ignored\nready-*\nstarts\n")
        git(made.target, "config", "user.name", "A Person")
        git(made.target, "config", "user.email", "person@example.org")
        yield made


def own(place: Place, line: str, *needs: str, **more: Any) -> Task:
    """A task with a worktree of its own, which waits after `line` until it is ended or may go on."""
    return sh(f"{line}; {HOLDS.format(target=place.target)}", *needs, worktree=True, **more)


def part(place: Place, name: str, line: str, *needs: str, **more: Any) -> NewTask:
    """A part that does something and is done."""
    return NewTask(name, f"{AT_WORK.format(target=place.target)}{line}", command=True, needs=needs, **more)


def files(place: Place, branch: str = BRANCH) -> list[str]:
    return git(place.target, "ls-tree", "-r", "--name-only", branch).splitlines()


def landed(place: Place, branch: str = BRANCH) -> list[str]:
    return git(place.target, "log", "--reverse", "--format=%s", f"main..{branch}").splitlines()


class Person:
    """Whoever says things to a supervisor, each once."""

    def __init__(self, place: Place, supervisor: Supervisor, run: RunHandle) -> None:
        self.place, self.supervisor, self.run = place, supervisor, run
        self.said = len(run.state.answered)

    async def say(self, verb: Any, task: str = "", *new: NewTask, **more: Any) -> None:
        self.said += 1
        command = Command(f"said-{self.said}", verb, run=self.run.id, task=task, new=new, **more)
        await self.supervisor.command(command)

    async def divide(self, task: str, *parts: NewTask) -> None:
        """Wait until a task is at work, give it parts, and have it wait for them."""
        await reached((self.place.target / f"ready-{task}").exists, f"{task} at work")
        for one in parts:
            await self.say("create", "", one)
        await self.say("delegate", task)

    async def until(self, task: str, status: Status) -> None:
        await reached(lambda: self.run.state.tasks[task].status is status, f"{task} {status}")


async def test_one_slot_a_parent_three_chained_parts_and_a_part_of_a_part(place: Place) -> None:
    """What each finds is what came before it; one commit comes home, with the partial work of all."""
    doing = (
        "echo a > committed; git add committed; git -c user.name=t -c user.email=t@example.org commit -qm own; "
        "echo b > staged; git add staged; echo c > loose; echo two > f; echo d > ignored; echo e > TASK.md"
    )
    accept = (
        Criterion(run="cat committed staged loose one two deep three && grep two f && test ! -e ignored"),
    )
    plan = plan_of(
        {"a": own(place, doing, accept=accept, title="the whole"), "z": sh("cat three", "a", worktree=True)},
        ONE,
    )
    async with Supervisor(place.state) as supervisor:
        run = await supervisor.submit(plan)
        person = Person(place, supervisor, run)
        await person.divide(
            "a",
            part(place, "one", "cat committed staged loose && echo 1 > one", parent="a", title="first"),
            NewTask(
                "two",
                f"cat one && echo 2 > two; {HOLDS.format(target=place.target)}",
                command=True,
                needs=("one",),
                parent="a",
            ),
            part(place, "three", "cat deep two && echo 3 > three", "two", parent="a"),
        )
        await person.until("a", Status.DELEGATED)
        assert not (place.target / ".worktrees" / "p-1-a").exists()
        assert "p-1-a" not in git(place.target, "worktree", "list")
        await person.divide("two", part(place, "deep", "cat two && echo 4 > deep", parent="two"))
        assert (await ended(run)).counts["done"] == 6
    assert place.lines() == ["a", "one", "two", "deep", "three"]
    assert place.most_at_once() == {"p": 1, "*": 1}
    assert landed(place) == ["a: the whole"]
    changed = ("committed", "deep", "f", "loose", "one", "staged", "three", "two")
    assert set(files(place)) == {*changed, ".gitignore"}
    task = place.task("a")
    assert (task.files, task.commit) == (changed, git(place.target, "rev-parse", BRANCH))
    said = git(place.target, "log", "-1", "--format=%B", BRANCH)
    assert "Of 4 parts:\n- one: first\n- two\n- deep\n- three\n" in said
    assert said.count("Daplug-Attempt: p-1/a#2") == 1
    assert [entry.task for entry in place.events(ev.ChildrenDone)] == ["two", "a"]
    kept = place.events(ev.Delegated, task="a")[0].kept
    assert kept == "refs/daplug/delegated/p-1/a/1"
    assert git(place.target, "show", f"{kept}:loose") == "c"
    assert git(place.target, "status", "--porcelain", "--untracked-files=no") == ""
    place.nothing_left()


async def test_what_was_not_begun_or_has_failed_is_divided_and_its_parts_find_what_it_left(
    place: Place,
) -> None:
    """A task that never had a worktree gets a branch; what a failed attempt left is there for the parts."""
    never = Retry(attempts=1)
    tasks = {
        "bad": sh(
            "echo half > half; false", worktree=True, retry=never, accept=(Criterion(run="cat half 1"),)
        ),
        "new": sh("false", "bad", worktree=True, on_conflict="increment"),
    }
    git(place.target, "branch", "daplug/p-1-new")
    async with Supervisor(place.state) as supervisor:
        run = await supervisor.submit(plan_of(tasks, ONE))
        person = Person(place, supervisor, run)
        await person.until("bad", Status.FAILED)
        await person.say("split", "new", part(place, "n", "cat half 1 && echo 2 > 2"))
        await person.say("split", "bad", part(place, "b", "cat half && echo 1 > 1"))
        assert (await ended(run)).counts["done"] == 4
    assert landed(place) == ["bad: bad", "new: new"]
    assert set(files(place)) == {"f", ".gitignore", "half", "1", "2"}
    assert place.lines() == ["b", "n"]
    assert git(place.target, "rev-parse", "daplug/p-1-new") == git(place.target, "rev-parse", "main")
    [freed] = [entry for entry in place.events(ev.Delegated) if entry.task == "bad"]
    assert freed.kept == ""


async def test_a_part_whose_parent_waits_no_longer_lands_where_that_would(place: Place) -> None:
    """Reset while a part works: the part lands on the branch of the run, and the parent begins with what it had."""
    async with Supervisor(place.state) as supervisor:
        plan = plan_of({"a": own(place, "[ -e half ] && touch again || echo half > half", grace=0.1)})
        run = await supervisor.submit(plan, parallel=2)
        person = Person(place, supervisor, run)
        one = NewTask("one", f"echo 1 > one; {HOLDS.format(target=place.target)}", command=True, parent="a")
        await person.divide("a", part(place, "zero", "echo 0 > zero", parent="a"), one)
        await person.until("zero", Status.DONE)
        await reached((place.target / "ready-one").exists, "a part at work")
        git(place.target, "branch", "-D", "daplug/p-1-a")  # by mistake
        await person.say("retry", "a")
        place.go("one")
        await person.until("one", Status.DONE)
        place.go("a")
        assert (await ended(run)).counts["done"] == 3
    assert landed(place) == ["one: one", "a: a"]
    assert set(files(place)) == {"f", ".gitignore", "half", "zero", "one", "again"}
    merged = {name: task.steps["merge"] for name, task in place.folded().tasks.items()}
    assert merged == {"a": BRANCH, "one": BRANCH, "zero": "daplug/p-1-a"}


async def test_what_the_parts_came_to_is_looked_at_and_mended_on_top_of_it(place: Place) -> None:
    """It is set up and looked at in the place where the parent's own next attempt works, and handed on by that."""
    line = (
        f"[ -e {place.target}/ready-a ] || {{ {HOLDS.format(target=place.target)} }}; echo fits >> one; "
        'printf \'{"status": "success", "outputs": {"it": 1}}\' > $DAPLUG_RESULT'
    )
    wanted: dict[str, Any] = {
        "outputs": ("it",),
        "setup": ("sh", "-c", "echo set up > ignored"),
        "retry": Retry(backoff=0.01),
    }
    tasks = {
        "a": sh(
            line, worktree=True, accept=(Criterion(run="grep fits one && cat ignored"),), grace=0.1, **wanted
        ),
        "b": own(
            place, "true", accept=(Criterion(run="grep fits other && cat ignored"),), setup=wanted["setup"]
        ),
    }
    async with Supervisor(place.state) as supervisor:
        run = await supervisor.submit(plan_of(tasks))
        person = Person(place, supervisor, run)
        await person.divide("a", part(place, "one", "echo 1 > one", parent="a"))
        await person.divide("b", part(place, "other", "echo fits > other", parent="b"))
        assert (await ended(run)).counts["done"] == 4
    task = place.task("a")
    assert [past.result.outcome.kind for past in task.past] == ["delegated", "no_result", "completed"]
    assert "its parts have not handed on it" in task.past[1].result.outcome.detail
    assert len(place.task("b").past) == 2, "it was set up, and what its parts did holds"
    assert place.task("b").files == ("other",)


async def test_a_person_looks_at_one_result_and_gc_keeps_what_waits(place: Place) -> None:
    line = "echo half > half"
    once = Retry(attempts=1)
    plan = plan_of(
        {"a": own(place, line, review="human", grace=0.1), "z": own(place, line, grace=0.1, retry=once)}
    )
    async with Supervisor(place.state) as supervisor:
        run = await supervisor.submit(plan)
        person = Person(place, supervisor, run)
        await person.divide("a", part(place, "one", "echo 1 > one", parent="a"))
        await person.divide("z", NewTask("bad", "echo 1 > one; false", command=True, parent="z"))
        await person.until("a", Status.REVIEWING)
        looked_at = place.target / ".worktrees" / "p-1-a"
        assert sorted(path.name for path in looked_at.iterdir() if path.name != ".git") == [
            ".gitignore", "f", "half", "one",
        ]  # fmt: skip
        await person.say("approve", "a")
        await person.until("bad", Status.FAILED)
        report = await ended(run)
    rows = {row.task: row for row in report.worktrees}
    assert (rows["z"].path, rows["z"].branch, rows["z"].commits, rows["z"].uncommitted) == (
        "",
        "daplug/p-1-z",
        1,
        0,
    )
    assert {row.tasks for row in report.overlaps} == {("a", "z"), ("one", "bad")}, "not of a and its own part"
    assert landed(place) == ["a: a"]
    found = {item["task"]: item for item in place.run("gc", "--json").json()["items"]}
    assert not found["z"]["removed"]
    assert found["z"]["why"] == "task z waits for its parts, which land on its branch"
    assert found["a"]["removed"]
    assert "freed, branch daplug/p-1-z, 1 commit" in place.run("task", "show", "z").out
    assert git(place.target, "rev-parse", "daplug/p-1-z")


async def test_gc_leaves_what_a_person_is_to_look_at_and_what_parts_did_for_who_is_tried_again(
    place: Place,
) -> None:
    """All of it is commits, and these are kept under refs of ours; but nobody would find it there."""
    again = f"[ -e {place.target}/ready-b ] && cat other || {{ {HOLDS.format(target=place.target)} }}"
    wanted = (Criterion(run=f"cat other && test -e {place.target}/now"),)
    tasks = {
        "a": own(place, "echo half > half", review="human", grace=0.1),
        "b": sh(again, worktree=True, accept=wanted, grace=0.1, retry=Retry(attempts=1)),
        "c": sh("echo 3 > three", worktree=True, review="human"),
    }
    async with Supervisor(place.state) as supervisor:
        run = await supervisor.submit(plan_of(tasks))
        person = Person(place, supervisor, run)
        await person.divide("a", part(place, "one", "echo 1 > one", parent="a"))
        await person.divide("b", part(place, "two", "echo 2 > other", parent="b"))
        report = await ended(run)
    assert (report.counts["reviewing"], report.counts["failed"]) == (2, 1)
    looks_at = "task {} waits for a person to look at its work"
    dry = place.run("gc", "--save", "--dry-run", "--json").json()["items"]
    whys = {item["task"]: item["why"] for item in dry if not item["removed"]}
    assert whys == {name: looks_at.format(name) for name in ("a", "c")}
    found = {item["task"]: item for item in place.run("gc", "--json").json()["items"]}
    assert [name for name, item in found.items() if item["removed"]] == ["one", "two"]
    assert found["b"]["why"] == "what the parts of task b did is on its branch only: say --save"
    (place.target / "now").touch()
    for words in (("approve", "a"), ("approve", "c"), ("retry", "b", "--force")):
        assert place.run("task", *words).code == 0
    assert place.run("resume").code == 0
    assert sorted(landed(place)) == ["a: a", "b: b", "c: c"]
    assert {"half", "one", "other", "three"} <= set(files(place))


async def test_what_is_to_stay_in_its_worktree_has_the_work_of_its_parts_there(place: Place) -> None:
    accept = (Criterion(run="cat half one two"),)
    async with Supervisor(place.state) as supervisor:
        plan = plan_of({"a": own(place, "echo half > half", land=False, accept=accept, grace=0.1)}, ONE)
        run = await supervisor.submit(plan)
        person = Person(place, supervisor, run)
        one = part(place, "one", "cat half && echo 1 > one", parent="a")
        await person.divide("a", one, part(place, "two", "cat one && echo 2 > two", "one", parent="a"))
        assert (await ended(run)).counts["done"] == 3
    assert landed(place) == []
    left = place.target / ".worktrees" / "p-1-a"
    assert {"half", "one", "two"} <= {path.name for path in left.iterdir()}
    found = {item["task"]: item["removed"] for item in place.run("gc", "--json").json()["items"]}
    assert found == {"a": False, "one": True, "two": True}


async def test_who_cancels_while_work_is_handed_over_has_cancelled(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Freeing a worktree takes its time, and minutes with a full disk."""
    free, begun, go = handover.free, threading.Event(), threading.Event()

    def slow(*words: Any) -> Any:
        begun.set()
        assert go.wait(20)
        return free(*words)

    monkeypatch.setattr(handover, "free", slow)
    async with Supervisor(place.state) as supervisor:
        run = await supervisor.submit(plan_of({"a": own(place, "echo half > half", grace=0.1)}))
        person = Person(place, supervisor, run)
        await person.divide("a", part(place, "one", "true", parent="a"))
        await reached(begun.is_set, "handing over")
        await person.say("cancel", "a")
        go.set()
        await ended(run)
    assert place.statuses() == {"a": "cancelled", "one": "done"}
    assert not place.events(ev.Delegated)


async def test_in_a_shared_checkout_the_commit_is_of_the_parent_and_its_parts(place: Place) -> None:
    """Nothing is freed, and nothing of what others did meanwhile is taken along."""
    tasks = {
        "a": sh(f"echo a > half; {HOLDS.format(target=place.target)}", commit=Commit(), files=("half",)),
        "z": sh("until [ -e one ]; do sleep 0.02; done; echo z > other"),
    }
    async with Supervisor(place.state) as supervisor:
        run = await supervisor.submit(plan_of(tasks))
        person = Person(place, supervisor, run)
        await person.divide("a", NewTask("one", "echo 1 > one", command=True, parent="a", files=("one",)))
        assert (await ended(run)).counts["done"] == 3
    assert place.events(ev.Delegated)[0].reason.startswith("what it changed stays")
    assert (place.task("one").files, place.task("a").files) == (("one",), ("half", "one"))
    assert git(place.target, "show", "--format=%s", "--name-only", "HEAD").split() == [
        "a:",
        "a",
        "half",
        "one",
    ]
    assert git(place.target, "status", "--porcelain", "--untracked-files=all").splitlines()[-1] == "?? other"


# --- one worktree, without processes ----------------------------------------------------------------------------


@pytest.fixture
def task(tmp_path: Path) -> landings.Task:
    """A task at work in a worktree of its own."""
    made = landings.Task(landings.begun(tmp_path / "r"), "a")
    made.write("work", "mine\n")
    return made


def giver(task: landings.Task, number: int = 1) -> handover.Giver:
    return handover.Giver(str(task.repository), landings.RUN, task.name, number, f"run/{task.name}")


def freed(task: landings.Task, number: int = 1) -> handover.Freed:
    """Its worktree, freed twice: the second time is that of a restart."""
    found, again = (handover.free(giver(task, number), None) for _ in range(2))
    assert found is not None
    assert again is not None
    assert replace(again, why=found.why) == found
    assert not os.path.lexists(task.path)
    assert f"worktree {task.path}\n" not in git(task.repository, "worktree", "list", "--porcelain")
    return found


def test_what_no_commit_holds_is_moved_aside_and_all_else_is_there_for_the_parts(task: landings.Task) -> None:
    (task.path / "deep").mkdir()
    for inner in ("clone", "deep/er"):
        new_repository(task.path / inner)
    found = freed(task)
    assert found.aside == f"{task.path}..aside-1"
    assert "clone is a repository of its own" in found.why
    assert listed(task.repository, found.branch) == [".gitignore", "file", "lines", "work"]
    left = Path(found.aside)
    assert git(left, "rev-parse", "--abbrev-ref", "HEAD") == "HEAD", "it is on no branch"
    assert sorted(git(left, "status", "--porcelain").splitlines()) == ["?? clone/", "?? deep/", "?? work"]
    assert (left / "deep" / "er" / "file").read_text() == "one\n"
    landings.Task(task.repository, "a").write("more", "x\n")
    new_repository(task.path / "clone")
    assert freed(task, 2).aside == f"{task.path}..aside-2"
    assert "more" in listed(task.repository, found.branch)


def test_a_worktree_that_became_something_else_is_moved_aside_and_its_commits_are_kept(
    task: landings.Task,
) -> None:
    commit(task.path, "committed", "x\n")
    elsewhere = task.repository / "elsewhere"
    task.path.rename(elsewhere)
    task.path.symlink_to(elsewhere)
    found = freed(task)
    assert "has become a link" in found.why
    assert (Path(found.aside) / "work").read_text() == "mine\n"
    assert "committed" in listed(task.repository, found.branch)


def test_whatever_an_agent_made_of_its_worktree_its_work_is_kept(task: landings.Task) -> None:
    """Staged and gone again, on another branch, with a mark on the index, and without its link."""
    commit(task.path, "committed", "x\n")
    git(task.path, "checkout", "-q", "--detach", "main")
    task.write("staged", "only staged\n")
    git(task.path, "add", "staged")
    task.write("staged", "later\n")
    (task.path / ".git").unlink()
    found = freed(task)
    assert (found.aside, found.kept) == ("", "refs/daplug/delegated/p-1/a/1")
    assert git(task.repository, "show", f"{found.branch}:staged") == "later"
    assert reachable(task.repository, "only staged")
    assert reachable(task.repository, "x")


def test_a_worktree_that_was_deleted_has_its_commits_and_one_that_nobody_worked_in_nothing(
    task: landings.Task,
) -> None:
    commit(task.path, "committed", "x\n")
    shutil.rmtree(task.path)
    assert "committed" in listed(task.repository, freed(task).branch)
    other = landings.Task(task.repository, "b")
    assert freed(other) == handover.Freed("daplug/p-1-b", "", "", "")


def test_what_a_person_does_where_a_freed_worktree_was_is_kept(task: landings.Task) -> None:
    """They look at the branch that waits, and mend something: in the usual place, with git itself."""
    branch = freed(task).branch
    for number, name in enumerate(("first", "second")):
        git(task.repository, "worktree", "add", "-q", str(task.path), branch)
        task.write(name, "mended\n")
        if number:  # the task itself goes on there
            assert (landings.Task(task.repository, "a").path / name).read_text() == "mended\n"
        assert name in listed(task.repository, freed(task).branch)


def test_where_somebody_works_nothing_is_freed(task: landings.Task) -> None:
    """A part asks for its parent's branch while a person has the parent tried again."""
    assert handover.free(giver(task), None, lambda: False) is None
    assert (task.path / "work").exists()
    assert handover.free(replace(giver(task), owner="run/other"), None) is None


def test_a_full_disk_leaves_all_as_it_is(task: landings.Task, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_words: Any, **_more: Any) -> str:
        raise GitError("git add: No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(trees, "tree", full)
        patched.setattr(room, "lack", lambda _: "the disk is full")
        with pytest.raises(GitError, match="No space"):
            handover.free(giver(task), None)
    assert task.status() == "?? work"
    assert git(task.path, "symbolic-ref", "HEAD") == "refs/heads/daplug/p-1-a"
    assert freed(task).aside == ""


def test_what_cannot_be_read_is_moved_aside(task: landings.Task, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(*_words: Any, **_more: Any) -> str:
        raise GitError('git add: open("x"): Permission denied')

    commit(task.path, "committed", "x\n")
    with monkeypatch.context() as patched:
        patched.setattr(trees, "tree", unreadable)
        found = freed(task)
    assert (Path(found.aside) / "work").read_text() == "mine\n"
    assert listed(task.repository, found.branch) == [".gitignore", "committed", "file", "lines"]


async def test_a_full_disk_is_waited_for_and_what_cannot_be_freed_is_told(
    task: landings.Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    plan = plan_of({"a": sh("true", worktree=True)})
    desk: Any = SimpleNamespace(
        notices=SimpleNamespace(tell=lambda _, text: told.append(text)), stopping=False
    )
    run = Run(
        "p-1",
        plan,
        str(task.repository),
        "",
        0.0,
        {"a": TaskState("a", 0, "p", attempt=Attempt(1, "t", "p", 0.0))},
    )
    bundle: Any = SimpleNamespace(
        spec=plan.tasks["a"],
        target=run.target,
        directory=f"{task.repository}/run/a/1",
        task="a",
        name="p-1/a#1",
    )
    full = OSError(errno.ENOSPC, "No space left on device")
    free, ends = handover.free, [full, GitError("git is broken"), full]

    def failing(*words: Any) -> Any:
        if ends:
            raise ends.pop(0)
        return free(replace(words[0], owner="run/a"), *words[1:])

    monkeypatch.setattr(looks, "_AGAIN", 0.0)
    monkeypatch.setattr(handover, "free", failing)
    found = await release(desk, run, bundle)
    assert found == Released("", "its worktree is left as it is: git is broken")
    assert "No space left" in told[0]
    desk.stopping = True
    assert "No space left" in (await release(desk, run, bundle)).reason, "nobody waits for that who is to end"
    assert (task.path / "work").exists()
    assert await release(desk, run, bundle) == Released("refs/daplug/delegated/p-1/a/1", "")
    assert not task.path.exists()
