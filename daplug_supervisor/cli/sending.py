"""Telling a run something: through the inbox of the live supervisor, or directly when there is none."""

from __future__ import annotations

import secrets
import time

import anyio
import click

from daplug_supervisor.cli.inspect import wait_for_change
from daplug_supervisor.cli.output import print_json
from daplug_supervisor.core import events as ev
from daplug_supervisor.core.commands import Command, Verb
from daplug_supervisor.errors import NotPossibleError, SupervisorError
from daplug_supervisor.journal.reader import ReadOnlyJournal
from daplug_supervisor.supervisor.inbox import send, withdraw
from daplug_supervisor.supervisor.offline import carry_out
from daplug_supervisor.workspace.files import StateDirectory

_PATIENCE = 15.0
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
    directory.require()
    # Words of a command line may be no text at all, and the journal holds only text.
    run, task, provider, reason = (
        word.encode("utf-8", "backslashreplace").decode() for word in (run, task, provider, reason)
    )
    command = Command(secrets.token_hex(8), verb, run, task, provider, seconds, reason, force)
    answer = _ask(directory, command) if directory.holder() is not None else None
    if answer is None:
        answer = anyio.run(carry_out, directory, command)
    if not answer.applied:
        raise NotPossibleError(answer.message)
    if as_json:
        print_json({"id": answer.id, "verb": answer.verb, "applied": True, "message": answer.message})
    else:
        click.echo(answer.message or f"{verb}: done")
    return 0


def _ask(directory: StateDirectory, command: Command) -> ev.CommandAnswered | None:
    """Send it to the live supervisor, and wait for the event that answers it. None: it went away before that."""
    journal = ReadOnlyJournal(directory.journal)
    try:
        after = journal.last_seq()
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
