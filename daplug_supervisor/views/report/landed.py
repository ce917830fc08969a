"""What came home of a run: commits, files, the branch to look at, and the hooks that failed."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from msgspec import Struct

from daplug_supervisor.core.events import Step
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.model import Run
from daplug_supervisor.views.derived import tasks_word
from daplug_supervisor.views.proven import SHORT
from daplug_supervisor.views.text import clean, facts, listing, number

MOST_FILES = 2000
_SHOWN = 20
_MERGE: Step = "merge"
_RUNS = "daplug/run/"
"""How the branch of a run begins. A part of a delegated task lands on that one's branch, and comes home with it."""
_CHECKLIST_ITEM = "todo-"
_PUBLISHING = "state-begin"


class LandedTask(Struct, frozen=True):
    """A task whose work came home: the commit ('' if there is none), how many files, and the steps that were done."""

    task: str
    commit: str
    files: int
    steps: dict[str, str]


class FailedHook(Struct, frozen=True):
    """A command of the user's that failed: which, after which task ('' for the run), and why."""

    hook: str
    task: str
    code: int | None
    detail: str


class Source(Struct, frozen=True):
    """The foreign plan that a run was made of, and how many of its items are done.

    `mode`: ``pr`` if it is published by a pull request, else ``local``.
    """

    format: str
    path: str
    mode: str
    total: int
    done: int
    failed: int


class Landing(Struct, frozen=True):
    """What came home. `branch`: that of the run ('' if nothing was merged onto one); `review`: commands to look at it.

    `commits` counts those on it, or in the checkout: what is part of a task comes home in the commit of that.

    `files` are the first of the `file_count` files that tasks changed.
    """

    branch: str
    review: tuple[str, ...]
    commits: int
    tasks: tuple[LandedTask, ...]
    file_count: int
    files: tuple[str, ...]
    hooks: tuple[FailedHook, ...]


def landing(run: Run) -> Landing:
    """What came home of a run so far."""
    rows = [
        LandedTask(task.id, task.commit, len(task.files), dict(task.steps))
        for task in run.tasks.values()
        if task.status is Status.DONE and (task.commit or task.files or task.steps)
    ]
    files = sorted({name for task in run.tasks.values() for name in task.files})
    onto = {row.task: row.steps.get(_MERGE, "") for row in rows if row.commit}
    branch = next((name for name in onto.values() if name.startswith(_RUNS)), "")
    commits = [row.commit for row in rows if onto.get(row.task) in ("", branch)]
    hooks = tuple(
        FailedHook(one.hook, one.of, one.code, one.detail)
        for one in run.hooks.values()
        if one.detail or one.code
    )
    return Landing(
        branch,
        _review(run.target, branch, commits),
        len(set(commits)),
        tuple(rows),
        len(files),
        tuple(files[:MOST_FILES]),
        hooks,
    )


def _review(target: str, branch: str, commits: Sequence[str]) -> tuple[str, ...]:
    git = ("git", "-C", target)
    if branch:
        return (
            shlex.join((*git, "log", "--stat", "--reverse", f"HEAD..{branch}")),
            shlex.join((*git, "diff", f"HEAD...{branch}")),
        )
    return (shlex.join((*git, "log", "--stat", "-n", str(len(set(commits))))),) if commits else ()


def source(run: Run) -> Source | None:
    """The foreign plan that a run was made of; None if it was not made of one."""
    origin = run.plan.origin
    if origin is None:
        return None
    items = [task for task in run.tasks.values() if origin.format != "checklist" or _is_item(task.id)]
    return Source(
        origin.format,
        origin.path,
        "pr" if _PUBLISHING in run.tasks else "local",
        len(items),
        sum(task.status is Status.DONE for task in items),
        sum(task.status in (Status.FAILED, Status.STUCK) for task in items),
    )


def _is_item(task: str) -> bool:
    return task.startswith(_CHECKLIST_ITEM)


def homes_of(found: Landing) -> list[LandedTask]:
    """The tasks that have a commit of their own on the branch, or in the checkout."""
    return [row for row in found.tasks if row.commit and row.steps.get(_MERGE, "") in ("", found.branch)]


# --- words --------------------------------------------------------------------------------------------------


def source_words(row: Source) -> str:
    """``PLAN.md (local): 6 items, 5 done, 1 failed``."""
    failed = f", {row.failed} failed" if row.failed else ""
    return f"{row.path} ({row.mode}): {number(row.total, 'item')}, {row.done} done{failed}"


def hook_words(row: FailedHook) -> str:
    """Which hook failed, and why."""
    of = f" of {row.task}" if row.task else ""
    return f"{row.hook.replace('_', '-')}{of}: {row.detail or f'exit code {row.code}'}"


def landing_lines(found: Landing, width: int) -> list[str]:
    """What came home, for people."""
    homes = homes_of(found)
    named = {
        "branch": found.branch,
        "commits": f"{found.commits} of {tasks_word(len(homes))}" if homes else "",
        "files": f"{number(found.file_count, 'file')}: {listing(found.files, 8)}" if found.files else "",
        "hooks failed": "; ".join(hook_words(row) for row in found.hooks[:_SHOWN]),
    }
    lines = facts(named, width, "  ")
    lines += [f"    {clean(row.commit[:SHORT])}  {clean(row.task)}" for row in homes[:_SHOWN]]
    lines += [f"    and {len(homes) - _SHOWN} more"] if len(homes) > _SHOWN else []
    return [*lines, *(f"  {clean(line)}" for line in found.review)]
