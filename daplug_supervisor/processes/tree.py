"""Process identity and the search for what a killed shim left behind.

A pid alone says nothing: it is reused. A process is its pid, its start time and the boot that both belong to.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from daplug_supervisor.core.bundle import ATTEMPT_VARIABLE
from daplug_supervisor.ports import Identity
from daplug_supervisor.processes.shim import LINUX, OUTPUTS, identify

_DOUBT = 0.5
"""Seconds that are given to one who may be of an attempt, and is just being born: a moment later it has the mark."""


def boot_id() -> str:
    """The id of this boot, or ``-`` where the system has none."""
    if not LINUX:  # pragma: not on this platform
        return "-"
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def identity_of(pid: int) -> Identity | None:
    """Who has this pid now, or None if nobody."""
    try:
        if LINUX:
            start, boot = identify(pid)
            return Identity(pid, start, boot)
        import psutil  # noqa: PLC0415  # pragma: not on this platform

        with contextlib.suppress(psutil.Error):  # pragma: not on this platform
            return Identity(pid, int(psutil.Process(pid).create_time()), "-")
    except OSError:
        pass
    return None


def lives(identity: Identity) -> bool:
    """Whether this very process lives (a zombie does not)."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return identity_of(identity.pid) == identity and not _process(identity.pid).dead
    return False


def is_uncollected(identity: Identity) -> bool:
    """Whether this very process has its pid still, and a parent other than the first process of all."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return identity_of(identity.pid) == identity and _process(identity.pid).parent > 1
    return False


class _Process(NamedTuple):
    """What is known of a process at a look."""

    parent: int
    session: int
    start: int
    dead: bool


def leftovers(shim: Identity, mark: str, directory: str = "") -> list[Identity]:
    """Living processes that a dead shim left, but not us.

    They have the attempt's mark in their environment, or its output open for writing, or are in the session of one
    that does, or descend from one of all these.
    """
    found, _ = _look(shim, mark, directory)
    return found


def _look(shim: Identity, mark: str, directory: str) -> tuple[list[Identity], bool]:
    """See `leftovers`; and whether somebody is in a session of that number, and it cannot be told whose it is.

    A pid is not given away again while a session has it as its name. So if one in the session is of the attempt, all
    are. If none is and the shim is gone, the session may be a later one, of another process that had the pid.
    """
    boot, everyone, outputs = boot_id(), _everyone(), _outputs(directory)
    found = {pid for pid in everyone if _is_marked(pid, mark, outputs)}
    session = {pid for pid, one in everyone.items() if one.session == shim.pid and shim.boot == boot}
    leader = everyone.get(shim.pid)
    in_doubt = False
    if found & session or (leader is not None and leader.start == shim.start):
        found |= session
    else:
        in_doubt = leader is None and bool(session)
    families = defaultdict[int, list[int]](list)
    for pid, one in everyone.items():
        families[one.parent].append(pid)
    unseen = list(found)
    while unseen:
        pid = unseen.pop()
        if pid != os.getpid():  # an agent's shell may have started us; what we started is not its tree
            found.add(pid)
            unseen += (child for child in families[pid] if child not in found)
    living = sorted(pid for pid in found if pid != os.getpid() and not everyone[pid].dead)
    return [Identity(pid, everyone[pid].start, boot) for pid in living], in_doubt


def _everyone() -> dict[int, _Process]:
    found = {}
    for pid in _pids():
        with contextlib.suppress(OSError, ValueError, IndexError):
            found[pid] = _process(pid)
    return found


def _pids() -> list[int]:
    if LINUX:
        return [int(name) for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208 (many, and often)
    import psutil  # noqa: PLC0415  # pragma: not on this platform

    return list(psutil.pids())  # pragma: not on this platform


def _process(pid: int) -> _Process:
    """What is known of a process.

    Raises:
        OSError: there is none.
    """
    if LINUX:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
        return _Process(int(fields[1]), int(fields[3]), int(fields[19]), fields[0] in (b"Z", b"X"))
    import psutil  # noqa: PLC0415  # pragma: not on this platform

    try:  # pragma: not on this platform
        one = psutil.Process(pid)
        dead = one.status() == psutil.STATUS_ZOMBIE
        return _Process(one.ppid(), os.getsid(pid), int(one.create_time()), dead)
    except psutil.Error as error:  # pragma: not on this platform
        raise ProcessLookupError from error


def _is_marked(pid: int, mark: str, outputs: set[tuple[int, int]]) -> bool:
    with contextlib.suppress(OSError):
        if mark and f"{ATTEMPT_VARIABLE}={mark}".encode() in _environment(pid):
            return True
    with contextlib.suppress(OSError):
        return bool(outputs) and _writes_to(pid, outputs)
    return False


def _outputs(directory: str) -> set[tuple[int, int]]:
    """Device and number of an attempt's output files, as far as they are there."""
    found = set()
    for name in OUTPUTS if directory else ():
        with contextlib.suppress(OSError):
            about = os.lstat(f"{directory}/{name}")
            if stat.S_ISREG(
                about.st_mode
            ):  # an agent may have put a link to /dev/null there, which many have open
                found.add((about.st_dev, about.st_ino))
    return found


def _writes_to(pid: int, outputs: set[tuple[int, int]]) -> bool:
    """Whether a process has one of these files open for writing; those who only read are somebody else.

    Raises:
        OSError: the process is gone, or hides what it has open.
    """
    if not LINUX:  # pragma: not on this platform
        return False
    for number in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208
        with contextlib.suppress(OSError, IndexError, ValueError):
            about = os.stat(f"/proc/{pid}/fd/{number}")  # noqa: PTH116
            if (about.st_dev, about.st_ino) in outputs:
                flags = Path(f"/proc/{pid}/fdinfo/{number}").read_text().partition("flags:")[2].split()[0]
                if int(flags, 8) & os.O_ACCMODE != os.O_RDONLY:
                    return True
    return False


def _environment(pid: int) -> list[bytes]:
    if LINUX:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    import psutil  # noqa: PLC0415  # pragma: not on this platform

    try:  # pragma: not on this platform
        variables = psutil.Process(pid).environ()
    except psutil.Error as error:  # pragma: not on this platform
        raise ProcessLookupError from error
    return [f"{name}={value}".encode() for name, value in variables.items()]  # pragma: not on this platform


def sweep(shim: Identity, mark: str, directory: str = "", patience: float = 5.0) -> bool:
    """Kill what a dead shim left, until nothing is found or `patience` seconds are over. True if nothing is left.

    Only for shims that were killed: a live shim ends its own tree, with the kernel's word for it, and a live launcher
    does that for its killed shims. Otherwise a process is not found that left the session, wiped its environment,
    closed its output, and outlived its parent.
    """
    begin = time.monotonic()
    while True:
        now = time.monotonic() - begin  # before the look, which takes long on a busy machine
        found, in_doubt = _look(shim, mark, directory)
        if not found and (not in_doubt or now > _DOUBT):
            return True
        for one in found:
            with contextlib.suppress(OSError):
                _kill(one)
        if now > patience:
            return False
        time.sleep(0.01)


def _kill(identity: Identity) -> None:
    """Kill this very process: whoever has the pid is held fast first, then asked who it is."""
    if not hasattr(os, "pidfd_open"):  # pragma: not on this platform
        os.kill(identity.pid, signal.SIGKILL)
        return
    pidfd = os.pidfd_open(identity.pid)
    try:
        if identity_of(identity.pid) == identity:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)
