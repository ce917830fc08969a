"""What becomes of a run's times when the machine's clock was set between two lives of its supervisor.

Within a life times are steady (`ports.Clock.now`). A new life reads the machine's clock anew: by as much as that was
set, all times of the run are moved. So no wait gets longer or shorter, and no duration is nonsense.
"""

from __future__ import annotations

from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.model import Run

_NOTABLE = 1.0
"""Seconds. What is less is the inexactness of reading two clocks one after the other, and hurts nobody."""


def set_by(run: Run, event: ev.RunStarted, at: float) -> float:
    """By how many seconds the clock was set since the run's last event.

    Within a boot that is known. After a reboot it is known only that time has not gone back.
    """
    same = event.boot != "" and event.boot == run.boot
    by = event.booted - run.booted if same else min(0.0, at - run.last_at)
    return by if abs(by) > _NOTABLE else 0.0


def move(run: Run, by: float) -> None:
    """Move all times of a run; its queues have to be made anew."""
    run.submitted_at += by
    run.started_at += by
    run.idle_since = _moved(run.idle_since, by)
    if run.finished_at is not None:
        run.finished_at += by
    for pool in run.pools.values():
        pool.rest_until = _moved(pool.rest_until, by)
        pool.paused_until = _moved(pool.paused_until, by)
        pool.probed_at = _moved(pool.probed_at, by)
        pool.answered_at = _moved(pool.answered_at, by)
    for task in run.tasks.values():
        task.changed_at += by
        if task.not_before:
            task.not_before += by
        if task.attempt is not None:
            attempt = task.attempt
            task.attempt = replace(attempt, at=attempt.at + by, spawned_at=attempt.spawned_at + by)
        task.past = tuple(replace(past, at=past.at + by, ended_at=past.ended_at + by) for past in task.past)
        task.remarks = tuple(replace(one, at=one.at + by) for one in task.remarks)
        if task.approval is not None:
            task.approval = replace(task.approval, at=task.approval.at + by)


def _moved(time: float, by: float) -> float:
    """A time that is 0.0 while there is none."""
    return time + by if time else 0.0
