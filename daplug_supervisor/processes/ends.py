"""How attempts ended that are found again, or whose shim is gone: the exit record on disk counts."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
from logging import getLogger
from typing import Any, Literal

import anyio
import anyio.to_thread
import msgspec

from daplug_supervisor.core.health import Signs
from daplug_supervisor.core.results import Exit, Lack
from daplug_supervisor.ports import Identity
from daplug_supervisor.processes import shim, tree
from daplug_supervisor.processes.signs import look

log = getLogger(__name__)

STOPPING = (signal.SIGTERM, signal.SIGCONT)
"""What asks a shim to stop its tree: also one that its agent has stopped (SIGSTOP), which could not hear."""

_POLL_WITHOUT_PIDFD = 0.5

_COLLECT_PATIENCE = 2.0
_COLLECT_LOOK = 0.005
"""How long and how often it is looked whether a dead shim was collected by its launcher."""

_NOBODY = frozenset({errno.ESRCH, errno.EINVAL, errno.ENOENT})
"""No process has the pid; of some other process a thread may have the number now (EINVAL, since Linux 6.9 ENOENT)."""


class Found:
    """An attempt that another supervisor launched."""

    def __init__(self, identity: Identity, directory: str) -> None:
        self._identity = identity
        self._directory = directory

    async def wait(self) -> Exit | None:
        """Wait until the shim is gone, then read what it left."""
        # Not sooner: as long as its agent lives, a record is not the shim's last word.
        await ended(self._identity)
        return await settle(self._identity, self._directory)

    def stop(self) -> None:
        """Ask the shim to end the tree, if this very shim still lives."""
        if tree.identity_of(self._identity.pid) != self._identity:
            return
        with contextlib.suppress(ProcessLookupError):
            if hasattr(os, "pidfd_open"):
                pidfd = os.pidfd_open(self._identity.pid)
                try:  # the pidfd is of whoever has the pid now: ask who that is before signalling
                    if tree.identity_of(self._identity.pid) == self._identity:
                        for number in STOPPING:
                            signal.pidfd_send_signal(pidfd, number)
                finally:
                    os.close(pidfd)
            else:  # pragma: not on this platform
                for number in STOPPING:
                    os.kill(self._identity.pid, number)

    def signs(self) -> Signs | None:
        """What the tree shows of its work at this moment."""
        return look(self._identity)


async def ended(identity: Identity) -> None:
    """Wait until this very process is gone."""
    if not hasattr(os, "pidfd_open"):  # pragma: not on this platform
        while tree.lives(identity):  # noqa: ASYNC110 (there is nothing to wait for)
            await anyio.sleep(_POLL_WITHOUT_PIDFD)
        return
    try:
        pidfd = os.pidfd_open(identity.pid)
    except OSError as error:
        if error.errno not in _NOBODY:
            raise
        return
    try:
        if tree.identity_of(identity.pid) == identity:
            await anyio.wait_readable(pidfd)
    finally:
        os.close(pidfd)


async def settle(identity: Identity, directory: str) -> Exit | None:
    """What became of an attempt whose shim is gone: its exit, None if it never ran, or an unknown exit.

    Whatever such a shim may have left is ended first, so that nothing works on beside a second try.
    """
    found = read_record(directory)
    if isinstance(found, Exit):
        return found
    with anyio.move_on_after(_COLLECT_PATIENCE):  # a launcher that lives collects it when its tree is gone
        while tree.is_uncollected(identity):  # noqa: ASYNC110 (there is nothing to wait for)
            await anyio.sleep(_COLLECT_LOOK)
    mark = "" if found is None else str(found.get("mark", ""))
    while not await anyio.to_thread.run_sync(tree.sweep, identity, mark, directory, abandon_on_cancel=True):
        log.warning("%s: what a killed shim left does not end; waiting for it", directory)
    if found is None and identity.boot == tree.boot_id():
        return None
    return Exit(None)  # of another boot: it may have run, and a power cut may have taken the record with it


def read_record(directory: str) -> Exit | dict[str, Any] | None:
    """The record in an attempt's directory: its exit, the raw record of one that has not ended, None for none."""
    try:  # an agent may have put anything in its place, a pipe for example
        descriptor = os.open(f"{directory}/{shim.RECORD}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            data = os.read(descriptor, shim.RECORD_SIZE + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return None
    except OSError:
        return {}
    found = read_exit(data)
    if found is not None:
        return found
    with contextlib.suppress(ValueError, RecursionError):
        record = json.loads(data)
        if isinstance(record, dict):
            return record
    return {}


def read_exit(data: bytes) -> Exit | None:
    """The exit in a record, or None if it is not a complete exit record."""
    try:
        record = _record.decode(data)
    except (ValueError, RecursionError):  # msgspec's errors are among them
        return None
    if record.state != "exited":
        return None
    return Exit(
        record.code, record.stopped, record.error, record.seconds, record.cpu, record.max_rss, record.lack
    )


class _Record(msgspec.Struct):
    """What a shim leaves."""

    state: str
    code: int | None = None
    stopped: Literal["", "request", "deadline"] = ""
    error: str = ""
    seconds: float = 0.0
    cpu: float = 0.0
    max_rss: int = 0
    lack: Lack = ""


_record = msgspec.json.Decoder(_Record)
