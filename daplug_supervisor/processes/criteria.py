"""Runs the criteria of a task, one after another: ``python -I -S criteria.py FILE``, in a process tree of its own.

It is a program by itself and imports nothing of ours. `FILE` is JSON: where to keep the ends of what they print, where
they work, the variables that they do not get, and the criteria: words, seconds, and a text that must be printed ('' for
none). For each it prints one line of JSON when it has ended. What a criterion leaves behind is killed, so that the next
one finds the place as it was.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from typing import Any

KEPT = 64 << 10
"""Bytes of the end of what a criterion prints that are kept."""

_BLOCK = 64 << 10
_GRACE = 2.0
_LOOK = 0.05


def main(words: list[str]) -> int:
    """Run them all; the exit code says only that."""
    with open(words[0], "rb") as file:  # noqa: PTH123 (pathlib takes time to import)
        told = json.load(file)
    for name in told["without"]:
        os.environ.pop(name, None)
    for number, (argv, seconds, wanted) in enumerate(told["criteria"]):
        output = _Output(os.fsencode(wanted))
        began = time.monotonic()
        found = _run(argv, told["cwd"], began + seconds, output)
        _keep(f"{told['directory']}/{number}.log", output.end)
        found |= {"criterion": number, "seconds": time.monotonic() - began, "printed": output.found}
        sys.stdout.write(f"{json.dumps(found)}\n")
        sys.stdout.flush()
    return 0


class _Output:
    """What a criterion prints: its end, and whether a text was in it."""

    def __init__(self, wanted: bytes) -> None:
        self.end = b""
        self.found = not wanted
        self._wanted = wanted

    def add(self, block: bytes) -> None:
        if not self.found:
            overlap = len(self._wanted) - 1
            self.found = self._wanted in (self.end[-overlap:] if overlap else b"") + block
        self.end = (self.end + block)[-KEPT:]


def _run(argv: list[str], folder: str, end: float, output: _Output) -> dict[str, Any]:
    try:
        process = subprocess.Popen(
            argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        name = getattr(error, "filename", None) or argv[0]
        return {"code": None, "error": f"{os.fsdecode(name)}: {getattr(error, 'strerror', None) or error}"}
    assert process.stdout is not None  # noqa: S101
    pipe = process.stdout.fileno()
    os.set_blocking(pipe, False)
    late = not _follow(process, pipe, end, output)
    if late:
        _signal(process, signal.SIGTERM)
        if not _follow(process, pipe, time.monotonic() + _GRACE, output):
            _signal(process, signal.SIGKILL)
            process.wait()
    _signal(process, signal.SIGKILL)  # what it left behind
    _drain(pipe, output)
    return {"code": process.returncode, "late": late}


def _follow(process: subprocess.Popen[bytes], pipe: int, end: float, output: _Output) -> bool:
    """Read what it prints until it has ended; False if time is over before."""
    pidfd = _pidfd(process.pid)
    watched = [pipe] if pidfd < 0 else [pipe, pidfd]
    try:
        while process.poll() is None:
            left = end - time.monotonic()
            if left <= 0:
                return False
            ready, _, _ = select.select(watched, [], [], min(left, _LOOK) if pidfd < 0 else left)
            if pipe in ready and not _drain(pipe, output):
                watched.remove(pipe)  # what has closed it may go on
        return True
    finally:
        if pidfd >= 0:
            os.close(pidfd)


def _pidfd(pid: int) -> int:
    with contextlib.suppress(AttributeError, OSError):
        return os.pidfd_open(pid)
    return -1


def _drain(pipe: int, output: _Output) -> bool:
    """Read what is there now; False at the end of it."""
    with contextlib.suppress(BlockingIOError):
        for _ in range(64):
            block = os.read(pipe, _BLOCK)
            if not block:
                return False
            output.add(block)
    return True


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _keep(path: str, data: bytes) -> None:
    """Without room for it there is no log."""
    with contextlib.suppress(OSError):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(number, "wb") as file:  # noqa: PTH123
            file.write(data)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
