"""Starting process trees and attaching to them: the supervisor's side of `shim`.

Launched and found again are the same: an `Attached` waits until its shim says that the tree is gone, or until the
shim itself is gone, and then the exit record on disk is what counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import marshal
import os
import signal
import socket
import subprocess
import sys
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

import anyio

from daplug_supervisor.core.bundle import ATTEMPT_VARIABLE
from daplug_supervisor.core.environment import handed_on
from daplug_supervisor.core.results import Exit
from daplug_supervisor.errors import LaunchError
from daplug_supervisor.ports import Attached, Gate, Identity, Launch
from daplug_supervisor.processes import shim, tree
from daplug_supervisor.processes.ends import STOPPING, Found, ended, read_exit, settle

MAX_IDLE = 16
_START_PATIENCE = 20.0
_CLOSE_PATIENCE = 5.0

_DESCRIPTORS = 2 if hasattr(os, "pidfd_open") else 1
"""What comes with a shim: its gate and its pidfd."""

_STARTING = (
    "import sys; sys.path.insert(0, sys.argv[1].rpartition('/')[0]); from shim.main import main; "
    "del sys.path[0]; main()"
)
"""Where the package lies is on the path only as long as it is imported."""

_TOO_MANY = "too many open files: raise the limit, see 'ulimit -n'"


class ShimLauncher:
    """`ports.Launcher` on real processes: one warm launcher process that forks the shims.

    Args:
        environ: what every attempt gets; of our own environment what is on the list, unless given.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = handed_on(os.environ) if environ is None else dict(environ)
        self._control: socket.socket | None = None
        self._process: _Process | None = None
        self._idle: deque[_Shim] = deque()
        self._wanted: deque[asyncio.Future[_Shim]] = deque()
        self._held: weakref.WeakSet[_Shim] = weakref.WeakSet()
        self._spares = 0
        self._closed = True
        self._reopening = anyio.Lock()

    async def open(self) -> None:
        """Start the launcher process.

        Raises:
            LaunchError: it cannot be started.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = _start(theirs, self._environ)
            except OSError as error:
                ours.close()
                raise LaunchError(f"cannot start {sys.executable}: {error.strerror}") from error
        ours.setblocking(False)
        self._control, self._closed = ours, False
        asyncio.get_running_loop().add_reader(ours.fileno(), self._on_reply)
        self._spare()

    async def close(self) -> None:
        """Let go: idle shims end, attempts live on, and so does the launcher as long as there are any."""
        self._closed = True
        self._end_control(LaunchError("the launcher is closed"))
        self._idle.clear()
        at_work = any(held.waiter is not None for held in self._held)
        for held in list(self._held):
            held.close()
        await self._leave_launcher(wait=not at_work)

    def idle(self) -> Gate | None:
        """A shim that waits already, if there is one."""
        while self._idle:
            found = self._idle.pop()
            if not found.ended:
                if not self._idle:
                    self._spare()
                return found
        return None

    async def reserve(self) -> Gate:
        """A shim at its gate.

        Raises:
            LaunchError: the launcher is closed, or is gone and cannot be started again.
        """
        found = self.idle()
        if found is not None:
            return found
        try:
            return await self._make()
        except LaunchError:
            if self._control is not None:
                raise
        return await self._make()

    async def _make(self) -> _Shim:
        """Have a shim made, by another launcher if somebody killed the one we had. What runs is not touched by that.

        Raises:
            LaunchError: the launcher is closed, gone, or does not answer.
        """
        async with self._reopening:
            if self._closed:
                raise LaunchError("the launcher is closed")
            if self._control is None:
                await self._leave_launcher(wait=True)
                await self.open()
        try:
            with anyio.fail_after(_START_PATIENCE):
                return await self._ask()
        except TimeoutError:
            raise LaunchError(f"the launcher did not answer in {_START_PATIENCE:g} s") from None

    async def _leave_launcher(self, *, wait: bool) -> None:
        """Collect a launcher that ends by itself; one that outlives us is collected when there is another occasion."""
        if self._process is None:
            return
        identity = tree.identity_of(self._process.pid)
        if wait and identity is not None:
            with anyio.move_on_after(_CLOSE_PATIENCE, shield=True):
                await ended(identity)
        _outliving.append(self._process)
        self._process = None
        _collect()

    def release(self, gate: Gate) -> None:
        """Take a shim back whose gate was not opened, or whose attempt's end is durable."""
        assert isinstance(gate, _Shim), "gates come from this launcher"  # noqa: S101
        if gate.ended:
            return
        if self._control is None or gate.asked or len(self._idle) >= MAX_IDLE:
            gate.close()  # one that was asked to stop may hear of it only now, and take it for the next attempt
        else:
            self._idle.append(gate)

    async def attach(self, identity: Identity, directory: str) -> Attached:
        """Take back an attempt whose shim was journalled as `identity` and that works in `directory`."""
        return Found(identity, directory)

    def _ask(self) -> asyncio.Future[_Shim]:
        assert self._control is not None, "asked only while open"  # noqa: S101
        future: asyncio.Future[_Shim] = asyncio.get_running_loop().create_future()
        self._wanted.append(future)
        try:
            self._control.send(shim.FORK)
        except OSError as error:
            self._end_control(LaunchError(f"the launcher is gone: {error.strerror}"))
        return future

    def _spare(self) -> None:
        """Have one more shim made, so that the next start need not wait for it."""
        if self._control is not None and not self._spares:
            self._spares += 1
            self._ask().add_done_callback(self._on_spare)

    def _on_spare(self, future: asyncio.Future[_Shim]) -> None:
        self._spares -= 1
        if not future.cancelled() and future.exception() is None:
            self._idle.appendleft(future.result())

    def _on_reply(self) -> None:
        control = self._control
        if control is None:
            return
        try:
            reply, descriptors, _, _ = socket.recv_fds(control, shim.REPLY_SIZE, 2)
        except BlockingIOError:
            return
        except OSError:
            reply, descriptors = b"", []
        if not reply:
            self._end_control(LaunchError("the launcher is gone"))
            return
        text = reply.decode("utf-8", "replace").rstrip()
        if text.startswith(shim.REFUSED) or len(descriptors) < _DESCRIPTORS:
            for descriptor in descriptors:
                os.close(descriptor)
            why = text.removeprefix(shim.REFUSED) if text.startswith(shim.REFUSED) else _TOO_MANY
            if self._wanted:
                self._refuse(LaunchError(f"no process could be started: {why}"))
            return
        pid, start, boot = text.split()
        made = _Shim(Identity(int(pid), int(start), boot), list(descriptors))
        self._held.add(made)
        while self._wanted:
            future = self._wanted.popleft()
            if not future.done():
                future.set_result(made)
                return
        self._idle.append(made)

    def _end_control(self, error: LaunchError) -> None:
        if self._control is not None:
            asyncio.get_running_loop().remove_reader(self._control.fileno())
            self._control.close()
            self._control = None
        while self._wanted:
            self._refuse(error)

    def _refuse(self, error: LaunchError) -> None:
        """Tell who has waited longest that there is no shim for it."""
        future = self._wanted.popleft()
        if not future.done():
            future.set_exception(error)
            future.exception()  # a spare has nobody who asks for it


class _Shim:
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
        attached = _Launched(self, launch.directory)
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


class _Launched:
    """An attempt whose gate we opened ourselves."""

    def __init__(self, held: _Shim, directory: str) -> None:
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


class _Process(subprocess.Popen[bytes]):
    """A launcher. It may outlive us: that is no mistake, and not worth the warning of its base class."""

    def __del__(self) -> None:
        pass


_outliving: list[_Process] = []
"""Launchers that were let go, and are not collected yet: they live as long as their shims."""


def _collect() -> None:
    _outliving[:] = [process for process in _outliving if process.poll() is None]


def _start(theirs: socket.socket, environ: Mapping[str, str]) -> _Process:
    """Start a launcher at its end of a socket. Not by way of asyncio, which kills what outlives its loop.

    It has no mark, although we may have: an agent may have started us, and a mark is for its own tree only.

    Raises:
        OSError: it cannot be started.
    """
    null, number = subprocess.DEVNULL, theirs.fileno()
    clean = {name: value for name, value in environ.items() if name != ATTEMPT_VARIABLE}
    return _Process(
        [sys.executable, "-I", "-S", *_program(), str(number)],
        stdin=null, stdout=null, stderr=null, pass_fds=(number,), start_new_session=True, env=clean,
    )  # fmt: skip


def _program() -> list[str]:
    """The words that start the shim's package as a program of its own. The last of them says in `ps` what it is.

    What was compiled from another source does not count, however it was compiled: nobody may have been allowed to
    replace it since. Compiled files are kept, or not, and where, as they are for us.
    """
    options = ["--check-hash-based-pycs", "always"]
    if sys.dont_write_bytecode:
        options.append("-B")
    if sys.pycache_prefix:
        options += ["-X", f"pycache_prefix={Path(sys.pycache_prefix).resolve()}"]
    return [*options, "-c", _STARTING, str(Path(shim.__file__).resolve().parent)]
