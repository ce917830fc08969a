"""The state of all orchestrations of a state directory: how many there are, where each stands, how healthy it is."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from daplug_supervisor.core.model import Run
from daplug_supervisor.views.orchestration.course import ENDS, Course
from daplug_supervisor.views.text import stamp


class SubtaskHealth(Struct, frozen=True):
    """Whether a task that runs shows that it works.

    `worker_registered`: the journal knows its process; `process_alive` at the latest look; `heartbeat_seconds` since
    it last showed that it works, which is `heartbeat_ok` as long as it is under 3 minutes (or one and a half times
    as long as there is between looks); `files_changing`: something that it writes has grown as lately. `verdict`: ''
    or what is wrong (silent, zombie, overdue).
    """

    subtask_id: str
    attempt: int
    worker_registered: bool
    process_alive: bool
    last_heartbeat: str
    heartbeat_seconds: float
    heartbeat_ok: bool
    files_changing: bool
    verdict: str = ""

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong."""
        return self.worker_registered and self.process_alive and self.heartbeat_ok and not self.verdict


HEARTBEAT = 180.0
"""Seconds within which an attempt is to show that it works."""


class Current(Struct, frozen=True):
    """Where an orchestration stands that has not ended. `health`: healthy, suspicious or blocked."""

    orchestration_id: str
    run: str
    status: str
    current_stage: int
    stages: int
    progress_percent: int
    active_subtasks: tuple[str, ...]
    health: str
    subtask_health: tuple[SubtaskHealth, ...] = ()


class Orchestrations(Struct, frozen=True):
    """The state of all: total is active, completed, failed and incomplete together."""

    active_orchestrations: int = 0
    total_orchestrations: int = 0
    completed_orchestrations: int = 0
    failed_orchestrations: int = 0
    incomplete_orchestrations: int = 0
    current_orchestrations: tuple[Current, ...] = ()
    last_update: str = ""


Tally = tuple[int, int, int]
"""How many orchestrations of a run that has ended were completed, failed and incomplete."""


def tally(course: Course) -> Tally:
    """Of a run that has ended."""
    found = [course.status(group) for group in course.groups.values()]
    return found.count("completed"), found.count("failed"), found.count("incomplete")


def current(course: Course, seen: Sequence[SubtaskHealth]) -> Iterator[Current]:
    """The orchestrations of a run that have not ended. `seen`: what is known of those of its tasks that run."""
    for group in course.groups.values():
        status = course.status(group)
        if status in ENDS:
            continue
        own = tuple(one for one in seen if one.subtask_id in group.specs)
        doubtful = any(not one.healthy for one in own)
        yield Current(
            orchestration_id=course.orchestration_id(group.parent),
            run=course.run,
            status=status,
            current_stage=group.current,
            stages=len(group.stages),
            progress_percent=group.percent,
            active_subtasks=course.active(group),
            health="blocked" if status == "blocked" else "suspicious" if doubtful else "healthy",
            subtask_health=own,
        )


def state_of_all(
    courses: Collection[Course],
    ended: Mapping[str, Tally],
    seen: Mapping[str, Sequence[SubtaskHealth]],
    now: float,
) -> Orchestrations:
    """The state of all orchestrations.

    Args:
        courses: of the runs at hand.
        ended: what those that have ended came to, also those that are not at hand.
        seen: what is known of the tasks that run, by run.
        now: the time.
    """
    going = tuple(one for course in courses for one in current(course, seen.get(course.run, ())))
    over = [sum(counts[at] for counts in ended.values()) for at in range(3)]
    for course in courses:
        if course.run not in ended:
            over = [one + more for one, more in zip(over, tally(course), strict=True)]
    completed, failed, incomplete = over
    return Orchestrations(
        active_orchestrations=len(going),
        total_orchestrations=len(going) + sum(over),
        completed_orchestrations=completed,
        failed_orchestrations=failed,
        incomplete_orchestrations=incomplete,
        current_orchestrations=going,
        last_update=stamp(now),
    )


def health_now(state: bytes, run: Run, task: str, now: float, *, alive: bool) -> SubtaskHealth:
    """The health of a running attempt now, by what a supervisor wrote down last.

    Args:
        state: what it wrote; of none it is known only when the attempt began.
        run: whose it is.
        task: which.
        now: the time.
        alive: whether its process is there.
    """
    attempt = run.tasks[task].attempt
    number = attempt.number if attempt else 0
    for one in _written(state):
        for seen in one.subtask_health if one.run == run.id else ():
            if (seen.subtask_id, seen.attempt) == (task, number):
                return replace(seen, process_alive=alive)
    began = attempt.spawned_at or attempt.at if attempt else now
    quiet = max(0.0, now - began)
    registered, good = attempt is not None and attempt.pid > 0, quiet < HEARTBEAT
    return SubtaskHealth(task, number, registered, alive, stamp(began), round(quiet, 1), good, good)


def _written(state: bytes) -> tuple[Current, ...]:
    try:
        return msgspec.json.decode(state, type=Orchestrations).current_orchestrations
    except (ValueError, RecursionError):  # nothing, or of another version
        return ()
