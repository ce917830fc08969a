"""Where an attempt's work is, and what is different there from when the task began."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress

import anyio.to_thread
from msgspec import Struct

from daplug_supervisor.core.acceptance import outside
from daplug_supervisor.core.bundle import Bundle
from daplug_supervisor.core.claims import Claim
from daplug_supervisor.core.delegation import landing_on, parts_of
from daplug_supervisor.core.machine import ACTIVE, Status
from daplug_supervisor.core.state import Run, TaskState
from daplug_supervisor.core.tasker.records import DIRECTORY
from daplug_supervisor.supervisor.attempts import differences
from daplug_supervisor.supervisor.attempts.desk import Desk
from daplug_supervisor.supervisor.attempts.preparation import find_worktree, make_bundle, moved
from daplug_supervisor.workspace.git import running as git
from daplug_supervisor.workspace.git import trees
from daplug_supervisor.workspace.git.changes import changed_since, remove_new, untracked
from daplug_supervisor.workspace.git.worktrees import Worktree
from daplug_supervisor.workspace.tasker import home as tasker_home

_PATIENCE = 60.0


class Place(Struct, frozen=True):
    """Where the work of an attempt is: its bundle as it ran, and its own worktree, if it has one.

    `alone`: nobody else of the run but its own parts was at work there meanwhile, so that whatever is different is the
    task's; but for what is `kept` by us: the files of a foreign plan (from the target). `above`: the delegated tasks
    on whose branches it comes home.
    """

    bundle: Bundle
    worktree: Worktree | None = None
    alone: bool = True
    kept: str = ""
    above: tuple[str, ...] = ()

    @property
    def top(self) -> str:
        """The directory that git names files from."""
        if self.worktree is not None:
            return self.worktree.path
        with suppress(git.GitError):
            return git.repository(self.bundle.target).top
        return self.bundle.target

    def relative(self, name: str) -> str:
        """A path that an attempt names (from where it worked, or absolute), as git names it."""
        path = os.path.normpath(os.path.join(self.bundle.cwd, name))  # noqa: PTH118 (no file is asked)
        return os.path.relpath(path, self.top)

    def changed(self) -> tuple[str, ...] | None:
        """The files that are different from when the task began, as git names them; None if nobody can tell."""
        with suppress(git.GitError, OSError):
            if self.worktree is not None:
                return changed_since(self.worktree.admin, self.worktree.path, self.worktree.base, _PATIENCE)
            return differences.since_marked(self.bundle)
        return None

    def loose(self) -> frozenset[str] | None:
        """The files in its own worktree that git neither tracks nor ignores; None if nobody can tell."""
        with suppress(git.GitError, OSError):
            if self.worktree is not None:
                found = untracked(self.worktree.admin, self.worktree.path, _PATIENCE)
                return None if found is None else frozenset(found)
        return None

    def tree(self, spared: str) -> str:
        """The files of its own worktree that are to land, as git knows them; '' if nobody can tell."""
        tree = self.worktree
        with suppress(git.GitError, OSError):
            if tree is not None:
                with tempfile.TemporaryDirectory(prefix="daplug-index-", dir=tree.admin) as folder:
                    return trees.tree(tree.path, tree.admin, tree.base, f"{folder}/index", spared)
        return ""

    def tidy(self, before: frozenset[str] | None) -> None:
        """Remove what criteria have made since in the attempt's own worktree (compiled files, say): nobody's work."""
        after = None if before is None else self.loose()
        if self.worktree is not None and before is not None and after:
            remove_new(self.worktree.path, after - before)

    def was_there(self, files: tuple[str, ...]) -> tuple[str, ...]:
        """Those of some files that were there before the task began."""
        base = self.worktree.base if self.worktree is not None else "HEAD"
        with suppress(git.GitError, OSError):
            where = (
                self.worktree.admin if self.worktree is not None else git.repository(self.bundle.target).own
            )
            names = git.inside(where, "ls-tree", "-r", "-z", "--name-only", "--full-tree", base).split("\0")
            known = set(names)
            return tuple(name for name in files if name in known)
        return ()


async def place_of(desk: Desk, run: Run, task: TaskState) -> Place:
    """Where the work of the task's latest attempt is.

    Raises:
        UnpreparedError: it is no longer there.
        NoRoomError: the disk is full.
    """
    bundle = make_bundle(desk, run, task)
    kept = _kept(run)
    if not bundle.spec.worktree:
        return Place(bundle, alone=_alone(run, task), kept=kept)
    above = landing_on(run, task.id)
    found = await find_worktree(bundle, run)
    return Place(moved(bundle, found), found, kept=kept, above=above)


def _alone(run: Run, task: TaskState) -> bool:
    """Whether no other task, but for its own parts, has worked in the checkout since the first attempt at this one."""
    began = task.past[0].at if task.past else 0.0
    own = {task.id, *parts_of(run, task.id)}
    return not any(
        other.id not in own
        and not run.spec(other.id).worktree
        and (other.status in ACTIVE or (other.past and other.past[-1].ended_at > began))
        for other in run.tasks.values()
    )


def of_parts(run: Run, task: TaskState) -> frozenset[str]:
    """The files that the parts of a task have brought home in a checkout that they share with it."""
    return frozenset(
        name
        for part in parts_of(run, task.id)
        if run.tasks[part].status is Status.DONE and not run.spec(part).worktree
        for name in run.tasks[part].files
    )


def _kept(run: Run) -> str:
    """The folder of the foreign plan that we keep up to date, from the target; '' if there is none."""
    origin = run.plan.origin
    if origin is None:
        return ""
    return origin.path if origin.format == "tasker" else os.path.dirname(origin.path)  # noqa: PTH120


def spared(run: Run, place: Place) -> str:
    """The folder, as git names it, in which nothing is anybody's work; '' if there is none."""
    return place.relative(DIRECTORY) if tasker_home.is_kept(run) else ""


def own(place: Place, claim: Claim, files: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the changed files that are the task's: all if it was alone there, else what plan and result say."""
    if place.kept:
        tree = place.worktree
        target = os.path.relpath(*((tree.cwd, tree.path) if tree else (place.bundle.target, place.top)))
        folder = os.path.normpath(f"{target}/{place.kept}")
        files = tuple(name for name in files if not name.startswith(f"{folder}/"))
    if place.worktree is not None or place.alone:
        return files
    said = (*claim.files.created, *claim.files.modified, *claim.files.deleted)
    claimed = {place.relative(name) for name in said}
    beyond = set(outside(place.bundle.spec.files, files)) if place.bundle.spec.files else set(files)
    return tuple(name for name in files if name in claimed or name not in beyond)


async def changed(place: Place) -> tuple[str, ...] | None:
    """`Place.changed`, in a thread."""
    return await anyio.to_thread.run_sync(place.changed)
