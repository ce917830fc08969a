"""Where a task's work comes home: on the branch of the delegated task that it is a part of, or else on the run's."""

from __future__ import annotations

from logging import getLogger
from pathlib import Path

from msgspec import Struct

from daplug_supervisor.core.bundle import Bundle
from daplug_supervisor.core.delegation import landing_on
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.plan import OnConflict
from daplug_supervisor.core.state import Run, TaskState
from daplug_supervisor.core.tasker.records import DIRECTORY
from daplug_supervisor.workers.text import one_line
from daplug_supervisor.workspace.git import handover, run_branch
from daplug_supervisor.workspace.git.handover import Freed, Giver, Wanted
from daplug_supervisor.workspace.git.worktrees import owner_of
from daplug_supervisor.workspace.tasker import home as tasker_home

log = getLogger(__name__)


class Above(Struct, frozen=True):
    """A delegated task above one that works: who, where its branch begins, and its state, to see if it still waits."""

    giver: Giver
    base: str | None
    on_conflict: OnConflict
    task: TaskState

    def waits(self) -> bool:
        """Whether nobody works in its worktree, for it waits for its parts. Any thread may ask."""
        return self.task.status is Status.DELEGATED


def giver(bundle: Bundle, run: Run, name: str) -> Giver:
    """A task of the run of an attempt, as one that hands its work to its parts."""
    attempt = run.tasks[name].attempt
    home = owner_of(bundle.directory).rpartition("/")[0]
    spared = DIRECTORY if tasker_home.is_kept(run) else ""
    return Giver(bundle.target, run.id, name, attempt.number if attempt else 0, f"{home}/{name}", spared)


def above(bundle: Bundle, run: Run) -> tuple[Above, ...]:
    """The delegated tasks on whose branches the work of an attempt comes home, the outermost first."""
    specs = {name: run.spec(name) for name in landing_on(run, bundle.task)}
    return tuple(
        Above(giver(bundle, run, name), spec.base, spec.on_conflict, run.tasks[name])
        for name, spec in specs.items()
    )


def beginning(bundle: Bundle, found: tuple[Above, ...]) -> tuple[str | None, str]:
    """The commit at which the work of a task begins, and the branch that it is for; '' for the run's own.

    The branches are made where there are none, and worktrees that have them are freed: somebody may have delegated a
    task that did not run.

    Raises:
        GitError, OSError: there can be no such branch.
    """
    spec, target = bundle.spec, Path(bundle.target)
    onto, inherited = "", spec.base
    if not found and (spec.base is not None or not spec.land):
        return spec.base, ""
    at = run_branch.begin(target, bundle.run)
    for one in found:
        freed = handover.free(one.giver, Wanted(one.base or at, one.on_conflict), one.waits)
        if freed is not None:
            onto, inherited = freed.branch, one.base
            at = run_branch.begin(target, bundle.run, onto)
            if freed.why:
                log.warning("%s: %s", one.giver.name, in_words(freed))
    return at if spec.base is None or (onto and spec.base == inherited) else spec.base, onto


def own_branch(bundle: Bundle, owner: str, name: str) -> None:
    """Have the branch of a task that waited for its parts be where it was: somebody may have deleted it.

    Raises:
        GitError, OSError: it cannot be.
    """
    branch = handover.branch_of(bundle.target, owner, name)
    if branch:
        run_branch.begin(bundle.target, bundle.run, branch)


def in_words(freed: Freed) -> str:
    """What a person has to know of a worktree that was moved aside; '' if it was not."""
    if not freed.aside:
        return ""
    why = f" ({freed.why})" if freed.why else ""
    return one_line(f"what could not be committed is in {freed.aside}{why}: look there, then remove it")
