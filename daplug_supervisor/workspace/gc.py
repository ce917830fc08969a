"""What of ours can be removed: worktrees whose work is elsewhere, attempts' files that are old. Nothing else.

To judge and to remove are two steps, so that a person can see first what would be done.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from daplug_supervisor.workspace.git import running as git
from daplug_supervisor.workspace.git import snapshots
from daplug_supervisor.workspace.git.changes import uncommitted_in
from daplug_supervisor.workspace.git.registry import Place, Record, known, locked
from daplug_supervisor.workspace.git.survey import Found, removed, survey
from daplug_supervisor.workspace.git.worktrees import remove, saved, why_not

_PATIENCE = 60.0


class Item(Struct, frozen=True):
    """Something of ours, and what became of it.

    `what` is ``worktree`` or ``attempts``; `removed` whether it was (or would be) removed, and `why`. `size` is in
    bytes; `snapshot` is the ref under which its work was saved, '' if nothing was.
    """

    what: str
    run: str
    task: str
    path: str
    size: int
    removed: bool
    why: str
    snapshot: str = ""


def worktrees(
    common: str,
    kept: Callable[[Record], str],
    whose: Callable[[Record], tuple[str, str]],
    *,
    save: bool,
    dry: bool,
) -> Iterator[Item]:
    """Remove the worktrees of ours in a repository whose work is all elsewhere.

    Args:
        common: the repository's own directory.
        kept: why a worktree must be kept whatever is in it; '' if its run is over.
        whose: its run and task.
        save: save under a ref what is nowhere else, and remove it then.
        dry: only say what would be done.

    Raises:
        GitError, OSError: the repository cannot be looked at.
    """
    with nullcontext() if dry or not known(common) else locked(common):
        for place, record in known(common):
            run, task = whose(record)
            item = Item("worktree", run, task, place.path, 0, removed=False, why=kept(record))
            yield item if item.why else _judged(item, place, record, save=save, dry=dry)


def _judged(item: Item, place: Place, record: Record, *, save: bool, dry: bool) -> Item:
    try:
        found = survey(place)
        item = replace(item, size=size_of(place.path))
        item, needed = _reason(item, found, save=save)
        if not item.removed or dry:
            return item
        if needed:
            ref = saved(found)
            item = replace(item, snapshot=ref, why=item.why.replace("a ref", ref or "a ref", 1))
        remove(found, record)
    except (git.GitError, OSError) as error:
        return replace(item, removed=False, why=str(error))
    return item


def _reason(item: Item, found: Found, *, save: bool) -> tuple[Item, bool]:
    """The item with what is to be done with it and why, and whether it has to be saved before."""
    reason = why_not(found)
    if reason:
        return replace(item, why=reason), False
    if found.free:
        return replace(item, removed=True, why="it was never finished, and nobody has worked in it"), False
    inner = snapshots.nested(found.place.path)
    if inner:
        return replace(item, why=f"{inner} is a repository of its own: move it away"), False
    lacks = _lacks(found)
    if not lacks:
        return replace(item, removed=True, why="all of its work is merged or saved"), False
    if save:
        return replace(item, removed=True, why=f"saved under a ref: {lacks}"), True
    return replace(item, why=f"{lacks}: merge it, or say --save"), False


def _lacks(found: Found) -> str:
    """What is nowhere else, in words; empty if all of it is."""
    place = found.place
    heads = {git.commit(found.admin, "HEAD") if found.admin else "", found.tip} - {""}
    lonely = sum(snapshots.lonely(place.common, head, place.ref) for head in heads)
    lacks = [f"{lonely} {'commit' if lonely == 1 else 'commits'} on no other branch"] if lonely else []
    if found.admin and found.there:
        files, whole = uncommitted_in(found.admin, place.path, _PATIENCE)
        if files:
            count = f"{len(files)}{'' if whole else ' or more'}"
            lacks.append(f"uncommitted work in {count} {'file' if count == '1' else 'files'}")
    return " and ".join(lacks)


def attempts(folder: Path, run: str, *, dry: bool) -> Iterator[Item]:
    """Remove the attempts' directories of a run (below `folder`); its report stays."""
    for task in _folders(folder):
        numbers = [one for one in _folders(task) if one.name.isdecimal()]
        if not numbers:
            continue
        item = Item(
            "attempts", run, task.name, str(task), sum(size_of(str(one)) for one in numbers), removed=True,
            why="the run has been over for long enough",
        )  # fmt: skip
        try:
            for one in [] if dry else numbers:
                removed(str(one))
        except OSError as error:
            item = replace(item, removed=False, why=str(error))
        yield item


def size_of(path: str) -> int:
    """Bytes on the disk that a directory takes; what cannot be looked at counts nothing."""
    total, folders = 0, [path]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                with suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
    return total


def _folders(folder: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(one for one in folder.iterdir() if one.is_dir() and not one.is_symlink())
    return []
