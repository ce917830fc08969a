"""Run one command and say what it cost: ``python -I -S meter.py REPORT COMMAND...``.

A small process of its own, because the peak memory that the kernel keeps for a process begins with that of the one
it was started from. It is a subreaper: what the command leaves behind becomes its child, is waited for (and killed
if it does not end), and so is in the figures.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import time

PR_SET_CHILD_SUBREAPER = 36
PATIENCE = 10.0


def children() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:  # noqa: PTH123 (this process is to stay small)
        return [int(pid) for pid in file.read().split()]


def wait_for_the_rest() -> tuple[int, int]:
    """Reap whatever is left. Returns how many there were, and how many of them had to be killed."""
    left = killed = 0
    end = time.monotonic() + PATIENCE
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return left, killed
        if pid:
            left += 1
            continue
        if time.monotonic() > end:
            for pid in children():
                os.kill(pid, signal.SIGKILL)
                killed += 1
            end = time.monotonic() + PATIENCE
        time.sleep(0.001)


def main() -> None:
    report, argv = sys.argv[1], sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    began = time.monotonic()
    pid = os.posix_spawnp(argv[0], argv, os.environ)
    _, status = os.waitpid(pid, 0)
    wall = time.monotonic() - began
    left, killed = wait_for_the_rest()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = {
        "wall": wall,
        "linger": time.monotonic() - began - wall,
        "user": used.ru_utime,
        "system": used.ru_stime,
        "rss": used.ru_maxrss * (1024 if sys.platform == "linux" else 1),
        "code": os.waitstatus_to_exitcode(status),
        "left": left,
        "killed": killed,
    }
    with open(report, "w") as file:  # noqa: PTH123 (as above)
        json.dump(found, file)


main()
