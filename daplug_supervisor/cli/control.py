"""``halt``, ``check-halt``, ``halt-status``."""

from __future__ import annotations

from pathlib import Path

import click
from msgspec import Struct

from daplug_supervisor.cli import options
from daplug_supervisor.cli.output import print_data
from daplug_supervisor.cli.reading import load_run
from daplug_supervisor.errors import EXIT_DONE, EXIT_NOT_ALL_DONE, NotPossibleError
from daplug_supervisor.views.rows import HaltRow, halt_row
from daplug_supervisor.views.text import clean, clock
from daplug_supervisor.workspace.files import StateDirectory


class HaltState(Struct, frozen=True):
    """Whether the directory is halted: by a STOP file, or by the halt of an unfinished run."""

    halted: bool
    stop_file: bool
    run: str = ""
    halt: HaltRow | None = None


@click.command()
@click.argument("reason", required=False, default="")
@options.chosen_run
@options.as_json
@options.state_dir
def halt(reason: str, run: str | None, *, as_json: bool, state_dir: Path | None) -> int:
    """Start nothing more; what runs may finish. Only ``resume`` lifts it."""
    from daplug_supervisor.cli.sending import tell  # noqa: PLC0415

    return tell(options.directory(state_dir), "halt", run=run or "", reason=reason, as_json=as_json)


@click.command("check-halt")
@options.as_json
@options.state_dir
def check_halt(*, as_json: bool, state_dir: Path | None) -> int:
    """Exit 1 if a halt is requested or in force, 0 if not."""
    found = halt_state(options.directory(state_dir))
    print_data(found, "halted" if found.halted else "not halted", as_json=as_json)
    return EXIT_NOT_ALL_DONE if found.halted else EXIT_DONE


@click.command("halt-status")
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text", show_default=True)
@options.as_json
@options.state_dir
def halt_status(style: str, *, as_json: bool, state_dir: Path | None) -> int:
    """Show who halted what, when, why, and what was running."""
    found = halt_state(options.directory(state_dir))
    print_data(found, _text(found), as_json=as_json or style == "json")
    return EXIT_DONE


def halt_state(directory: StateDirectory) -> HaltState:
    """The halt in force, as STOP file and journal say."""
    stop_file = directory.stop_requested()
    if not directory.journal.exists():
        return HaltState(stop_file, stop_file)
    try:
        run = load_run(directory, None)
    except NotPossibleError:  # a journal without a run
        return HaltState(stop_file, stop_file)
    from daplug_supervisor.workspace.tasker import home as tasker_home  # noqa: PLC0415 (not for --help)

    stop_file = stop_file or tasker_home.stop_requested(run)
    row = halt_row(run) if run.finished_at is None else None
    return HaltState(stop_file or row is not None, stop_file, run.id, row)


def _text(found: HaltState) -> str:
    lines = ["A STOP file is there: nothing is started."] if found.stop_file else []
    if found.halt is not None:
        halt = found.halt
        lines.append(f"Run {found.run} is {'halted' if halt.halted_at else 'halting'}.")
        lines.append(f"  requested {clock(halt.requested_at)} by {halt.requested_by}: {clean(halt.reason)}")
        if halt.halted_at:
            lines.append(f"  complete  {clock(halt.halted_at)}")
        if halt.running:
            lines.append(f"  was running: {clean(', '.join(halt.running))}")
    if not lines:
        return "Not halted."
    return "\n".join([*lines, "To go on: daplug-supervise resume"])
