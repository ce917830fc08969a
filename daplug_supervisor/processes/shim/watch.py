"""What a running tree is watched for."""

from __future__ import annotations

import os
import signal
from typing import Any

from .memory import count_kills
from .output import LOOK_AT_MOST_EVERY, LOOK_EVERY, Log
from .system import LINUX, kill, kill_group

_LOOK_AT_LEAST_EVERY = 0.01
"""Seconds between two looks at output that grows as fast as memory takes it."""

SWEEP_EVERY = 0.005
_SWEEP_PATIENT = 0.25
"""Seconds between two sweeps: at first, and of what does not die (another user's, after `sudo`)."""

_SWEEPS_IN_A_HURRY = 400
_COUNT_EVERY = 10.0
_BY_SHELL = 128 + signal.SIGKILL


class Watch:
    """What a running tree is watched for: its end, its deadline, requests to stop, and the size of its output."""

    def __init__(
        self, agent: int, launch: dict[str, Any], now: float, logs: list[Log] | None = None, kills: int = -1
    ) -> None:
        self.agent = agent
        self.grace: float = launch["grace"]
        self.logs = logs or []
        self.status: int | None = None
        self.usage: Any = None
        self.deadline: float | None = launch["deadline"]
        self.kill_at: float | None = None
        self.stopped = ""
        self.looked_at, self.look_at = now, now + LOOK_EVERY
        self.sweeps = 0
        self.kills = kills
        self.counted_at = now
        self.counts = (count_kills(kills),) * 2 if kills >= 0 else (None, None)

    def patience(self, now: float) -> float:
        """Seconds until something is due."""
        if self.status is not None:
            self.sweeps += 1
            return SWEEP_EVERY if self.sweeps < _SWEEPS_IN_A_HURRY else _SWEEP_PATIENT
        times = [self.look_at]
        if self.kill_at is not None:
            times.append(self.kill_at)
        elif self.deadline is not None:
            times.append(self.deadline)
        return max(0.0, min(times) - now)

    def act(self, now: float, requests: int) -> None:
        """Stop the tree if it is time; look at its output if it is time."""
        if self.status is not None:
            return
        if self.kill_at is None:
            if requests:
                self.stop("request", now)
            elif self.deadline is not None and now >= self.deadline:
                self.stop("deadline", now)
        elif now >= self.kill_at or requests > 1:
            kill_group(self.agent, signal.SIGKILL)
            kill(self.agent, signal.SIGKILL)
            self.kill_at = now + 1.0
        if now >= self.look_at:
            self.look(now)

    def stop(self, why: str, now: float) -> None:
        """Ask the agent to end, and give it its grace. One that is stopped (SIGSTOP) goes on, or it could not hear."""
        self.stopped = why
        self.kill_at = now + self.grace
        kill_group(self.agent, signal.SIGTERM)
        kill_group(self.agent, signal.SIGCONT)

    def look(self, now: float) -> None:
        """Bound the output. The faster it grows, the sooner we look again."""
        since = now - self.looked_at
        soonest = min(2 * since, LOOK_AT_MOST_EVERY)
        for log in self.logs:
            log.bound()
            soonest = min(soonest, log.lasts(since))
        self.looked_at, self.look_at = now, now + max(_LOOK_AT_LEAST_EVERY, soonest)
        if self.kills >= 0 and now - self.counted_at >= _COUNT_EVERY:
            self.counted_at, self.counts = now, (self.counts[1], count_kills(self.kills))

    def result(self, mark: str, seconds: float) -> dict[str, Any]:
        """The exit record."""
        status, usage = self.status, self.usage
        code = None if status is None else os.waitstatus_to_exitcode(status)
        record = {"state": "exited", "mark": mark, "code": code, "stopped": self.stopped, "seconds": seconds}
        if usage is not None:
            record["cpu"] = usage.ru_utime + usage.ru_stime
            record["max_rss"] = usage.ru_maxrss * (1024 if LINUX else 1)
        if code in (-signal.SIGKILL, _BY_SHELL) and not self.stopped and self.lacked_memory():
            record["lack"] = "memory"
        return record

    def lacked_memory(self) -> bool:
        """Whether the system has killed somebody for want of memory in the last ten seconds or a little more."""
        before, now = self.counts[0], count_kills(self.kills)
        return before is not None and now is not None and now > before
