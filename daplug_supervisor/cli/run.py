"""``run`` and ``resume``: everything that drives a plan."""

from __future__ import annotations

import os
from pathlib import Path

import click

from daplug_supervisor.cli import options
from daplug_supervisor.cli.output import print_data, print_harmless, width

_PLAN = click.Path(path_type=Path)


@click.command()
@click.argument("plan", type=_PLAN)
@click.option("--only", multiple=True, metavar="TASK", help="Run only this task; may be given several times.")
@click.option(
    "--parallel", type=click.IntRange(1), help="At most so many attempts at once, over all providers."
)
@click.option("--step", is_flag=True, help="One at a time, asking before each start.")
@click.option("--fresh", is_flag=True, help="Begin a new run, whatever the last one left undone.")
@click.option("--dry-run", is_flag=True, help="Show what would be done; start nothing.")
@options.driving
@options.as_json
@options.state_dir
def run(
    plan: Path, only: tuple[str, ...], parallel: int | None, *, step: bool, fresh: bool, dry_run: bool,
    executor: str | None, quiet: bool, as_json: bool, state_dir: Path | None,
) -> int:  # fmt: skip
    """Run PLAN to its end, in the working directory; it may be daplug's .sprint-state.json, or a plan of at_runner.

    The same command again goes on where it stopped, and tries again what failed.

    Ctrl-C once: nothing more is started, what runs may finish. Twice: the agents are stopped. The supervisor may
    also be killed at any time: its agents work on, and the next start takes them back.
    """
    from daplug_supervisor.formats import load_foreign, load_plan  # noqa: PLC0415

    foreign = load_foreign(plan)
    loaded = load_plan(plan) if foreign is None else foreign.plan
    if foreign is not None:
        parallel = parallel or foreign.parallel
        print_harmless("\n".join(f"note: {note}" for note in foreign.notes))
    if dry_run:
        from daplug_supervisor.views.plan import check, check_text  # noqa: PLC0415

        found = check(loaded, os.environ)
        print_data(found, check_text(found, width()), as_json=as_json)
        return 0
    from daplug_supervisor.cli import driving  # noqa: PLC0415
    from daplug_supervisor.supervisor.handle import RunHandle  # noqa: PLC0415
    from daplug_supervisor.supervisor.supervisor import Supervisor  # noqa: PLC0415

    confirm = driving.make_confirm() if step else None

    async def begin(supervisor: Supervisor) -> list[RunHandle]:
        return [
            await supervisor.submit(
                loaded, target=driving.target(), source=str(plan), fresh=fresh, only=only,
                parallel=1 if step else parallel, confirm=confirm,
            )
        ]  # fmt: skip

    directory = options.directory(state_dir).path
    return driving.drive(
        lambda: Supervisor(directory, executor=executor), begin, quiet=quiet or step, as_json=as_json
    )


@click.command()
@options.run_id
@click.option(
    "--parallel", type=click.IntRange(1), help="At most so many attempts at once, over all providers."
)
@options.driving
@options.as_json
@options.state_dir
def resume(
    run: str | None,
    parallel: int | None,
    *,
    executor: str | None,
    quiet: bool,
    as_json: bool,
    state_dir: Path | None,
) -> int:
    """Lift the halt, remove the STOP file, and go on with what is unfinished (RUN, or everything).

    If a supervisor is alive it is told to go on, and this command returns.
    """
    from daplug_supervisor.cli.sending import tell  # noqa: PLC0415

    directory = options.directory(state_dir)
    directory.require()
    directory.stop_file.unlink(missing_ok=True)
    if directory.holder() is not None:
        return tell(directory, "resume", run=run or "", as_json=as_json)
    from daplug_supervisor.cli import driving  # noqa: PLC0415
    from daplug_supervisor.supervisor.handle import RunHandle  # noqa: PLC0415
    from daplug_supervisor.supervisor.supervisor import Supervisor  # noqa: PLC0415

    async def begin(supervisor: Supervisor) -> list[RunHandle]:
        handles = await supervisor.resume(run, parallel=parallel)
        if not handles:
            click.echo("Nothing is unfinished here.", err=True)
        return handles

    return driving.drive(
        lambda: Supervisor(directory.path, executor=executor), begin, quiet=quiet, as_json=as_json
    )
