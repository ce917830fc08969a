"""What tasks have left in their worktrees, and where they were in each other's way."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from daplug_supervisor.core.delegation import parts_of
from daplug_supervisor.core.machine import SATISFIED
from daplug_supervisor.core.model import Run
from daplug_supervisor.views.text import number, wrap

MOST_FILES = 20
MOST_ROWS = 50
_SHOWN_FILES = 4
_SHOWN_ROWS = 20


class WorkLike(Protocol):
    """What was found in a worktree (see `workspace.git.changes.Work`)."""

    @property
    def path(self) -> str: ...  # noqa: D102
    @property
    def branch(self) -> str: ...  # noqa: D102
    @property
    def commits(self) -> int: ...  # noqa: D102
    @property
    def files(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def uncommitted(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def base(self) -> str: ...  # noqa: D102


class WorktreeRow(Struct, frozen=True):
    """What a task has left in its worktree. `commits` are those since it began, `changed` counts files.

    `uncommitted` counts the files that are not committed as they are; `files` names some of them. `status` is the
    task's at that time; `base` is the commit that it began at ('' if that is not known); `path` is
    '' for one that is freed, while the task waits for its parts.
    """

    task: str
    status: str
    path: str
    branch: str
    commits: int
    changed: int
    uncommitted: int
    files: tuple[str, ...]
    base: str = ""


class Overlap(Struct, frozen=True):
    """Files that several tasks have changed: `files` names some of the `count`.

    `side_by_side`: those of the tasks that were at work at the same time as another one of them.
    """

    tasks: tuple[str, ...]
    count: int
    files: tuple[str, ...]
    side_by_side: tuple[str, ...] = ()


class WorkLeft(Struct, frozen=True):
    """What all tasks of a run have left in their worktrees, and where they have changed the same files."""

    worktrees: tuple[WorktreeRow, ...] = ()
    overlaps: tuple[Overlap, ...] = ()


def work_left(run: Run, works: Mapping[str, WorkLike]) -> WorkLeft:
    """What was found, by task; first that of tasks that are not done."""
    known = {name: works[name] for name in run.tasks if name in works}
    rows = [worktree_row(run, name, work) for name, work in known.items()]
    rows.sort(key=lambda row: run.tasks[row.task].status in SATISFIED)
    return WorkLeft(tuple(rows), overlaps(known, _of_parts(run, known)))


def _of_parts(run: Run, works: Mapping[str, WorkLike]) -> dict[str, set[str]]:
    """For each task with parts the files that these have changed: its branch has them as well."""
    return {
        name: {file for part in parts_of(run, name) if part in works for file in works[part].files}
        for name in works
        if run.tasks[name].children
    }


def worktree_row(run: Run, task: str, work: WorkLike) -> WorktreeRow:
    """What one task has left."""
    return WorktreeRow(
        task=task,
        status=run.tasks[task].status.value,
        path=work.path,
        branch=work.branch,
        commits=work.commits,
        changed=len(work.files),
        uncommitted=len(work.uncommitted),
        files=tuple(work.uncommitted[:MOST_FILES]),
        base=work.base,
    )


def overlaps(
    works: Mapping[str, WorkLike], spared: Mapping[str, Collection[str]] = {}
) -> tuple[Overlap, ...]:
    """Where tasks have changed the same files; first those who share most. `spared`: files that are of their parts."""
    by_file: dict[str, list[str]] = {}
    for task, work in works.items():
        for name in (one for one in work.files if one not in spared.get(task, ())):
            by_file.setdefault(name, []).append(task)
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, tasks in by_file.items():
        if len(tasks) > 1:
            groups.setdefault(tuple(tasks), []).append(name)
    found = sorted(groups.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    return tuple(
        Overlap(tasks, len(names), tuple(sorted(names)[:MOST_FILES])) for tasks, names in found[:MOST_ROWS]
    )


def sections(left: WorkLeft, width: int, target: str = "") -> dict[str, list[str]]:
    """The parts of a report for people; paths are shown from `target` on."""
    uncommitted = [
        f"{row.task} ({row.status}): {files_words(row.files, row.uncommitted)} in {row.path.removeprefix(f'{target}/')}"
        for row in left.worktrees
        if row.uncommitted
    ]
    return {"Uncommitted work in worktrees": _lines(uncommitted, width)}


def uncommitted_words(row: WorktreeRow) -> str:
    """What is not committed, and where."""
    return f"{number(row.uncommitted, 'file')} in {row.path}: {files_words(row.files, row.uncommitted)}"


def worktree_words(row: WorktreeRow) -> str:
    """A worktree, its branch, and how much is on it; one that is freed has only the branch."""
    return f"{row.path or 'freed'}, branch {row.branch}, {number(row.commits, 'commit')}"


def files_words(names: Sequence[str], count: int) -> str:
    """The first of some files, and how many more there are."""
    shown = ", ".join(names[:_SHOWN_FILES])
    more = count - len(names[:_SHOWN_FILES])
    return f"{shown} and {more} more" if more else shown


def _lines(found: Sequence[str], width: int) -> list[str]:
    more = len(found) - _SHOWN_ROWS
    lines = [line for one in found[:_SHOWN_ROWS] for line in wrap(one, width, "  ")]
    return [*lines, f"  and {more} more"] if more > 0 else lines
