"""The real clock. Everything else is given one (`ports.Clock`)."""

from __future__ import annotations

import time


class SystemClock:
    """`ports.Clock` of this machine."""

    def now(self) -> float:
        """UTC, seconds since the epoch."""
        return time.time()  # noqa: TID251 (the one place that may)

    def monotonic(self) -> float:
        """Seconds since boot; all processes of a boot agree on it."""
        return time.monotonic()
