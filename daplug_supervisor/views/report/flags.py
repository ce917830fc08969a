"""Things that a person should know of a task, though they decide nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from daplug_supervisor.core.model import Run, TaskState
from daplug_supervisor.core.results import OutcomeKind
from daplug_supervisor.views.report.overlap import side_by_side
from daplug_supervisor.views.text import clean, listing, number, wrap
from daplug_supervisor.views.work import Overlap, WorkLeft

MOST_LINES = 20
_SENTENCE = 300
_MARKERS = re.compile(r"^(?:<{7}|>{7})(?: |$)|\bCONFLICT \(|Automatic merge failed")
_STOPPED = {
    "deadline": "ended at its deadline",
    "silence": "ended because nothing moved",
    "request": "ended on request",
}


class Flag(Struct, frozen=True):
    """Something about a task that a person should know. `kind`: exit, conflict, overlap, uncommitted or noted."""

    task: str
    kind: Literal["exit", "conflict", "overlap", "uncommitted", "noted"]
    text: str


def flags(
    run: Run, tails: Mapping[str, Sequence[str]], left: WorkLeft, shared: Sequence[Overlap]
) -> tuple[Flag, ...]:
    """All flags of a run, in the order of the plan. `tails`: the ends of outputs; `shared`: files touched twice."""
    uncommitted = {row.task: row.uncommitted for row in left.worktrees if row.uncommitted}
    beside: dict[str, list[Overlap]] = {}
    for row in shared:
        for name in row.side_by_side:
            beside.setdefault(name, []).append(row)
    found: list[Flag] = []
    for task in run.tasks.values():
        found += _of_exit(task, uncommitted.get(task.id, 0))
        found += _of_conflict(task, tails.get(task.id, ()))
        found += _of_overlap(run, task, beside.get(task.id, ()))
        found += [Flag(task.id, "noted", text) for text in task.flags]
    return tuple(found)


def ending(task: TaskState) -> str:
    """How the last attempt ended, if that was not in good order; else ''. One that delegates is ended by us."""
    last = task.last
    if last is None or last.outcome.kind is OutcomeKind.DELEGATED:
        return ""
    if last.exit.stopped:
        return _STOPPED[last.exit.stopped]
    code = last.exit.code
    if not code:
        return last.exit.error and f"could not be started: {last.exit.error}"
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _of_exit(task: TaskState, uncommitted: int) -> Iterator[Flag]:
    how = ending(task)
    if how:
        yield Flag(task.id, "exit", f"its last attempt {how}")
    if how and uncommitted:
        yield Flag(
            task.id,
            "uncommitted",
            f"its last attempt {how}, and left {number(uncommitted, 'file')} uncommitted",
        )


def _of_conflict(task: TaskState, tail: Sequence[str]) -> Iterator[Flag]:
    times = sum(past.result.outcome.kind is OutcomeKind.CONFLICT for past in task.past)
    if times:
        again = f" {times} times" if times > 1 else ""
        yield Flag(task.id, "conflict", f"its work could not be merged{again}")
    elif any(_MARKERS.search(line) for line in tail):
        yield Flag(task.id, "conflict", "its output ends with a merge conflict")


def _of_overlap(run: Run, task: TaskState, rows: Sequence[Overlap]) -> Iterator[Flag]:
    """What it changed that others changed while it was at work."""
    others: dict[str, None] = {}
    count = 0
    for row in rows:
        beside = [name for name in row.side_by_side if name != task.id and side_by_side(run, task.id, name)]
        others |= dict.fromkeys(beside)
        count += row.count if beside else 0
    if others:
        text = f"changed {number(count, 'file')} that {listing(list(others))} changed beside it"
        yield Flag(task.id, "overlap", text)


def flag_lines(rows: Sequence[Flag], width: int) -> list[str]:
    """Flags for people, those of one task together."""
    by_task: dict[str, list[str]] = {}
    for row in rows:
        by_task.setdefault(row.task, []).append(row.text)
    lines: list[str] = []
    for task, texts in list(by_task.items())[:MOST_LINES]:
        lines += wrap(clean(f"{task}: {'; '.join(texts)}", _SENTENCE), width, "  ")
    more = len(by_task) - MOST_LINES
    return [*lines, f"  and {number(more, 'more task')}"] if more > 0 else lines
