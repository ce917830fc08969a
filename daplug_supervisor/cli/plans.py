"""``check`` and ``schema``: about plans, without running anything."""

from __future__ import annotations

import os
from pathlib import Path

import click

from daplug_supervisor.cli import options
from daplug_supervisor.cli.output import print_data, print_json, width
from daplug_supervisor.errors import UsageError


@click.command()
@click.argument("plan", type=click.Path(path_type=Path))
@options.as_json
def check(plan: Path, *, as_json: bool) -> int:
    """Show the stages of PLAN, its critical path, and what each pool will do. Exit 2 if the plan is wrong."""
    from daplug_supervisor.formats import load_plan, prompts  # noqa: PLC0415
    from daplug_supervisor.views.plan import check as check_plan  # noqa: PLC0415
    from daplug_supervisor.views.plan import check_text  # noqa: PLC0415

    loaded = load_plan(plan)
    wrong = prompts.problems(loaded, Path.cwd())
    if wrong:
        raise UsageError("\n".join(wrong))
    found = check_plan(loaded, os.environ)
    print_data(found, check_text(found, width()), as_json=as_json)
    return 0


@click.command()
@options.as_json
def schema(*, as_json: bool) -> int:
    """Print the JSON Schema of plan files, for editors. It is JSON with and without --json."""
    from daplug_supervisor.formats.schema import json_schema  # noqa: PLC0415

    del as_json
    print_json(json_schema())
    return 0
