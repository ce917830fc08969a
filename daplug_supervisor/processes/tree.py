"""Process identity and the search for what a killed shim left behind.

A pid alone says nothing: it is reused. A process is its pid, its start time and the boot that both belong to.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from daplug_supervisor.core.bundle import ATTEMPT_VARIABLE
from daplug_supervisor.ports import Identity
from daplug_supervisor.processes.shim import LINUX, identify


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


def leftovers(shim: Identity, mark: str) -> list[int]:
    """Living processes of a dead shim's session, or with the mark of its attempt in their environment, but not us."""
    import psutil  # noqa: PLC0415 (slow to import, and rarely needed)

    return [pid for pid in psutil.pids() if pid != os.getpid() and _belongs(pid, shim, mark)]


def _belongs(pid: int, shim: Identity, mark: str) -> bool:
    """Whether a process lives and is of the attempt.

    A pid is not given away again while a session has it as its name. So whoever is in that session is of the
    attempt, unless somebody else has the pid now: then nothing was left of the session, and this is another one.
    """
    import psutil  # noqa: PLC0415 (as above)

    with contextlib.suppress(OSError, psutil.Error):
        if not _is_zombie(pid):
            if (
                os.getsid(pid) == shim.pid
                and shim.boot == boot_id()
                and identity_of(shim.pid) in (None, shim)
            ):
                return True
            return bool(mark) and f"{ATTEMPT_VARIABLE}={mark}".encode() in _environment(pid)
    return False


def _environment(pid: int) -> list[bytes]:
    if LINUX:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    import psutil  # noqa: PLC0415  # pragma: not on this platform

    variables = psutil.Process(pid).environ()  # pragma: not on this platform
    return [f"{name}={value}".encode() for name, value in variables.items()]  # pragma: not on this platform


def sweep(shim: Identity, mark: str, patience: float = 5.0) -> bool:
    """Kill what a dead shim left, until nothing is found or `patience` seconds are over. True if nothing is left.

    Only for shims that were killed: a live shim ends its own tree, with the kernel's word for it. A process that
    left the session and wiped its environment is not found; the launcher, as subreaper, ends those while it lives.
    """
    end = time.monotonic() + patience
    while pids := leftovers(shim, mark):
        for pid in pids:
            with contextlib.suppress(OSError):
                _kill(pid, shim, mark)
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def _kill(pid: int, shim: Identity, mark: str) -> None:
    """Kill a process of the attempt: whoever has the pid is held fast first, then asked who it is."""
    if not hasattr(os, "pidfd_open"):  # pragma: not on this platform
        os.kill(pid, signal.SIGKILL)
        return
    pidfd = os.pidfd_open(pid)
    try:
        if _belongs(pid, shim, mark):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)


def _is_zombie(pid: int) -> bool:
    import psutil  # noqa: PLC0415 (as above)

    with contextlib.suppress(psutil.Error):
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    return True
