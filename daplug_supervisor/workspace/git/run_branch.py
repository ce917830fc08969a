"""The branch on which the verified work of a run is collected, one commit a task.

It moves last, when the work has been verified as it will be on it, and only if it is still where it was.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from daplug_supervisor.workspace.git import messages, trees
from daplug_supervisor.workspace.git import running as git
from daplug_supervisor.workspace.git.joint import HEADS, Joined, Joining, Joint, left_markers, move, names_of
from daplug_supervisor.workspace.git.registry import BRANCHES, fitting, locked

__all__ = ["Joined", "Joining", "begin", "begun", "join", "landed", "left_markers", "name", "settle", "tip"]

_RUNS = "refs/daplug/runs/"


def name(run: str) -> str:
    """The branch of a run."""
    return f"{BRANCHES}run/{fitting(run)}"


def begun(run: str, onto: str) -> str:
    """The ref that keeps where a branch began."""
    return f"{_RUNS}{_known_as(run, onto)}/begun"


def landed(run: str, onto: str) -> str:
    """The ref that keeps how far a branch has got: it may be deleted by mistake."""
    return f"{_RUNS}{_known_as(run, onto)}/landed"


def _known_as(run: str, onto: str) -> str:
    """By its run, and one that is not the run's own by its name in there: all of a run can be found together."""
    return f"{fitting(run)}/on/{fitting(onto)}" if onto and onto != name(run) else fitting(run)


def begin(target: str | Path, run: str, onto: str = "") -> str:
    """Make the branch of a run where there is none; returns the commit that it is at.

    A branch that was deleted is made again where it was.

    Raises:
        NoRepositoryError: there is no repository, or no commit to begin at.
        ConflictError: another branch is in the way.
        GitError, OSError: it could not be made.
    """
    repository = git.repository(target)
    common, ref = repository.common, f"{HEADS}{onto or name(run)}"
    began, got_to = begun(run, onto), landed(run, onto)
    with locked(common):
        found = git.commit(common, ref)
        if found:
            return found
        start = git.commit(common, began)
        if not start:
            start = git.commit(repository.own, "HEAD")
            move(common, {began: (start, "")})
        start = git.commit(common, got_to) or start
        try:
            move(common, {ref: (start, "")})
        except git.GitError as error:
            for other in (BRANCHES.rstrip("/"), f"{BRANCHES}run"):
                if git.commit(common, f"{HEADS}{other}"):
                    problem = f"branch {other} is in the way of {ref.removeprefix(HEADS)}: rename it"
                    raise git.ConflictError(problem) from error
            raise
    return start


def tip(target: str | Path, run: str, onto: str = "") -> str:
    """The commit that the branch of a run is at; '' if there is none.

    Raises:
        NoRepositoryError: there is no repository.
    """
    return git.commit(git.repository(target).common, f"{HEADS}{onto or name(run)}")


def join(place: Joining) -> Joined:
    """Bring what is in a worktree onto what the run has got to, as one commit; the branch does not move yet.

    Afterwards the worktree holds that commit and nothing else, so that it can be verified there. If it does not fit,
    the worktree has the branch's commit, and on top of it what was done, with conflict markers in the files.

    Raises:
        NestedError: there is a repository of its own in the worktree.
        BaseError: what the work is based on is gone.
        GitError, OSError: it could not be done; it may be tried again.
    """
    begin(place.target, place.run, place.onto)  # somebody may have deleted it
    common = git.repository(place.target).common
    onto = place.onto or name(place.run)
    with locked(common):
        at = git.commit(common, f"{HEADS}{onto}")
        if not at:
            raise git.BaseError(
                f"there is no branch {onto} to land on: it was deleted while the run was going on"
            )
        began = git.commit(common, begun(place.run, place.onto))
        since = ("--first-parent", at, *((f"^{began}",) if began else ()))
        there = messages.find(common, messages.ATTEMPT, place.attempt, *since)
        if there:
            files = names_of(trees.between(common, f"{there}^", there))
            return Joined(there, files, False, (), git.commit(common, f"{there}^"), place.kept, onto)
        with trees.scratch(common) as folder:
            return Joint(place, common, at, onto, f"{folder}/index").made()


def settle(target: str | Path, run: str, joined: Joined) -> bool:
    """Move the branch to what was joined to it; True if it is there, False if it has moved meanwhile: join again.

    Raises:
        ConflictError: the branch is checked out somewhere.
        GitError, OSError: it could not be moved.
    """
    if not joined.commit:
        return True
    common = git.repository(target).common
    onto = joined.onto or name(run)
    ref = f"{HEADS}{onto}"
    with locked(common):
        if _holds(common, ref, joined.commit):
            return True
        if git.commit(common, ref) != joined.tip:
            return False
        where = _checked_out(common, ref)
        if where:
            told = "switch to another one there (git switch --detach will do), then go on"
            raise git.ConflictError(
                f"branch {onto} is checked out in {where}, so nothing can land on it: {told}"
            )
        try:
            move(common, {ref: (joined.commit, joined.tip), landed(run, onto): (joined.commit, None)})
        except git.GitError:
            if git.commit(common, ref) == joined.tip:
                raise
            return _holds(common, ref, joined.commit)
    return True


def _holds(common: str, ref: str, commit: str) -> bool:
    try:
        git.inside(common, "merge-base", "--is-ancestor", commit, ref)
    except git.GitError:
        return False
    return True


def _checked_out(common: str, ref: str) -> str:
    """The checkout that a branch is checked out in, or '' if there is none."""
    folders = [Path(common)]
    with suppress(OSError):
        folders += sorted(Path(common, "worktrees").iterdir())
    for folder in folders:
        with suppress(OSError, ValueError):
            if (folder / "HEAD").read_text(errors="surrogateescape").strip() != f"ref: {ref}":
                continue
            if folder == Path(common):
                return str(folder.parent) if folder.name == ".git" else str(folder)
            # It may be given from there: git does so where worktree.useRelativePaths is set.
            link = (folder / "gitdir").read_text(errors="surrogateescape").strip()
            checkout = Path(os.path.normpath(folder / link)).parent
            if checkout.exists():
                return str(checkout)
    return ""
