"""Reads the files of a ``.tasker`` directory: of bounded size, ordinary ones only, and no link is followed."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_BYTES: Final = 16 << 20
"""Of one file."""


class Files:
    """The files of one directory.

    Args:
        directory: a person's choice; it may be relative.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def read(self, name: str) -> bytes | None:
        """What is in an ordinary file, by its path from the directory; None if there is none.

        Raises:
            OSError: something else is there, it cannot be read, or it is too large.
        """
        try:
            with _opened(self._directory, name, os.O_NONBLOCK) as found:
                if not stat.S_ISREG(os.fstat(found).st_mode):
                    raise OSError(errno.EINVAL, "it is not an ordinary file")
                with os.fdopen(os.dup(found), "rb") as file:
                    data = file.read(MOST_BYTES + 1)
        except FileNotFoundError:
            return None
        if len(data) > MOST_BYTES:
            raise OSError(errno.EFBIG, f"it is larger than {MOST_BYTES >> 20} MiB")
        return data

    def names(self, folder: str) -> list[str]:
        """The JSON files in a folder, in the order of their names, without the end; none if there is no folder.

        Raises:
            OSError: it is no folder, or cannot be read.
        """
        try:
            with _opened(self._directory, folder, os.O_DIRECTORY) as found, os.scandir(found) as entries:
                names = sorted(one.name for one in entries if one.name.endswith(".json"))
        except FileNotFoundError:
            return []
        return [name.removesuffix(".json") for name in names if not name.startswith(".")]


@contextlib.contextmanager
def _opened(directory: str, name: str, flags: int) -> Iterator[int]:
    """A descriptor of what is called `name` below a directory; each step on the way is one without a link."""
    *folders, last = name.split("/")
    if {"", ".", ".."} & {*folders, last}:
        raise OSError(errno.EINVAL, "its name leads elsewhere")
    keep = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    at = os.open(directory, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        for folder in folders:
            below = _step(folder, keep | os.O_DIRECTORY, at)
            os.close(at)
            at = below
        found = _step(last, keep | flags, at)
    finally:
        os.close(at)
    try:
        yield found
    finally:
        os.close(found)


def _step(name: str, flags: int, at: int) -> int:
    try:
        return os.open(name, flags, dir_fd=at)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR} and _is_link(name, at):
            raise OSError(errno.ELOOP, "a link is not followed") from None
        raise


def _is_link(name: str, at: int) -> bool:
    return stat.S_ISLNK(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode)
