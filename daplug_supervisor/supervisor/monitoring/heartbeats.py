"""What is known of the attempts that run, as those are told who look at orchestrations."""

from __future__ import annotations

from collections.abc import Iterable

from daplug_supervisor.core.machine import Status
from daplug_supervisor.ports import Clock
from daplug_supervisor.supervisor.monitoring.health import Checked
from daplug_supervisor.views.orchestration.state import SubtaskHealth
from daplug_supervisor.views.text import stamp


def seen_of(checked: Iterable[Checked], clock: Clock, limit: float) -> tuple[SubtaskHealth, ...]:
    """The health of running attempts. `limit`: within how many seconds they are to show that they work."""
    running = [one for one in checked if one.run.tasks[one.task].status is Status.RUNNING]
    return tuple(_seen(one, clock, limit) for one in running)


def _seen(one: Checked, clock: Clock, limit: float) -> SubtaskHealth:
    attempt, known, at = one.run.tasks[one.task].attempt, one.known, clock.monotonic()
    quiet = max(0.0, at - known.sign) if known else 0.0
    still = max(0.0, at - known.grown) if known else 0.0
    return SubtaskHealth(
        subtask_id=one.task,
        attempt=one.number,
        worker_registered=attempt is not None and attempt.pid > 0,
        process_alive=one.alive,
        last_heartbeat=stamp(clock.now() - quiet),
        heartbeat_seconds=round(quiet, 1),
        heartbeat_ok=quiet < limit,
        files_changing=still < limit,
        verdict=one.suspect.verdict if one.suspect else "",
    )
