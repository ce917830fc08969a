"""``run-prompt``: daplug prompts without a plan file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import click

from daplug_supervisor.cli import options
from daplug_supervisor.cli.output import print_data, width
from daplug_supervisor.core.plan import Loop, Retry, parse_duration


def _seconds(_context: click.Context, _option: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}: write 90s, 45m, 1h30m") from None


@click.command("run-prompt")
@click.argument("selectors", nargs=-1, required=True)
@click.option(
    "--model", "-m", required=True, help="daplug's shorthand of the model: codex, gemini, glm5, ..."
)
@click.option(
    "--parallel", "-p", type=click.IntRange(1), default=3, show_default=True, help="How many at once."
)
@click.option("--cli", help="The command-line tool that runs the model.")
@click.option("--variant", type=click.Choice(["none", "low", "medium", "high", "xhigh"]), help="Effort.")
@click.option("--worktree", is_flag=True, help="Each prompt in a git worktree of its own.")
@click.option("--base-branch", "base", help="What worktrees branch from.")
@click.option(
    "--on-conflict", type=click.Choice(["error", "reuse", "increment"]), default="error", show_default=True
)
@click.option("--sandbox", is_flag=True, help="daplug's sandbox around the agent.")
@click.option(
    "--sandbox-profile", type=click.Choice(["strict", "balanced", "dev"]), help="Implies --sandbox."
)
@click.option("--max-iterations", type=click.IntRange(1), default=3, show_default=True)
@click.option("--completion-marker", help="Instead of a random one for each attempt.")
@click.option("--require-diff", is_flag=True, help="Without a change to files nothing counts as complete.")
@click.option("--timeout", callback=_seconds, help="For one attempt: 90s, 45m, 1h30m.")
@click.option(
    "--attempts", type=click.IntRange(1), default=3, show_default=True, help="Tries for each prompt."
)
@click.option(
    "--pass-env",
    multiple=True,
    metavar="NAME",
    help="Hand this variable on (or NAME_*); may be given several times.",
)
@click.option("--fresh", is_flag=True, help="Begin a new run, whatever the last one left undone.")
@click.option("--dry-run", is_flag=True, help="Show what would be done; start nothing.")
@options.driving
@options.as_json
@options.state_dir
def run_prompt(
    selectors: tuple[str, ...], *, max_iterations: int, completion_marker: str | None, sandbox: bool,
    sandbox_profile: Literal["strict", "balanced", "dev"] | None, attempts: int, fresh: bool, dry_run: bool,
    executor: str | None, quiet: bool, as_json: bool, state_dir: Path | None, **fields: Any,
) -> int:  # fmt: skip
    """Run daplug prompts: SELECTORS are numbers, folder/number, names, ranges (002-005) and lists (1,3)."""
    from daplug_supervisor.formats import prompts  # noqa: PLC0415

    here = options.here()
    plan = prompts.to_plan(
        prompts.select(selectors, here),
        loop=Loop(max_iterations, completion_marker),
        sandbox=sandbox_profile or sandbox,
        retry=Retry(attempts),
        **fields,
    )
    if dry_run:
        from daplug_supervisor.views.plan import check, check_text  # noqa: PLC0415

        found = check(plan, os.environ)
        print_data(found, check_text(found, width()), as_json=as_json)
        return 0
    from daplug_supervisor.cli import driving  # noqa: PLC0415
    from daplug_supervisor.supervisor.handle import RunHandle  # noqa: PLC0415
    from daplug_supervisor.supervisor.supervisor import Supervisor  # noqa: PLC0415

    async def begin(supervisor: Supervisor) -> list[RunHandle]:
        return [await supervisor.submit(plan, target=here, source="run-prompt", fresh=fresh)]

    directory = options.directory(state_dir).path
    return driving.drive(
        lambda: Supervisor(directory, executor=executor), begin, quiet=quiet, as_json=as_json
    )
