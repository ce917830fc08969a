"""What tasks have left in their worktrees: commits, changed files, uncommitted work. Only looks; never waits long."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from daplug_supervisor.workspace.git import running as git
from daplug_supervisor.workspace.git.registry import Place, Record, known
from daplug_supervisor.workspace.git.survey import removed, survey

_MOST_BYTES = 1 << 20
_MOST_FILES = 2000


class Work(Struct, frozen=True):
    """What is in a worktree, in words that are text: odd bytes of names are escapes.

    Attributes:
        path, branch: where; of a task that waits for its parts there is only the branch.
        commits: how many there are on what it began at.
        files: what was changed, committed or not.
        uncommitted: what is not committed, new files too.
        more: whether there is more of either than is named here.
        base: the commit that it began at.
    """

    path: str
    branch: str
    commits: int
    files: tuple[str, ...]
    uncommitted: tuple[str, ...]
    more: bool = False
    base: str = ""


class Where(Struct, frozen=True):
    """Where a worktree is, in words that are text; `base` is the commit that it began at."""

    path: str
    branch: str
    base: str


def where_of(target: str, owners: Mapping[str, str]) -> dict[str, Where]:
    """Where the worktrees of tasks are, by the tasks' names; the same as `work_of` says, without a look into them."""
    found: dict[str, Where] = {}
    with suppress(git.GitError, OSError):
        for name, place, record in _owned(git.repository(target).common, owners):
            found[name] = Where(_text(place.path), place.branch, record.base)
    return found


def work_of(target: str, owners: Mapping[str, str], patience: float) -> dict[str, Work]:
    """What tasks have left, by their names; nothing of those that cannot be looked at, or not within `patience`.

    Args:
        target: a directory in the repository.
        owners: whose worktrees (`registry.Record.owner`), and under which name to tell of each.
        patience: seconds for all of them.
    """
    end = time.monotonic() + patience
    found: dict[str, Work] = {}
    with suppress(git.GitError, OSError):
        for name, place, record in _owned(git.repository(target).common, owners):
            left = end - time.monotonic()
            if left <= 0:
                break
            with suppress(git.GitError, OSError):
                found[name] = _work(place, record, left)
    return found


def _owned(common: str, owners: Mapping[str, str]) -> Iterator[tuple[str, Place, Record]]:
    for place, record in known(common):
        if record.owner in owners and record.state in ("made", "freed"):
            yield owners[record.owner], place, record


def _work(place: Place, record: Record, patience: float) -> Work:
    admin = survey(place).admin if record.state == "made" else ""
    uncommitted, all_named = uncommitted_in(admin, place.path, patience) if admin else ([], True)
    where = admin or place.common
    head = "HEAD" if admin else place.ref
    data, whole = git.head(
        where, f"--git-dir={where}", "diff", "--name-only", "-z", "--no-renames", "--ignore-submodules=all",
        f"{record.base}...{head}", "--", most=_MOST_BYTES, patience=patience,
    )  # fmt: skip
    committed, all_committed = _names(data, whole=whole)
    commits = git.inside(where, "rev-list", "--count", f"{record.base}..{head}", "--")
    files = tuple(sorted({*committed, *uncommitted}))
    more = not (all_named and all_committed)
    path = os.fsencode(place.path).decode("utf-8", "backslashreplace") if record.state == "made" else ""
    return Work(path, place.branch, int(commits), files, tuple(uncommitted), more, record.base)


def _text(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def changed_since(admin: str, path: str, base: str, patience: float) -> tuple[str, ...] | None:
    """The files of a worktree that are not as they are in a commit, new ones too; None if there are too many.

    Raises:
        GitError: that cannot be told.
    """
    data, whole = git.head(
        path, *git.within(admin, path), "diff", "--name-only", "-z", "--no-renames", "--ignore-submodules=all", base,
        "--", most=_MOST_BYTES, patience=patience,
    )  # fmt: skip
    tracked, all_named = _names(data, whole=whole)
    new = untracked(admin, path, patience)
    return tuple(sorted({*tracked, *new} - {git.TASK_FILE})) if all_named and new is not None else None


def untracked(admin: str, path: str, patience: float) -> tuple[str, ...] | None:
    """The files of a worktree that git neither tracks nor ignores; None if there are too many.

    Raises:
        GitError: that cannot be told.
    """
    data, whole = git.head(
        path, *git.within(admin, path), "ls-files", "--others", "--exclude-standard", "-z", "--",
        most=_MOST_BYTES, patience=patience,
    )  # fmt: skip
    names, all_named = _names(data, whole=whole)
    return tuple(names) if all_named else None


def remove_new(path: str, names: Collection[str]) -> None:
    """Remove files of a worktree, and the folders that are empty then; what cannot be removed stays.

    What ends with a slash is a repository of its own.
    """
    top = os.path.realpath(path)
    for name in names:
        file, above = Path(path, name), name.rstrip("/").rpartition("/")[0]
        if os.path.realpath(file.parent) != os.path.normpath(f"{top}/{above}"):
            continue  # by way of a link
        with suppress(OSError):
            if name.endswith("/"):
                removed(str(file))
            else:
                file.unlink()
        for folder in list(Path(name).parents)[:-1]:
            with suppress(OSError):
                Path(path, folder).rmdir()


def uncommitted_in(admin: str, path: str, patience: float) -> tuple[list[str], bool]:
    """The files of a worktree that are not committed as they are, and whether those are all.

    Raises:
        GitError: that cannot be told.
    """
    data, whole = git.head(
        path, *git.within(admin, path), "status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames",
        "--ignore-submodules=all", most=_MOST_BYTES, patience=patience,
    )  # fmt: skip
    names, all_named = _names(data, whole=whole)
    return [name[3:] for name in names if name[3:] != git.TASK_FILE], all_named


def _names(data: bytes, *, whole: bool) -> tuple[list[str], bool]:
    """Names that end with NUL each; the last one may be cut."""
    parts = data.decode("utf-8", "backslashreplace").split("\0")
    names = [name for name in parts[:-1] if name]
    return names[:_MOST_FILES], whole and len(names) <= _MOST_FILES
