"""Who works in a directory at this moment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from daplug_supervisor.core.bundle import ATTEMPT_VARIABLE


def occupant(path: str, *, attempts_only: bool = False) -> str:
    """A process whose working directory is there or below, in words; empty if there is none that can be seen.

    Args:
        path: the directory, without links in it.
        attempts_only: do not count a person's shell, but what belongs to an attempt.
    """
    for pid, where in _places():
        if (where == path or where.startswith(f"{path}/")) and (not attempts_only or _is_attempts(pid)):
            return f"process {pid}"
    return ""


def _places() -> Iterator[tuple[int, str]]:
    proc = Path("/proc")
    if not (proc / "self" / "cwd").exists():  # pragma: not on this platform
        import psutil  # noqa: PLC0415

        for process in psutil.process_iter():
            with suppress(psutil.Error):
                yield process.pid, process.cwd()
        return
    for name in os.listdir(proc):  # noqa: PTH208 (many)
        if name.isdecimal():
            with suppress(OSError):
                yield int(name), os.readlink(f"/proc/{name}/cwd")  # noqa: PTH115


def _is_attempts(pid: int) -> bool:
    try:
        return f"\0{ATTEMPT_VARIABLE}=".encode() in b"\0" + Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
