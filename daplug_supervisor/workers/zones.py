"""The zone of this machine, for times of day that name none."""

from __future__ import annotations

import time
from datetime import UTC, timedelta, timezone, tzinfo
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

_HERE = Path("/etc/localtime")


@lru_cache(maxsize=16)
def local(name: str | None) -> tzinfo:
    """The zone that a program takes its local time from; `name` is the value of TZ, if it is set."""
    try:
        if name is not None:
            return ZoneInfo(name.removeprefix(":")) if name else UTC
        with _HERE.open("rb") as file:
            return ZoneInfo.from_file(file)
    except (
        OSError,
        ValueError,
        LookupError,
    ):  # not a name, or no zones are installed: what the C library makes of it
        return timezone(timedelta(seconds=time.localtime().tm_gmtoff))
