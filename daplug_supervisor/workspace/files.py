"""The state directory: its files, its lock, and how text gets there whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from pathlib import Path

from daplug_supervisor.errors import BusyError, StateDirectoryError

NAME = ".daplug"
PROMPT = "prompt.md"
BUNDLE = "bundle.json"
STDOUT = "stdout.log"
STDERR = "stderr.log"

_KEPT_OUT_OF_GIT = (f"{NAME}/".encode(), b".worktrees/")
_LOCK_TRIES = 20
_LOCK_PAUSE = 0.005


class StateDirectory:
    """Where everything durable is. Only its owner can read it.

    Args:
        path: the directory, usually ``.daplug`` in the target.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.journal = self.path / "journal.db"
        self.stop_file = self.path / "STOP"
        self.inbox = self.path / "inbox"
        self.log = self.path / "supervisor.log"
        self._lock = self.path / "lock"
        self._stop_file = str(self.stop_file)
        self._runs = str(self.path / "runs")

    def create(self) -> None:
        """Make it, if it is missing, and check that it is ours and can be written.

        Raises:
            StateDirectoryError: it cannot be used; the message says why.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self.path.stat()
            if found.st_uid != os.geteuid():
                raise StateDirectoryError(
                    f"{self.path} belongs to another user; give --state-dir another directory"
                )
            if found.st_mode & 0o077:
                self.path.chmod(0o700)
            self.inbox.mkdir(mode=0o700, exist_ok=True)
            ignore = self.path / ".gitignore"
            if not ignore.exists():
                write_atomically(ignore, b"*\n")
        except OSError as error:
            raise StateDirectoryError(
                f"{error.filename or self.path}: {error.strerror}; give --state-dir a directory that can be written"
            ) from error
        _exclude_from_git(self.path.parent)

    def require(self) -> None:
        """Check that there is a journal to read.

        Raises:
            StateDirectoryError: there is none here.
        """
        if not self.journal.exists():
            raise StateDirectoryError(
                f"{self.path} has no journal: nothing was run here yet; "
                "go to the directory of the run, or give --state-dir"
            )

    def stop_requested(self) -> bool:
        """Whether there is a STOP file."""
        return os.path.lexists(self._stop_file)

    def run(self, run: str) -> Path:
        """The directory of a run."""
        return self.path / "runs" / run

    def attempt(self, run: str, task: str, number: int) -> str:
        """The directory of an attempt. Ids are checked when plans are loaded, so they are safe as names."""
        return f"{self._runs}/{run}/{task}/{number}"

    def lock(self) -> Lock:
        """Take the directory for this process.

        Raises:
            BusyError: another supervisor has it.
            StateDirectoryError: the lock file cannot be written.
        """
        return Lock(self._lock)

    def holder(self) -> dict[str, object] | None:
        """Who holds the lock now (its pid, ``?`` if it has not said so yet), or None if nobody does."""
        try:
            descriptor = os.open(self._lock, os.O_RDONLY)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _holder(descriptor) or {"pid": "?"}
        finally:
            os.close(descriptor)
        return None


class Lock:
    """An exclusive flock that ends with the process, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        while self._descriptor < 0:
            self._descriptor = self._take()

    def _take(self) -> int:
        descriptor = -1
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._flock(descriptor)
        except OSError as error:
            if descriptor >= 0:
                os.close(descriptor)
            raise StateDirectoryError(f"{self._path}: {error.strerror}") from error
        except BusyError:
            os.close(descriptor)
            raise
        if not self._is_current(descriptor):
            os.close(descriptor)
            return -1
        with contextlib.suppress(OSError):  # a full disk: the lock holds all the same
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps({"pid": os.getpid()}).encode(), 0)
        return descriptor

    def _flock(self, descriptor: int) -> None:
        """Lock it; not at the first refusal a `BusyError`, for `StateDirectory.holder` locks it while it looks."""
        for _ in range(_LOCK_TRIES):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_LOCK_PAUSE)
            else:
                return
        holder = _holder(descriptor)
        who = f"process {holder['pid']}" if holder else "another process"
        raise BusyError(
            f"{who} supervises {self._path.parent} already; "
            "see what it does with 'daplug-supervise status', or stop it with 'daplug-supervise halt'"
        )

    def _is_current(self, descriptor: int) -> bool:
        """Whether the locked file is still the one with this name: somebody may have removed it meanwhile."""
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Let go."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _holder(descriptor: int) -> dict[str, object] | None:
    with contextlib.suppress(ValueError, OSError):
        found = json.loads(os.pread(descriptor, 4096, 0))
        if isinstance(found, dict) and isinstance(found.get("pid"), int):
            return found
    return None


def make_private(directory: Path) -> None:
    """Make a directory, and those above it that are missing, that only its owner can enter.

    Raises:
        OSError: it could not be made.
    """
    if not directory.is_dir():
        make_private(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that under its name there is the whole new text or the whole old one, also after a power cut.

    Raises:
        OSError: it could not be written; an older file of that name is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_tail(path: Path, limit: int) -> bytes:
    """The last `limit` bytes of a file; empty if there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - limit))
            return file.read(limit)
    except OSError:
        return b""


def _exclude_from_git(target: Path) -> None:
    """Keep our files out of `git status`, without touching a file that is tracked."""
    repository = next((folder for folder in (target, *target.parents) if (folder / ".git").is_dir()), None)
    if repository is None:
        return
    exclude = repository / ".git" / "info" / "exclude"
    with contextlib.suppress(OSError):
        text = exclude.read_bytes() if exclude.exists() else b""  # it may be in any encoding
        missing = [line for line in _KEPT_OUT_OF_GIT if line not in text.splitlines()]
        if missing:
            exclude.parent.mkdir(exist_ok=True)
            begin = b"" if not text or text.endswith(b"\n") else b"\n"
            with exclude.open("ab") as file:
                file.write(begin + b"\n".join(missing) + b"\n")
