"""What the children of a delegated task have come to, put together as what the task itself came to."""

from __future__ import annotations

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.claims import Claim, claim_of, kept
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.model import Run, TaskState
from daplug_supervisor.core.results import Exit, Outcome, OutcomeKind, Result


def children_done(run: Run, task: TaskState, token: str) -> ev.ChildrenDone:
    """The event that a task whose children are all done goes on with; `token` is as of an attempt."""
    number = task.attempt.number + 1 if task.attempt else 1
    return ev.ChildrenDone(task.id, number, token, task.provider, _result(run, task))


def progress(task: TaskState) -> tuple[int, int]:
    """How many of a task's children hold it back no longer, and how many it has."""
    return len(task.children) - task.open, len(task.children)


def landing_on(run: Run, name: str) -> tuple[str, ...]:
    """The delegated tasks above one on whose branches work comes home, the outermost first; none: the run's own.

    What is to stay in the worktree of a task (``land: false``) goes no further than that; its parts took that over from
    it, and their work is a part of its own.
    """
    found, own = list[str](), run.spec(name)
    while own.parent is not None:
        parent, spec = own.parent, run.spec(own.parent)
        if spec.land and not own.land:
            break
        if run.tasks[parent].status is Status.DELEGATED and spec.worktree:
            found.append(parent)
        own = spec
    return tuple(reversed(found))


def reviewed(run: Run, name: str) -> bool:
    """Whether a person is to look at the work of a task: as the plan says of it, or of those above it.

    Not where a task above waits for it: that is looked at as a whole.
    """
    spec = run.spec(name)
    while spec.review is None and spec.parent is not None:
        if run.tasks[spec.parent].status is Status.DELEGATED:
            return False
        spec = run.spec(spec.parent)
    return spec.review is not None


def parts_of(run: Run, name: str) -> list[str]:
    """The parts of a task, each followed by its own."""
    found, left = list[str](), run.tasks[name].children[::-1]
    while left:
        found.append(left.pop())
        left += reversed(run.tasks[found[-1]].children)
    return found


def _result(run: Run, task: TaskState) -> Result:
    """What they hand on, as far as the task is to hand it on; of the same name, what the last one says."""
    done, wanted = len(task.children), run.spec(task.id).outputs
    skipped = any(run.tasks[name].status is Status.SKIPPED for name in task.children)
    said = f"its {done} children are done" if done > 1 else "its child is done"
    said += " or skipped" if skipped else ""
    claim = None
    if wanted:
        found: dict[str, object] = {}
        for name in task.children:
            child = run.tasks[name]
            if child.status is Status.DONE and child.last is not None:
                found |= claim_of(child.last.outcome.claim).outputs
        claim = kept(Claim(outputs={name: found[name] for name in wanted if name in found}))
    return Result(Outcome(OutcomeKind.COMPLETED, said, claim=claim), Exit(0))
