"""What the figures were taken on."""

from __future__ import annotations

import os
import platform
import sqlite3
import time
from pathlib import Path
from statistics import median
from typing import Any

_FLUSHES = 60


def facts(place: Path) -> dict[str, Any]:
    """The machine, without names of places on it."""
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "processors": os.cpu_count() or 0,
        "memory_gib": round(_memory() / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "flush_ms": round(_flush(place) * 1000, 2),
        "load": round(os.getloadavg()[0], 1),
    }


def text(found: dict[str, Any]) -> str:
    return (
        f"{found['date']}: {found['processors']} processors, {found['memory_gib']} GiB, {found['system']}, "
        f"Python {found['python']}, SQLite {found['sqlite']}; a flush of 4 KiB takes {found['flush_ms']:.2f} ms "
        f"(median); load at the start {found['load']}"
    )


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0


def _flush(place: Path) -> float:
    """The median time of appending a block and flushing it."""
    path = place / "flush"
    times = []
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        for _ in range(_FLUSHES):
            began = time.perf_counter()
            os.write(descriptor, bytes(4096))
            os.fsync(descriptor)
            times.append(time.perf_counter() - began)
    finally:
        os.close(descriptor)
        path.unlink()
    return median(times)
