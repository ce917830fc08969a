"""The real clock. Everything else is given one (`ports.Clock`)."""

from __future__ import annotations

import time

from daplug_supervisor.core.model import Run
from daplug_supervisor.processes.tree import boot_id

_LOOK = 10.0
"""Timers stand still while the machine sleeps: so many seconds after it woke a time that has come is seen at last."""

_SINCE_BOOT: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Counts sleep too. Where there is no such clock (macOS), the monotonic one of the system does."""


class SystemClock:
    """`ports.Clock` of this machine.

    Args:
        booted: when the machine was started, if somebody has reckoned that already.
    """

    def __init__(self, booted: float | None = None) -> None:
        self._booted = _wall() - _uptime() if booted is None else booted

    def now(self) -> float:
        """UTC, seconds since the epoch, steady since this clock was made."""
        return self._booted + _uptime()

    def boot(self) -> tuple[str, float]:
        """Which boot this is, and when it began, as `now` counts."""
        return _this_boot(), self._booted

    def ahead(self) -> float:
        """By how many seconds the machine's clock is ahead of `now`."""
        return _wall() - self.now()

    def monotonic(self) -> float:
        """Seconds since boot, without sleep; all processes of a boot agree on it."""
        return time.monotonic()

    def patience(self, until: float) -> float:
        """Until then, but not longer than a machine may have slept unseen."""
        return max(0.0, min(until - self.now(), _LOOK))


def clock_of(run: Run | None) -> SystemClock:
    """The clock that a run's times are of, for whoever looks at it from outside.

    Within one boot that is its supervisor's, whatever the machine's clock was set to since. After a reboot it is
    the machine's, but never earlier than what the run has seen already.
    """
    if run is None:
        return SystemClock()
    clock = SystemClock()
    boot, booted = clock.boot()
    if boot and boot == run.boot:
        return SystemClock(run.booted)
    return SystemClock(booted + max(0.0, run.last_at - clock.now()))


def _this_boot() -> str:
    found = boot_id()
    return "" if found == "-" else found


def _uptime() -> float:
    return time.clock_gettime(_SINCE_BOOT)


def _wall() -> float:
    return time.time()  # noqa: TID251 (the one place that may)
