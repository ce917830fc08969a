"""What the files of a shared checkout are at some moment, and which differ from that later.

Files are taken byte by byte: a git directory of our own, which has the repository's objects and none of its settings,
says that line ends stay as they are. It keeps an index, so that only files that have changed are read again.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

from msgspec import Struct

from daplug_supervisor.workspace.files import make_private, write_atomically
from daplug_supervisor.workspace.git import messages, snapshots, trees
from daplug_supervisor.workspace.git import running as git
from daplug_supervisor.workspace.git.registry import fitting, locked
from daplug_supervisor.workspace.git.survey import removed

REFS: Final = "refs/daplug/marks/"
_ATTRIBUTES = b"* -text -ident -working-tree-encoding\n"
_TAKEN_OVER = (
    "core.filemode",
    "core.symlinks",
    "core.ignorecase",
    "core.precomposeunicode",
    "core.excludesfile",
)
_MOST_FILES = 10_000
_LARGEST = 1 << 20


class Marks(Struct, frozen=True):
    """The files of a checkout as they were; text, so that it can be kept anywhere.

    Attributes:
        ref: keeps them.
        commit: has the tree of them.
        head: what was checked out.
        staged: the tree of what was staged; '' if that cannot be told.
    """

    ref: str
    commit: str
    head: str
    staged: str


class Files:
    """The files below a directory of a checkout, byte by byte; for whoever holds the repository's lock."""

    def __init__(self, repository: git.Repository) -> None:
        self.repository = repository
        self.top = repository.top
        self.own = repository.own
        self.folder = (
            f"{repository.common}/daplug/bytes/{sha256(os.fsencode(repository.own)).hexdigest()[:16]}"
        )
        self.index = f"{self.folder}/index"

        self._environ = {"GIT_OBJECT_DIRECTORY": f"{repository.common}/objects"}
        self._words = git.within(self.folder, self.top)

    def git(self, *words: str, data: str = "") -> str:
        """Run git on the files."""
        return git.run(self.top, *self._words, *words, index=self.index, data=data, environ=self._environ)

    def content(self, one: trees.Change) -> bytes:
        """What was in a file, as it is written on the disk."""
        link = one.old_mode == trees.LINK
        words = ("cat-file", *(["blob"] if link else ["--filters", f"--path={one.name}"]), one.old_blob)
        return git.read(self.top, *self._words, *words, environ=self._environ)

    def tree(self) -> str:
        """All files that git would add, as they are now, as a tree.

        Raises:
            GitError, OSError: something cannot be read.
        """
        self._ready()
        try:
            return self._tree()
        except git.GitError:  # an index that is damaged, say
            removed(self.index)
            return self._tree()

    def _tree(self) -> str:
        head = git.commit(self.own, "HEAD")
        removed(f"{self.index}.lock")
        self.git("read-tree", *(["-m", head] if head and os.path.exists(self.index) else [head or "--empty"]))  # noqa: PTH110
        below = self.repository.prefix.removesuffix("/")
        where = [f":(top,literal){below}" if below else ":(top)"]
        links = self.git("ls-files", "--stage", "-z", "--", *where).split("\0")
        inner = [entry.partition("\t")[2] for entry in links if entry.startswith("160000 ")]
        where += [f":(top,exclude,literal){name}" for name in inner]
        self.git(*git.DURABLE, *git.WHOLE, "add", "--update", "--", *where)
        others = self.git("ls-files", "--others", "--exclude-standard", "-z", "--", *where).split("\0")
        new = (f"{name}\0" for name in others if name and not name.endswith("/") and not trees.is_ours(name))
        self.git(
            *git.DURABLE, *git.WHOLE, "update-index", "--add", "--replace", "-z", "--stdin", data="".join(new)
        )
        return self.git(*git.DURABLE, "write-tree")

    def changes(self, old: str, new: str) -> list[trees.Change]:
        """The files below the directory that differ between two trees."""
        below = self.repository.prefix.removesuffix("/")
        found = trees.between(self.own, old, new, *([f":(top,literal){below}"] if below else []))
        return [one for one in found if not trees.is_ours(one.name)]

    def _ready(self) -> None:
        """Have the git directory of our own."""
        for name in ("objects", "refs", "info"):
            make_private(Path(self.folder, name))
        lines = ["[core]", "bare = false", "autocrlf = false"]
        sha = git.asked(self.own, "rev-parse", "--show-object-format")
        if sha not in ("", "sha1"):
            lines = ["[extensions]", f"objectFormat = {sha}", *lines, "repositoryformatversion = 1"]
        else:
            lines.append("repositoryformatversion = 0")
        for name in _TAKEN_OVER:
            value = git.asked(self.own, "config", name)
            if value:
                quoted = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
                lines.append(f'{name.partition(".")[2]} = "{quoted}"')
        kept_out = b"".join(f"{name}/\n".encode() for name in git.OURS)
        if not git.asked(self.own, "ls-tree", "HEAD", git.TASK_FILE):
            kept_out += f"/{git.TASK_FILE}\n".encode()
        with suppress(OSError), Path(self.repository.common, "info", "exclude").open("rb") as file:
            kept_out += file.read(_LARGEST)
        settings = "\n".join([*lines, ""]).encode("utf-8", "surrogateescape")
        wanted = {
            "HEAD": b"ref: refs/heads/none\n",
            "config": settings,
            "info/attributes": _ATTRIBUTES,
            "info/exclude": kept_out,
        }
        for name, data in wanted.items():
            path = Path(self.folder, name)
            if not path.exists() or path.read_bytes() != data:
                write_atomically(path, data)


def marks(target: str | Path, name: str) -> Marks:
    """Remember all files below a directory as they are now, those that git ignores left out.

    Args:
        target: the directory, in a checkout.
        name: for the ref; what was remembered under that name before is let go.

    Raises:
        GitError, OSError: that cannot be done, or there is no repository.
    """
    repository = git.checkout(target)
    with locked(repository.common):
        files = Files(repository)
        tree, head = files.tree(), git.commit(repository.own, "HEAD")
        found = snapshots.keep(repository.common, tree, [head] if head else [], f"{name}: before")
        ref = f"{REFS}{fitting(name)}"
        git.inside(repository.common, *git.DURABLE, "update-ref", ref, found)
        with trees.scratch(repository.common) as folder:
            return Marks(ref, found, head, _staged(repository, f"{folder}/index"))


def differences(target: str | Path, before: Marks) -> tuple[str, ...]:
    """The files below a directory that are not as they were, as git names them, as text; a bounded number of them.

    Raises:
        GitError, OSError: that cannot be told.
    """
    repository = git.checkout(target)
    with locked(repository.common):
        files = Files(repository)
        changes = files.changes(before.commit, files.tree())
    return tuple(sorted(messages.shown(one.name) for one in changes)[:_MOST_FILES])


def forget(target: str | Path, before: Marks) -> None:
    """Let go of what was remembered; nothing happens if that was done.

    Raises:
        GitError: it could not be done.
    """
    common = git.checkout(target).common
    if git.commit(common, before.ref) == before.commit:
        git.inside(common, "update-ref", "-d", before.ref, before.commit)


def _staged(repository: git.Repository, index: str) -> str:
    with suppress(FileNotFoundError, git.GitError):  # nothing staged, or in the middle of a merge
        shutil.copy2(trees.index_of(repository.own), index)
        return git.run(repository.top, *git.within(repository.own, repository.top), "write-tree", index=index)
    return ""
