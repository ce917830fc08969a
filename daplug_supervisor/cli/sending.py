"""Telling a run something: through the inbox of the live supervisor, or directly when there is none.

An attempt that may divide its work tells it through its outbox: it may be allowed to write nowhere else.
"""

from __future__ import annotations

import os
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import anyio
import click
import msgspec
from msgspec.structs import replace

from daplug_supervisor.cli.inspect import wait_for_change
from daplug_supervisor.cli.output import print_json
from daplug_supervisor.cli.within import Within, inside
from daplug_supervisor.core import events as ev
from daplug_supervisor.core.commands import FOR_AGENTS, Command, Verb
from daplug_supervisor.errors import NotPossibleError, SupervisorError, UsageError
from daplug_supervisor.journal.reader import ReadOnlyJournal
from daplug_supervisor.supervisor.commands.inbox import MAX_SIZE, send, withdraw
from daplug_supervisor.supervisor.commands.offline import carry_out
from daplug_supervisor.supervisor.commands.orders import as_before
from daplug_supervisor.views.text import clean
from daplug_supervisor.workspace import outbox
from daplug_supervisor.workspace.files import StateDirectory, open_output, write_atomically

_PATIENCE = 15.0
_FROM_ANYWHERE: Final = frozenset(
    {"halt", "resume", "retry", "skip", "cancel", "pause_provider", "resume_provider"}
)
"""What attempts that may not divide their work could always say, if they are in no sandbox."""

_FIRST_LOOK = 0.1
_LOOK = 1.0
"""Seconds between looks at whether the supervisor is still there."""


def tell(
    directory: StateDirectory, verb: Verb, *, run: str = "", task: str = "", provider: str = "",
    seconds: float | None = None, reason: str = "", force: bool = False, as_json: bool = False,
) -> int:  # fmt: skip
    """Have a command carried out, and say what came of it.

    Raises:
        NotPossibleError: it was refused; nothing was changed.
    """
    # Words of a command line may be no text at all, and the journal holds only text.
    run, task, provider, reason = (
        word.encode("utf-8", "backslashreplace").decode() for word in (run, task, provider, reason)
    )
    command = Command(secrets.token_hex(8), verb, run, task, provider, seconds, reason, force)
    return tell_command(directory, command, as_json=as_json)


def tell_command(directory: StateDirectory, command: Command, *, as_json: bool) -> int:
    """Have a whole command carried out, and say what came of it.

    Raises:
        NotPossibleError: it was refused; nothing was changed.
        UsageError: it is too large for an inbox.
    """
    where = _attempt(directory, command)
    if where is not None and not where.outbox:
        command = _on_behalf(where, command)
    if where is None or not where.outbox:
        directory.require()
    if len(msgspec.json.encode(command)) > MAX_SIZE:
        raise UsageError(
            f"all that is said together is longer than {MAX_SIZE >> 10} KiB: put it into files, and name those"
        )
    if where is not None and where.outbox:
        answer: ev.CommandAnswered | None = _ask_from_attempt(Path(where.outbox), command)
    else:
        answer = _ask(directory, command) if directory.holder() is not None else None
    if answer is None:
        answer = anyio.run(carry_out, directory, command)
    if not answer.applied:
        raise NotPossibleError(answer.message)
    if as_json:
        print_json({"id": answer.id, "verb": answer.verb, "applied": True, "message": answer.message})
    else:
        click.echo(clean(answer.message) or f"{command.verb}: done")
    return 0


def _ask(directory: StateDirectory, command: Command) -> ev.CommandAnswered | None:
    """Send it to the live supervisor, and wait for the event that answers it. None: it went away before that."""
    journal = ReadOnlyJournal(directory.journal)
    try:
        after = journal.last_seq()
        before = journal.answer(command.id)
        if before is not None:
            return as_before(before, command)
        send(directory, command)
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            # In this order: it may answer and die before it has taken the file out of its inbox.
            withdrawn = directory.holder() is None and withdraw(directory, command)
            for entry in journal.read(None, after):
                after = entry.seq
                if isinstance(entry.event, ev.CommandAnswered) and entry.event.id == command.id:
                    return entry.event
            if withdrawn:
                return None
            wait_for_change(directory.path, min(_LOOK, end - time.monotonic()))
    finally:
        journal.close()
    raise SupervisorError(
        f"the supervisor did not answer within {_PATIENCE:g} s; the command stays in its inbox ({command.id})"
    )


# --- from within an attempt -------------------------------------------------------------------------------------


def _attempt(directory: StateDirectory, command: Command) -> Within | None:
    """The attempt on whose behalf a command comes; None if it is a person's, or about something else."""
    where = inside()
    if where is None or not _is_of(where, directory):
        return None
    if command.verb in FOR_AGENTS or (where.sure and (where.outbox or command.verb not in _FROM_ANYWHERE)):
        return where
    return None


def _is_of(where: Within, directory: StateDirectory) -> bool:
    """Whether a state directory is that of the attempt: it may run plans of its own."""
    if where.state:
        return os.path.realpath(where.state) == os.path.realpath(directory.path)
    return (directory.run(where.run) / where.task).is_dir()


def meant(directory: StateDirectory, command: Command) -> Command:
    """A command as it will be taken: within an attempt, as one of its task."""
    where = _attempt(directory, command)
    if where is None:
        return command
    return replace(command, run=where.run, sender=where.task) if where.outbox else _on_behalf(where, command)


def _on_behalf(where: Within, command: Command) -> Command:
    """What is meant by a command of somebody who can say nothing through an outbox."""
    run = command.run or where.run
    if where.sure:
        return replace(command, run=run, sender=where.task)
    if command.verb == "create":
        new = tuple(replace(one, parent=one.parent or where.task) for one in command.new)
        return replace(command, run=run, new=new)
    return replace(command, run=run, task=command.task or where.task)


def _ask_from_attempt(folder: Path, command: Command) -> ev.CommandAnswered:
    """Put a command into the outbox of an attempt, and wait for the answer.

    Raises:
        SupervisorError: it cannot be put there, or nobody answered.
    """
    answers = folder / outbox.ANSWERS
    try:
        write_atomically(folder / outbox.COMMANDS / f"{command.id}.json", msgspec.json.encode(command))
    except OSError as error:
        raise SupervisorError(f"{folder}: {error.strerror}; nothing was asked for") from error
    end, look = time.monotonic() + _PATIENCE, _FIRST_LOOK
    while True:
        with suppress(OSError, msgspec.MsgspecError), open_output(answers / f"{command.id}.json") as file:
            return msgspec.json.decode(file.read(MAX_SIZE), type=ev.CommandAnswered)
        left = end - time.monotonic()
        if left <= 0 or not answers.is_dir():
            break
        wait_for_change(answers, min(look, left))
        look = min(_LOOK, 2 * look)
    raise SupervisorError(
        f"the supervisor did not answer within {_PATIENCE:g} s; the command stays in the outbox ({command.id}), "
        "and is carried out when it is back, or when this attempt has ended"
    )
