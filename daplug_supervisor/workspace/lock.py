"""One supervisor at a time: the lock on a state directory."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from pathlib import Path

from daplug_supervisor.errors import BusyError, StateDirectoryError

_TRIES = 20
_PAUSE = 0.005


class Lock:
    """An exclusive flock on a directory, which ends with the process, however it ends.

    The directory itself is locked, and not only the file in it that says who holds it: somebody may take such a file
    for a leftover, and remove it.

    Raises:
        BusyError: another process has it.
        StateDirectoryError: it cannot be locked.
    """

    def __init__(self, directory: Path, file: Path) -> None:
        self._directory = directory
        self._file = file
        self._descriptors: list[int] = []
        path = directory
        try:
            while not self.holds():  # it may be replaced while we lock it
                self.release()
                self._flock(directory, os.O_RDONLY | os.O_DIRECTORY)
            path = file
            self._say(self._flock(file, os.O_RDWR | os.O_CREAT))
        except OSError as error:
            self.release()
            raise StateDirectoryError(f"{path}: {error.strerror}") from error
        except BusyError:
            self.release()
            raise

    def holds(self) -> bool:
        """Whether the directory that is locked still is the one with this name."""
        with contextlib.suppress(FileNotFoundError):
            return bool(self._descriptors) and os.path.samestat(
                os.fstat(self._descriptors[0]), self._directory.stat()
            )
        return False

    def removed(self) -> bool:
        """Whether the locked directory is nowhere any more, under any name."""
        return bool(self._descriptors) and os.fstat(self._descriptors[0]).st_nlink == 0

    def release(self) -> None:
        """Let go."""
        while self._descriptors:
            os.close(self._descriptors.pop())

    def _flock(self, path: Path, how: int) -> int:
        """Open and lock it; not at the first refusal a `BusyError`, for `holder` locks it while it looks."""
        descriptor = os.open(path, how | os.O_CLOEXEC, 0o600)
        self._descriptors.append(descriptor)
        for _ in range(_TRIES):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_PAUSE)
            else:
                return descriptor
        pid = _said(self._file)
        raise BusyError(
            f"{f'process {pid}' if pid else 'another process'} supervises {self._directory} already; "
            "see what it does with 'daplug-supervise status', or stop it with 'daplug-supervise halt'"
        )

    def _say(self, descriptor: int) -> None:
        """Write down who we are. On a full disk we do not: the lock holds all the same."""
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps({"pid": os.getpid()}).encode(), 0)


def holder(directory: Path, file: Path) -> dict[str, object] | None:
    """Who holds the lock now (its pid, ``?`` if the file does not say it), or None if nobody does."""
    for path in (directory, file):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return {"pid": _said(file) or "?"}
            finally:
                os.close(descriptor)
    return None


def _said(file: Path) -> int | None:
    """The pid that the file says."""
    with contextlib.suppress(ValueError, OSError):
        with file.open("rb") as opened:
            found = json.loads(opened.read(4096))
        if isinstance(found, dict) and isinstance(found.get("pid"), int):
            return int(found["pid"])
    return None
