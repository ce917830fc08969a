"""For tests of landing: a repository in which tasks of one run work in worktrees of their own."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace
from repositories import commit, git, new_repository

from daplug_supervisor.workspace.git import run_branch
from daplug_supervisor.workspace.git.run_branch import Joined, Joining
from daplug_supervisor.workspace.git.worktrees import worktree

RUN = "p-1"
BRANCH = "daplug/run/p-1"
LINES = "".join(f"line {number}\n" for number in range(30))


def identified(repository: Path) -> Path:
    git(repository, "config", "user.name", "A Person")
    git(repository, "config", "user.email", "person@example.org")
    return repository


def small(folder: Path) -> Path:
    """A repository with one file."""
    return identified(new_repository(folder))


_templates: dict[Callable[[Path], Path], Path] = {}


def copied(make: Callable[[Path], Path], folder: Path) -> Path:
    """What `make` makes, made once for all tests of this process."""
    if make not in _templates:
        root = Path(tempfile.mkdtemp(prefix="landings-"))
        atexit.register(shutil.rmtree, root, ignore_errors=True)
        _templates[make] = make(root / "r")
    return Path(shutil.copytree(_templates[make], folder, symlinks=True))


def begun(folder: Path) -> Path:
    """A repository with a few files, and the branch of a run in it."""
    return copied(_begun, folder)


def _begun(folder: Path) -> Path:
    repository = identified(new_repository(folder))
    commit(repository, "lines", LINES)
    commit(repository, ".gitignore", "ignored\nnode_modules/\n")
    run_branch.begin(repository, RUN)
    return repository


class Task:
    """A task of the run, and its worktree."""

    def __init__(self, repository: Path, name: str) -> None:
        self.repository = repository
        self.name = name
        self.found = self._worktree()
        self.path = Path(self.found.path)
        self.number = 1

    def _worktree(self) -> run_branch.Joining:
        found = worktree(
            self.repository, owner=f"run/{self.name}", name=f"{RUN}-{self.name}",
            base=run_branch.tip(self.repository, RUN) or None,
        )  # fmt: skip
        return Joining(
            str(self.repository), RUN, self.name, 1, found.path, found.admin, found.branch, found.base,
            f"{self.name}: some work",
        )  # fmt: skip

    def write(self, name: str, text: str) -> None:
        """Write a file, as its agent does."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def line(self, number: int, text: str) -> None:
        """Change one line of the file that has many."""
        lines = (self.path / "lines").read_text().splitlines(keepends=True)
        lines[number] = f"{text}\n"
        self.write("lines", "".join(lines))

    def join(self) -> Joined:
        """Join its work, as a supervisor does."""
        self.found = replace(self.found, number=self.number)
        joined = run_branch.join(self.found)
        if joined.conflicts or joined.moved:
            self.found = replace(self.found, base=joined.tip)
        return joined

    def land(self) -> Joined:
        """Join its work and land it."""
        joined = self.join()
        assert joined.conflicts == ()
        assert run_branch.settle(self.repository, RUN, joined)
        return joined

    def status(self) -> str:
        """What git says of its worktree."""
        return git(self.path, "status", "--porcelain")


def landed(repository: Path, name: str, branch: str = BRANCH) -> str:
    """What is in a file of the run's branch."""
    return git(repository, "show", f"{branch}:{name}")


def listed(repository: Path, commit: str = BRANCH) -> list[str]:
    """The files of a commit."""
    return [name for name in git(repository, "ls-tree", "-rz", "--name-only", commit).split("\0") if name]


def subjects(repository: Path, branch: str = BRANCH) -> list[str]:
    """What has landed, the latest first."""
    return git(repository, "log", "--format=%s", f"main..{branch}").splitlines()


def odd(name: bytes) -> str:
    """A name of any bytes, as Python has it."""
    return os.fsdecode(name)
