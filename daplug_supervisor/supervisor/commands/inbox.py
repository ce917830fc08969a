"""Commands from other processes: files renamed into ``inbox/``, answered by the event that carries their id."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Container
from logging import getLogger
from pathlib import Path
from typing import Protocol

import anyio
import msgspec

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.commands import Command
from daplug_supervisor.errors import NotPossibleError
from daplug_supervisor.ports import Durable
from daplug_supervisor.supervisor.commands.orders import RefusedBeforeError
from daplug_supervisor.supervisor.commands.watching import Watch
from daplug_supervisor.workspace.files import StateDirectory, write_atomically

log = getLogger(__name__)

MAX_SIZE = 64 << 10
_SETTLE = 1.0
"""Seconds before the folder is watched: a run that is over by then does not pay for it. It is read at once."""


class Receiver(Protocol):
    """What takes the commands: the supervisor."""

    directory: StateDirectory

    def check(self) -> None:
        """Check that the state directory is where it was."""
        ...

    async def command(self, command: Command) -> ev.CommandAnswered:
        """Carry one out."""
        ...

    def record(self, run: str, *events: ev.Event) -> Durable:
        """Record events."""
        ...


def send(directory: StateDirectory, command: Command) -> None:
    """Put a command where the live supervisor finds it.

    Raises:
        OSError: it could not be written.
    """
    write_atomically(directory.inbox / f"{command.id}.json", msgspec.json.encode(command))


def withdraw(directory: StateDirectory, command: Command) -> bool:
    """Take a command back that was sent. False: it was carried out, and its answer is durable."""
    try:
        (directory.inbox / f"{command.id}.json").unlink()
    except FileNotFoundError:
        return False
    return True


async def watch(receiver: Receiver) -> None:
    """Take commands as they come, for ever, and notice if their folder goes away.

    Raises:
        StateDirectoryError: it did.
    """
    await take(receiver)
    await anyio.sleep(_SETTLE)
    await take(receiver)
    receiver.check()
    folder = Watch("inbox")
    folder.arm([str(receiver.directory.inbox)])
    try:
        while True:
            await folder.change()
            receiver.check()
            await take(receiver)
    finally:
        folder.end()


def waiting(directory: StateDirectory) -> list[Path]:
    """What lies in the inbox, oldest name first."""
    return sorted(directory.inbox.glob("[!.]*.json"))


def remove(directory: StateDirectory, ids: Container[str]) -> None:
    """Take the commands with these ids out of the inbox: they are answered."""
    for path in waiting(directory):
        if _name(path) in ids:
            _remove(path)


async def take(receiver: Receiver) -> None:
    """Carry out what lies in the inbox."""
    for path in waiting(receiver.directory):
        answer = await _carry_out(receiver, path)
        if answer is not None:
            await receiver.record("", answer).wait()
        _remove(path)


async def _carry_out(receiver: Receiver, path: Path) -> ev.CommandAnswered | None:
    """Carry out one file. Returns a refusal, or None if the command was applied (and answered with its events)."""
    try:
        command = _read(path)
    except FileNotFoundError:
        return None  # its sender has withdrawn it
    except (OSError, ValueError, RecursionError) as error:
        name = _name(path)
        log.warning("inbox file %s refused: %s", name, error)
        return ev.CommandAnswered(name, ev.UNREADABLE, applied=False, message=f"not a command: {error}"[:300])
    try:
        await receiver.command(command)
    except RefusedBeforeError:
        return None
    except NotPossibleError as error:
        return ev.CommandAnswered(command.id, command.verb, applied=False, message=str(error))
    return None


def _name(path: Path) -> str:
    """The id in a file's name."""
    return ascii(path.stem)[1:-1][:100]


def _read(path: Path) -> Command:
    """The command in a file. Anybody who may write there put it there: it may be anything, a pipe for example."""
    # Looked at when it is open, or somebody could put another in its place in between.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ValueError("not a regular file") from error
        raise
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("not a regular file")
        if found.st_uid != os.geteuid():
            raise ValueError("it belongs to another user")
        data = os.read(descriptor, MAX_SIZE + 1)
    finally:
        os.close(descriptor)
    if len(data) > MAX_SIZE:
        raise ValueError(f"larger than {MAX_SIZE} bytes")
    return msgspec.json.decode(data, type=Command)


def _remove(path: Path) -> None:
    """Take a file out of the inbox; what cannot be removed, such as a directory, is put where nobody looks."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        with contextlib.suppress(OSError):
            path.rename(path.with_name(f".refused-{secrets.token_hex(6)}"))
