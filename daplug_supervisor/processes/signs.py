"""What a process tree shows of its work: processor time, positions in open files, working directories.

Only the tree below a shim is looked at, and only what the kernel has in memory: a link is read and not followed, so a
file system that does not answer holds nobody up.
"""

from __future__ import annotations

import contextlib
import os
from itertools import islice

from daplug_supervisor.core.health import Signs
from daplug_supervisor.ports import Identity
from daplug_supervisor.processes import tree
from daplug_supervisor.processes.shim import LINUX

_TICK = 1.0 / os.sysconf("SC_CLK_TCK")
_MOST_PROCESSES = 1000
_MOST_FILES = 256
"""A process, an open file: what is beyond these numbers is not looked at. Such a tree shows that it works anyhow."""

_NO_FILES = ("/dev/", "/proc/", "/sys/", "/memfd:")
"""How the paths of what is no ordinary file begin."""


def look(shim: Identity) -> Signs | None:
    """What the tree of a shim shows at this moment, None if there is none to be seen.

    The shim is the reaper of all below it, so nobody of its tree is anywhere else. Of the shim itself only what its
    collected children have used counts.
    """
    if not LINUX:  # pragma: not on this platform
        return _look_elsewhere(shim)
    cpu: dict[tuple[int, int], float] = {}
    positions: dict[tuple[int, str, str], int] = {}
    places: set[str] = set()
    found = _below(shim.pid)
    for pid in found:
        with contextlib.suppress(OSError, ValueError, IndexError):  # it ends while it is looked at
            start, own, collected = _times(pid)
            cpu[pid, start] = own + collected
            places.add(os.readlink(f"/proc/{pid}/cwd"))  # noqa: PTH115
            _read_positions(pid, positions)
    with contextlib.suppress(OSError, ValueError, IndexError):
        start, _, collected = _times(shim.pid)
        if found and start == shim.start:
            cpu[shim.pid, start] = collected
            return Signs(cpu, positions, frozenset(places))
    return None


def _below(pid: int) -> list[int]:
    """The descendants of a process."""
    found = [pid]
    for one in found:  # it grows meanwhile
        if len(found) > _MOST_PROCESSES:
            break
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{one}/task"):  # noqa: PTH208 (many, and often)
                found += _children(one, thread)
    return found[1:]


def _children(pid: int, thread: str) -> list[int]:
    with (
        contextlib.suppress(OSError),
        open(f"/proc/{pid}/task/{thread}/children", "rb") as file,  # noqa: PTH123
    ):
        return [int(child) for child in file.read().split()]
    return []  # it has ended


def _times(pid: int) -> tuple[int, float, float]:
    """Start time (clock ticks since boot), own processor seconds, those of collected children.

    Raises:
        OSError: there is no such process.
    """
    with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
        fields = file.read().rpartition(b") ")[2].split()
    user, system, user_below, system_below = map(int, fields[11:15])
    return int(fields[19]), (user + system) * _TICK, (user_below + system_below) * _TICK


def _read_positions(pid: int, positions: dict[tuple[int, str, str], int]) -> None:
    """How far a process is in each ordinary file that it has open.

    Size and time of a file say less: others may write to it as well, and several CLIs share their databases.

    Raises:
        OSError: the process is gone, or hides what it has open.
    """
    for number in islice(os.listdir(f"/proc/{pid}/fd"), _MOST_FILES):  # noqa: PTH208
        with contextlib.suppress(OSError, ValueError, IndexError):
            path = os.readlink(f"/proc/{pid}/fd/{number}")  # noqa: PTH115
            if path.startswith("/") and not path.startswith(_NO_FILES):
                with open(f"/proc/{pid}/fdinfo/{number}", "rb") as file:  # noqa: PTH123
                    positions[pid, number, path] = int(file.read(64).split()[1])


def _look_elsewhere(shim: Identity) -> Signs | None:  # pragma: not on this platform
    import psutil  # noqa: PLC0415

    if not tree.lives(shim):
        return None
    cpu: dict[tuple[int, int], float] = {}
    with contextlib.suppress(psutil.Error):
        for one in psutil.Process(shim.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                spent = one.cpu_times()
                cpu[one.pid, int(one.create_time())] = spent.user + spent.system
    return Signs(cpu) if cpu else None
