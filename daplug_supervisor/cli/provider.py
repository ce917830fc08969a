"""``provider``: the pools of a run."""

from __future__ import annotations

from pathlib import Path

import click

from daplug_supervisor.cli import options
from daplug_supervisor.cli.inspect import now
from daplug_supervisor.cli.output import print_data, width
from daplug_supervisor.cli.reading import load_run


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def provider() -> None:
    """Look at the providers of a run, pause them, and let them go on."""


@provider.command("list")
@options.chosen_run
@options.as_json
@options.state_dir
def list_providers(*, run: str | None, as_json: bool, state_dir: Path | None) -> int:
    """Show what each provider does, for how long it rests and why, and what it used."""
    from daplug_supervisor.views import providers as views  # noqa: PLC0415

    found = load_run(options.directory(state_dir), run)
    rows = views.providers(found, now(found))
    print_data(rows, views.providers_text(found, rows, width()), as_json=as_json)
    return 0


def _seconds(_context: click.Context, _option: click.Parameter, text: str | None) -> float | None:
    return None if text is None else options.seconds(text)


@provider.command()
@click.argument("name", metavar="PROVIDER")
@click.option(
    "--for", "seconds", metavar="TIME", callback=_seconds, help="90s, 45m, 2h.  [default: until resumed]"
)
@click.option("--reason", default="", help="Why, for the journal.")
@options.chosen_run
@options.as_json
@options.state_dir
def pause(
    name: str, *, seconds: float | None, reason: str, run: str | None, as_json: bool, state_dir: Path | None
) -> int:
    """Start nothing more with a provider; what runs may finish. It stays so over restarts."""
    from daplug_supervisor.cli.sending import tell  # noqa: PLC0415

    directory = options.directory(state_dir)
    return tell(
        directory, "pause_provider", run=run or "", provider=name, seconds=seconds, reason=reason,
        as_json=as_json,
    )  # fmt: skip


@provider.command()
@click.argument("name", metavar="PROVIDER")
@options.chosen_run
@options.as_json
@options.state_dir
def resume(name: str, *, run: str | None, as_json: bool, state_dir: Path | None) -> int:
    """Let a provider take tasks again that is paused or stopped, or rests."""
    from daplug_supervisor.cli.sending import tell  # noqa: PLC0415

    directory = options.directory(state_dir)
    return tell(directory, "resume_provider", run=run or "", provider=name, as_json=as_json)
