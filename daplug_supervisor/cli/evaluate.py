"""``evaluate``: what a run was worth; ``fsm``: what it has proven of the state machines of its specification."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from daplug_supervisor.cli import options
from daplug_supervisor.cli.output import mask, print_data, print_json, width
from daplug_supervisor.cli.reading import load_run
from daplug_supervisor.errors import NotPossibleError, UsageError
from daplug_supervisor.views.text import clean

_WIDTH = 100


@click.command()
@options.run_id
@click.option("--metrics-only", is_flag=True, help="Only the numbers.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write it to this file instead."
)
@options.as_json
@options.state_dir
def evaluate(
    run: str | None,
    *,
    metrics_only: bool,
    form: str,
    output: Path | None,
    as_json: bool,
    state_dir: Path | None,
) -> int:
    """Evaluate RUN: how good its plan was, what was proven, what failed and why, what it cost, what recurs."""
    from daplug_supervisor.supervisor.closing.execution import evaluation_of  # noqa: PLC0415 (slow to import)
    from daplug_supervisor.views.evaluation import figures as views  # noqa: PLC0415
    from daplug_supervisor.views.evaluation import text as texts  # noqa: PLC0415

    full = evaluation_of(load_run(options.directory(state_dir), run))
    found = views.metrics_only(full) if metrics_only else full
    columns = _WIDTH if output else width()
    text = texts.metrics_text(full, columns) if metrics_only else texts.evaluation_text(full, columns)
    _show(found, text, output, as_json=as_json or form == "json")
    return 0


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def fsm() -> None:
    """Look at the state machines of a .tasker specification."""


@fsm.command()
@options.run_id
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write it to this file, as JSON."
)
@options.as_json
@options.state_dir
def coverage(run: str | None, *, output: Path | None, as_json: bool, state_dir: Path | None) -> int:
    """Show which transitions and invariants RUN has proven, and by which criteria of which tasks."""
    from daplug_supervisor.supervisor.closing.execution import coverage_of  # noqa: PLC0415 (slow to import)
    from daplug_supervisor.views.evaluation.fsm_coverage import coverage_text  # noqa: PLC0415

    chosen = load_run(options.directory(state_dir), run)
    found = coverage_of(chosen)
    if found is None:
        raise NotPossibleError(f"run {chosen.id} is of no .tasker session with state machines")
    _show(found, coverage_text(found, width()), output, as_json=as_json or output is not None)
    return 0


def _show(found: msgspec.Struct, text: str, output: Path | None, *, as_json: bool) -> None:
    """Print something, or write it to a file."""
    told = mask().within(msgspec.to_builtins(found))
    if output is None:
        if as_json:
            print_json(told)
        else:
            print_data(told, mask()(text), as_json=False)
        return
    from daplug_supervisor.supervisor.closing.execution import document  # noqa: PLC0415
    from daplug_supervisor.workspace.files import write_atomically  # noqa: PLC0415

    data = document(told, mask()) if as_json else mask()(text).encode("utf-8", "replace") + b"\n"
    try:
        write_atomically(output, data)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{output}: it cannot be written: {getattr(error, 'strerror', None) or error}"
        ) from error
    click.echo(clean(f"written to {output}"), err=True)
