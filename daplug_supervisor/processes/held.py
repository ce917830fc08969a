"""A shim whose gate we hold, and the attempt that it works on."""

from __future__ import annotations

import asyncio
import contextlib
import marshal
import os
import signal
import socket
from collections.abc import Callable

from daplug_supervisor.core.bundle import ATTEMPT_VARIABLE
from daplug_supervisor.core.health import Signs
from daplug_supervisor.core.results import Exit
from daplug_supervisor.ports import Attached, Identity, Launch
from daplug_supervisor.processes import shim
from daplug_supervisor.processes.ends import STOPPING, read_exit, settle
from daplug_supervisor.processes.signs import look


class HeldShim:
    """A shim that we hold the gate of: idle, or at work."""

    def __init__(self, identity: Identity, descriptors: list[int]) -> None:
        self._identity = identity
        self._gate = socket.socket(fileno=descriptors[0])
        self._gate.setblocking(False)
        self._pidfd = descriptors[1] if len(descriptors) > 1 else -1  # -1: not on this platform
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._gate.fileno(), self._on_record)
        self._unsent = b""
        self._received = b""
        self.waiter: Callable[[bytes], None] | None = None
        self.asked = False
        self.ended = False

    @property
    def identity(self) -> Identity:
        """Who it is."""
        return self._identity

    def open(self, launch: Launch) -> Attached:
        """Let it start `launch`."""
        environ = launch.env
        message = marshal.dumps(
            {
                "directory": launch.directory, "argv": list(launch.argv), "cwd": launch.cwd, "env": environ,
                "deadline": launch.deadline, "grace": launch.grace, "output_limit": launch.output_limit,
                "stdin": launch.stdin,
                "mark": environ.get(ATTEMPT_VARIABLE, ""),
            }
        )  # fmt: skip
        attached = Launched(self, launch.directory)
        if self.ended:  # while the launch was made durable
            attached.on_record(b"")
            return attached
        self.waiter = attached.on_record
        self._send(len(message).to_bytes(shim.HEAD_SIZE, "big") + message)
        return attached

    def stop(self) -> None:
        """Ask it to end its tree."""
        if self.ended:
            return
        self.asked = True
        for number in STOPPING:
            with contextlib.suppress(ProcessLookupError):
                if self._pidfd >= 0:
                    signal.pidfd_send_signal(self._pidfd, number)
                else:  # pragma: not on this platform
                    os.kill(self._identity.pid, number)

    def close(self) -> None:
        """Let go of the gate: the shim ends as soon as it has nothing to do."""
        if self.ended:
            return
        self.ended = True
        self._loop.remove_reader(self._gate.fileno())
        self._loop.remove_writer(self._gate.fileno())
        self._gate.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)

    def _send(self, data: bytes) -> None:
        """Send what the socket takes now, and the rest (an environment may be large) when it takes more."""
        self._unsent += data
        try:
            sent = self._gate.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # it died: the reader tells whoever waits
        self._unsent = self._unsent[sent:]
        if self._unsent:
            self._loop.add_writer(self._gate.fileno(), self._on_writable)

    def _on_writable(self) -> None:
        self._loop.remove_writer(self._gate.fileno())
        self._send(b"")

    def _on_record(self) -> None:
        try:
            data = self._gate.recv(shim.RECORD_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        waiter = self.waiter
        if not data:
            self.close()
        else:
            self._received += data
            if len(self._received) < shim.RECORD_SIZE:
                return
            data, self._received = self._received, b""
        if waiter is not None:
            self.waiter = None
            waiter(data)


class Launched:
    """An attempt whose gate we opened ourselves."""

    def __init__(self, held: HeldShim, directory: str) -> None:
        self._shim = held
        self._directory = directory
        self._record: bytes | None = None
        self._told = asyncio.Event()

    def on_record(self, record: bytes) -> None:
        """The shim sent its exit record, or (empty) is gone."""
        self._record = record
        self._told.set()

    async def wait(self) -> Exit | None:
        """The record that the shim sent; if it was killed, what is on disk."""
        if self._record is None:
            await self._told.wait()
        found = read_exit(self._record) if self._record else None
        return found or await settle(self._shim.identity, self._directory)

    def stop(self) -> None:
        """Ask the shim to end the tree, if it has not told its end yet: then it may have another attempt already."""
        if self._record is None:
            self._shim.stop()

    def signs(self) -> Signs | None:
        """What the tree shows of its work at this moment."""
        return look(self._shim.identity) if self._record is None else None
