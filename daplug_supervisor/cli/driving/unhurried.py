"""Writing to a person without ever waiting for one: a terminal that is held (Ctrl-S), or a pager that nobody turns.

What is shown is worth less than what is done: the event loop must not stand still until somebody looks.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
from typing import Any, TextIO


def takes(stream: TextIO) -> bool:
    """Whether a short line can be written now without waiting (a pipe that says so has room for 4096 bytes)."""
    poll = select.poll()
    poll.register(stream.fileno(), select.POLLOUT)
    return bool(poll.poll(0))


def terminal() -> TextIO | None:
    """Standard error's terminal, opened once more: what it does not take at once is dropped. None if it has no name."""
    try:
        # Not set on standard error itself: the shell, and whoever else has this terminal, would get it as well.
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        descriptor = os.open(os.ttyname(sys.stderr.fileno()), flags)
    except OSError:
        return None
    return io.TextIOWrapper(
        io.BufferedWriter(_Dropping(descriptor, "w"), 1), encoding=sys.stderr.encoding, errors="replace"
    )


class _Dropping(io.FileIO):
    """A file that takes all, and drops what there is no room for."""

    def write(self, data: Any, /) -> int:
        """Write what there is room for."""
        with contextlib.suppress(BlockingIOError):
            super().write(data)
        return memoryview(data).nbytes
