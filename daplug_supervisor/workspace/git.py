"""Git worktrees: each task that asks for one gets its own, made by us, one at a time for each repository.

`git worktree add` races with itself (of 31 at once up to 11 failed), so a lock in the repository keeps them apart.
A worktree carries the name of the task that it was made for: a second attempt, or a restart, works in it again.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec import Struct

from daplug_supervisor.core.environment import handed_on
from daplug_supervisor.core.plan import OnConflict
from daplug_supervisor.errors import SupervisorError
from daplug_supervisor.workspace.files import write_atomically

FOLDER = ".worktrees"
_OWNER = "daplug-task"
_LOCK = "daplug-worktrees.lock"
_PATIENCE = 300.0
_MOST = 100


class Worktree(Struct, frozen=True):
    """A checkout of a task's own: its absolute path, and its branch."""

    path: str
    branch: str


class GitError(SupervisorError):
    """Git could not do it; the message is git's own."""

    code = "git"


class NoRepositoryError(GitError):
    """The directory is not in a git repository with at least one commit."""


class ConflictError(GitError):
    """There is a worktree or branch of that name already, and it is not this task's."""


def worktree(
    target: Path,
    *,
    owner: str,
    name: str,
    base: str | None = None,
    on_conflict: OnConflict = "error",
) -> Worktree:
    """The worktree of a task; made if it is not there yet.

    Args:
        target: a directory in the repository.
        owner: whose it is (run and task); a worktree of the same owner is used again, whatever is in it.
        name: the last part of its path and of its branch ``daplug/<name>``.
        base: what to branch from; HEAD unless given.
        on_conflict: what to do about a worktree or branch of that name that has another owner.

    Raises:
        NoRepositoryError: there is no repository, or nothing in it to branch from.
        ConflictError: the name is taken.
        GitError: git failed.
    """
    top, common = _repository(target)
    with _locked(common / _LOCK):
        for suffix in ("", *(f"-{number}" for number in range(2, _MOST))):
            found = Worktree(str(top / FOLDER / f"{name}{suffix}"), f"daplug/{name}{suffix}")
            if _owner(found) == owner:
                return found
            taken = Path(found.path).exists() or _has_branch(top, found.branch)
            if not taken:
                _add(top, found, base or "HEAD", owner)
                return found
            if on_conflict == "reuse" and _owner(found):
                return found
            if on_conflict != "increment":
                break
    raise ConflictError(
        f"{found.path} or branch {found.branch} is there already and belongs to something else "
        "(on_conflict: reuse takes it over, on_conflict: increment makes another)"
    )


def _add(top: Path, wanted: Worktree, base: str, owner: str) -> None:
    try:
        _git(top, "worktree", "add", "-b", wanted.branch, "--", wanted.path, base)
        folder = Path(_git(Path(wanted.path), "rev-parse", "--absolute-git-dir"))
        write_atomically(folder / _OWNER, owner.encode())
    except (
        GitError,
        OSError,
    ):  # half of one, on a full disk for example, would be in the way of the next try
        shutil.rmtree(wanted.path, ignore_errors=True)
        for words in (("worktree", "prune"), ("branch", "-D", wanted.branch)):
            with suppress(GitError):
                _git(top, *words)
        raise


def _owner(found: Worktree) -> str:
    """Who a worktree was made for; '' if it is not there, or not one of ours."""
    link = Path(found.path) / ".git"
    try:
        place = link.read_text().removeprefix("gitdir:").strip()
        return (Path(place) / _OWNER).read_text()
    except OSError:
        return ""


def _has_branch(top: Path, branch: str) -> bool:
    return bool(_git(top, "branch", "--list", branch))


def _repository(target: Path) -> tuple[Path, Path]:
    try:
        top = Path(_git(target, "rev-parse", "--show-toplevel"))
        common = Path(_git(target, "rev-parse", "--path-format=absolute", "--git-common-dir"))
        _git(target, "rev-parse", "--verify", "HEAD")
    except GitError as error:
        raise NoRepositoryError(
            f"{target}: worktree: true needs a git repository with a commit ({error})"
        ) from error
    return top, common


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _git(folder: Path, *arguments: str) -> str:
    # Hooks run with it, and an agent may have written them.
    environ = {name: value for name, value in handed_on(os.environ).items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True, stdin=subprocess.DEVNULL, timeout=_PATIENCE, check=False, env=environ,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise GitError("git is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise GitError(f"git {arguments[0]} did not end within {_PATIENCE:g} s") from error
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or [
            f"exit code {done.returncode}"
        ]
        raise GitError(f"git {arguments[0]}: {lines[-1]}")
    return done.stdout.decode("utf-8", "surrogateescape").strip()
