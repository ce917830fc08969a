"""Putting files of a shared checkout back as they were before an attempt; what it made of them is saved first."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from daplug_supervisor.workspace.files import open_output
from daplug_supervisor.workspace.folders import entered
from daplug_supervisor.workspace.git import messages, snapshots, trees
from daplug_supervisor.workspace.git import running as git
from daplug_supervisor.workspace.git.marks import Files, Marks
from daplug_supervisor.workspace.git.registry import fitting, locked


class RolledBack(Struct, frozen=True):
    """What was put back: the snapshot of all files as they were before ('' if nothing was different), and the files."""

    ref: str
    deleted: tuple[str, ...] = ()
    restored: tuple[str, ...] = ()


class NotRestoredError(git.GitError):
    """A file could not be put back as it was; what it was is in the marks, and what it is now in the snapshot."""

    code = "not_restored"


def roll_back(target: str | Path, before: Marks, files: Collection[str], name: str) -> RolledBack:
    """Of some files below a directory, delete those that are new and restore those that are not as they were.

    Args:
        target: the directory.
        before: what the files were.
        files: those to put back, as `marks.differences` names them.
        name: of the snapshot.

    Raises:
        NotRestoredError: a file is in the way, or did not become what it was.
        GitError, OSError: nothing can be saved, so nothing was touched; or it broke off, and may be done again.
    """
    repository = git.checkout(target)
    with locked(repository.common):
        found = Files(repository)
        now = found.tree()
        left = _among(found.changes(before.commit, now), files)
        ref = _saved(repository, before, now, left, f"{snapshots.REFS}{fitting(name)}/")
        if not ref:
            return RolledBack("")
        wanted = _among(
            found.changes(before.commit, ref), files
        )  # with what was put back when this broke off
        back = _Back(found)
        for one in left:
            if one.old_mode == trees.NONE:
                back.delete(one)
        for one in left:
            if one.old_mode != trees.NONE:
                back.restore(one)
        _unstage(repository, before, wanted)
    new = [messages.shown(one.name) for one in wanted if one.old_mode == trees.NONE]
    old = [messages.shown(one.name) for one in wanted if one.old_mode != trees.NONE]
    return RolledBack(ref, tuple(sorted(new)), tuple(sorted(old)))


class _Back:
    """Puts files back, each by itself; no link is followed."""

    def __init__(self, files: Files) -> None:
        self.files = files

    def delete(self, one: trees.Change) -> None:
        """Delete what is new, and the directories that have become empty by that."""
        *folders, name = one.name.split("/")
        with (
            suppress(FileNotFoundError, NotADirectoryError),
            entered(Path(self.files.top), *folders) as folder,
        ):
            (folder / name).unlink()
        below = len([part for part in self.files.repository.prefix.split("/") if part])
        for depth in range(len(folders), below, -1):
            try:
                with entered(Path(self.files.top), *folders[: depth - 1]) as folder:
                    (folder / folders[depth - 1]).rmdir()
            except OSError:  # there is something in it
                return

    def restore(self, one: trees.Change) -> None:
        """Put a file back as it was.

        Raises:
            NotRestoredError: that did not come about.
        """
        if trees.REPOSITORY in (one.old_mode, one.mode):
            raise NotRestoredError(
                f"{messages.shown(one.name)} is a repository of its own: put it back there"
            )
        *folders, name = one.name.split("/")
        try:
            with entered(Path(self.files.top), *folders, make=True) as folder:
                self._replace(folder, name, one)
                fits = self._fits(folder / name, one)
        except OSError as error:
            why = error.strerror or str(error)
            raise NotRestoredError(f"{messages.shown(one.name)} cannot be put back: {why}") from error
        if not fits:
            raise NotRestoredError(f"{messages.shown(one.name)} is not what it was, after it was put back")

    def _replace(self, folder: Path, name: str, one: trees.Change) -> None:
        temporary = folder / f".daplug.{os.urandom(6).hex()}.tmp"
        try:
            if one.old_mode == trees.LINK:
                temporary.symlink_to(os.fsdecode(self.files.content(one)))
            else:
                self._write(temporary, _permissions(folder / name, one), one)
            with suppress(OSError):
                (folder / name).rmdir()  # an empty directory in its place
            temporary.replace(folder / name)
        finally:
            temporary.unlink(missing_ok=True)

    def _write(self, path: Path, mode: int, one: trees.Change) -> None:
        data = self.files.content(one)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())

    def _fits(self, path: Path, one: trees.Change) -> bool:
        found = path.lstat()
        if one.old_mode == trees.LINK:
            return stat.S_ISLNK(found.st_mode) and os.fsencode(path.readlink()) == self.files.content(one)
        with open_output(path):  # an ordinary file
            same = self.files.git("hash-object", "--", one.name) == one.old_blob
        return same and bool(found.st_mode & stat.S_IXUSR) == (one.old_mode == trees.PROGRAM)


def _among(changes: list[trees.Change], files: Collection[str]) -> list[trees.Change]:
    wanted = set(files)
    return [one for one in changes if messages.shown(one.name) in wanted]


def _permissions(path: Path, one: trees.Change) -> int:
    """Who may do what with a file: as now, if it is there; git only knows whether it is a program."""
    with suppress(OSError):
        found = path.lstat().st_mode
        if stat.S_ISREG(found):
            mode = stat.S_IMODE(found) & ~0o111
            return mode | (mode & 0o444) >> 2 | stat.S_IXUSR if one.old_mode == trees.PROGRAM else mode
    return 0o755 if one.old_mode == trees.PROGRAM else 0o644


def _saved(repository: git.Repository, before: Marks, now: str, left: list[trees.Change], under: str) -> str:
    """The snapshot that holds all that is put back; '' if there is nothing, and never was."""
    common = repository.common
    known = git.inside(common, "for-each-ref", "--format=%(refname) %(parent)", under).splitlines()
    mine = [line.split(" ") for line in known if before.commit in line.split(" ")[1:]]
    for ref, *_ in sorted(mine, key=lambda words: int(words[0].rpartition("/")[2]), reverse=True):
        since = {one.name for one in trees.between(common, ref, now)}
        if not since.intersection(one.name for one in left):
            return ref
    if not left:
        return ""
    head = git.commit(repository.own, "HEAD")
    parents = [*([head] if head else []), before.commit]
    name = under.removeprefix(snapshots.REFS).rstrip("/")
    return snapshots.named(
        common, name, snapshots.keep(common, now, parents, f"{name}: before it was rolled back")
    )


def _unstage(repository: git.Repository, before: Marks, changes: list[trees.Change]) -> None:
    """What was staged of these files since is staged no longer."""
    if not before.staged:
        return
    names = {one.name for one in changes}
    words = git.within(repository.own, repository.top)
    with suppress(git.GitError):  # in the middle of a merge
        said = git.run(
            repository.top, *words, "diff-index", "--cached", "--raw", "-z", "--no-renames", "--no-abbrev",
            "--ignore-submodules=none", before.staged, "--",
        )  # fmt: skip
        lines = "".join(one.old_line for one in trees.raw(said) if one.name in names)
        if lines:
            git.run(repository.top, *words, "update-index", "--replace", "-z", "--index-info", data=lines)
