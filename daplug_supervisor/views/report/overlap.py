"""Where tasks touched the same files, in what came home or in their worktrees, and who ran beside whom."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from msgspec import Struct

from daplug_supervisor.core.delegation import parts_of
from daplug_supervisor.core.model import Run
from daplug_supervisor.views.text import clean, listing, wrap
from daplug_supervisor.views.work import MOST_FILES, MOST_ROWS, Overlap, files_words

MOST_IN_MATRIX = 16
_MOST_PAIRED = 40
_SHOWN_ROWS = 20


class Matrix(Struct, frozen=True):
    """For tasks that ran side by side: how many files each two of them share, and which two did.

    A pair is two places in `tasks`, the smaller first. `more` counts those that are left out.
    """

    tasks: tuple[str, ...]
    counts: dict[tuple[int, int], int]
    beside: frozenset[tuple[int, int]]
    more: int


def overlaps(run: Run, found: Sequence[Overlap] = ()) -> tuple[Overlap, ...]:
    """Files that several tasks touched; `found`: as seen in their worktrees. First those who share most.

    What the parts of a task touched is not counted as its own as well.
    """
    groups: dict[tuple[str, ...], tuple[set[str], int]] = {
        row.tasks: (set(row.files), row.count) for row in found
    }
    by_file: dict[str, list[str]] = {}
    for task in run.tasks.values():
        parts = {name for part in parts_of(run, task.id) for name in run.tasks[part].files}
        for name in task.files if not parts else (name for name in task.files if name not in parts):
            by_file.setdefault(name, []).append(task.id)
    for name, tasks in by_file.items():
        if len(tasks) > 1:
            names, count = groups.get(tuple(tasks), (set(), 0))
            names.add(name)
            groups[tuple(tasks)] = names, count
    rows = [
        Overlap(tasks, max(count, len(names)), tuple(sorted(names)[:MOST_FILES]))
        for tasks, (names, count) in groups.items()
    ]
    rows.sort(key=lambda row: (-row.count, row.tasks))
    return tuple(_placed(run, row) for row in rows[:MOST_ROWS])


def _placed(run: Run, row: Overlap) -> Overlap:
    """With those of its tasks that ran side by side."""
    pairs = combinations(row.tasks[:_MOST_PAIRED], 2)
    beside = dict.fromkeys(
        name for one, other in pairs if side_by_side(run, one, other) for name in (one, other)
    )
    return Overlap(row.tasks, row.count, row.files, tuple(name for name in row.tasks if name in beside))


def side_by_side(run: Run, one: str, other: str) -> bool:
    """Whether an attempt at one of two tasks was at work while one at the other was."""
    spans = [_spans(run, name) for name in (one, other)]
    return any(a < d and c < b for a, b in spans[0] for c, d in spans[1])


def _spans(run: Run, name: str) -> list[tuple[float, float]]:
    task = run.tasks.get(name)
    return [(past.at, past.ended_at) for past in task.past] if task else []


def matrix(run: Run, rows: Sequence[Overlap]) -> Matrix:
    """Who of those that ran side by side shares how many files with whom."""
    share: dict[str, int] = {}
    for row in rows:
        for name in row.side_by_side:
            share[name] = share.get(name, 0) + row.count
    most = set(sorted(share, key=lambda name: -share[name])[:MOST_IN_MATRIX])
    tasks = tuple(name for name in run.tasks if name in most)
    place = {name: at for at, name in enumerate(tasks)}
    counts: dict[tuple[int, int], int] = {}
    for row in rows:
        for pair in combinations(sorted(place[name] for name in row.tasks if name in place), 2):
            counts[pair] = counts.get(pair, 0) + row.count
    beside = frozenset(pair for pair in counts if side_by_side(run, tasks[pair[0]], tasks[pair[1]]))
    return Matrix(tasks, counts, beside, len(share) - len(tasks))


def overlap_lines(rows: Sequence[Overlap], width: int) -> list[str]:
    """Files that several tasks touched, for people."""
    lines: list[str] = []
    for row in rows[:_SHOWN_ROWS]:
        beside = f" (side by side: {listing(row.side_by_side, 4)})" if row.side_by_side else ""
        if set(row.side_by_side) == set(row.tasks):
            beside = ", side by side"
        told = f"{listing(row.tasks, 8)}{beside}: {files_words(row.files, row.count)}"
        lines += wrap(clean(told), width, "  ")
    more = len(rows) - _SHOWN_ROWS
    return [*lines, f"  and {more} more"] if more > 0 else lines
