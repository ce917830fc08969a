"""``doctor``: what is wrong here, and what to do about it."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from msgspec import Struct

from daplug_supervisor.cli import options
from daplug_supervisor.cli.output import print_data
from daplug_supervisor.core.machine import ACTIVE
from daplug_supervisor.core.state import State, apply
from daplug_supervisor.errors import EXIT_DONE, EXIT_JOURNAL, EXIT_NOT_ALL_DONE, JournalError, SupervisorError
from daplug_supervisor.journal.reader import ReadOnlyJournal
from daplug_supervisor.ports import Identity
from daplug_supervisor.processes import tree
from daplug_supervisor.views.text import clean, number
from daplug_supervisor.workers.locate import find
from daplug_supervisor.workers.settings import Settings
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
@options.as_json
@options.state_dir
def doctor(*, executor: str | None, as_json: bool, state_dir: Path | None) -> int:
    """Look for what is wrong: system, state directory, journal, running agents. Exit 5 if the journal is damaged."""
    directory = options.directory(state_dir)
    found = [*_system(executor), *_directory(directory), *_journal(directory)]
    text = "\n".join(
        f"{one.level:4}  {one.about}: {clean(one.message)}{f'  -> {one.remedy}' if one.remedy else ''}"
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
    yield Finding(level, "disk", f"{free >> 20} MiB free", "" if level == "ok" else "free some space")
    holder = directory.holder()
    yield Finding("ok", "supervisor", f"process {holder['pid']} is at work" if holder else "none is running")
    if directory.stop_requested():
        yield Finding("note", "halt", "the STOP file is there", "daplug-supervise resume")


def _journal(directory: StateDirectory) -> Iterator[Finding]:
    if not directory.journal.exists():
        yield Finding("note", "journal", "there is none yet")
        return
    try:
        journal = ReadOnlyJournal(directory.journal)
        damage = journal.damage()
        state = State()
        for entry in journal.read(None):
            apply(state, entry)
        journal.close()
    except (JournalError, SupervisorError) as error:
        yield Finding(
            "bad", "journal", str(error), f"keep a copy of {directory.journal}; start with another directory"
        )
        return
    for line in damage:
        yield Finding(
            "bad", "journal", line, f"keep a copy of {directory.journal}; start with another directory"
        )
    size = directory.journal.stat().st_size
    yield Finding(
        "ok", "journal", f"{number(state.seq, 'event')}, {number(len(state.runs), 'run')}, {size >> 10} KiB"
    )
    yield from _orphans(state, supervised=directory.holder() is not None)


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
