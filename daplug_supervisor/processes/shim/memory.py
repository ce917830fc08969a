"""Who goes first when the memory is full, and whether it was full."""

from __future__ import annotations

import contextlib
import os

_AGENT_SCORE = 500
"""How much sooner than ourselves an agent is chosen when the memory is full: as if it had half of it already."""


class Victim:
    """Makes what we start the first to go when the memory is full: a shim that goes instead frees nothing.

    A process may raise its own score, and take back what it has raised. So we raise ours for the moment of the
    start, and every child of the agent has inherited it before it exists.
    """

    def __init__(self) -> None:
        self.ours = self.agents = b""
        self.descriptor = -1
        with contextlib.suppress(OSError):
            self.descriptor = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
            self.ours = os.pread(self.descriptor, 16, 0).strip()
            self.agents = b"%d" % min(1000, int(self.ours) + _AGENT_SCORE)

    def __enter__(self) -> None:
        self.put(self.agents)

    def __exit__(self, *_: object) -> None:
        self.put(self.ours)

    def put(self, score: bytes) -> None:
        """Take a score, where there is such a thing."""
        if score:
            with contextlib.suppress(OSError):
                os.pwrite(self.descriptor, score, 0)


def open_kills(cgroup: str = "/proc/self/cgroup", mount: str = "/sys/fs/cgroup") -> int:
    """The file that counts who was killed for want of memory: in our control group, or else in all; -1 for none."""
    places = []
    with contextlib.suppress(OSError, ValueError), open(cgroup) as file:  # noqa: PTH123
        for line in file:
            _, kinds, path = line.rstrip("\n").split(":", 2)
            if not kinds:
                places += [f"{mount}{path}/memory.events", f"{mount}/memory.events"]
            elif "memory" in kinds.split(","):
                places += [f"{mount}/memory{path}/memory.oom_control", f"{mount}/memory/memory.oom_control"]
    for place in (*places, "/proc/vmstat"):
        with contextlib.suppress(OSError):
            descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
            if count_kills(descriptor) is not None:
                return descriptor
            os.close(descriptor)
    return -1


def count_kills(descriptor: int) -> int | None:
    """What the file says now."""
    with contextlib.suppress(OSError, ValueError):
        for line in os.pread(descriptor, 1 << 15, 0).splitlines():
            if line.startswith(b"oom_kill "):
                return int(line.split()[1])
    return None
