"""``run-prompt``: daplug prompts without a plan file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from daplug_supervisor.cli import options
from daplug_supervisor.cli.output import print_data, print_harmless, width
from daplug_supervisor.cli.prompts.options import prompt_options
from daplug_supervisor.cli.prompts.slots import PromptCommand

if TYPE_CHECKING:
    from daplug_supervisor.core.health import Rules


@click.command("run-prompt", cls=PromptCommand)
@click.argument("selectors", nargs=-1, required=True)
@prompt_options
@options.driving
@options.as_json
@options.state_dir
def run_prompt(
    selectors: tuple[str, ...], *, fresh: bool, dry_run: bool, executor: str | None, quiet: bool, health: Rules | None,
    as_json: bool, state_dir: Path | None, **given: Any,
) -> int:  # fmt: skip
    """Run daplug prompts: SELECTORS are numbers, folder/number, names, ranges (002-005) and lists (1,3).

    Groups wait for each other: '001,002 -> api/005 -> 003'. Everything of a group is done before the next begins.

    The same command again goes on where it stopped, and tries again what failed.
    """
    from daplug_supervisor.cli.prompts.plan import plan_of  # noqa: PLC0415 (not for --help)

    here = options.here()
    plan, notes = plan_of(selectors, here, executor, given)
    print_harmless("\n".join(f"note: {note}" for note in notes))
    if dry_run:
        from daplug_supervisor.views.plan.preview import check  # noqa: PLC0415
        from daplug_supervisor.views.plan.text import check_text  # noqa: PLC0415

        found = check(plan, os.environ)
        print_data(found, check_text(found, width()), as_json=as_json)
        return 0
    from daplug_supervisor.cli.driving import foreground as driving  # noqa: PLC0415
    from daplug_supervisor.cli.prompts.as_json import document  # noqa: PLC0415
    from daplug_supervisor.supervisor.handle import RunHandle  # noqa: PLC0415
    from daplug_supervisor.supervisor.supervisor import Supervisor  # noqa: PLC0415

    async def begin(supervisor: Supervisor) -> list[RunHandle]:
        return [
            await supervisor.submit(
                plan, target=here, source="run-prompt", fresh=fresh, parallel=given["parallel"]
            )
        ]

    directory = options.directory(state_dir, new=True)
    return driving.drive(
        lambda: Supervisor(directory.path, executor=executor, health=health), begin, quiet=quiet, as_json=as_json,
        data=lambda run, _: document(directory, run),
    )  # fmt: skip
