"""Making files and directories in an attempt's directory, and making them durable."""

from __future__ import annotations

import contextlib
import os


def create(path: str, flags: int) -> int:
    """Make a file that was not there and open it. What has its name (a fifo, a link: who knows) is removed first."""
    flags |= os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileExistsError:
        os.unlink(path)  # noqa: PTH108
        return os.open(path, flags, 0o600)


def sync(directory: str) -> None:
    """Make durable what is in a directory under which names."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_private(directory: str) -> None:
    """Make a directory, and those above it that are missing, for our own eyes."""
    try:
        os.mkdir(directory, 0o700)  # noqa: PTH102
    except FileNotFoundError:
        make_private(directory.rpartition("/")[0])
        with contextlib.suppress(FileExistsError):  # another shim makes the same ones at this moment
            os.mkdir(directory, 0o700)  # noqa: PTH102
    except FileExistsError:
        pass
