"""Landing, killed between any two commands of git and begun again: nothing twice, nothing missing.

The enumeration runs in a process of its own, which has one thread and so may fork: each child is killed for real.
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
from promises import Proof

HERE = Path(__file__).parent
SHORT = {"commit": 3, "roll_back": 6}
"""Of how many places one is tried in the short form."""


@pytest.mark.promise("P33")
@pytest.mark.parametrize("case", ["join", "conflict", "land", "commit", "roll_back"])
def test_killed_between_any_two_commands_of_git(case: str, tmp_path: Path, proof: Proof) -> None:
    step = proof.pick(SHORT.get(case, 13), 1)
    environ = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE.parent / "integration"), *sys.path])}
    done = subprocess.run(
        [sys.executable, __file__, case, str(tmp_path / "r"), str(step)], env=environ, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert not done.returncode, done.stderr
    first, *others = (json.loads(line) for line in done.stdout.splitlines())
    assert len(others) > 14 // step, "killed at many places"
    proof.count("kills", len(others))
    for number, *found in others:
        assert found == first[1:], f"killed before command {number}"


# --- in the process of its own --------------------------------------------------------------------------------


def killed_at(number: int, do: Callable[[], Any]) -> bool:
    """Do something in a child that is killed before it runs git for the time of that number; whether it was."""
    from daplug_supervisor.workspace.git import running

    child = os.fork()
    if child:
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    started, count = running._started, 0

    def counted(*words: Any, **more: Any) -> Any:
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return started(*words, **more)

    running._started = counted
    do()
    os._exit(0)


def picture(repository: Path, *folders: Path) -> dict[str, Any]:
    """What there is in the end, without what tells when."""
    from repositories import git, snapshots

    found: dict[str, Any] = {
        "branches": sorted(
            git(repository, "for-each-ref", "--format=%(refname) %(tree)", "refs/heads").splitlines()
        ),
        "log": sorted(git(repository, "log", "--branches", "--format=%s").splitlines()),
        "kept": git(
            repository, "for-each-ref", "--format=%(refname) %(tree)", "refs/daplug/work"
        ).splitlines(),
        "snapshots": len(snapshots(repository)) > 1,  # what was half done may have been saved as well
        "locks": sorted(str(path) for path in (repository / ".git").rglob("*.lock")),
        "left": sorted(path.name for path in (repository / ".git").glob("index?*")),
    }
    for folder in folders:
        names = sorted(path for path in folder.rglob("*") if ".git" not in path.parts and path.is_file())
        inner = [path for path in names if ".worktrees" not in path.relative_to(folder).parts]
        found[folder.name] = {
            "head": git(folder, "symbolic-ref", "HEAD"),
            "tree": git(folder, "rev-parse", "HEAD^{tree}"),
            "status": git(folder, "status", "--porcelain"),
            "files": {str(path.relative_to(folder)): path.read_text() for path in inner},
        }
    return found


def case(name: str, root: Path) -> tuple[Callable[[], Any], Callable[[], dict[str, Any]]]:
    """What is to be done, on what is made for it; and what to look at."""
    from landings import Task, begun

    from daplug_supervisor.workspace.git import commits, marks, messages, rollback, run_branch

    repository = begun(root)
    if name == "commit":
        (repository / "lines").write_text("changed\n")
        (repository / "new").write_text("new\n")
        known_by = messages.trailers("p-1", "a", 1)

        def make() -> Any:
            return commits.commit(repository, message="work", files=["lines", "new"], trailers=known_by).files

        return make, lambda: picture(repository, repository)
    if name == "roll_back":
        before = marks.marks(repository, "p-1-a")
        (repository / "lines").write_text("changed\n")
        (repository / "file").unlink()
        (repository / "new").write_text("new\n")

        def back() -> Any:
            found = rollback.roll_back(repository, before, ["lines", "file", "new"], "p-1-a")
            return found.ref, found.deleted, found.restored

        return back, lambda: picture(repository, repository)
    one, two = Task(repository, "a"), Task(repository, "b")
    one.line(3, "by a")
    one.write("of a", "x\n")
    two.line(3 if name == "conflict" else 20, "by b")
    two.write("of b", "x\n")
    (two.path / "file").unlink()
    if name != "join":  # where nothing has landed meanwhile
        one.land()

    def join() -> Any:
        joined = run_branch.join(two.found)
        tree = messages.shown(joined.commit) and "a commit"
        return tree, joined.files, joined.moved, joined.conflicts

    def land() -> Any:
        joined = run_branch.join(two.found)
        return joined.files, run_branch.settle(repository, "p-1", joined)

    return (land if name == "land" else join), lambda: picture(repository, two.path)


def main(name: str, root: Path, step: int) -> None:
    """Print what there is in the end: undisturbed, and killed at each place and done again."""
    do, look = case(name, root)
    template = root.with_name("template")
    shutil.copytree(root, template, symlinks=True)
    print(json.dumps([0, do(), look()]))
    for number in range(1, 200, step):
        shutil.rmtree(root)
        shutil.copytree(template, root, symlinks=True)
        if not killed_at(number, do):
            return
        print(json.dumps([number, do(), look()]))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
