"""Gets a task's directory ready and then becomes the agent: ``python -I -S setup.py ...``, in the attempt's own tree.

It is a program by itself and imports nothing of ours. What ends the attempt ends this as well, whatever it is at.
Its arguments: the attempt's directory, the marker to leave ('' for none), what to write in there, the directory to
work in, the seconds it may take and those that it has when asked to end, how many words the set-up has, its words,
the agent's words.
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

FAILED = 113
"""Exit code when the agent was not started; `RESULT` says why."""

LOG = "setup.log"
RESULT = "setup.json"
_LARGEST_LOG = 16 << 20
_KEPT_LOG = 4 << 20
_LOOK_FIRST, _LOOK_LATER = 0.25, 2.0
_STOPS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def main(words: list[str]) -> int:
    """Run the set-up; if it succeeds, the agent takes our place."""
    directory, marker, key, folder, seconds, grace, count = words[:7]
    setup, agent = words[7 : 7 + int(count)], words[7 + int(count) :]
    began = time.monotonic()
    asked: list[int] = []
    for number in (signal.SIGCHLD, *_STOPS):
        signal.signal(number, lambda number, _: asked.append(number))
    why, code = _run(setup, folder, f"{directory}/{LOG}", (float(seconds), float(grace)), asked)
    found = {
        "version": 1,
        "ok": not why,
        "why": why,
        "code": code,
        "seconds": round(time.monotonic() - began, 3),
    }
    _write(f"{directory}/{RESULT}", json.dumps(found))
    if why:
        return FAILED
    if marker:
        _write(marker, key)
    return _become(agent, f"{directory}/{RESULT}", found, asked)


def _run(
    setup: list[str], folder: str, log: str, times: tuple[float, float], asked: list[int]
) -> tuple[str, int | None]:
    """Run the set-up to its end; returns what went wrong, '' for nothing, and its exit code."""
    readable, writable = os.pipe()
    os.set_blocking(readable, False)
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    seconds, grace = times
    end = time.monotonic() + seconds
    try:
        output = _open(log, os.O_RDWR | os.O_APPEND)
        process = subprocess.Popen(
            setup,
            executable=_find(setup[0]),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    except (OSError, ValueError) as error:
        name = getattr(error, "filename", None) or setup[0]
        return f"cannot be started: {name}: {getattr(error, 'strerror', None) or error}", None
    code = _wait(process, output, readable, end, asked)
    if not _STOPS.isdisjoint(asked):
        _leave(process, end=time.monotonic() + 3600.0)  # whoever asked gives us our grace, and ends the rest
        return "stopped", None
    if code is None:
        os.killpg(0, signal.SIGTERM)  # our own group; we have a handler
        _leave(process, end=time.monotonic() + grace)
        return "timeout", None
    os.close(output)
    return ("", 0) if code == 0 else ("exit", code)


def _wait(
    process: subprocess.Popen[bytes], output: int, readable: int, end: float, asked: list[int]
) -> int | None:
    """Its exit code; None if time is over, or somebody wants us to end."""
    look = _LOOK_FIRST
    while process.poll() is None:
        left = end - time.monotonic()
        if left <= 0 or not _STOPS.isdisjoint(asked):
            return None
        select.select([readable], [], [], min(left, look))
        with contextlib.suppress(BlockingIOError):
            os.read(readable, 4096)
        look = _LOOK_FIRST if _bound(output) else min(2 * look, _LOOK_LATER)
    return process.returncode


def _bound(output: int) -> bool:
    """Keep the end of a log that has become too long. True if it is long already."""
    size = os.fstat(output).st_size
    if size > _LARGEST_LOG:
        end = os.pread(output, _KEPT_LOG, size - _KEPT_LOG)
        os.ftruncate(output, 0)
        os.write(output, b"[... left out ...]\n" + end)
    return size > _KEPT_LOG


def _leave(process: subprocess.Popen[bytes], end: float) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(end - time.monotonic())


def _become(agent: list[str], result: str, found: dict[str, object], asked: list[int]) -> int:
    """Start the agent in our place, with everything as it was given to us."""
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    if not _STOPS.isdisjoint(asked):
        return FAILED
    for number in (*_STOPS, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
    try:
        os.execv(_find(agent[0]), agent)  # noqa: S606
    except (OSError, ValueError) as error:
        why = f"{agent[0]}: {getattr(error, 'strerror', None) or error}"
        _write(result, json.dumps({**found, "ok": False, "why": "agent", "error": why}))
        return FAILED


def _find(program: str) -> str:
    """The path of a program, as the shim would look for it.

    Raises:
        FileNotFoundError: there is none of that name.
    """
    if "/" in program:
        return program
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        path = f"{folder or '.'}/{program}"
        if os.access(path, os.X_OK) and not os.path.isdir(path):  # noqa: PTH112
            return path
    raise FileNotFoundError(2, "not found on PATH", program)


def _open(path: str, flags: int) -> int:
    """Make a file anew: what has its name, a link or a fifo, is removed first."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108
    return os.open(path, flags | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _write(path: str, text: str) -> None:
    """Write a small file whole. Without room for it the attempt counts as failed, or as not set up."""
    with contextlib.suppress(OSError):
        with open(_open(f"{path}.tmp", os.O_WRONLY), "wb") as file:
            file.write(os.fsencode(text))
        os.replace(f"{path}.tmp", path)  # noqa: PTH105


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
