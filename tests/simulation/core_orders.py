"""What people and agents may say, by chance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core_making import RUN
from msgspec import UNSET

from daplug_supervisor.core.commands import FOR_AGENTS, Command, Verb
from daplug_supervisor.core.machine import ACTIVE, Status
from daplug_supervisor.core.surgery.edits import Edit
from daplug_supervisor.core.surgery.new_tasks import NewTask

if TYPE_CHECKING:
    from random import Random

    from daplug_supervisor.core.model import Run

VERBS: list[Verb] = [
    "halt", "resume", "retry", "skip", "cancel", "pause_provider", "resume_provider", "create", "create", "update",
    "delegate", "remove", "split", "approve", "approve", "reject", "answer",
]  # fmt: skip
MOST = 12
"""Tasks of a run after which none is created any more: what is recomputed by trying all must come to an end."""

_FITTING: dict[Verb, Status] = {
    "approve": Status.REVIEWING,
    "reject": Status.REVIEWING,
    "answer": Status.STUCK,
    "delegate": Status.RUNNING,
    "split": Status.FAILED,
}
"""Where a verb is likely to be possible."""


def random_command(run: Run, random: Random) -> Command:
    """A command that may be possible, or not."""
    verb: Verb = random.choice(VERBS)
    if verb in ("create", "split") and len(run.tasks) > MOST:
        verb = "retry"
    sender = random.choice(
        [name for name, task in run.tasks.items() if task.status is Status.RUNNING] or [""]
    )
    if verb not in FOR_AGENTS or random.random() < 0.5:
        sender = ""
    about: dict[str, Any] = {
        "task": _task(run, random, verb),
        "provider": random.choice(list(run.pools)),
        "seconds": random.choice([None, 0.5, 100.0]),
        "reason": random.choice(["because", "because", ""]),
        "force": random.choice([True, False]),
        "sender": sender,
    }
    new = [new_task(run, random) for _ in range({"create": 1, "split": random.randrange(3)}.get(verb, 0))]
    return Command("c1", verb, RUN, new=tuple(new), edit=edit(run, random), **about)


def _task(run: Run, random: Random, verb: Verb) -> str:
    active = [name for name, task in run.tasks.items() if task.status in ACTIVE]
    fitting = [name for name, task in run.tasks.items() if task.status is _FITTING.get(verb)]
    if verb == "cancel" and active and random.randrange(2):
        return random.choice(active)
    if fitting and random.randrange(4):
        return random.choice(fitting)
    return random.choice(list(run.tasks))


def new_task(run: Run, random: Random) -> NewTask:
    """A task that may fit into the run."""
    names = sorted(run.tasks)
    command = random.random() < 0.3
    return NewTask(
        f"n{random.randrange(40)}",
        "true",
        command=command,
        needs=tuple(random.sample(names, min(len(names), random.randrange(3)))),
        parent=random.choice([None, *names]),
        provider=random.choice([None, *run.pools]),
        priority=random.choice([None, None, 1, -1]),
        estimate=random.choice([None, 3.0]),
    )


def edit(run: Run, random: Random) -> Edit:
    """Some change, of one or two things."""
    names = sorted(run.tasks)
    some: dict[str, Any] = {
        "add_needs": tuple(random.sample(names, min(len(names), random.choice([0, 0, 1])))),
        "needs": random.choice([UNSET, UNSET, (), (random.choice(names),)]),
        "priority": random.choice([UNSET, 2, -2]),
        "provider": random.choice([UNSET, UNSET, *run.pools]),
        "title": random.choice([UNSET, "another"]),
    }
    return Edit(**some)
