"""The worktree of a task that waits for its parts: it is freed, and what is in it is kept on the task's own branch.

The worktrees of its parts begin at that branch and land on it; in the end the task's own is made again there. Each step
finds out by itself whether it was done before: a killed supervisor begins again. What cannot be committed is moved
aside with the whole worktree, and never removed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from daplug_supervisor.core.plan import OnConflict
from daplug_supervisor.workspace import room
from daplug_supervisor.workspace.files import open_output
from daplug_supervisor.workspace.git import run_branch, snapshots, trees
from daplug_supervisor.workspace.git import running as git
from daplug_supervisor.workspace.git.joint import move, staged_in
from daplug_supervisor.workspace.git.registry import Place, Record, fitting, locked, places
from daplug_supervisor.workspace.git.survey import Found, admin_of, half_made, real, removed, survey
from daplug_supervisor.workspace.git.worktrees import commit_of, settled, used_again

REFS = "refs/daplug/delegated/"
_LONGEST_LINK = 8192
_MOST_ASIDE = 100


class Giver(Struct, frozen=True):
    """A task that hands its work to its parts.

    Attributes:
        target: a directory in the repository.
        run, task, number: its latest attempt; 0 if there was none.
        owner: whose its worktree is (`registry.Record.owner`).
        spared: a folder of the target in which nothing is anybody's work.
    """

    target: str
    run: str
    task: str
    number: int
    owner: str
    spared: str = ""

    @property
    def name(self) -> str:
        """What its worktree is called."""
        return f"{self.run}-{self.task}"

    @property
    def kept(self) -> str:
        """The ref under which what it had done is kept."""
        return f"{REFS}{fitting(self.run)}/{fitting(self.task)}/{self.number}"


class Freed(Struct, frozen=True):
    """A worktree that is freed.

    Attributes:
        branch: the task's branch, on which its parts land.
        kept: the ref of what it had done by then; '' if that was nothing.
        aside: where the worktree was moved if there was something in it that no commit holds.
        why: why it was moved just now; '' if it was not.
    """

    branch: str
    kept: str
    aside: str
    why: str


class Wanted(Struct, frozen=True):
    """How to make the branch of a task that never had a worktree: where it begins, and what if the name is taken."""

    base: str
    on_conflict: OnConflict = "error"


def free(giver: Giver, wanted: Wanted | None, waits: Callable[[], bool] = lambda: True) -> Freed | None:
    """Free the worktree of a task; None if there is none, and none is `wanted`, or it `waits` no longer for its parts.

    Args:
        giver: the task.
        wanted: how to make one where there is none; None: there is none then.
        waits: asked when nobody else can make or remove worktrees.

    Raises:
        ConflictError: what is in its place cannot be moved.
        GitError, OSError: it could not be done; nothing is lost, and it may be tried again.
    """
    repository = git.repository(giver.target)
    with locked(repository.common):
        if not waits():
            return None
        own = _own(repository, giver)
        if own is None and wanted is not None:
            made = Record(giver.owner, "", commit_of(repository, wanted.base), wanted.base)
            git.keep_out(repository, made.base)
            own = settled(repository, giver.name, made, wanted.on_conflict).place
        record = own.read() if own else None
        if own is None or record is None:
            return None
        why = ""
        if record.state != "freed" or survey(own).whole:  # or a person has checked its branch out there
            inside = replace(giver, spared=giver.spared and f"{repository.prefix}{giver.spared}")
            why = _emptied(inside, own, record)
            own.write(replace(record, state="freed"))
        aside = _known_aside(own)
        _clear(own)
        kept = giver.kept if git.commit(own.common, giver.kept) else ""
        return Freed(own.branch, kept, aside, why)


def branch_of(target: str | Path, owner: str, name: str) -> str:
    """The branch of a task whose worktree is freed; '' if it is not."""
    repository = git.repository(target)
    for place in places(repository, name):
        record = place.read()
        if record is not None and record.owner == owner:
            return place.branch if record.state == "freed" else ""
    return ""


def _own(repository: git.Repository, giver: Giver) -> Place | None:
    """Where the task's worktree is; None if it has none in which anything may be somebody's work."""
    for place in places(repository, giver.name):
        record = place.read()
        if record is not None and record.owner == giver.owner:
            return place if record.state != "making" else None
    return None


# --- what is in it ----------------------------------------------------------------------------------------------


def _emptied(giver: Giver, place: Place, record: Record) -> str:
    """Keep all that is in a worktree on its branch; why it was moved aside, or '' if no commit lacks anything of it.

    Raises:
        GitError, OSError: it stays as it is.
    """
    if _moved_before(place):
        return "a part of it could not be committed"
    found, why = survey(place), ""
    left: tuple[str, ...] | None = ()
    try:
        if record.state == "mending":
            left = None
        else:
            found = used_again(found, record, record)
    except git.ConflictError as error:
        left, why = None, str(error)
    head = git.commit(found.admin, "HEAD") if found.admin else ""
    while True:
        try:
            _keep(giver, place, record, found, left)
            break
        except git.GitError as error:
            if left is None or room.lack(giver.target):
                raise
            why = why or str(error)
            inner = _nested(place.path) if isinstance(error, snapshots.NestedError) and not left else ()
            left = inner or None
    if why:
        _put_aside(place, found.admin, head)
    return why


def _keep(giver: Giver, place: Place, record: Record, found: Found, left: tuple[str, ...] | None) -> None:
    """Have the task's branch, and the ref that keeps it, at a commit of the files as they are.

    `left`: what is left out of it; None: all files, and only what was committed counts.
    """
    common, admin = place.common, found.admin
    began, got_to = (name(giver.run, place.branch) for name in (run_branch.begun, run_branch.landed))
    head = git.commit(admin, "HEAD") if admin else ""
    tip = git.commit(common, place.ref) or git.commit(common, got_to)
    base, kept = git.commit(common, record.base) or head or tip, git.commit(common, giver.kept)
    heads = list(dict.fromkeys(filter(None, (head or base, tip))))
    if not heads:
        raise git.BaseError(f"the commit {record.base} that {place.path} is based on is gone")
    now, staged = _tree(common, heads[0]), ""
    if left is not None:
        with trees.scratch(common) as folder:
            now = trees.tree(place.path, admin, base, f"{folder}/index", giver.spared, left)
            staged = staged_in(place.path, admin, f"{folder}/staged")
    if kept and kept == tip and now == _tree(common, kept):
        return  # we were killed when it was kept already
    if staged not in ("", now, _tree(common, heads[0])):
        heads.append(snapshots.keep(common, staged, heads[:1], f"{giver.name}: what was staged"))
    if kept and not any(_is_below(common, kept, one) for one in heads):
        heads.append(kept)
    commit = heads[0]
    if len(heads) > 1 or now != _tree(common, commit):
        said = f"{giver.run}/{giver.task}#{giver.number}: as it was handed to its parts"
        commit = snapshots.keep(common, now, heads, said)
    refs = {place.ref: commit, began: base, got_to: commit}
    if commit != base:
        refs[giver.kept] = commit
    move(common, {ref: (one, None) for ref, one in refs.items()})


def _tree(common: str, commit: str) -> str:
    return git.asked(common, "rev-parse", f"{commit}^{{tree}}")


def _is_below(common: str, old: str, new: str) -> bool:
    try:
        git.inside(common, "merge-base", "--is-ancestor", old, new)
    except git.GitError:
        return False
    return True


def _nested(path: str) -> tuple[str, ...]:
    """All repositories in a worktree, as git names them."""
    found = []
    for folder, folders, files in os.walk(path):
        if folder != path and (".git" in folders or ".git" in files):
            found.append(os.path.relpath(folder, path))
            folders.clear()
    return tuple(found)


# --- moving it away ---------------------------------------------------------------------------------------------


def _put_aside(place: Place, admin: str, head: str) -> None:
    """Move a worktree aside as it is, at the commit that it was at, on no branch.

    Raises:
        GitError, OSError: it stays where it is.
    """
    if head:
        git.inside(admin, "update-ref", "--no-deref", "HEAD", head)
    aside = next((path for path in _asides(place) if not os.path.lexists(path)), "")
    if not aside:
        raise git.ConflictError(
            f"{place.path} was moved aside too often: remove some of its {_asides(place)[0]} and on"
        )
    os.rename(place.path, aside)  # noqa: PTH104


def _asides(place: Place) -> list[str]:
    """How a worktree is called that was moved aside: as none of ours can be."""
    return [f"{place.path}..aside-{number}" for number in range(1, _MOST_ASIDE)]


def _moved_before(place: Place) -> str:
    """Where a worktree was moved of which git does not know that yet; '' if there is none."""
    admin = admin_of(place.common, place.path)
    if not admin or os.path.lexists(place.path):
        return ""
    for path in _asides(place):
        with suppress(OSError, ValueError), open_output(Path(path, ".git")) as file:
            link = os.fsdecode(file.read(_LONGEST_LINK).removeprefix(b"gitdir:").strip())
            if Path(link).samefile(admin):
                return path
    return ""


def _known_aside(place: Place) -> str:
    """Where the worktree was moved, now or before; git is told. '' if it never was, or is there no longer."""
    moved = _moved_before(place)
    if moved:
        admin = admin_of(place.common, place.path)
        Path(admin, "gitdir").write_text(f"{real(moved)}/.git\n", errors="surrogateescape")
    return next((path for path in reversed(_asides(place)) if os.path.lexists(path)), "")


def _clear(place: Place) -> None:
    """Remove a worktree of which all is kept: first what git knows of it, so that its branch is free in any case.

    Raises:
        OSError: something is left.
    """
    for path in (admin_of(place.common, place.path), *half_made(place.common, place.name), place.path):
        removed(path)
