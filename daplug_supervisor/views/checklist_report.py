"""The report at the end of a PLAN.md: what became of its TODOs and criteria, and of a run that halted on one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import get_args

from msgspec import Struct

from daplug_supervisor.core.boxes import BY_HAND, PREFIX
from daplug_supervisor.core.claims import claim_of
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.model import Run, TaskState
from daplug_supervisor.core.plan import Category
from daplug_supervisor.core.pulls import pull_of
from daplug_supervisor.formats.prompts.models import DEFAULT_MODEL
from daplug_supervisor.views.derived import label
from daplug_supervisor.views.steps import go_on, repairs
from daplug_supervisor.views.text import clean, command, facts, listing, wrap

_MOST_FILES = 200
_MOST_LINES = 100
_LONGEST = 400
_DEAD = (Status.FAILED, Status.STUCK, Status.CANCELLED)


class Rest(Struct, frozen=True):
    """What was left and is committed now: the commit (null: none), its files, and what there is to say of it."""

    commit: str | None = None
    files: tuple[str, ...] = ()
    detail: str = ""


class CategoryRow(Struct, frozen=True):
    """The criteria of a category. `status`: ``PASS``, ``FAIL``, or ``OPEN``: none failed, some are left.

    `todos` are those that do not pass.
    """

    category: str
    status: str
    total: int
    verified: int
    todos: tuple[str, ...]


class ChecklistReport(Struct, frozen=True, kw_only=True):
    """What became of a PLAN.md. `mode`: ``Local`` or ``PR #12``.

    `total` counts its TODOs, `completed` those that are done; of these `before` were done before the run, and
    `by_hand` were ticked by somebody else while it was not over. The rest is what the run itself did.
    """

    run: str
    plan: str
    mode: str
    total: int
    completed: int
    failed: int
    before: int
    by_hand: tuple[str, ...]
    criteria: int
    verified: int
    files: tuple[str, ...]
    learnings: tuple[str, ...]
    issues: tuple[str, ...]
    categories: tuple[CategoryRow, ...]


def checklist_report(run: Run, boxes: Mapping[str, bool], committed: Sequence[str] = ()) -> ChecklistReport:
    """What became of the PLAN.md of a run.

    `boxes` are those of its TODOs now, by number; `committed` is what was left in the end.
    """
    plan = run.plan.origin.path if run.plan.origin else run.source
    todos = [task for name, task in run.tasks.items() if name.startswith(PREFIX)]
    done = [task for task in todos if task.status is Status.DONE]
    known = {task.id.removeprefix(PREFIX) for task in todos}
    before = sum(ticked for number, ticked in boxes.items() if number not in known)
    rows = tuple(row for one in get_args(Category) if (row := _category(run, todos, one)).total)
    return ChecklistReport(
        run=run.id,
        plan=plan,
        mode=_mode(run),
        total=len(known | boxes.keys()),
        completed=len(done) + before,
        failed=sum(task.status in _DEAD for task in todos),
        before=before,
        by_hand=tuple(_name(task) for task in done if task.reason == BY_HAND),
        criteria=sum(row.total for row in rows),
        verified=sum(row.verified for row in rows),
        files=_files(done, committed, plan),
        learnings=_said(done, "learnings"),
        issues=_said(todos, "issues"),
        categories=rows,
    )


def _files(done: Sequence[TaskState], committed: Sequence[str], plan: str) -> tuple[str, ...]:
    """What was modified, but for the plan itself and what is kept beside it."""
    own = f"{PurePosixPath(plan).parent}/"
    found = {*committed, *(name for task in done for name in task.files)}
    return tuple(sorted(name for name in found if not name.startswith(own)))


def _mode(run: Run) -> str:
    pull = pull_of(run.plan)
    return f"PR #{pull.rpartition('/')[2]}" if pull else "Local"


def _name(task: TaskState) -> str:
    return f"TODO {task.id.removeprefix(PREFIX)}"


def _category(run: Run, todos: Sequence[TaskState], category: str) -> CategoryRow:
    total = verified = 0
    short: list[str] = []
    failed = False
    for task in todos:
        criteria = run.spec(task.id).accept
        wanted = {at for at, one in enumerate(criteria) if one.category == category}
        held = {one.criterion for one in task.findings if one.holds} & wanted
        here = len(held) if task.status is Status.DONE else 0
        total, verified = total + len(wanted), verified + here
        if here < len(wanted):
            short.append(_name(task))
            failed |= task.status in _DEAD and any(
                one.criterion in wanted and not one.holds for one in task.findings
            )
    status = "FAIL" if failed else "OPEN" if short else "PASS"
    return CategoryRow(category, status, total, verified, tuple(short))


def _said(todos: Sequence[TaskState], name: str) -> tuple[str, ...]:
    found = []
    for task in todos:
        claim = claim_of(task.last.outcome.claim) if task.last else None
        lines: Sequence[str] = getattr(claim, name, ())
        found += [f"{_name(task)}: {line}" for line in lines if line.strip()]
    return tuple(found)


# --- text ---------------------------------------------------------------------------------------------------


def checklist_text(full: ChecklistReport, width: int = 80) -> str:
    """The report for people."""
    over = full.completed == full.total
    head = "Every TODO is done" if over else f"{full.completed} of {full.total} TODOs are done"
    by_hand = f", {listing(full.by_hand, 10)} ticked by hand" if full.by_hand else ""
    before = f", {full.before} of them before this run" if full.before else ""
    numbers = {
        "plan": full.plan,
        "mode": full.mode,
        "run": full.run,
        "TODOs": f"{full.total} in all, {full.completed} completed{before}{by_hand}, {full.failed} failed",
        "criteria": f"{full.criteria} in all, {full.verified} verified and checked",
    }
    sections = {
        "Criteria by category": [line for row in full.categories for line in _category_lines(row, width)],
        "Files modified": [clean(f"  {name}", width) for name in full.files[:_MOST_FILES]]
        + _more(len(full.files), _MOST_FILES),
        "Learnings": _lines(full.learnings, width),
        "Issues found, and left alone": _lines(full.issues, width),
    }
    shown = [line for name, lines in sections.items() for line in ("", name, *(lines or ["  none"]))]
    return "\n".join([head, *facts(numbers, width, "  "), *shown])


def _category_lines(row: CategoryRow, width: int) -> list[str]:
    whose = "all TODOs" if row.status == "PASS" else f"not yet {listing(row.todos, 10)}"
    return wrap(f"{row.category}: {row.status} ({row.verified} of {row.total}, {whose})", width, "  ")


def _lines(texts: Sequence[str], width: int) -> list[str]:
    lines = [line for text in texts[:_MOST_LINES] for line in wrap(clean(text, _LONGEST), width, "  ")]
    return lines + _more(len(texts), _MOST_LINES)


def _more(count: int, most: int) -> list[str]:
    return [f"  and {count - most} more"] if count > most else []


def _same(run: Run, todo: TaskState) -> str:
    """The command that the run was started with: without its options somebody else would work on it, elsewhere."""
    spec = run.spec(todo.id)
    name = spec.provider or todo.provider
    provider = run.plan.providers[name]
    model = provider.model or name
    who = model if provider.cli in (None, model) else f"{model}:{provider.cli}"
    by = () if who == DEFAULT_MODEL else ("--provider", who)
    return command("run", run.source, *by, *(("--worktree",) if spec.worktree else ()))


# --- a halt -------------------------------------------------------------------------------------------------


def stands_text(run: Run, width: int = 80) -> str:
    """What to do about a PLAN.md whose run has stopped on a TODO: where it is written down, and the two ways on.

    Empty if it has not.
    """
    dead = [task for name, task in run.tasks.items() if name.startswith(PREFIX) and task.status in _DEAD]
    origin = run.plan.origin
    if not dead or origin is None or (run.finished_at is None and run.halt is None):
        return ""
    pull = pull_of(run.plan)
    names = [f"{_name(task)} ({label(run.spec(task.id))})" for task in dead]
    first = [command("pr", "continue", pull)] if pull else []
    retries = [line for task in dead for line in repairs(task) if line.startswith(command("task", "retry"))]
    again = [_same(run, dead[0])] if run.finished_at is not None else [*retries, go_on(run)]
    record = PurePosixPath(origin.path).parent / "context" / "issues.md"
    lines = facts(
        {
            "stopped on": listing(names),
            "recorded in": str(record),
            "still open": f"{'its box' if len(dead) == 1 else 'their boxes'} in {origin.path}",
        },
        width,
        "  ",
    )
    typed = [clean(f"    {line}") for line in (*first, *again)]
    return "\n".join([
        "Continue or stop?", *lines, "  to continue, mend the cause, then:", *typed,
        "  to stop: nothing more is done until one of these is typed",
    ])  # fmt: skip
