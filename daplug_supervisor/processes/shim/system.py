"""What we need of the system: who is who, signals, the children, and what only the C library has."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
from typing import Any

LINUX = sys.platform == "linux"
_PR_SET_CHILD_SUBREAPER = 36
_CHUNK = 4096

_LITTLE = 10
"""The niceness of a storm."""


def identify(pid: int) -> tuple[int, str]:
    """Start time (clock ticks since boot) and boot id of a process; (0, "") where the system does not tell."""
    if not LINUX:  # pragma: not on this platform
        return 0, ""
    with open("/proc/sys/kernel/random/boot_id") as file:  # noqa: PTH123 (pathlib is slow to import)
        boot = file.read().strip()
    with open(f"/proc/{pid}/stat", "rb") as stat:  # noqa: PTH123
        fields = stat.read().rpartition(b") ")[2].split()
    return int(fields[19]), boot


@functools.cache
def libc() -> Any:
    """The C library, for the two calls that Python does not have; None where it cannot be had."""
    try:
        import ctypes  # noqa: PLC0415 (only the launcher needs it, not the supervisor that imports this module)

        library = ctypes.CDLL(None, use_errno=True)
        library.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    except (ImportError, OSError, AttributeError):  # pragma: not on this platform
        return None
    return library


def become_subreaper() -> None:
    """Make orphans among our descendants our children. Where that does not exist, groups must do."""
    if LINUX and libc() is not None:
        libc().prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children() -> list[int]:
    """The pids of our own children; empty where the system does not tell."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:  # noqa: PTH123
            return [int(pid) for pid in file.read().split()]
    except OSError:  # pragma: not on this platform
        return []


def kill(pid: int, number: int) -> None:
    """Signal a child of ours (not yet reaped, so its pid cannot be another's)."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def kill_group(pid: int, number: int) -> None:
    """Signal the group that a child of ours leads."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def calm(agent: int) -> None:
    """Give those that the agent's descendants left little of the processor, and all that they fork.

    Else a storm of forks ends faster than we can collect, and its dead use up all the process numbers of the machine.
    Not the least there is: whoever is killed needs the processor once more.
    """
    for pid in children():
        if pid != agent:
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, pid, _LITTLE)


def dead_child() -> int:
    """A child of ours that has ended and is not collected yet; 0 if there is none."""
    try:
        if hasattr(os, "waitid"):
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            return found.si_pid if found else 0
        return os.waitpid(-1, os.WNOHANG)[0]  # pragma: not on this platform
    except ChildProcessError:
        return 0


def collect(pid: int) -> None:
    """Take the end of a child, if it has ended."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def alarm_pipe() -> int:
    """A descriptor that becomes readable with every signal that has a handler."""
    readable, writable = os.pipe()
    os.set_blocking(readable, False)
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    return readable


def drain(descriptor: int) -> None:
    """Empty a non-blocking descriptor."""
    with contextlib.suppress(BlockingIOError):
        while os.read(descriptor, _CHUNK):
            pass
