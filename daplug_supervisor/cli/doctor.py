"""``doctor``: what is wrong here, and what to do about it."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import click
from msgspec import Struct

from daplug_supervisor.cli import options
from daplug_supervisor.cli.output import print_data
from daplug_supervisor.core.machine import ACTIVE
from daplug_supervisor.core.retry import attempt_name
from daplug_supervisor.core.state import State, fold
from daplug_supervisor.errors import (
    EXIT_DONE,
    EXIT_JOURNAL,
    EXIT_NOT_ALL_DONE,
    StateDirectoryError,
    SupervisorError,
)
from daplug_supervisor.journal import wal
from daplug_supervisor.journal.reader import ReadOnlyJournal
from daplug_supervisor.ports import Identity
from daplug_supervisor.processes import tree
from daplug_supervisor.supervisor.clock import SystemClock, clock_of
from daplug_supervisor.supervisor.repair import journal as repair
from daplug_supervisor.views.health import still_suspicious, suspect_words
from daplug_supervisor.views.text import clean, command, number
from daplug_supervisor.workers.cli.models import CLIS
from daplug_supervisor.workers.locate import find
from daplug_supervisor.workers.settings import Settings
from daplug_supervisor.workspace import room, suspects
from daplug_supervisor.workspace.files import StateDirectory

_LITTLE_ROOM = 256 << 20


class Finding(Struct, frozen=True):
    """One thing that was looked at. `level`: ok, note, or bad; `remedy` is what to do."""

    level: str
    about: str
    message: str
    remedy: str = ""


@click.command()
@click.option("--executor", metavar="PATH", help="daplug's executor.py, or a checkout of daplug.")
@click.option(
    "--repair",
    "wanted",
    is_flag=True,
    help="Put a new journal of what can be read in the place of a damaged one, which is kept.",
)
@options.as_json
@options.state_dir
def doctor(*, executor: str | None, wanted: bool, as_json: bool, state_dir: Path | None) -> int:
    """Look for what is wrong: system, state directory, journal, running agents. Exit 5 if the journal is damaged.

    Without --repair nothing is changed, and it is said what a repair would bring. With it, exit 1 if anything was lost.
    """
    directory = options.directory(state_dir)
    looked = (
        (_repair(directory),) if wanted else (_system(executor), _directory(directory), _journal(directory))
    )
    found = [finding for findings in looked for finding in findings]
    text = "\n".join(
        f"{one.level:4}  {one.about}: {clean(one.message)}{f'  -> {clean(one.remedy)}' if one.remedy else ''}"
        for one in found
    )
    print_data(found, text, as_json=as_json)
    if any(one.level == "bad" and one.about == "journal" for one in found):
        return EXIT_JOURNAL
    return EXIT_NOT_ALL_DONE if any(one.level == "bad" for one in found) else EXIT_DONE


def _system(executor: str | None) -> Iterator[Finding]:
    yield Finding("ok", "python", f"{platform.python_version()} at {sys.executable}")
    yield Finding("ok", "sqlite", sqlite3.sqlite_version)
    if sys.platform == "linux":
        yield Finding(
            "ok", "system", "Linux: trees are swept with the kernel's word, shims are found by pidfd"
        )
    else:
        yield Finding(
            "note", "system", f"{platform.system()}: processes that leave their group are not found"
        )
    git = shutil.which("git")
    yield (
        Finding("ok", "git", git) if git else Finding("note", "git", "not found", "install git for worktrees")
    )
    place = _attempt(lambda: find(Settings(str(options.here()), executor, os.environ)))
    if isinstance(place, str):
        yield Finding("note", "executor.py", place, "only needed for providers with worker: executor")
    else:
        yield Finding("ok", "executor.py", str(place))
    for cli in CLIS.values():
        found = shutil.which(cli.name)
        remedy = f"only needed for providers that run by it; npm install -g {cli.npm}"
        yield Finding("ok", cli.name, found) if found else Finding("note", cli.name, "not installed", remedy)


def _attempt(function: Callable[[], object]) -> object:
    try:
        return function()
    except SupervisorError as error:
        return str(error)


def _directory(directory: StateDirectory) -> Iterator[Finding]:
    path = directory.path
    if not path.is_dir():
        yield Finding("note", "state directory", f"{path} is not there yet")
        return
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        yield Finding("bad", "state directory", f"{path} is open to others ({mode:o})", f"chmod 700 {path}")
    if not os.access(path, os.W_OK):
        yield Finding("bad", "state directory", f"{path} cannot be written", "mend its permissions")
    free = shutil.disk_usage(path).free
    level = "ok" if free > _LITTLE_ROOM else "bad"
    lack = room.notice(str(path))
    yield Finding(level, "disk", lack or f"{free >> 20} MiB free", "" if level == "ok" else "free some space")
    holder = directory.holder()
    yield Finding("ok", "supervisor", f"process {holder['pid']} is at work" if holder else "none is running")
    if directory.stop_requested():
        yield Finding("note", "halt", "the STOP file is there", "daplug-supervise resume")


def _journal(directory: StateDirectory) -> Iterator[Finding]:
    path, holder = directory.journal, directory.holder()
    try:
        damage = repair.look(path)
        if damage:
            yield from (Finding("bad", "journal", line) for line in damage)
            if holder is None:
                yield from _tell(repair.plan(directory, SystemClock().now()))
            yield Finding(
                "note", "repair", "nothing was started or changed", command("doctor", "--repair") if holder is None
                else f"end process {holder['pid']}, then {command('doctor', '--repair')}",
            )  # fmt: skip
            return
        if not path.exists():
            yield Finding("note", "journal", "there is none yet")
            return
        with closing(ReadOnlyJournal(path)) as journal:
            state = fold(journal.read(None))
    except SupervisorError as error:
        yield Finding("bad", "journal", str(error))
        return
    size = path.stat().st_size
    yield Finding(
        "ok", "journal", f"{number(state.seq, 'event')}, {number(len(state.runs), 'run')}, {size >> 10} KiB"
    )
    if large := wal.large(path):
        yield Finding("bad", "write-ahead log", large, "end that process")
    yield from _orphans(state, supervised=holder is not None)
    yield from _suspects(directory, state)


def _suspects(directory: StateDirectory, state: State) -> Iterator[Finding]:
    """Attempts that show no sign of work, or take too long."""
    for run in state.runs.values():
        now = clock_of(run).now()
        for one in still_suspicious(run, suspects.read(directory.run(run.id))):
            what = f"{attempt_name(run.id, one.task, one.attempt)} {suspect_words(one, now)}"
            yield Finding("note", "agent", what, command("task", "logs", one.task))


def _repair(directory: StateDirectory) -> Iterator[Finding]:
    if not directory.path.is_dir():
        raise StateDirectoryError(f"{directory.path} is not there: there is nothing to repair")
    lock = directory.lock()
    try:
        damage = repair.look(directory.journal)
        if not damage:
            yield Finding("ok", "journal", "it is sound: there is nothing to repair")
            return
        yield from (Finding("note", "journal", f"it was damaged: {line}") for line in damage)
        yield from _tell(repair.repair(directory, SystemClock().now()))
    finally:
        lock.release()


def _tell(made: repair.Repair) -> Iterator[Finding]:
    """What a repair has brought, or would bring."""
    for loss in made.losses:
        yield Finding("bad", f"lost {loss.about}", loss.message, loss.remedy)
    events = f"{number(made.found, 'event')} {'was' if made.found == 1 else 'were'}"
    if made.kept is None:
        yield Finding(
            "note", "repair", f"{events.rpartition(' ')[0]} would be recovered, the damaged files kept"
        )
    else:
        yield Finding("ok", "journal", f"repaired: {events} recovered; the damaged files are in {made.kept}")


def _orphans(state: State, *, supervised: bool) -> Iterator[Finding]:
    """Attempts that the journal says are running: alive without a supervisor, or gone."""
    for run in state.runs.values():
        for task in run.tasks.values():
            attempt = task.attempt
            if task.status not in ACTIVE or attempt is None or supervised:
                continue
            lives = bool(attempt.pid) and tree.lives(Identity(attempt.pid, attempt.start, attempt.boot))
            what = f"{run.id}/{task.id}#{attempt.number}"
            message = (
                f"{what} works on without a supervisor" if lives else f"{what} has ended while nobody watched"
            )
            yield Finding("note", "agent", message, "daplug-supervise resume takes it back")
