"""The output of the agent: files that never take more than so much of it."""

from __future__ import annotations

import os
from typing import Any

from .files import create
from .system import libc

LOOK_EVERY = 0.25
LOOK_AT_MOST_EVERY = 1.0
"""Seconds between two looks at the output: while it grows slowly; when it has been quiet for a while."""

_PUNCH_HOLE_KEEP_SIZE = 0x03
_BLOCK = 4096


class Log:
    """A file that takes output of the agent, at most so much of it.

    It is held open: the agent may remove it, or put a link or a fifo under its name, and it is still this file that
    is bounded, and nothing else is ever touched.
    """

    def __init__(self, path: str, limit: int) -> None:
        self.path = path
        self.limit = limit
        self.size = self.grown = 0
        self.descriptor = create(path, os.O_WRONLY | os.O_APPEND)

    def close(self) -> None:
        """Let go of it."""
        os.close(self.descriptor)

    def bound(self) -> None:
        """Give back the middle of what has grown beyond the limit, keeping both ends.

        The middle becomes a hole: offsets stay, so whoever reads the file is not disturbed.
        """
        size = os.fstat(self.descriptor).st_size
        self.grown, self.size = size - self.size, size
        start = -(-(self.limit // 2) // _BLOCK) * _BLOCK
        length = (size - self.limit // 2 - start) // _BLOCK * _BLOCK
        if size > self.limit and length > 0 and libc() is not None:
            libc().fallocate(self.descriptor, _PUNCH_HOLE_KEEP_SIZE, start, length)

    def lasts(self, seconds: float) -> float:
        """How long until it needs a look again, if it goes on growing as it did in these last seconds."""
        if self.grown <= 0:
            return LOOK_AT_MOST_EVERY
        return max(self.limit - self.size, self.limit // 4) * seconds / self.grown

    def shorten(self) -> None:
        """Rewrite the file without its middle, now that nobody writes to it any more.

        Raises:
            OSError: it could not be rewritten, and is as it was.
        """
        size, half = os.fstat(self.descriptor).st_size, self.limit // 2
        if size <= self.limit:
            return
        source = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(source, "rb") as whole:  # noqa: PTH123
            if not os.path.samestat(os.fstat(source), os.fstat(self.descriptor)):
                return  # not the agent's output any more, whatever it is
            temporary = f"{self.path}.tmp"
            try:
                with open(create(temporary, os.O_WRONLY), "wb") as short:  # noqa: PTH123
                    _copy(whole, short, half)
                    short.write(b"\n[... %d bytes left out ...]\n" % (size - 2 * half))
                    whole.seek(size - half)
                    _copy(whole, short, half)
                os.replace(temporary, self.path)  # noqa: PTH105
            except OSError:
                os.unlink(temporary)  # noqa: PTH108
                raise


def _copy(source: Any, sink: Any, count: int) -> None:
    while count > 0:
        chunk = source.read(min(count, 1 << 20))
        if not chunk:
            return
        sink.write(chunk)
        count -= len(chunk)
