"""``check`` and ``schema``: about plans, without running anything."""

from __future__ import annotations

import os
from pathlib import Path

import click

from daplug_supervisor.cli import options
from daplug_supervisor.cli.output import print_data, print_harmless, print_json, width
from daplug_supervisor.errors import UsageError


@click.command()
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--notify", is_flag=True, help="Send a trial message in every way that the plan names.")
@options.as_json
def check(plan: Path, *, notify: bool, as_json: bool) -> int:
    """Show the stages of PLAN, its critical path, and what each pool will do. Exit 2 if the plan is wrong.

    Of a PLAN.md the sub-steps are shown as well.
    """
    from daplug_supervisor.formats import load_foreign, load_plan  # noqa: PLC0415
    from daplug_supervisor.formats.prompts import files as prompts  # noqa: PLC0415
    from daplug_supervisor.views.plan.preview import check as check_plan  # noqa: PLC0415
    from daplug_supervisor.views.plan.text import check_text  # noqa: PLC0415

    foreign = load_foreign(plan)
    loaded = load_plan(plan) if foreign is None else foreign.plan
    if foreign is not None:
        print_harmless("\n".join(f"note: {note}" for note in foreign.notes))
    wrong = prompts.problems(loaded, Path.cwd())
    if wrong:
        raise UsageError("\n".join(wrong))
    if notify:
        from daplug_supervisor.cli.notify_trial import try_out  # noqa: PLC0415 (seldom needed)

        return try_out(loaded, as_json=as_json)
    found = check_plan(loaded, os.environ)
    print_data(found, check_text(found, width()), as_json=as_json)
    return 0


@click.command()
@click.argument(
    "name",
    type=click.Choice(["plan", "bundle", "result", "task-result", "verification"]),
    default="plan",
    metavar="[NAME]",
)
@options.as_json
def schema(name: str, *, as_json: bool) -> int:
    """Print a JSON Schema. It is JSON with and without --json.

    NAME is plan (the default, for editors), result (what an attempt hands in), verification, bundle or task-result
    (those of .tasker tasks).
    """
    from daplug_supervisor.formats.plans.schema import schema_of  # noqa: PLC0415

    del as_json
    print_json(schema_of(name))
    return 0
