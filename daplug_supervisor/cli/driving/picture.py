"""The live picture of runs, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from daplug_supervisor.core.machine import ACTIVE, SATISFIED, Status
from daplug_supervisor.core.state import Run, TaskState
from daplug_supervisor.views.derived import status_word
from daplug_supervisor.views.text import clean, duration
from daplug_supervisor.views.waits import waits

MOST = 20
_BAR = 30
_LONGEST = 400
_STYLES = {
    Status.DONE: "green", Status.FAILED: "red", Status.STUCK: "red", Status.CANCELLED: "yellow",
    Status.SKIPPED: "yellow", Status.RUNNING: "cyan",
}  # fmt: skip


class Screen(Console):
    """A terminal whose cursor stays as it is: whoever is killed cannot bring it back."""

    def show_cursor(self, show: bool = True) -> bool:  # noqa: FBT001, FBT002 (rich's own signature)
        """Not here."""
        del show
        return False


def picture(
    runs: list[Run],
    now: float,
    lines: Mapping[str, Mapping[str, str]],
    width: int,
    notices: Sequence[str] = (),
) -> RenderableType:
    """All runs: a bar and counts each, a line for each task that runs or waits for its parts; notices come first."""
    parts: list[RenderableType] = [Text(clean(text), "yellow") for text in notices]
    for run in runs:
        parts.append(_head(run, now))
        parts.append(_running(run, now, lines.get(run.id, {}), width))
    return Group(*parts)


def _head(run: Run, now: float) -> RenderableType:
    total = len(run.tasks)
    ended = sum(run.counts[status] for status in SATISFIED)
    counts = Text()
    for status in Status:
        count = run.counts[status]
        if count and status not in ACTIVE - {Status.RUNNING}:
            counts.append(f"  {count} {status}", _STYLES.get(status, "default"))
    row = Table.grid(padding=(0, 1))
    row.add_row(
        Text(run.id, "bold"),
        ProgressBar(total=max(total, 1), completed=ended, width=_BAR),
        Text(f"{ended}/{total}"),
        Text(duration(now - run.started_at)),
        counts,
    )
    if run.halt is not None:
        return Group(row, Text(f"halting: {clean(run.halt.reason)}", "yellow"))
    return Group(row, *(Text(f"  {clean(line, _LONGEST)}", "yellow") for line in waits(run, now)))


def _running(run: Run, now: float, lines: Mapping[str, str], width: int) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    for style in ("cyan", "magenta", "default", "default"):
        grid.add_column(no_wrap=True, style=style, overflow="ellipsis")
    shown = [task for task in run.tasks.values() if task.status in ACTIVE] if run.active else []
    if run.counts[Status.DELEGATED]:
        shown += [task for task in run.tasks.values() if task.status is Status.DELEGATED]
    for task in shown[:MOST]:
        grid.add_row(*_task(task, now, lines.get(task.id, ""), width))
    if len(shown) > MOST:
        grid.add_row(f"  and {len(shown) - MOST} more")
    return grid


def _task(task: TaskState, now: float, line: str, width: int) -> tuple[Text, Text, Text, Text]:
    attempt = task.attempt
    if task.status is Status.DELEGATED:
        waits = duration(now - task.changed_at).rjust(7)
        return Text(f"  {task.id}"), Text(), Text(waits), Text(status_word(task), "magenta")
    provider = attempt.provider if attempt else task.provider
    number = f"#{attempt.number}" if attempt and attempt.number > 1 else ""
    since = now - attempt.at if attempt else 0.0
    return (
        Text(f"  {task.id}{number}"),
        Text(provider),
        Text(duration(since).rjust(7)),
        Text(clean(line, max(10, width - 50)), "dim"),
    )
