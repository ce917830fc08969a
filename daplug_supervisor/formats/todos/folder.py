"""Files that people, agents and we write: read in bounds and never through a link, replaced as a whole under a lock."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from daplug_supervisor.errors import UsageError

_PAUSE = 0.01
_PATIENCE = 20.0
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class FolderError(UsageError):
    """A file or a folder of a PLAN.md cannot be used; nothing of it was lost."""

    code = "folder"

    def __init__(self, place: Path | str, message: str, remedy: str) -> None:
        self.place, self.message, self.remedy = str(place), message, remedy
        super().__init__(f"{self.place}: {message} ({remedy})")


class MissingError(FolderError):
    """It is not there."""


def read_file(path: Path, most: int) -> bytes:
    """What is in a file, which is no link.

    Raises:
        MissingError: it is not there.
        FolderError: it is no file, is too large, or cannot be read.
    """
    found = _read(path, str(path), None, most)
    if found is None:
        raise MissingError(path, "there is no such file", "name one that there is")
    return found


def begin_of(path: Path, most: int) -> bytes | None:
    """The beginning of what is in a file, or in what it leads to; None if that is no file, or cannot be read."""
    try:
        descriptor = os.open(path, _READ & ~os.O_NOFOLLOW)
    except (OSError, ValueError):
        return None
    file = _ordinary(descriptor)
    if file is None:
        return None
    with file, contextlib.suppress(OSError):
        return file.read(most)
    return None


def _ordinary(descriptor: int) -> BinaryIO | None:
    """What has been opened, if it is an ordinary file; anything else is closed."""
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    return None


def _read(place: Path, name: str, folder: int | None, most: int) -> bytes | None:
    """What is in a file; None if there is none."""
    try:
        descriptor = os.open(name, _READ, dir_fd=folder)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _refused(place, error) from None
    file = _ordinary(descriptor)
    if file is None:
        raise FolderError(place, "is no ordinary file", "put a file in its place")
    with file:
        if os.fstat(descriptor).st_size > most:
            raise FolderError(place, f"is larger than {most // 1024:,} KiB", "make it smaller, or split it")
        try:
            return file.read(most)
        except OSError as error:
            raise _refused(place, error) from None


def _refused(place: Path, error: Exception) -> FolderError:
    if getattr(error, "errno", 0) in {errno.ELOOP, errno.EMLINK}:
        return FolderError(place, "is a link, which is not followed", "put what it leads to in its place")
    reason = getattr(error, "strerror", None) or str(error)
    return FolderError(place, f"cannot be used: {reason}", "look at its kind, its owner and its permissions")


class Folder:
    """A folder that is locked: its files are read, and replaced as a whole. Made by `locked`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self._descriptor = path, descriptor

    def read(self, name: str, most: int) -> bytes | None:
        """What is in a file; None if there is none.

        Raises:
            FolderError: it is no file, or cannot be read.
        """
        return _read(self.path / name, name, self._descriptor, most)

    def write(self, name: str, data: bytes) -> None:
        """Put `data` in the place of what a file holds: all of it, or nothing.

        Raises:
            FolderError: it cannot be written.
        """
        new = f".{name}.new"
        try:
            mode = self._mode(name)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(new, dir_fd=self._descriptor)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(new, flags, 0o644, dir_fd=self._descriptor)
            with os.fdopen(descriptor, "wb") as file:
                if mode is not None:
                    os.fchmod(descriptor, mode)
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            self._rename(new, name)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(new, dir_fd=self._descriptor)
            raise _refused(self.path / name, error) from None

    def aside(self, name: str) -> str:
        """Give a file another name, which nothing has; what that is."""
        number = 1
        while self._there(f"{name}.bad-{number}"):
            number += 1
        try:
            self._rename(name, f"{name}.bad-{number}")
        except OSError as error:
            raise _refused(self.path / name, error) from None
        return f"{name}.bad-{number}"

    def _there(self, name: str) -> bool:
        try:
            os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def _mode(self, name: str) -> int | None:
        """The permissions of a file that is there."""
        try:
            status = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(status.st_mode):
            raise FolderError(self.path / name, "is no ordinary file", "put a file in its place")
        return stat.S_IMODE(status.st_mode)

    def _rename(self, old: str, new: str) -> None:
        os.rename(old, new, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        os.fsync(self._descriptor)


@contextmanager
def locked(path: Path, *, make: bool = False) -> Iterator[Folder]:
    """A folder while nobody else who asks for it like this has it. It is itself what is locked: no file is left.

    Raises:
        FolderError: it is not there, is a link, or somebody holds it for too long.
    """
    try:
        if make:
            path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        if path.is_symlink():
            raise FolderError(
                path, "is a link, which is not followed", "put what it leads to in its place"
            ) from None
        raise _refused(path, error) from None
    try:
        _lock(path, descriptor)
        yield Folder(path, descriptor)
    finally:
        os.close(descriptor)


def _lock(path: Path, descriptor: int) -> None:
    left = _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in {errno.EAGAIN, errno.EACCES}:
                raise _refused(path, error) from None
        else:
            return
        if left <= 0:
            raise FolderError(
                path, "another process has it locked", "see which one does (fuser), and end that"
            )
        left -= _PAUSE
        time.sleep(_PAUSE)
