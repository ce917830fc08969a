"""What a screen says of a whole run, and what costs a look at every task: made anew when something has happened."""

from __future__ import annotations

from math import inf

from msgspec import Struct, field

from daplug_supervisor.core.machine import ACTIVE, ENDED, Status
from daplug_supervisor.core.model import Run, TaskState
from daplug_supervisor.views.derived import held_by, is_ready
from daplug_supervisor.views.live.tree import needs_person


class Digest(Struct, frozen=True):
    """A run, looked at as a whole at `at`.

    `work`: the tasks with a slot, those first that have had it longest; `person`: those that wait for a person, in plan
    order; `ready`: for each provider how many tasks could start if it had room; `behind`: for each task that cannot go
    on before a person has decided, the one that is about; `left`: about how many seconds are left by the plan's
    estimates (None: some have none).
    """

    at: float
    work: tuple[str, ...] = ()
    person: tuple[str, ...] = ()
    ready: dict[str, int] = field(default_factory=dict)
    behind: dict[str, str] = field(default_factory=dict)
    left: float | None = None


def digest(run: Run, now: float) -> Digest:
    """Look at every task of a run."""
    work: list[TaskState] = []
    person: list[str] = []
    ready = dict.fromkeys(run.pools, 0)
    for task in run.tasks.values():
        if task.status in ACTIVE:
            work.append(task)
        elif needs_person(task):
            person.append(task.id)
        elif is_ready(run, task, now):
            ready[task.provider] += 1
    work.sort(key=lambda task: task.attempt.at if task.attempt else inf)
    names = tuple(task.id for task in work)
    return Digest(now, names, tuple(person), ready, held_by(run), left(run, now))


def left(run: Run, now: float) -> float | None:
    """About how many seconds a run still takes, by the estimates of its plan; None if it has too few of them.

    As long as the longest chain, or as the work of one provider takes when its places are always full.
    """
    open_tasks = [
        task for task in run.tasks.values() if task.status not in ENDED and task.status not in _HELD
    ]
    works = dict.fromkeys(run.pools, 0.0)
    longest = 0.0
    for task in open_tasks:
        estimate = run.spec(task.id).estimate
        if estimate is None:
            return None
        begun = task.attempt.at if task.status in ACTIVE and task.attempt else now
        spent = min(estimate, max(0.0, now - begun))
        works[task.provider] += estimate - spent
        longest = max(longest, task.rank - spent)
    if not open_tasks:
        return None
    opens = {name: max(0.0, pool.opens_at - now) for name, pool in run.pools.items() if works[name]}
    queues = [opens[name] + works[name] / run.pools[name].limit for name in opens if opens[name] < inf]
    return max(longest, *queues, 0.0)


_HELD = frozenset({Status.REVIEWING, Status.DELEGATED})
"""Nobody works on these: they wait for a person, or for their parts."""
