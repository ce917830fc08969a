"""Landing: bringing verified work home, one task of a run at a time.

The steps are the context, the checkbox, the commit and the merge, in this order, and each may be done twice: after a
crash in between the task lands again, and what is done already is found so. What is in a worktree of its own is put
together with what the run has got to before the first of them, and its criteria run again if that has moved: a box is
never ticked for what does not fit.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread
from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.claims import Claim, claim_of
from daplug_supervisor.core.delegation import landing_on, parts_of
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.plan import Commit, Criterion
from daplug_supervisor.core.results import Outcome, OutcomeKind
from daplug_supervisor.core.state import Run, TaskState
from daplug_supervisor.errors import SupervisorError
from daplug_supervisor.ports import Gate
from daplug_supervisor.supervisor.attempts import differences, origins
from daplug_supervisor.supervisor.attempts.acceptance import (
    found_place,
    give_up,
    look,
    looked_at_in,
    refuse,
    release,
)
from daplug_supervisor.supervisor.attempts.desk import Desk
from daplug_supervisor.supervisor.attempts.looks import looks, room
from daplug_supervisor.supervisor.attempts.places import Place, changed, of_parts, own, spared
from daplug_supervisor.supervisor.attempts.preparation import NoRoomError, UnpreparedError, unless_full
from daplug_supervisor.views.text import listing
from daplug_supervisor.workers.text import one_line
from daplug_supervisor.workspace.git import commits, messages, run_branch, worktrees
from daplug_supervisor.workspace.git import running as git

_SHOWN = 5
T = TypeVar("T")


class _RefusedError(Exception):
    """It cannot be brought home; `outcome` says why."""

    def __init__(self, kind: OutcomeKind, detail: str) -> None:
        super().__init__(detail)
        self.outcome = Outcome(kind, one_line(detail))


async def land(desk: Desk, run: Run, task: TaskState) -> None:
    """Bring a verified task's work home, and record it."""
    if not _anything(run, task):
        desk.record(run.id, ev.Landed(task.id))
        return
    held: list[Gate] = []
    async with desk.queue(run.id):
        try:
            await desk.settle()  # nobody acts on a verification before it is durable
            await _land(desk, run, task, held)
        except (_RefusedError, UnpreparedError) as error:
            give_up(desk, run, task, error.outcome)
        finally:
            release(desk, held)


def _anything(run: Run, task: TaskState) -> bool:
    """Whether there is anything to bring home."""
    spec, result = run.spec(task.id), task.last
    said = claim_of(result.outcome.claim if result else None) != Claim()
    shares = spec.parent is not None and not spec.worktree  # whose part it is may have to commit it
    lands = spec.worktree and (spec.land or landing_on(run, task.id))
    return bool(said or lands or spec.commit or shares or run.plan.origin)


async def _land(desk: Desk, run: Run, task: TaskState, held: list[Gate]) -> None:
    place = await found_place(desk, run, task)
    spec, joined = place.bundle.spec, None
    if place.worktree is not None and (spec.land or place.above):
        joined = await _joined(desk, run, task, place, held)
        if joined is None:
            return
        files = joined.files
    else:
        last = task.last
        files = own(place, claim_of(last.outcome.claim if last else None), await changed(place) or ())
        files = tuple(sorted({*files, *of_parts(run, task)}))
    await _step(desk, run, task, place, "context", partial(origins.save_context, run, task))
    await _step(desk, run, task, place, "checkbox", partial(origins.tick_boxes, run, task))
    commit = ""
    if joined is not None:
        commit = joined.commit
        desk.record(run.id, ev.StepDone(task.id, "commit", commit or "nothing to commit"))
        if not await _settled(desk, run, task, place, joined):
            await _land(desk, run, task, held)
            return
        desk.record(run.id, ev.StepDone(task.id, "merge", joined.onto or run_branch.name(run.id)))
    elif spec.commit is not None:
        made = await _committed(desk, run, task, place, files, held)
        if made is None:
            return
        commit, files = made
    await _patient(desk, place, partial(origins.save_commit, run, task, commit, message(run, task)))
    await _patient(desk, place, partial(differences.release, place.bundle))
    desk.record(run.id, ev.Landed(task.id, commit, tuple(desk.mask(name) for name in files)))


async def _settled(desk: Desk, run: Run, task: TaskState, place: Place, joined: run_branch.Joined) -> bool:
    """Move the branch; False if it has moved meanwhile, or if the task that waited for this one waits no longer.

    Raises:
        _RefusedError: it cannot be moved.
    """
    try:
        return place.above == landing_on(run, task.id) and await _patient(
            desk, place, partial(run_branch.settle, Path(run.target), run.id, joined)
        )
    except _RefusedError:
        if place.above == landing_on(run, task.id):
            raise
        return False


async def _step(
    desk: Desk, run: Run, task: TaskState, place: Place, step: ev.Step, do: partial[str | None]
) -> None:
    """Do a step, and record it; one that has nothing to do is none."""
    detail = await _patient(desk, place, do)
    if detail is not None:
        desk.record(run.id, ev.StepDone(task.id, step, desk.mask(detail)))


async def _joined(
    desk: Desk, run: Run, task: TaskState, place: Place, held: list[Gate]
) -> run_branch.Joined | None:
    """The work as a commit on what the run has got to, verified there; None if it does not get there now.

    Raises:
        _RefusedError: it cannot.
    """
    bundle, worktree = place.bundle, place.worktree
    assert worktree is not None, "only a worktree is joined"  # noqa: S101
    wanted = run_branch.Joining(
        target=run.target,
        run=run.id,
        task=task.id,
        number=bundle.number,
        path=worktree.path,
        admin=worktree.admin,
        branch=worktree.branch,
        base=worktree.base,
        message=message(run, task),
        onto=worktree.onto,
        spared=spared(run, place),
    )
    joined = await _patient(desk, place, partial(run_branch.join, wanted))
    owner, name = worktrees.owner_of(bundle.directory), f"{run.id}-{task.id}"
    if joined.conflicts or joined.moved:  # whoever works in there next begins where the run has got to
        onto = partial(worktrees.rebase, Path(run.target), owner=owner, name=name, base=joined.tip)
        await _patient(desk, place, onto)
    if joined.conflicts:
        names = listing(joined.conflicts[:_SHOWN])
        raise _RefusedError(
            OutcomeKind.CONFLICT,
            f"does not fit what came before it: {names}; the files hold both, with conflict markers",
        )
    # Criteria, or a person who reviews it, may have changed it since it was looked at.
    other = joined.moved or joined.tree not in ("", looked_at_in(bundle.directory))
    if other and bundle.spec.accept:
        found = await look(desk, run, task, await found_place(desk, run, task), held)
        if found is None:
            return None
        if found.failed:
            refuse(desk, run, task, found)
            return None
    return joined


async def _committed(
    desk: Desk, run: Run, task: TaskState, place: Place, changed: tuple[str, ...], held: list[Gate]
) -> tuple[str, tuple[str, ...]] | None:
    """One commit of a task's own files in a checkout that others use, too; None if it does not get there now.

    Raises:
        _RefusedError: it could not be made.
    """
    spec = place.bundle.spec
    wanted = spec.commit or Commit()
    if wanted.when != "always":
        asked = replace(place.bundle, spec=replace(spec, accept=(Criterion(run=wanted.when),)))
        seen = await looks(desk, run, task, asked, held)
        if seen is None:
            return None
        if seen[0].code != 0:
            desk.record(run.id, ev.StepDone(task.id, "commit", "not wanted: its condition does not hold"))
            return "", changed
    result = task.last
    claim = claim_of(result.outcome.claim if result else None)
    own = (*claim.files.created, *claim.files.modified, *claim.files.deleted)
    meant = wanted.files or spec.files
    said = () if meant else tuple(place.relative(name) for name in own) or changed
    names = (*said, *of_parts(run, task))  # no pattern is seen in these
    make = partial(
        commits.commit,
        Path(run.target),
        message=message(run, task),
        files=meant,
        names=names,
        trailers=messages.trailers(run.id, task.id, place.bundle.number),
        push=wanted.push,
    )
    made = await _patient(desk, place, make)
    desk.record(run.id, ev.StepDone(task.id, "commit", made.commit or made.detail))
    return made.commit, tuple(made.files)


def message(run: Run, task: TaskState) -> str:
    """What the commit of a task says; what is of several parts names them."""
    spec = run.spec(task.id)
    said = (spec.commit.message if spec.commit else "") or f"{task.id}: {spec.title or task.id}"
    done = [name for name in parts_of(run, task.id) if run.tasks[name].status is Status.DONE]
    if not done or task.open:
        return said
    lines = (f"- {name}: {run.spec(name).title}" if run.spec(name).title else f"- {name}" for name in done)
    return "\n".join((said, "", f"Of {len(done)} {'part' if len(done) == 1 else 'parts'}:", *lines))


async def _patient(desk: Desk, place: Place, do: partial[T]) -> T:
    """Have something done in a thread; a full disk is waited for.

    Raises:
        _RefusedError: it cannot be done.
    """
    while True:
        try:
            return await anyio.to_thread.run_sync(do)
        except git.ConflictError as error:
            raise _RefusedError(OutcomeKind.BLOCKED, str(error)) from error
        except (SupervisorError, OSError) as error:
            try:
                unless_full(error, place.bundle.target)
            except NoRoomError as full:
                await room(desk, place.bundle.name, full)
                continue
            raise _RefusedError(OutcomeKind.BLOCKED, f"it could not be brought home: {error}") from error
