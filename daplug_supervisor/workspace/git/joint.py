"""Putting the work in a task's worktree together with what its run has got to.

What was done is committed and kept under a ref of its own before anything is touched, so each step may be interrupted
and done again: it begins with that commit. The worktree ends up with exactly what will land.
"""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

from daplug_supervisor.workspace.files import open_output, sync_directory
from daplug_supervisor.workspace.git import messages, snapshots, trees
from daplug_supervisor.workspace.git import running as git
from daplug_supervisor.workspace.git.registry import BRANCHES, fitting
from daplug_supervisor.workspace.git.survey import removed

KEPT: Final = "refs/daplug/work/"
"""Where the work of each attempt is kept as it was."""

HEADS: Final = "refs/heads/"
_MOST_FILES = 10_000
_MOST_BYTES = 4 << 20
_LANDED, _YOURS = "landed", "yours"
"""What the two sides of a conflict are called in the files."""

_MARKER = re.compile(rb"^(?:<{7} landed|>{7} yours)\b", re.MULTILINE)
_BESIDE = re.compile(r"~(?:landed|yours)(?:_\d+)?$")
_MERGING = (
    "-c", "merge.conflictStyle=merge", "-c", "merge.directoryRenames=false", "-c", "merge.renames=true",
    "-c", "rerere.enabled=false",
)  # fmt: skip
_UNFINISHED = (
    "MERGE_HEAD", "MERGE_MSG", "MERGE_MODE", "CHERRY_PICK_HEAD", "REVERT_HEAD", "AUTO_MERGE", "rebase-merge",
    "rebase-apply", "sequencer", "index.lock",
)  # fmt: skip


class Joining(Struct, frozen=True):
    """What is to be joined to what a run has got to.

    Attributes:
        target: a directory in the repository.
        run, task, number: the attempt.
        path, admin, branch: its worktree, git's own directory for that, and its branch ``daplug/...``.
        base: the commit that the work in it is based on.
        message: what the commit says; its first line is the subject.
        onto: the branch to join it to; the run's own unless given.
        spared: a folder, as git names it, that is left as it is there: what is in it is nobody's work.
    """

    target: str
    run: str
    task: str
    number: int
    path: str
    admin: str
    branch: str
    base: str
    message: str
    onto: str = ""
    spared: str = ""

    @property
    def attempt(self) -> str:
        """The attempt's name."""
        return f"{self.run}/{self.task}#{self.number}"

    @property
    def kept(self) -> str:
        """The ref under which its work is kept."""
        return f"{KEPT}{fitting(self.run)}/{fitting(self.task)}/{self.number}"


class Joined(Struct, frozen=True):
    """Work that is joined to what a run has got to, and not yet on its branch.

    Attributes:
        commit: what is to land, and what the worktree holds; '' if there is nothing to land.
        files: what it changes, as git names them from the repository's top, as text; a bounded number.
        moved: it was based on something else, so nobody has verified it as it is now.
        conflicts: the files that have to be mended first, in the worktree, which is on `tip` now.
        tip: what the branch was at, and what the worktree is based on.
        kept: the ref of the work as it was.
        onto: the branch.
        tree: the files of `commit`; '' if it has landed already.
    """

    commit: str
    files: tuple[str, ...]
    moved: bool
    conflicts: tuple[str, ...]
    tip: str
    kept: str = ""
    onto: str = ""
    tree: str = ""


def left_markers(path: str | Path, files: tuple[str, ...]) -> tuple[str, ...]:
    """Those of some files, named from `path`, in which a conflict of ours is still marked."""
    return tuple(one for one in files if _BESIDE.search(one) or _marked(Path(path, one)))


class Joint:
    """One joining, under the repository's lock."""

    def __init__(self, place: Joining, common: str, at: str, onto: str, index: str) -> None:
        self.place = place
        self.common = common
        self.tip = at
        self.onto = onto
        self.index = index
        self.words = git.within(place.admin, place.path)

    def made(self) -> Joined:
        """Do it; each call begins anew with what is kept."""
        kept = self._kept()
        base = git.commit(self.common, f"{kept}^1")
        changes = trees.between(self.common, base, kept)
        if not changes:
            return self._joined("", moved=False, at=self.tip)
        moved = self.tip != base
        there = tuple(one.name for one in changes if one.mode != trees.NONE)
        self._git("read-tree", "--reset", "-u", self.tip if moved else kept)
        unmerged = self._merge(base, kept) if moved else set()
        unmerged |= set(left_markers(self.place.path, there[:_MOST_FILES]))
        if unmerged:
            self._leave(self.tip, self._at_tip())
            conflicts = tuple(sorted(map(messages.shown, unmerged)))[:_MOST_FILES]
            return self._joined("", moved=moved, conflicts=conflicts)
        merged = self._git(*git.DURABLE, "write-tree")
        if merged == git.inside(self.common, "rev-parse", f"{self.tip}^{{tree}}"):
            self._leave(self.tip, self.index)
            return self._joined("", moved=moved)
        commit = self._commit(merged, kept)
        self._leave(commit, self.index)
        files = names_of(trees.between(self.common, self.tip, commit))
        return self._joined(commit, moved=moved, files=files, tree=merged)

    def _joined(
        self,
        commit: str,
        *,
        moved: bool,
        at: str = "",
        files: tuple[str, ...] = (),
        conflicts: tuple[str, ...] = (),
        tree: str = "",
    ) -> Joined:
        kept = self.place.kept
        return Joined(commit, files, moved, conflicts, at or self.tip, kept, self.onto, tree)

    def _git(self, *words: str, index: str = "") -> str:
        return git.run(self.place.path, *self.words, *words, index=index or self.index)

    def _kept(self) -> str:
        """The commit of the work, under its ref; what is in the worktree now is saved in any case."""
        place, common = self.place, self.common
        kept = git.commit(common, place.kept)
        base = git.commit(common, f"{kept}^1" if kept else place.base)
        if not base:
            raise git.BaseError(f"the commit {place.base} that {place.path} is based on is gone")
        now = trees.tree(place.path, place.admin, base, self.index, place.spared)
        head = git.commit(place.admin, "HEAD")
        if not kept:
            own = (head, git.commit(common, f"{HEADS}{place.branch}"), self._staged(now, head))
            parents = dict.fromkeys((base, *(one for one in own if one and one != base)))
            kept = snapshots.keep(common, now, list(parents), f"{place.attempt}: as it was verified")
            move(common, {place.kept: (kept, "")})
        elif now != self._tree(kept) and not (now == self._tree(head) and self._is_ours(head)):
            # Somebody has been at it since, or we were interrupted: that is kept as well.
            parents = dict.fromkeys(filter(None, (head, kept)))
            found = snapshots.keep(common, now, list(parents), f"{place.attempt}: as it was found")
            snapshots.named(common, place.branch.removeprefix(BRANCHES), found)
        return kept

    def _staged(self, now: str, head: str) -> str:
        """What was staged and is not in the files any more, as a commit; '' if there is no such thing."""
        staged = staged_in(self.place.path, self.place.admin, f"{self.index}.staged")
        if staged in ("", now, self._tree(head)):
            return ""
        return snapshots.keep(self.common, staged, [head], f"{self.place.attempt}: what was staged")

    def _tree(self, commit: str) -> str:
        return git.asked(self.common, "rev-parse", f"{commit}^{{tree}}") if commit else ""

    def _is_ours(self, commit: str) -> bool:
        found = messages.find(self.common, messages.ATTEMPT, self.place.attempt, "--no-walk", commit)
        return found == commit

    def _merge(self, base: str, kept: str) -> set[str]:
        """Apply what was done to the branch's files, in index and worktree; returns the files that do not fit."""
        self._at_tip()
        labels = {f"GITHEAD_{self.tip}": _LANDED, f"GITHEAD_{kept}": _YOURS}
        words = (*_MERGING, *git.DURABLE, "merge-recursive", base, "--", self.tip, kept)
        try:
            git.run(self.place.path, *self.words, *words, index=self.index, environ=labels)
        except git.GitError:
            said = self._git("ls-files", "--unmerged", "-z")
            unmerged = {entry.partition("\t")[2] for entry in said.split("\0") if entry}
            if not unmerged:
                raise
            others = self._git("ls-files", "--others", "--exclude-standard", "-z").split("\0")
            return unmerged | {one for one in others if _BESIDE.search(one)}
        return set()

    def _at_tip(self) -> str:
        """An index of the branch's commit, with what is known of the files."""
        index = f"{self.index}.tip"
        if not os.path.exists(index):  # noqa: PTH110
            shutil.copy2(self.index, index)  # as old as it is: git looks again at files that are younger
            self._git("read-tree", "--reset", self.tip, index=index)
        return index

    def _commit(self, tree: str, kept: str) -> str:
        """The same work on the same commit is the same commit, however often it is made."""
        when = git.inside(self.common, "rev-list", "--max-count=1", "--format=%cd", "--date=raw", kept)
        date = when.rpartition("\n")[2]
        who = messages.identity(self.common) | {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
        place = self.place
        said = messages.message(place.message, messages.trailers(place.run, place.task, place.number))
        words = (
            "-c",
            "i18n.commitEncoding=UTF-8",
            *git.DURABLE,
            "commit-tree",
            tree,
            "-p",
            self.tip,
            "-m",
            said,
        )
        return git.inside(self.common, *words, environ=who)

    def _leave(self, commit: str, index: str) -> None:
        """Have the worktree on its own branch at a commit, with an index that fits."""
        ref = f"{HEADS}{self.place.branch}"
        git.inside(self.common, "update-ref", ref, commit)
        git.inside(self.place.admin, "symbolic-ref", "HEAD", ref)
        for one in _UNFINISHED:
            removed(f"{self.place.admin}/{one}")
        Path(index).replace(trees.index_of(self.place.admin))


def staged_in(path: str, admin: str, index: str) -> str:
    """What is staged in a worktree, as a tree; '' if there is no index, or one in the middle of a merge."""
    with suppress(OSError, git.GitError):
        shutil.copy2(trees.index_of(admin), index)
        return git.run(path, *git.within(admin, path), *git.DURABLE, "write-tree", index=index)
    return ""


def names_of(changes: list[trees.Change]) -> tuple[str, ...]:
    """The names of files as text; a bounded number of them."""
    return tuple(sorted(messages.shown(one.name) for one in changes)[:_MOST_FILES])


def _marked(path: Path) -> bool:
    with suppress(OSError, ValueError), open_output(path) as file:
        return _MARKER.search(file.read(_MOST_BYTES)) is not None
    return False


def move(common: str, moves: dict[str, tuple[str, str | None]]) -> None:
    """Move all of some refs or none, if each is where it should be: '' is nowhere, None is anywhere."""
    lines = []
    for ref, (new, old) in moves.items():
        expected = "" if old is None else f" {old or '0' * len(new)}"
        lines.append(f"update {ref} {new}{expected}\n")
    git.inside(common, *git.DURABLE, "update-ref", "--create-reflog", "--stdin", data="".join(lines))
    for ref in moves:  # git before 2.36 does not, and none does so for the directory
        with suppress(OSError):
            file = Path(common, ref)
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
            sync_directory(file.parent)
