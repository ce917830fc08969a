"""Directories that agents can write as well: entered without following a link, read in bounds, written whole."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from daplug_supervisor.workspace.files import open_output

MOST_BYTES = 16 << 20
"""Of a file that is read whole."""


@contextmanager
def entered(root: Path, *names: str, make: bool = False) -> Iterator[Path]:
    """The directory of that name below `root`: a path that stays it, whatever its name comes to mean meanwhile.

    `root` is a person's choice, and may be a link; no name below it may.

    Raises:
        OSError: one of them is not there, or is no directory.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    descriptor = os.open(root, flags)
    try:
        for name in names:
            if make:
                _made(name, descriptor)
            below = os.open(name, flags | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _made(name: str, descriptor: int) -> None:
    try:
        os.mkdir(name, dir_fd=descriptor)
    except FileExistsError:
        return
    os.fsync(descriptor)


def read_below(root: Path, path: str, limit: int = MOST_BYTES) -> bytes | None:
    """What is in an ordinary file below `root`, by its path from there; None if there is none.

    Raises:
        OSError: something else is there, it cannot be read, or it is longer than `limit`.
    """
    *folders, name = path.split("/")
    try:
        with entered(root, *folders) as folder:
            return read_whole(folder / name, limit)
    except FileNotFoundError:
        return None


def read_whole(path: Path, limit: int = MOST_BYTES) -> bytes:
    """What is in an ordinary file.

    Raises:
        OSError: it is not there, is something else, cannot be read, or is longer than `limit`.
    """
    with open_output(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"longer than {limit >> 20} MiB", str(path))
    return data
