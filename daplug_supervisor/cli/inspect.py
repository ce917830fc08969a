"""``status``, ``report``, ``events``: looking at runs, alive or dead."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from daplug_supervisor.cli import options
from daplug_supervisor.cli.output import json_text, mask, print_data, print_json_line, width
from daplug_supervisor.cli.reading import choose, load_run, reading
from daplug_supervisor.core.machine import Status as MachineStatus
from daplug_supervisor.core.state import Run
from daplug_supervisor.errors import UsageError
from daplug_supervisor.journal import wal
from daplug_supervisor.supervisor.clock import clock_of
from daplug_supervisor.workspace import room, suspects
from daplug_supervisor.workspace.files import StateDirectory

if TYPE_CHECKING:
    from daplug_supervisor.views.rows import SeenOf

_LOOK = 1.0
"""Seconds between looks at the journal when it is followed and nothing was seen to change."""


def now(run: Run) -> float:
    """UTC seconds, by the clock that the run's times are of."""
    return clock_of(run).now()


@click.command()
@options.run_id
@click.option("--watch", "-w", "watched", is_flag=True, help="Keep it on the screen, up to date; q leaves.")
@click.option("--tree", "as_tree", is_flag=True, help="All tasks, with their parts below them.")
@options.as_json
@options.state_dir
def status(run: str | None, *, watched: bool, as_tree: bool, as_json: bool, state_dir: Path | None) -> int:
    """Show where RUN stands (the latest unfinished one, else the latest)."""
    if watched + as_tree + as_json > 1:
        raise UsageError(
            "--watch, --tree and --json do not go together; programs follow `events --follow --json`"
        )
    if watched:
        from daplug_supervisor.cli.watch.command import watch  # noqa: PLC0415

        return watch(options.directory(state_dir), run)
    from daplug_supervisor.views.status import status as status_of  # noqa: PLC0415
    from daplug_supervisor.views.status_text import status_text  # noqa: PLC0415

    directory = options.directory(state_dir)
    found = load_run(directory, run)
    if as_tree:
        from daplug_supervisor.views.live.tree_lines import tree_text  # noqa: PLC0415

        click.echo(tree_text(found, now(found), width(), live=directory.holder() is not None))
        return 0
    notices = (room.notice(str(directory.path)), wal.large(directory.journal))
    suspicious = suspects.read(directory.run(found.id))
    said = [text for text in notices if text]
    view = status_of(
        found, now(found), directory.holder() is not None, said, suspicious, seen_of(directory, found)
    )
    print_data(view, status_text(view, width()), as_json=as_json)
    return 0


def seen_of(directory: StateDirectory, run: Run) -> SeenOf:
    """Where the work is that waits for a review; nothing is asked of git unless some does."""
    from daplug_supervisor.views.rows import NOTHING_SEEN  # noqa: PLC0415

    if not run.counts[MachineStatus.REVIEWING]:
        return NOTHING_SEEN
    from daplug_supervisor.supervisor.closing.reports import seen  # noqa: PLC0415 (slow to import)

    return seen(directory, run)


@click.command()
@options.run_id
@click.option("--metrics-only", is_flag=True, help="Only the numbers.")
@click.option("--html", "as_html", is_flag=True, help="One HTML page that needs nothing else.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write it there instead of printing it.",
)
@options.as_json
@options.state_dir
def report(
    run: str | None,
    *,
    metrics_only: bool,
    as_html: bool,
    output: Path | None,
    as_json: bool,
    state_dir: Path | None,
) -> int:
    """Show what RUN did, and what to type next (the latest unfinished one, else the latest)."""
    from daplug_supervisor.supervisor.closing.reports import make_report  # noqa: PLC0415
    from daplug_supervisor.views.report.contents import metrics_only as only_metrics  # noqa: PLC0415
    from daplug_supervisor.views.report.metrics import metrics_text  # noqa: PLC0415
    from daplug_supervisor.views.report.text import report_text  # noqa: PLC0415

    if as_html and (as_json or metrics_only):
        raise UsageError("--html goes with neither --json nor --metrics-only")
    directory = options.directory(state_dir)
    found, live = load_run(directory, run), directory.holder() is not None
    at = now(found)
    full = make_report(directory, found, at, mask(), live=live)
    if as_html:
        from daplug_supervisor.views.html.page import page  # noqa: PLC0415

        return put(page(found, full, at), output)
    data = only_metrics(full) if metrics_only else full
    text = metrics_text(full, width()) if metrics_only else report_text(full, width())
    return put(json_text(data) if as_json else text, output)


def put(text: str, output: Path | None) -> int:
    """Print a text, or write it to a file.

    Raises:
        UsageError: it cannot be written there.
    """
    if output is None:
        click.echo(text)
        return 0
    try:
        output.write_text(f"{text}\n", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}") from error
    return 0


@click.command()
@options.run_id
@click.option("--task", help="Only events of this task.")
@click.option("--follow", "-f", is_flag=True, help="Go on as events come; end with Ctrl-C.")
@options.as_json
@options.state_dir
def events(run: str | None, task: str | None, *, follow: bool, as_json: bool, state_dir: Path | None) -> int:
    """Show what happened in RUN, one line an event."""
    from daplug_supervisor.views.log import log_line, log_text  # noqa: PLC0415

    directory = options.directory(state_dir)
    with reading(directory) as journal:
        mark = choose(journal.runs(), run)
        after = mark.first_seq - 1
        while True:
            for entry in journal.read(mark.run, after):
                after = entry.seq
                if task in (None, entry.task):
                    if as_json:
                        print_json_line(log_line(entry))
                    else:
                        click.echo(log_text(entry))
            if not follow:
                return 0
            wait_for_change(directory.path, _LOOK)


def wait_for_change(folder: Path, patience: float) -> None:
    """Wait until something in a folder is written, or until `patience` seconds are over.

    What is written while the watch is being set up is not seen, so `patience` is the longest delay.
    """
    import watchfiles  # noqa: PLC0415 (slow to import)

    milliseconds = max(1, int(patience * 1000))
    for _ in watchfiles.watch(
        folder, recursive=False, debounce=100, step=50, rust_timeout=milliseconds, yield_on_timeout=True
    ):
        return
