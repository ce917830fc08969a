"""Git worktrees: each task that asks for one gets its own, made by us, one at a time for each repository.

`git worktree add` races with itself (of 31 at once up to 11 failed), so a lock in the repository keeps them apart.
Each is recorded before it is made (`registry`): a second attempt or a restart works in it again, and what a crash left
half made is made anew. What may hold somebody's work is never removed before it is saved (`snapshots`).
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from daplug_supervisor.core.plan import OnConflict
from daplug_supervisor.workspace.git import running as git
from daplug_supervisor.workspace.git import snapshots
from daplug_supervisor.workspace.git.registry import BRANCHES, Place, Record, locked, places
from daplug_supervisor.workspace.git.running import BaseError, ConflictError, GitError
from daplug_supervisor.workspace.git.survey import Found, admin_of, half_made, real, removed, survey
from daplug_supervisor.workspace.occupants import occupant

_RACED = re.compile(r"commondir|initializing|No such file")
_TRIES = 5
_PAUSE = 0.1
_BRANCH_ONLY = frozenset({"mending", "freed"})
"""States in which only the branch is somebody's."""


class Worktree(Struct, frozen=True):
    """A checkout of a task's own.

    Attributes:
        path: its directory.
        branch: its branch.
        admin: git's own directory for it, which goes with it.
        cwd: the directory in it that corresponds to the one that was asked about.
        base: the commit that its work is based on.
        onto: the branch that its work is for; '' for the run's own.
    """

    path: str
    branch: str
    admin: str
    cwd: str
    base: str
    onto: str = ""


def worktree(
    target: Path,
    *,
    owner: str,
    name: str,
    base: str | None = None,
    on_conflict: OnConflict = "error",
) -> Worktree:
    """The worktree of a task; made if it is not there yet.

    Args:
        target: a directory in the repository.
        owner: whose it is (the directory of the task's attempts); a worktree of the same owner is used again,
            whatever is in it.
        name: the last part of its path and of its branch ``daplug/<name>``.
        base: what to branch from; HEAD unless given.
        on_conflict: what to do about a worktree or branch of that name that has another owner.

    Raises:
        NoRepositoryError: there is no repository, or nothing in it to branch from.
        BaseError: there is no such base.
        ConflictError: the name is taken, or what has it cannot be taken away.
        GitError, OSError: it could not be made; the next try begins anew.
    """
    repository = git.repository(target)
    wanted = Record(owner, "", commit_of(repository, base), base or "")
    with locked(repository.common):
        git.keep_out(repository, wanted.base)
        found = settled(repository, name, wanted, on_conflict)
    place = found.place
    record = place.read() or wanted
    return Worktree(
        place.path,
        place.branch,
        found.admin,
        f"{place.path}/{repository.prefix}".removesuffix("/"),
        record.base,
    )


def rebase(target: Path, *, owner: str, name: str, base: str) -> None:
    """What is in a task's worktree is based on another commit from now on.

    Raises:
        GitError, OSError: that could not be written down.
    """
    repository = git.repository(target)
    with locked(repository.common):
        for place in places(repository, name):
            record = place.read()
            if record is not None and record.owner == owner:
                place.write(replace(record, base=base))
                return


def owner_of(directory: str) -> str:
    """Who the worktree of an attempt belongs to, by the attempt's directory: its task, however the path is written."""
    return os.path.realpath(directory.rpartition("/")[0])


def why_not(found: Found) -> str:
    """Why something must not be removed, even if what is in it is saved; empty if it may be."""
    path, admin = found.place.path, found.admin
    if Path(path).is_symlink() or not (found.free or found.empty or admin):
        return f"{path} is no worktree of this repository"
    lock = Path(admin, "locked")
    if admin and lock.exists() and not lock.read_bytes().startswith(b"initializing"):
        return f"{path} is locked (see git worktree unlock)"
    if found.checked_out_elsewhere:
        return f"branch {found.place.branch} is checked out elsewhere"
    user = occupant(os.path.realpath(path))
    return f"{user} works in {path}" if user else ""


def saved(found: Found, *, goes: bool = True) -> str:
    """Save all of it that is nowhere else; returns the ref, or '' if there was nothing. `goes`: its branch, too.

    Raises:
        ConflictError: it cannot be saved.
        OSError: there is no room, say.
    """
    place = found.place
    found.lead_right()
    try:
        return snapshots.save(
            place.common, place.name, path=place.path, admin=found.admin, branch=place.ref, goes=goes
        )
    except GitError as error:
        raise ConflictError(f"{place.path} cannot be saved, so it is not removed: {error}") from error


def remove(found: Found, record: Record) -> None:
    """Remove a worktree and its branch, of which everything is saved or merged.

    Raises:
        GitError, OSError: something is left, and recorded as nobody's work.
    """
    place = found.place
    place.write(replace(record, state="making"))
    _clear(place)
    _drop(place)
    place.forget()
    with suppress(OSError):
        Path(place.path).parent.rmdir()


# --- one place ------------------------------------------------------------------------------------------------


def settled(repository: git.Repository, name: str, wanted: Record, on_conflict: OnConflict) -> Found:
    """The worktree that the task has already, or gets now; for whoever holds the repository's lock.

    Raises:
        ConflictError: the name is taken.
        GitError, OSError: it could not be made.
    """
    for place in places(repository, name):
        record = place.read()
        if record is not None and record.owner == wanted.owner:
            return used_again(survey(place), record, wanted)
    for place in places(repository, name):
        found = survey(place)
        if found.free:
            return _make(place, wanted)
        if on_conflict == "reuse" and found.record is not None:
            return _taken_over(found, found.record, wanted)
        if on_conflict == "remove":
            return _made_anew(found, wanted)
        if on_conflict != "increment":
            break
    raise ConflictError(
        f"{place.path} or branch {place.branch} is there already and belongs to something else (on_conflict: "
        "reuse takes it over, increment makes another, remove saves what is there and makes it anew)"
    )


def _taken_over(found: Found, record: Record, wanted: Record) -> Found:
    user = occupant(os.path.realpath(found.place.path), attempts_only=True)
    if user:
        raise ConflictError(f"{found.place.path} is in use: {user} of another attempt works there")
    return used_again(found, record, wanted)


def _made_anew(found: Found, wanted: Record) -> Found:
    forgotten = not (found.admin or found.free or found.empty or Path(found.place.path).is_symlink())
    if (
        forgotten and found.record is not None
    ):  # ours, but git knows no more of it: what is in it can be saved still
        found = _relinked(found, found.record)
    reason = why_not(found)
    if reason:
        raise ConflictError(f"{reason}, so it is not removed")
    saved(found)
    remove(found, replace(wanted, path=found.place.path))
    return _make(found.place, wanted)


def used_again(found: Found, record: Record, wanted: Record) -> Found:
    """The worktree at a place of ours, mended if it is not whole.

    Raises:
        ConflictError: it cannot be mended.
    """
    place = found.place
    if record.state == "making":
        return _make(place, wanted)
    if Path(place.path).is_symlink():
        raise ConflictError(f"{place.path} has become a link: move it away")
    if record.state == "freed" and found.whole:  # a person has checked its branch out here
        record = replace(record, state="made")
        place.write(record)
    if record.state in _BRANCH_ONLY or not found.whole:
        if found.checked_out_elsewhere:
            raise ConflictError(f"branch {place.branch} is checked out elsewhere: leave it there first")
        if record.state in _BRANCH_ONLY or found.empty:
            if record.state not in _BRANCH_ONLY:
                saved(found, goes=False)  # what was committed, but not on the branch
            return _make(place, replace(record, owner=wanted.owner, state="mending"))
        found = _relinked(found, record)
    if record.owner != wanted.owner:
        place.write(replace(record, owner=wanted.owner))
    return found


def _relinked(found: Found, record: Record) -> Found:
    """A worktree whose files are there, and whose link to the repository, or what that leads to, is not.

    Raises:
        ConflictError: it cannot be mended.
    """
    place = found.place
    link = Path(place.path) / ".git"
    if link.is_dir() and not link.is_symlink():
        raise ConflictError(f"{place.path} has become a repository of its own: move it away")
    found.lead_right()
    admin = found.admin or _administered(place, record)
    with suppress(FileNotFoundError):
        link.unlink()
    link.write_text(f"gitdir: {admin}\n", errors="surrogateescape")
    found = survey(place)
    if not found.whole:
        raise ConflictError(f"{place.path} is no longer a worktree of this repository, and cannot be mended")
    return found


def _administered(place: Place, record: Record) -> str:
    """Git's own directory for a worktree that git has forgotten (`git worktree prune`): that of a new one beside."""
    beside = f"{place.path}..new"
    common = place.common
    for path in (beside, admin_of(common, beside)):
        removed(path)
    if not git.commit(common, place.ref):
        _branch(place, record.base)
    git.inside(common, "worktree", "add", "--no-checkout", "--quiet", "--", beside, place.branch)
    admin = admin_of(common, beside)
    git.inside(admin, "read-tree", "HEAD")
    Path(admin, "gitdir").write_text(f"{real(place.path)}/.git\n", errors="surrogateescape")
    removed(beside)
    return admin


def _make(place: Place, wanted: Record) -> Found:
    """Make a worktree where there is none, or half of one; one that is being mended on the branch that it has.

    Raises:
        GitError, OSError: it could not be made, and half of one is in nobody's way.
    """
    record = replace(wanted, path=place.path)
    place.write(record)
    try:
        for left in reversed(range(_TRIES)):
            try:
                _add(place, record)
                break
            except GitError as error:  # another program adds worktrees here at the same moment
                if not (left and _RACED.search(str(error))):
                    raise
                time.sleep(_PAUSE)
        place.write(replace(record, state="made"))
    except (GitError, OSError):
        with suppress(GitError, OSError):
            _clear(place)
            if record.state == "making":
                _drop(place)
                place.forget()
        raise
    return survey(place)


def _add(place: Place, record: Record) -> None:
    _clear(place)
    if record.state == "making":
        _drop(place)
    if not git.commit(place.common, place.ref):
        _branch(place, record.base)
    git.inside(place.common, "worktree", "add", "--quiet", "--", place.path, place.branch)


def _branch(place: Place, start: str) -> None:
    try:
        git.inside(place.common, "update-ref", place.ref, start, "0" * len(start))
    except GitError as error:
        if git.commit(place.common, f"refs/heads/{BRANCHES.rstrip('/')}"):
            raise ConflictError(f"branch daplug is in the way of {place.branch}: rename it") from error
        raise


def _drop(place: Place) -> None:
    """Remove its branch; what would be lost with it is saved, whoever put it there."""
    common = place.common
    tip = git.commit(common, place.ref)
    if tip:
        snapshots.save(common, place.name, path="", admin="", branch=place.ref)
        git.inside(common, "update-ref", "-d", place.ref, tip)


# --- pieces ---------------------------------------------------------------------------------------------------


def commit_of(repository: git.Repository, base: str | None) -> str:
    """The commit to begin at.

    Raises:
        BaseError: there is none of that name.
    """
    if base is None:
        return git.commit(repository.own, "HEAD")
    found = "" if base.startswith("-") else git.commit(repository.own, base)
    if not found:
        raise BaseError(f"there is no commit {base!r} to branch from: mend the task's base, or fetch it")
    return found


def _clear(place: Place) -> None:
    """Remove a worktree's directory, and git's own one for it.

    Raises:
        OSError: something is left.
    """
    found = place.path, admin_of(place.common, place.path), *half_made(place.common, place.name)
    for path in found:
        removed(path)
