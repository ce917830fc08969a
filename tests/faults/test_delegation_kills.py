"""Work that is divided, killed before any git command and around any commit of the journal: all once, nothing lost.

Lives run in a process of their own, which has one thread and so may fork: each child is killed for real.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli import Place, opened
from promises import Proof
from repositories import commit, git

from daplug_supervisor.core import events as ev

HERE = Path(__file__).parent
place = pytest.fixture(opened)
BRANCH = "daplug/run/p-1"


def lines_of(*words: str, environ: dict[str, str]) -> list[Any]:
    """What this file, run as a program, says."""
    paths = [str(HERE.parent / "integration"), *sys.path]
    done = subprocess.run(
        [sys.executable, __file__, *words], env=environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not done.returncode, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.promise("P34")
@pytest.mark.parametrize("case", ["free", "aside", "made", "home"])
def test_killed_between_any_two_commands_of_git(case: str, tmp_path: Path, proof: Proof) -> None:
    step = proof.pick(17, 1)
    first, *others = lines_of(case, str(tmp_path / "r"), str(step), environ=dict(os.environ))
    assert len(others) > 14 // step, "killed at many places"
    proof.count("kills", len(others))
    for number, *found in others:
        assert found == first[1:], f"killed before command {number}"


@pytest.mark.promise("P34")
def test_killed_anywhere_it_ends_the_same(place: Place, proof: Proof) -> None:
    """A parent, two parts, one of which has a part itself: each in its order, once, and one commit comes home."""
    number, survived = 0, False
    while not survived:
        number += proof.pick(290, 3)
        place.emptied()
        git(place.target, "init", "-q", "-b", "main")
        commit(place.target, "f", "one\n")
        [lives] = lines_of("lives", str(place.target), str(number), environ=place.environ)
        survived = lives == 1
        proof.count("kills", not survived)
        check(place, number)
    assert number > 250


def check(place: Place, number: int) -> None:
    """All is done, each thing once, and all that anybody had done is there."""
    told = f"killed at {number}"
    assert place.statuses() == dict.fromkeys(("a", "one", "two", "deep"), "done"), told
    assert place.lines() == ["a", "one", "two", "deep"], told
    assert sorted(one.task for one in place.events(ev.ChildrenDone)) == ["a", "two"], told
    said = git(place.target, "log", "--format=%s", f"main..{BRANCH}").splitlines()
    assert said == ["a: a"], told
    names = "committed", "deep", "f", "loose", "one", "two", "two-half"
    assert git(place.target, "ls-tree", "--name-only", BRANCH).splitlines() == list(names), told
    kept = {one.task: one.kept for one in place.events(ev.Delegated)}
    assert git(place.target, "show", f"{kept['a']}:loose") == "mine", told
    assert git(place.target, "show", f"{kept['two']}:two-half") == "mine", told
    assert list((place.target / ".git").rglob("*.lock")) == [], told
    assert not [one for one in (place.target / ".worktrees").iterdir() if ".." in one.name], told


# --- in the process of its own: git alone -----------------------------------------------------------------------


def case(name: str, root: Path) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """What is to be done, on what is made for it; and what to look at."""
    from landings import RUN, Task, begun
    from repositories import new_repository
    from test_landing_kills import picture

    from daplug_supervisor.workspace.git import handover, run_branch
    from daplug_supervisor.workspace.git.worktrees import worktree

    repository = begun(root)
    task = Task(repository, "a")
    giver = handover.Giver(str(repository), RUN, "a", 1, "run/a")
    new = handover.Giver(str(repository), RUN, "n", 0, "run/n")
    commit(task.path, "committed", "x\n")
    for text in ("staged\n", "later\n"):
        task.write("new", text)
        if text == "staged\n":
            git(task.path, "add", "new")
    if name == "aside":
        new_repository(task.path / "clone")
    if name == "home":
        freed = handover.free(giver, None)
        assert freed is not None
        run_branch.begin(repository, RUN, freed.branch)

    def look() -> Any:
        refs = git(repository, "for-each-ref", "--format=%(refname) %(tree)", "refs/daplug").splitlines()
        left = sorted(path.name for path in (repository / ".worktrees").iterdir())
        files = {
            one: sorted(path.name for path in (repository / ".worktrees" / one).iterdir()) for one in left
        }
        admins = sorted((repository / ".git" / "worktrees").glob("*/gitdir"))
        known = [Path(path.read_text().strip()).parent.name for path in admins]
        return (
            picture(repository),
            [ref for ref in refs if "/snapshots/" not in ref],
            left,
            files,
            sorted(known),
        )

    def free() -> Any:
        found = handover.free(giver, None)
        return found and (found.branch, found.kept, found.aside.rpartition("/")[2])

    def made() -> Any:
        at = ""
        for one in (giver, new):
            freed = handover.free(one, handover.Wanted(at))
            assert freed is not None
            at = run_branch.begin(repository, RUN, freed.branch)
        found = worktree(repository, owner="run/c", name=f"{RUN}-c", base=at)
        return found.branch, sorted(path.name for path in Path(found.path).iterdir())

    def home() -> Any:
        run_branch.begin(repository, RUN, task.found.branch)
        worktree(repository, owner="run/a", name=f"{RUN}-a")
        joined = run_branch.join(task.found)
        return joined.files, joined.conflicts, run_branch.settle(repository, RUN, joined)

    return {"free": free, "aside": free, "made": made, "home": home}[name], look


def cases(name: str, root: Path, step: int) -> None:
    """Print what there is in the end: undisturbed, and killed at each place and done again."""
    from test_landing_kills import killed_at

    do, look = case(name, root)
    template = root.with_name("template")
    shutil.copytree(root, template, symlinks=True)
    print(json.dumps([0, do(), look()]))
    for number in range(1, 400, step):
        shutil.rmtree(root)
        shutil.copytree(template, root, symlinks=True)
        if not killed_at(number, do):
            return
        print(json.dumps([number, do(), look()]))


# --- in the process of its own: whole lives ---------------------------------------------------------------------


def lives(target: Path, number: int) -> None:
    """Print how many lives it took when the first one is killed at a place."""
    count = 0
    while True:
        count += 1
        child = os.fork()
        if not child:
            live(target, number if count == 1 else 0)
        status = os.waitpid(child, 0)[1]
        if not os.WIFSIGNALED(status):
            assert os.waitstatus_to_exitcode(status) == 0
            print(json.dumps(count))
            return


def live(target: Path, number: int) -> None:
    """A supervisor that is killed at a place: before a git command, or on either side of a commit of its journal."""
    import traceback

    import anyio

    from daplug_supervisor.journal.sqlite import SqliteJournal
    from daplug_supervisor.workspace.git import running

    started, insert, count = running._started, SqliteJournal._insert, 0

    def here() -> None:
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(*words: Any, **more: Any) -> Any:
        here()
        return started(*words, **more)

    async def inserted(*words: Any) -> None:
        here()
        await insert(*words)
        here()

    running._started = counted
    SqliteJournal._insert = inserted  # type: ignore[method-assign, assignment]
    try:
        anyio.run(driven, target)
    except BaseException:  # noqa: BLE001 (whoever waits is told)
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


async def driven(target: Path) -> None:
    """Run the plan to its end; whatever is at work and ready is divided."""
    import anyio
    from cli import plan_of, sh

    from daplug_supervisor import Provider, Supervisor
    from daplug_supervisor.core.commands import Command
    from daplug_supervisor.core.surgery.new_tasks import NewTask

    begins = f"echo $DAPLUG_TASK >> {target}/starts; "
    holds = f"; touch {target}/ready-$DAPLUG_TASK; while :; do sleep 0.02; done"
    own = "echo own > committed; git add -A; git -c user.name=t -c user.email=t@example.org commit -qm own; "
    plan = plan_of(
        {"a": sh(begins + own + "echo mine > loose" + holds, worktree=True, grace=0.1)},
        {"p": Provider(worker="command", parallel=1)},
    )
    third = begins + "cat one two-half && echo 2 > two && echo 3 > deep"
    second = begins + "cat one && echo mine > two-half" + holds
    parts = {
        "a": [
            NewTask("one", begins + "cat loose && echo 1 > one", command=True, parent="a"),
            NewTask("two", second, command=True, needs=("one",), parent="a"),
        ],
        "two": [NewTask("deep", third, command=True, parent="two")],
    }  # fmt: skip
    async with Supervisor(target / ".daplug", inbox=False) as supervisor:
        if any(mark.finished for mark in supervisor.marks):
            return  # killed when all was done
        run = await supervisor.submit(plan, target=target)
        with anyio.fail_after(60):
            while run.state.finished_at is None:
                for name, new in parts.items():
                    task = run.state.tasks.get(name)
                    if task is None or task.status != "running" or task.delegating:
                        continue
                    if not (target / f"ready-{name}").exists():
                        continue
                    for one in new:
                        if one.id not in run.state.tasks:
                            await supervisor.command(
                                Command(f"new-{one.id}", "create", run=run.id, new=(one,))
                            )
                    if task.status == "running" and not task.delegating:
                        await supervisor.command(Command(f"go-{name}", "delegate", run=run.id, task=name))
                await anyio.sleep(0.01)


if __name__ == "__main__":
    if sys.argv[1] == "lives":
        lives(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        cases(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
