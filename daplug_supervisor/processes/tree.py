"""Process identity and the search for what a killed shim left behind.

A pid alone says nothing: it is reused. A process is its pid, its start time and the boot that both belong to.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from daplug_supervisor.ports import Identity
from daplug_supervisor.processes.shim import LINUX, identify

MARK_VARIABLE = "DAPLUG_SUP_ATTEMPT"
"""The environment variable that every process of an attempt inherits, unless it wipes its environment."""


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
    return identity_of(identity.pid) == identity and not _is_zombie(identity.pid)


def leftovers(session: int, mark: str) -> list[int]:
    """Pids of processes in a session, or with the mark of an attempt in their environment, other than our own."""
    import psutil  # noqa: PLC0415 (slow to import, and rarely needed)

    found = []
    wanted = f"{MARK_VARIABLE}={mark}".encode()
    for process in psutil.process_iter():
        pid = process.pid
        if pid == os.getpid():
            continue
        with contextlib.suppress(OSError, psutil.Error):
            if os.getsid(pid) == session or (mark and wanted in _environment(pid)):
                found.append(pid)
    return found


def _environment(pid: int) -> list[bytes]:
    if LINUX:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    import psutil  # noqa: PLC0415  # pragma: not on this platform

    variables = psutil.Process(pid).environ()  # pragma: not on this platform
    return [f"{name}={value}".encode() for name, value in variables.items()]  # pragma: not on this platform


def sweep(session: int, mark: str, patience: float = 5.0) -> bool:
    """Kill what a dead shim left, until nothing is found or `patience` seconds are over. True if nothing is left.

    Only for shims that were killed: a live shim ends its own tree, with the kernel's word for it. A process that
    left the session and wiped its environment is not found; the launcher, as subreaper, ends those while it lives.
    """
    end = time.monotonic() + patience
    while pids := [pid for pid in leftovers(session, mark) if not _is_zombie(pid)]:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def _is_zombie(pid: int) -> bool:
    import psutil  # noqa: PLC0415 (as above)

    with contextlib.suppress(psutil.Error):
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    return True
