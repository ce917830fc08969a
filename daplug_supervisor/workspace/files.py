"""The state directory: its files, its lock, and how text gets there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from daplug_supervisor.errors import StateDirectoryError
from daplug_supervisor.workspace.lock import Lock, holder
from daplug_supervisor.workspace.room import FULL

NAME = ".daplug"
JOURNAL = "journal.db"
PROMPT = "prompt.md"
BUNDLE = "bundle.json"
STDOUT = "stdout.log"
STDERR = "stderr.log"

_KEPT_OUT_OF_GIT = (f"{NAME}/".encode(), b".worktrees/")
_ROOT = 0


class StateDirectory:
    """Where everything durable is. Only its owner can read it.

    Args:
        path: the directory, usually ``.daplug`` in the target.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.journal = self.path / JOURNAL
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
            missing = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in missing:
                sync_directory(folder.parent)  # or a power cut takes the journal with its directory
            self._make_ours()
            self.inbox.mkdir(mode=0o700, exist_ok=True)
            ignore = self.path / ".gitignore"
            if not ignore.exists():
                write_atomically(ignore, b"*\n")
        except OSError as error:
            raise StateDirectoryError(
                f"{error.filename or self.path}: {error.strerror}; give --state-dir a directory that can be written"
            ) from error
        _exclude_from_git(self.path.parent)

    def _make_ours(self) -> None:
        """Close it to others, and refuse it if it is not ours, or if others have left something in it.

        Raises:
            StateDirectoryError: as said.
        """
        # What has the name now, whatever that is, must be ours: somebody may be changing it at this moment. A link
        # of ours cannot be changed by others, nor can our directory.
        link, found = self.path.lstat(), self.path.stat()
        trusted = {os.geteuid(), _ROOT} if stat.S_ISLNK(link.st_mode) else {os.geteuid()}
        if link.st_uid not in trusted or found.st_uid != os.geteuid():
            raise StateDirectoryError(
                f"{self.path} belongs to another user; give --state-dir another directory"
            )
        open_to_others = found.st_mode & 0o077
        if open_to_others:
            self.path.chmod(0o700)
        planted = _planted(self.path, deep=bool(open_to_others & 0o022))
        if planted:
            raise StateDirectoryError(
                f"{planted}: another user may have put it there; look at it, and remove it or give another --state-dir"
            )

    def require(self) -> None:
        """Check that there is a journal to read.

        Raises:
            StateDirectoryError: there is none here.
        """
        if not os.path.lexists(self.journal) and not self.journal.with_suffix(".tail").exists():
            raise StateDirectoryError(
                f"{self.path} has no journal: nothing was run here yet; "
                "go to the directory of the run, or give --state-dir"
            )

    def stop_requested(self) -> bool:
        """Whether there is a STOP file."""
        return os.path.lexists(self._stop_file)

    def writable(self) -> bool:
        """Whether something can be written here; a full disk does not count as an answer."""
        probe = self.path / f".probe.{os.urandom(6).hex()}"
        try:
            os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            probe.unlink()
        except OSError as error:
            return error.errno in FULL
        return True

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
            StateDirectoryError: it cannot be locked.
        """
        return Lock(self.path, self._lock)

    def holder(self) -> dict[str, object] | None:
        """Who holds the lock now (its pid, ``?`` if it has not said so yet), or None if nobody does."""
        return holder(self.path, self._lock)


def _planted(directory: Path, *, deep: bool) -> str | None:
    """What another user put into a directory, or into those below it, if it was open for that.

    A link from outside to a file of ours is ours: only a directory that was open can have it.
    """
    with os.scandir(directory) as entries:
        for entry in entries:
            try:
                found = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # a supervisor is at work here, and has removed it in the meantime
            linked = deep and found.st_nlink > 1 and stat.S_ISREG(found.st_mode)
            if found.st_uid != os.geteuid() or linked:
                return entry.path
            if deep and stat.S_ISDIR(found.st_mode):
                below = _planted(Path(entry.path), deep=True)
                if below:
                    return below
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
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def sync_directory(directory: Path) -> None:
    """Make durable which files there are in a directory, under which names.

    Raises:
        OSError: it is not known whether that came about.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_output(path: Path) -> BinaryIO:
    """Open what an agent wrote. It may have put a fifo there, on which we would wait for ever, or a link to a secret.

    Raises:
        OSError: it is not there, or not an ordinary file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not an ordinary file", str(path))
    return os.fdopen(descriptor, "rb")


def read_tail(path: Path, limit: int) -> bytes:
    """The last `limit` bytes of a file; empty if there is none that can be read."""
    try:
        with open_output(path) as file:
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
