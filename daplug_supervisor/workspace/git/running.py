"""Running git so that nothing an agent may have left is run with it, and nobody who uses the repository is disturbed.

Hooks and the file system monitor are off: an agent may have written them. Variables that move git elsewhere are gone.
A lock of somebody else's git is waited for.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from threading import Timer
from typing import Final

from msgspec import Struct

from daplug_supervisor.core.environment import handed_on
from daplug_supervisor.errors import SupervisorError

FOLDER = ".worktrees"
TASK_FILE = "TASK.md"
"""What daplug writes into a worktree to tell the agent its task: nobody's work, and never committed."""

OURS: Final = (".daplug", FOLDER)
"""Folders that are ours wherever they are, and never part of anybody's work."""

DURABLE: Final = (
    "-c", "core.fsync=all", "-c", "core.fsyncMethod=batch", "-c", "core.fsyncObjectFiles=true",
)  # fmt: skip
"""Words that have what git writes survive a power cut; the last ones are for git before 2.36."""

WHOLE: Final = (
    "-c",
    "core.sparseCheckout=false",
    "-c",
    "add.ignoreErrors=false",
    "-c",
    "core.safecrlf=false",
)
"""Words that have git add all, or say what it could not."""

held: Final[ContextVar[tuple[int, ...]]] = ContextVar("held", default=())
"""Locks that every git started here holds as well: if we are killed, they last until it has ended."""

_GIT_DIR = "--git-dir="
_PATIENCE = 300.0
_TRIES = 12
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0
_MOST_SAID = 300
_CONFIG = (
    "core.hooksPath=/dev/null", "core.fsmonitor=false", "gc.auto=0", "maintenance.auto=false",
    "submodule.recurse=false", "worktree.useRelativePaths=false", "commit.gpgSign=false",
)  # fmt: skip
_IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "daplug-supervisor"), ("EMAIL", "daplug-supervisor@localhost"))
}
_BUSY = re.compile(r"\.lock': File exists|could not lock config file")
_OBJECT = re.compile(r"[0-9a-f]{40,64}")


class Repository(Struct, frozen=True):
    """A repository as seen from a directory in it.

    Attributes:
        top: the checkout that the directory is in.
        own: git's directory for that checkout.
        common: git's directory that all checkouts share.
        prefix: the way from `top` to the directory; empty, or with a slash at its end.
    """

    top: str
    own: str
    common: str
    prefix: str


class GitError(SupervisorError):
    """Git could not do it; the message is git's own, and `said` all that it said about it."""

    code = "git"

    def __init__(self, message: str, said: str = "") -> None:
        super().__init__(message)
        self.said = said


class NoRepositoryError(GitError):
    """The directory is not in a git repository with at least one commit."""


class BaseError(GitError):
    """There is nothing of that name to branch from."""


class ConflictError(GitError):
    """There is a worktree or branch of that name already, and it is not this task's, or it must not be removed."""


def run(
    folder: str | Path,
    *arguments: str,
    index: str = "",
    data: str = "",
    environ: Mapping[str, str] | None = None,
    patience: float = 0.0,
) -> str:
    """What git says, without its last line end. Somebody else's lock is waited for, a few seconds.

    Args:
        folder: where it works.
        arguments: what to do.
        index: another index than the checkout's own.
        data: what it reads.
        environ: variables that it gets as well.
        patience: seconds that it may take, instead of the usual ones.

    Raises:
        GitError: it failed.
    """
    more = dict(environ or {}) | ({"GIT_INDEX_FILE": index} if index else {})
    given = data.encode("utf-8", "surrogateescape")
    return (
        _output(folder, arguments, more, given, patience)
        .decode("utf-8", "surrogateescape")
        .removesuffix("\n")
    )


def read(folder: str | Path, *arguments: str, environ: Mapping[str, str] | None = None) -> bytes:
    """As `run`: the very bytes that git writes."""
    return _output(folder, arguments, dict(environ or {}), b"", 0.0)


def _output(
    folder: str | Path, arguments: tuple[str, ...], more: dict[str, str], data: bytes, patience: float
) -> bytes:
    pause = _FIRST_PAUSE
    for _ in range(_TRIES):
        done = _done(folder, arguments, more, data, patience or _PATIENCE)
        said = done.stderr.decode("utf-8", "replace")
        if not done.returncode:
            return done.stdout
        if not _BUSY.search(said):
            break
        time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 (so that two do not meet again)
        pause = min(2 * pause, _LONGEST_PAUSE)
    lines = said.strip().splitlines() or [f"exit code {done.returncode}"]
    told = next((line for line in lines if line.startswith(("fatal: ", "error: "))), lines[-1])
    raise GitError(f"git {_verb(arguments)}: {told[:_MOST_SAID]}", said)


def inside(folder: str, *arguments: str, data: str = "", environ: Mapping[str, str] | None = None) -> str:
    """As `run`, in a repository's own directory, or a worktree's in that."""
    return run(folder, f"{_GIT_DIR}{folder}", *arguments, data=data, environ=environ)


def asked(folder: str, *arguments: str) -> str:
    """As `inside`; empty if git says no."""
    try:
        return inside(folder, *arguments)
    except GitError:
        return ""


def within(admin: str, path: str) -> tuple[str, ...]:
    """The words that have git work in a worktree, whatever an agent made of the link in it."""
    return (f"{_GIT_DIR}{admin}", f"--work-tree={path}")


def commit(folder: str, name: str) -> str:
    """The id of the commit that a name stands for in `inside`; empty if there is none."""
    found = asked(folder, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    return found if _OBJECT.fullmatch(found) else ""


def repository(target: str | Path) -> Repository:
    """The repository that a directory is in.

    Raises:
        NoRepositoryError: there is none, or nothing in it to branch from.
    """
    try:
        found = checkout(target)
        run(target, "rev-parse", "--verify", "HEAD")
    except GitError as error:
        raise NoRepositoryError(
            f"{target}: worktree: true needs a git repository with a commit ({error})"
        ) from error
    return found


def checkout(target: str | Path) -> Repository:
    """As `repository`; there need not be a commit yet.

    Raises:
        GitError: the directory is in no checkout.
    """
    asks = (
        ("--show-toplevel",), ("--absolute-git-dir",), ("--path-format=absolute", "--git-common-dir"),
        ("--show-prefix",),
    )  # fmt: skip
    said = run(target, "rev-parse", *(word for words in asks for word in words)).split("\n")
    if len(said) != len(asks):  # a line end in a name
        said = [run(target, "rev-parse", *words) for words in asks]
    return Repository(*said)


def keep_out(repository: Repository, base: str = "HEAD") -> None:
    """Keep worktrees, and the file that tells an agent its task, out of everything that git adds."""
    wanted = [f"{name}/".encode() for name in OURS]
    if not asked(repository.own, "ls-tree", base, TASK_FILE):
        wanted.append(f"/{TASK_FILE}".encode())
    exclude = Path(repository.common) / "info" / "exclude"
    with suppress(OSError):
        text = exclude.read_bytes() if exclude.exists() else b""
        missing = [line for line in wanted if line not in text.splitlines()]
        if missing:
            exclude.parent.mkdir(exist_ok=True)
            begin = b"" if not text or text.endswith(b"\n") else b"\n"
            with exclude.open("ab") as file:
                file.write(begin + b"\n".join(missing) + b"\n")


def head(folder: str | Path, *arguments: str, most: int, patience: float) -> tuple[bytes, bool]:
    """The beginning of what git prints, and whether that is all.

    Raises:
        GitError: it failed, or did not get on with it in time.
    """
    with _started(folder, arguments, {}) as process:
        killer = Timer(patience, process.kill)
        killer.start()
        try:
            assert process.stdout is not None  # noqa: S101
            data = process.stdout.read(most + 1)
            if len(data) > most:
                process.kill()
                return data[:most], False
            code = process.wait()
        finally:
            killer.cancel()
    if code:
        raise GitError(f"git {_verb(arguments)}: exit code {code}")
    return data, True


def _done(
    folder: str | Path, arguments: tuple[str, ...], more: dict[str, str], data: bytes, patience: float
) -> subprocess.CompletedProcess[bytes]:
    with _started(folder, arguments, more, said=subprocess.PIPE, reads=bool(data)) as process:
        try:
            out, said = process.communicate(data or None, timeout=patience)
        except subprocess.TimeoutExpired as error:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with what it started: ssh, say
            raise GitError(f"git {_verb(arguments)} did not end within {patience:g} s") from error
    return subprocess.CompletedProcess(process.args, process.returncode, out, said)


def _started(
    folder: str | Path, arguments: tuple[str, ...], more: dict[str, str], *,
    said: int = subprocess.DEVNULL, reads: bool = False,
) -> subprocess.Popen[bytes]:  # fmt: skip
    environ = {name: value for name, value in handed_on(os.environ).items() if not name.startswith("GIT_")}
    environ |= {
        **_IDENTITY,
        "LC_ALL": "C.UTF-8",
        "LANGUAGE": "",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        **more,
    }
    given = Path(next((word for word in arguments if word.startswith(_GIT_DIR)), "").removeprefix(_GIT_DIR))
    if given.parent.name == "worktrees":  # what it says itself, an agent that may commit may have written
        environ["GIT_COMMON_DIR"] = str(given.parent.parent)
    settings = [word for setting in _CONFIG for word in ("-c", setting)]
    try:
        return subprocess.Popen(
            ["git", "-C", str(folder), *settings, *arguments], stdout=subprocess.PIPE, stderr=said,
            stdin=subprocess.PIPE if reads else subprocess.DEVNULL, env=environ, pass_fds=held.get(), process_group=0,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise GitError("git is not installed") from error
    except ValueError as error:  # a NUL in a name
        raise GitError(f"git {_verb(arguments)}: {error}") from error


def _verb(arguments: tuple[str, ...]) -> str:
    words = [
        word for at, word in enumerate(arguments) if not (word.startswith("-") or arguments[at - 1] == "-c")
    ]
    return words[0] if words else ""
