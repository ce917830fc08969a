"""The files of a checkout as they are on the disk, as a tree of git: all that git would add, and nothing of ours.

What is in the index, and how files are marked there, is an agent's word: an index of our own is filled anew.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec import Struct

from daplug_supervisor.workspace.files import make_private, open_output
from daplug_supervisor.workspace.git import running as git
from daplug_supervisor.workspace.git.snapshots import NestedError
from daplug_supervisor.workspace.git.survey import removed

NONE, LINK, PROGRAM = "000000", "120000", "100755"
REPOSITORY = "160000"
_LONGEST_LINK = 8192


class Change(Struct, frozen=True):
    """A file that differs between two trees. `mode` and `blob` are the new ones; a mode of zeros: it is not there."""

    old_mode: str
    mode: str
    old_blob: str
    blob: str
    name: str

    @property
    def old_line(self) -> str:
        """The old one, as `git update-index --index-info` takes it."""
        return f"{self.old_mode} {self.old_blob}\t{self.name}\0"

    @property
    def line(self) -> str:
        """The new one, as `git update-index --index-info` takes it."""
        return f"{self.mode} {self.blob}\t{self.name}\0"


@contextmanager
def scratch(common: str) -> Iterator[str]:
    """A folder for indexes of ours, for whoever holds the repository's lock; what a killed one left there is gone."""
    folder = f"{common}/daplug/scratch"
    removed(folder)
    make_private(Path(folder))
    try:
        yield folder
    finally:
        with suppress(OSError):
            removed(folder)


def is_ours(name: str, kept: str = "") -> bool:
    """Whether a file, as git names it, is in a folder of ours, or in the one that is `kept`, and so nobody's work."""
    return any(part in git.OURS for part in name.split("/")) or bool(kept and name.startswith(f"{kept}/"))


def raw(said: str) -> list[Change]:
    """What `git diff-tree --raw -z --no-renames --no-abbrev`, or another of its kind, has said."""
    words = said.split("\0")
    found = []
    for head, name in zip(words[:-1:2], words[1::2], strict=False):
        old_mode, mode, old_blob, blob, _ = head.lstrip(":").split(" ")
        found.append(Change(old_mode, mode, old_blob, blob, name))
    return found


def between(folder: str, old: str, new: str, *paths: str) -> list[Change]:
    """The files that differ between two trees or commits."""
    return raw(
        git.inside(
            folder, "diff-tree", "-r", "--raw", "-z", "--no-renames", "--no-abbrev", "--ignore-submodules=none",
            old, new, "--", *paths,
        )
    )  # fmt: skip


def tree(path: str, admin: str, base: str, index: str, kept: str = "", beside: Collection[str] = ()) -> str:
    """The files of a worktree, as a tree; `index` is the file of an index that is filled for it.

    Args:
        path: the worktree.
        admin: git's own directory for it.
        base: the commit that the work in it began at: what that tracks is never taken for ours.
        index: where to put the index; it fits the tree and the files.
        kept: a folder, as git names it, that is left as the base has it.
        beside: what is not looked at, and left as it was checked out.

    Raises:
        NestedError: there is a repository of its own in it, whose history would not come along.
        GitError, OSError: something cannot be read.
    """
    words = git.within(admin, path)
    head = git.commit(admin, "HEAD") or base
    git.run(path, *words, "read-tree", head, index=index)
    known = _entries(git.run(path, *words, "ls-files", "--stage", "-z", index=index))
    _spare_absent(path, words, index, known)
    _add_forced(path, words, index)
    left = [
        name
        for name, (mode, blob) in known.items()
        if mode == REPOSITORY and name not in beside and _settled(path, admin, name, blob)
    ]
    spared = (f":(top,exclude,literal){name}" for name in (*left, *beside))
    git.run(path, *words, *git.DURABLE, *git.WHOLE, "add", "--all", "--", ".", *spared, index=index)
    _trim(path, words, base, index, kept)
    return git.run(path, *words, *git.DURABLE, "write-tree", index=index)


def refuse_nested(names: Collection[str]) -> None:
    """Say that there are repositories in the way, if there are.

    Raises:
        NestedError: there are.
    """
    if names:
        first = os.fsencode(min(names)).decode("utf-8", "backslashreplace")
        raise NestedError(
            f"{first} is a repository of its own, or a submodule with changes: its history would not come along; "
            "commit there, or move it away or into .gitignore"
        )


def _trim(path: str, words: tuple[str, ...], base: str, index: str, kept: str) -> None:
    """Have in the index what the base has of what is ours, and no new repository."""
    said = git.run(
        path, *words, "diff-index", "--cached", "--raw", "-z", "--no-renames", "--no-abbrev",
        "--ignore-submodules=none", base, "--", index=index,
    )  # fmt: skip
    changes = raw(said)
    ours = [
        one
        for one in changes
        if is_ours(one.name, kept) or (one.name == git.TASK_FILE and one.old_mode == NONE)
    ]
    if ours:
        lines = "".join(one.old_line for one in ours)
        git.run(path, *words, "update-index", "--replace", "-z", "--index-info", index=index, data=lines)
    refuse_nested({one.name for one in changes if one.mode == REPOSITORY and one not in ours})


def _entries(said: str) -> dict[str, tuple[str, str]]:
    """Mode and object of each file, by `git ls-files --stage -z`."""
    parted = (entry.partition("\t") for entry in said.split("\0") if entry)
    return {name: (head.split(" ")[0], head.split(" ")[1]) for head, _, name in parted}


def _spare_absent(path: str, words: tuple[str, ...], index: str, known: Collection[str]) -> None:
    """What a sparse checkout does not have on the disk was not deleted."""
    with suppress(git.GitError):
        if git.run(path, *words, "config", "--bool", "core.sparseCheckout") != "true":
            return
        said = git.run(path, *words, "ls-files", "-t", "-z")
        marked = {entry[2:] for entry in said.split("\0") if entry.startswith("S ")}
        absent = [name for name in marked & set(known) if not os.path.lexists(f"{path}/{name}")]
        lines = "".join(f"{name}\0" for name in absent)
        git.run(
            path,
            *words,
            *git.WHOLE,
            "update-index",
            "--skip-worktree",
            "-z",
            "--stdin",
            index=index,
            data=lines,
        )


def _add_forced(path: str, words: tuple[str, ...], index: str) -> None:
    """Add what the agent staged although it is ignored."""
    said = ""
    with suppress(git.GitError):  # an index that nobody can read
        said = git.run(
            path, *words, "diff-index", "--cached", "--name-only", "--diff-filter=A", "-z", "HEAD", "--"
        )
    names = [name for name in said.split("\0") if name and not is_ours(name) and _plainly_there(path, name)]
    if names:
        git.run(
            path, *words, "--literal-pathspecs", *git.DURABLE, *git.WHOLE, "add", "--force", "--pathspec-from-file=-",
            "--pathspec-file-nul", index=index, data="".join(f"{name}\0" for name in names),
        )  # fmt: skip


def _plainly_there(path: str, name: str) -> bool:
    where = f"{path}/{name}"
    folder = os.path.dirname(where)  # noqa: PTH120
    return (os.path.isfile(where) or os.path.islink(where)) and os.path.realpath(folder) == (  # noqa: PTH113, PTH114
        os.path.normpath(f"{os.path.realpath(path)}/{os.path.dirname(name)}")  # noqa: PTH120
    )


def _settled(path: str, admin: str, name: str, commit: str) -> bool:
    """Whether a submodule was fetched, and is as it should be; False if it was not, so that git leaves it alone.

    Git would run what a repository in there tells it to: only one that is kept in ours is asked.

    Raises:
        NestedError: it has changes, or is no submodule of ours.
    """
    folder = f"{path}/{name}"
    if not os.path.lexists(f"{folder}/.git"):
        return False
    with suppress(OSError, ValueError, git.GitError), open_output(Path(folder, ".git")) as file:
        link = os.fsdecode(file.read(_LONGEST_LINK).removeprefix(b"gitdir:").strip())
        own = os.path.realpath(f"{folder}/{link}" if not link.startswith("/") else link)
        common = os.path.realpath(f"{admin}/../..")
        if own.startswith((f"{os.path.realpath(admin)}/modules/", f"{common}/modules/")):
            words = git.within(own, folder)
            dirty = git.run(folder, *words, "status", "--porcelain", "--ignore-submodules=all")
            if not dirty and git.run(folder, *words, "rev-parse", "HEAD") == commit:
                return True
    refuse_nested([name])
    return False  # pragma: never


def index_of(admin: str) -> str:
    """The index of a checkout."""
    return f"{admin}/index"
