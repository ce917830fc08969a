"""``task attach``: where a task is at work, what it writes, and a shell there. Nothing of that reaches the agent."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec import Struct

from daplug_supervisor.cli import options
from daplug_supervisor.cli.inspect import now, wait_for_change
from daplug_supervisor.cli.output import mask, print_data, width
from daplug_supervisor.cli.reading import load_run
from daplug_supervisor.cli.task.following import copy, near_end
from daplug_supervisor.core.lookup import find_task
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.secrets import Lines
from daplug_supervisor.errors import NotPossibleError, UsageError
from daplug_supervisor.views.text import clean, command, facts, stamp, wrap
from daplug_supervisor.workspace.files import STDERR, STDOUT, StateDirectory

if TYPE_CHECKING:
    from daplug_supervisor.core.state import Run, TaskState
    from daplug_supervisor.workspace.git.changes import Where

_LATEST = 16 << 10
"""Bytes of what was written before that are shown."""

_LOOK = 1.0
"""Seconds between looks into the journal."""


class Attached(Struct, frozen=True):
    """Where a task is at work, or was. `sentence` says what it does or waits for; `next`: what to type.

    `directory` is where it works: its worktree, or a shared checkout ('' if its worktree is not there any more).
    `attempt` is the latest one (0: there was none), with `provider`, `model` ('' for the provider's own), `since`
    (UTC) and `pid`, its shim's (0: none). `supervised`: a supervisor watches; `alive`: its process is there.
    """

    run: str
    task: str
    status: str
    state: str
    sentence: str
    supervised: bool
    alive: bool
    directory: str
    worktree: bool
    branch: str
    attempt: int
    provider: str
    model: str
    since: str
    pid: int
    stdout: str
    stderr: str
    next: tuple[str, ...]


@click.command()
@click.argument("name", metavar="TASK")
@click.option("--shell", is_flag=True, help="Open $SHELL where it works.")
@click.option("--no-follow", is_flag=True, help="Only say where it is, and what it wrote last.")
@options.chosen_run
@options.as_json
@options.state_dir
def attach(
    name: str, *, shell: bool, no_follow: bool, run: str | None, as_json: bool, state_dir: Path | None
) -> int:
    """Look at a task at work: where that is, and what it writes, until its attempt has ended.

    Nothing reaches the agent: Ctrl-C ends the looking, and the agent works on. With --json: the places.
    """
    if shell and as_json:
        raise UsageError("--shell goes without --json")
    directory = options.directory(state_dir)
    found = load_run(directory, run)
    place = _attached(directory, found, name)
    if as_json:
        print_data(place, "", as_json=True)
        return 0
    click.echo("\n".join(_text(place)))
    if shell:
        return _shell(directory, place)
    running = place.status == Status.RUNNING and place.attempt > 0
    if running and not no_follow:
        return _follow(directory, place)
    _show_end(place)
    click.echo("\n".join(_steps(place)))
    return 0


def _attached(directory: StateDirectory, run: Run, name: str) -> Attached:
    from daplug_supervisor.views.why import why  # noqa: PLC0415 (not for --help)

    task, spec = find_task(run, name), run.spec(name)
    seen, live = _worktree(directory, run, name), directory.holder() is not None
    found = why(run, name, now(run), live=live, stop_file=directory.stop_requested(), seen=seen)
    if spec.worktree:
        place = seen.path if seen is not None and Path(seen.path).is_dir() else ""
    else:
        place = str(Path(run.target) / (spec.cwd or ""))
    attempt = task.attempt
    folder = Path(directory.attempt(run.id, name, attempt.number)) if attempt else None
    provider = run.plan.providers.get(attempt.provider) if attempt else None
    return Attached(
        run=run.id,
        task=name,
        status=found.status,
        state=found.state,
        sentence=found.sentence,
        supervised=live,
        alive=_lives(task),
        directory=place,
        worktree=spec.worktree,
        branch=seen.branch if seen is not None else "",
        attempt=attempt.number if attempt else 0,
        provider=attempt.provider if attempt else "",
        model=spec.model or (provider.model if provider else None) or "",
        since=stamp(attempt.spawned_at or attempt.at) if attempt else "",
        pid=attempt.pid if attempt else 0,
        stdout=str(folder / STDOUT) if folder else "",
        stderr=str(folder / STDERR) if folder else "",
        next=found.next,
    )


def _worktree(directory: StateDirectory, run: Run, name: str) -> Where | None:
    """Where the task's worktree is; None if it has none."""
    if not run.spec(name).worktree:
        return None
    from daplug_supervisor.supervisor.closing.reports import owners  # noqa: PLC0415 (slow to import)
    from daplug_supervisor.workspace.git.changes import where_of  # noqa: PLC0415 (as above)

    of = {owner: task for owner, task in owners(directory, run).items() if task == name}
    return where_of(run.target, of).get(name)


def _lives(task: TaskState) -> bool:
    """Whether the process of its latest attempt is there."""
    from daplug_supervisor.ports import Identity  # noqa: PLC0415 (not for --help)
    from daplug_supervisor.processes import tree  # noqa: PLC0415

    attempt = task.attempt
    if task.status is not Status.RUNNING or attempt is None or not attempt.pid:
        return False
    return tree.lives(Identity(attempt.pid, attempt.start, attempt.boot))


# --- what is printed ---------------------------------------------------------------------------------------------


def _text(place: Attached) -> list[str]:
    by = f"{place.provider} ({place.model})" if place.model else place.provider
    known = {
        "works in": place.directory or "its worktree is not there (any more)",
        "branch": place.branch,
        "attempt": f"{place.attempt} by {by}, since {place.since}" if place.attempt else "none yet",
        "process": str(place.pid) if place.alive else "",
        "output": place.stdout,
    }
    columns = width()
    return [*_sentence(place), *facts(known, columns, "  ")]


def _sentence(place: Attached) -> list[str]:
    lost = place.status == Status.RUNNING and place.pid and not (place.alive or place.supervised)
    gone = " But its process is gone: the next start finds out how it ended." if lost else ""
    return wrap(f"{place.task}: {mask()(place.sentence)}{gone}", width())


def _steps(place: Attached) -> list[str]:
    return [f"  {clean(line)}" for line in place.next]


def _show_end(place: Attached) -> None:
    """Print the last that the latest attempt wrote."""
    for file in filter(None, (place.stdout, place.stderr)):
        path = Path(file)
        begin = near_end(path, _LATEST)
        if path.is_file():
            click.echo(f"--- {path.name}{', its end' if begin else ''}")
            copy(path, begin, Lines(mask()))


# --- following ---------------------------------------------------------------------------------------------------


def _follow(directory: StateDirectory, place: Attached) -> int:
    """Print what the attempt writes, until it has ended, or until a person has seen enough."""
    click.echo("Ctrl-C ends the looking; the agent works on.")
    try:
        run = _until_ended(directory, place)
    except KeyboardInterrupt:
        again, stop = (command("task", verb, place.task) for verb in ("attach", "cancel"))
        click.echo(f"\nThe agent works on. To look again: {again}\nTo end it: {stop}")
        return 0
    after = _attached(directory, run, place.task)
    click.echo("\n".join([*_sentence(after), *_steps(after)]))
    return 0


def _until_ended(directory: StateDirectory, place: Attached) -> Run:
    """Follow an attempt; returns the run when that is no longer at work."""
    paths = [Path(place.stdout), Path(place.stderr)]
    offsets = [near_end(path, _LATEST) for path in paths]
    lines = [Lines(mask()) for _ in paths]
    if any(offsets):
        click.echo(f"[... what it wrote before: {command('task', 'logs', place.task)} ...]")
    looked = -_LOOK
    while True:
        over = False
        if time.monotonic() - looked >= _LOOK:
            run, looked = load_run(directory, place.run), time.monotonic()
            over = _is_over(directory, run, place)
        for at, path in enumerate(paths):
            offsets[at] = copy(path, offsets[at], lines[at])
        if over:
            return run
        wait_for_change(paths[0].parent, _LOOK)


def _is_over(directory: StateDirectory, run: Run, place: Attached) -> bool:
    task = find_task(run, place.task)
    if task.status is not Status.RUNNING or task.attempt is None or task.attempt.number != place.attempt:
        return True
    return directory.holder() is None and not _lives(task)  # nobody records its end


# --- a shell -----------------------------------------------------------------------------------------------------


def _shell(directory: StateDirectory, place: Attached) -> int:
    """Open a shell where the task works, and wait for its end.

    Raises:
        NotPossibleError: there is no such place, or no shell.
    """
    if not place.directory:
        raise NotPossibleError(
            f"the worktree of task {place.task} is not there: see {command('task', 'show', place.task)}"
        )
    program = os.environ.get("SHELL") or "/bin/sh"
    told = {"DAPLUG_RUN": place.run, "DAPLUG_TASK": place.task, "DAPLUG_STATE_DIR": str(directory.path)}
    if place.alive:
        click.echo(
            "The agent is still at work here: it sees what you change, and that is taken for its work."
        )
    click.echo(f"A shell in {clean(place.directory)}; 'exit' leaves it.")
    before = signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is for the shell, and for what runs in it
    try:
        subprocess.run([program], cwd=place.directory, env={**os.environ, **told}, check=False)
    except OSError as error:
        raise NotPossibleError(
            f"{program} cannot be started in {place.directory}: {error.strerror}"
        ) from error
    finally:
        signal.signal(signal.SIGINT, before)
    return 0
