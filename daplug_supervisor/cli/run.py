"""``run`` and ``resume``: everything that drives a plan."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from daplug_supervisor.cli import options
from daplug_supervisor.cli.output import print_data, print_harmless, width
from daplug_supervisor.errors import UsageError

if TYPE_CHECKING:
    from daplug_supervisor.cli.specs.words import Chosen
    from daplug_supervisor.core.health import Rules
    from daplug_supervisor.core.model import Run
    from daplug_supervisor.core.plan import Plan
    from daplug_supervisor.formats.imported import Imported
    from daplug_supervisor.workspace.files import StateDirectory


@click.command()
@click.argument("plan", required=False)
@click.option("--only", multiple=True, metavar="TASK", help="Run only this task; may be given several times.")
@click.option(
    "--parallel", type=click.IntRange(1), help="At most so many attempts at once, over all providers."
)
@click.option("--step", is_flag=True, help="One at a time, asking before each start.")
@click.option("--fresh", is_flag=True, help="Begin a new run, whatever the last one left undone.")
@click.option("--dry-run", is_flag=True, help="Show what would be done; start nothing.")
@click.option("--provider", metavar="MODEL[:CLI]", help="Who works on a PLAN.md or a .tasker.")
@click.option(
    "--worktree",
    "-w",
    is_flag=True,
    help="Each TODO of a PLAN.md, or task of a .tasker, in a git worktree of its own.",
)
@options.driving
@options.as_json
@options.state_dir
def run(
    plan: str | None, only: tuple[str, ...], parallel: int | None, *, step: bool, fresh: bool, dry_run: bool,
    provider: str | None, worktree: bool, executor: str | None, quiet: bool, health: Rules | None, as_json: bool,
    state_dir: Path | None,
) -> int:  # fmt: skip
    """Run PLAN to its end, in the working directory; it may be daplug's .sprint-state.json, or a plan of at_runner.

    PLAN may be a PLAN.md too: its path, its NAME in .dev/specs/NAME/PLAN.md, or a pull request that names it (number
    or URL). Without any it is what the branch is about, or the only plan in .dev/specs. Or it is a .tasker directory,
    or a directory that has one: then it runs there.

    The same command again goes on where it stopped, and tries again what failed.

    Ctrl-C once: nothing more is started, what runs may finish. Twice: the agents are stopped. The supervisor may
    also be killed at any time: its agents work on, and the next start takes them back.
    """
    from daplug_supervisor.cli.specs import words as specs  # noqa: PLC0415 (not for --help)

    chosen = specs.choose(plan, options.here(), specs.ask_at_terminal())
    session = _session(chosen)
    if session is not None:
        from daplug_supervisor.cli.specs import session_plan  # noqa: PLC0415 (few plans are sessions)

        state_dir = session_plan.state_of(session, state_dir)
    directory = options.directory(state_dir, new=True).path
    foreign, loaded = _loaded(chosen, directory, provider, worktree=worktree)
    if foreign is not None:
        parallel = parallel or foreign.parallel
        print_harmless("\n".join(f"note: {note}" for note in foreign.notes))
        if not loaded.tasks and (dry_run or fresh):
            click.echo("Nothing is left to be done.", err=True)
            return 0
    if dry_run:
        from daplug_supervisor.views.plan.preview import check  # noqa: PLC0415
        from daplug_supervisor.views.plan.text import check_text  # noqa: PLC0415

        found = check(loaded, os.environ)
        print_data(found, check_text(found, width()), as_json=as_json)
        return 0
    from daplug_supervisor.cli.driving import foreground as driving  # noqa: PLC0415
    from daplug_supervisor.supervisor.handle import RunHandle  # noqa: PLC0415
    from daplug_supervisor.supervisor.supervisor import Supervisor  # noqa: PLC0415

    confirm = driving.make_confirm() if step else None
    target = (foreign.target if foreign else None) or driving.target()

    async def begin(supervisor: Supervisor) -> list[RunHandle]:
        submitted = loaded
        if loaded.origin is not None and loaded.origin.format == "checklist" and not fresh:
            from daplug_supervisor.cli.specs import run as spec_run  # noqa: PLC0415 (few plans are)

            submitted = await spec_run.before(supervisor, loaded)
        elif session is not None and not fresh:
            submitted = await session_plan.before(supervisor, loaded, session)
            if not submitted.tasks:
                session_plan.nothing()
                return []
        return [
            await supervisor.submit(
                submitted, target=target, source=str(chosen.path), fresh=fresh, only=only,
                parallel=1 if step else parallel, confirm=confirm,
            )
        ]  # fmt: skip

    return driving.drive(
        lambda: Supervisor(directory, executor=executor, health=health),
        begin,
        quiet=quiet or step,
        as_json=as_json,
        more=partial(_in_the_end, options.directory(state_dir, new=True)),
    )


def _loaded(
    chosen: Chosen, state: Path, provider: str | None, *, worktree: bool
) -> tuple[Imported | None, Plan]:
    """The plan, and what else its file says if that is a foreign one."""
    from daplug_supervisor.cli.specs import plan as spec_plan  # noqa: PLC0415
    from daplug_supervisor.formats import load_foreign, load_plan  # noqa: PLC0415

    if spec_plan.is_checklist(chosen):
        found = spec_plan.load(chosen, options.here(), state, provider=provider, worktree=worktree)
        return found, found.plan
    session = _session(chosen)
    if session is not None:
        from daplug_supervisor.cli.specs import session_plan  # noqa: PLC0415 (few plans are)

        found = session_plan.load(session, provider=provider, worktree=worktree)
        return found, found.plan
    if provider or worktree:
        raise UsageError(
            "--provider and --worktree are for a PLAN.md or a .tasker: other plans say that themselves"
        )
    foreign = load_foreign(chosen.path)
    return foreign, load_plan(chosen.path) if foreign is None else foreign.plan


def _session(chosen: Chosen) -> Path | None:
    """The target whose .tasker was chosen; None if it was something else."""
    from daplug_supervisor.formats.tasker.home import find  # noqa: PLC0415 (not for --help)

    return None if chosen.is_spec else find(chosen.path)


def _in_the_end(directory: StateDirectory, run: Run) -> str:
    from daplug_supervisor.cli.specs.run import in_the_end  # noqa: PLC0415

    return in_the_end(directory, run)


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
    health: Rules | None,
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
    from daplug_supervisor.cli.driving import foreground as driving  # noqa: PLC0415
    from daplug_supervisor.supervisor.handle import RunHandle  # noqa: PLC0415
    from daplug_supervisor.supervisor.supervisor import Supervisor  # noqa: PLC0415

    async def begin(supervisor: Supervisor) -> list[RunHandle]:
        from daplug_supervisor.cli.specs import run as spec_run  # noqa: PLC0415

        await spec_run.resumed(supervisor, run)
        handles = await supervisor.resume(run, parallel=parallel)
        if not handles:
            click.echo("Nothing is unfinished here.", err=True)
        return handles

    return driving.drive(
        lambda: Supervisor(directory.path, executor=executor, health=health),
        begin,
        quiet=quiet,
        as_json=as_json,
        more=partial(_in_the_end, directory),
    )
