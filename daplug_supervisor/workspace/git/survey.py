"""What there is where a worktree is or would be: on the disk, in git's own files, and in our record."""

from __future__ import annotations

import os
import re
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from daplug_supervisor.workspace.git import running as git
from daplug_supervisor.workspace.git.registry import Place, Record

_COMMON = "commondir"


class Found(Struct, frozen=True):
    """What there is at a place.

    Attributes:
        place: where.
        record: ours, if it is ours.
        admin: git's own directory for it, '' without one.
        there: whether there is anything under its path.
        tip: the commit that its branch is at, '' without one.
    """

    place: Place
    record: Record | None
    admin: str
    there: bool
    tip: str

    @property
    def free(self) -> bool:
        """Whether nobody has the place, or somebody who never got what was in the making."""
        if self.record is not None:
            return self.record.state == "making"
        return not (self.admin or self.there or self.tip)

    @property
    def empty(self) -> bool:
        """Whether there are no files."""
        return not (self.there and has_files(self.place.path))

    @property
    def whole(self) -> bool:
        """Whether one can work in it."""
        link = Path(self.place.path) / ".git"
        with suppress(OSError, ValueError):
            words = link.read_text(errors="surrogateescape").removeprefix("gitdir:").strip()
            sound = bool(self.admin) and Path(words).samefile(self.admin) and self.led_right
            return sound and bool(Path(self.admin, "HEAD").read_bytes().strip(b"\0\n"))
        return False

    @property
    def led_right(self) -> bool:
        """Whether git's own directory for it leads to the repository still: agents that may commit can write there."""
        with suppress(OSError, ValueError):
            words = Path(self.admin, _COMMON).read_text(errors="surrogateescape").removesuffix("\n")
            return Path(self.admin, words).samefile(self.place.common)
        return False

    def lead_right(self) -> None:
        """Have it lead to the repository again, if there is one.

        Raises:
            OSError: it cannot be written.
        """
        if self.admin and not self.led_right:
            removed(f"{self.admin}/{_COMMON}")
            Path(self.admin, _COMMON).write_text("../..\n")

    @property
    def checked_out_elsewhere(self) -> bool:
        """Whether its branch is checked out, and not here."""
        common = Path(self.place.common)
        for folder in (common, *_entries(common / "worktrees")):
            with suppress(OSError):
                says = (folder / "HEAD").read_text(errors="surrogateescape").strip()
                lives = folder == common or (folder / "gitdir").exists()
                if lives and says == f"ref: {self.place.ref}" and str(folder) != self.admin:
                    return True
        return False


def survey(place: Place) -> Found:
    """What there is at a place."""
    tip = git.commit(place.common, place.ref)
    there = os.path.lexists(place.path)
    return Found(place, place.read(), admin_of(place.common, place.path), there, tip)


def has_files(path: str) -> bool:
    """Whether there is anything in a directory, or something else under its path."""
    try:
        with os.scandir(path) as entries:
            return next(entries, None) is not None
    except NotADirectoryError:
        return True
    except FileNotFoundError:
        return False


def admin_of(common: str, path: str) -> str:
    """Git's own directory for the worktree at a path; '' if git knows of none there."""
    folder = Path(common) / "worktrees"
    wanted = f"{real(path)}/.git"
    for one in (folder / Path(path).name, *_entries(folder)):
        with suppress(OSError, ValueError):
            said = (one / "gitdir").read_text(errors="surrogateescape").removesuffix("\n")
            if os.path.normpath(one / said) == wanted:
                return str(one)
    return ""


def half_made(common: str, name: str) -> list[str]:
    """What a killed `git worktree add` left in git's own directory: it does not even say for which path."""
    wanted = re.compile(rf"{re.escape(name)}\d*")
    found = [one for one in _entries(Path(common) / "worktrees") if wanted.fullmatch(one.name)]
    return [str(one) for one in found if not (one / "gitdir").exists()]


def real(path: str) -> str:
    """A path as git writes it: the folder of all worktrees may be a link."""
    folder, _, name = path.rpartition("/")
    return f"{os.path.realpath(folder)}/{name}"


def _entries(folder: Path) -> list[Path]:
    with suppress(OSError):
        return list(folder.iterdir())
    return []


def removed(path: str) -> None:
    """Remove a directory, and what an agent made read-only in it; a link is removed itself.

    Raises:
        OSError: something is left.
    """
    if not path or not os.path.lexists(path):
        return
    if os.path.islink(path) or not os.path.isdir(path):  # noqa: PTH112, PTH114
        os.unlink(path)  # noqa: PTH108
        return
    try:
        shutil.rmtree(path)
    except PermissionError:
        closed = [path]
        while closed:
            folder = closed.pop()
            os.chmod(folder, stat.S_IRWXU)  # noqa: PTH101
            with os.scandir(folder) as entries:
                closed += (entry.path for entry in entries if entry.is_dir(follow_symlinks=False))
        shutil.rmtree(path)
