"""Delegating: the workspace of a task that hands its work to its children is freed, and what is in it is kept."""

from __future__ import annotations

from functools import partial
from logging import getLogger

import anyio.to_thread
from msgspec import Struct

from daplug_supervisor.core.bundle import Bundle
from daplug_supervisor.core.state import Run
from daplug_supervisor.errors import SupervisorError
from daplug_supervisor.supervisor.attempts.desk import Desk
from daplug_supervisor.supervisor.attempts.lineage import giver, in_words
from daplug_supervisor.supervisor.attempts.looks import room
from daplug_supervisor.supervisor.attempts.preparation import NoRoomError, unless_full
from daplug_supervisor.workers.text import one_line
from daplug_supervisor.workspace.git import handover

log = getLogger(__name__)

_SHARED = "what it changed stays in the checkout, which it shares with others"


class Released(Struct, frozen=True):
    """What became of a workspace: the ref that keeps its work ('' if there is none), and what a person has to know."""

    kept: str = ""
    reason: str = ""


async def release(desk: Desk, run: Run, bundle: Bundle) -> Released:
    """Keep the unfinished work of an attempt whose task is delegated, and free where it worked.

    It may be asked for again, after a crash. What cannot be kept stays where it is.
    """
    if not bundle.spec.worktree:
        return Released(reason=_SHARED)
    free = partial(handover.free, giver(bundle, run, bundle.task), None)
    while True:
        try:
            freed = await anyio.to_thread.run_sync(free)
        except (SupervisorError, OSError) as error:
            try:
                unless_full(error, bundle.target)
            except NoRoomError as full:
                if not (desk.stopping or run.halt is not None or run.tasks[bundle.task].cancelling):
                    await room(desk, bundle.name, full)
                    continue  # else its first part frees it, when there is room
            log.warning("the worktree of %s is not freed: %s", bundle.name, error)
            return Released(reason=one_line(f"its worktree is left as it is: {error}"))
        if freed is None:
            return Released()  # it never had one
        if freed.why:
            log.warning("%s: %s", bundle.name, in_words(freed))
        return Released(freed.kept, in_words(freed))
