"""Starting process trees and attaching to them: the supervisor's side of `shim`.

Launched and found again are the same: an `Attached` waits until its shim says that the tree is gone, or until the
shim itself is gone, and then the exit record on disk is what counts.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import weakref
from collections import deque
from collections.abc import Mapping

import anyio

from daplug_supervisor.core.environment import handed_on
from daplug_supervisor.errors import LaunchError
from daplug_supervisor.ports import Attached, Gate, Identity
from daplug_supervisor.processes import shim, tree
from daplug_supervisor.processes.ends import Found, ended
from daplug_supervisor.processes.held import HeldShim
from daplug_supervisor.processes.start import LauncherProcess, let_go, start

MAX_IDLE = 16
_START_PATIENCE = 20.0
_CLOSE_PATIENCE = 5.0

_DESCRIPTORS = 2 if hasattr(os, "pidfd_open") else 1
"""What comes with a shim: its gate and its pidfd."""

_TOO_MANY = "too many open files: raise the limit, see 'ulimit -n'"


class ShimLauncher:
    """`ports.Launcher` on real processes: one warm launcher process that forks the shims.

    Args:
        environ: what every attempt gets; of our own environment what is on the list, unless given.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = handed_on(os.environ) if environ is None else dict(environ)
        self._control: socket.socket | None = None
        self._process: LauncherProcess | None = None
        self._idle: deque[HeldShim] = deque()
        self._wanted: deque[asyncio.Future[HeldShim]] = deque()
        self._held: weakref.WeakSet[HeldShim] = weakref.WeakSet()
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
                self._process = start(theirs, self._environ)
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

    async def _make(self) -> HeldShim:
        """Have a shim made, by another launcher if the one we had is gone or stuck. What runs is not touched by that.

        Raises:
            LaunchError: the launcher is closed, gone, or does not answer.
        """
        async with self._reopening:
            if self._closed:
                raise LaunchError("the launcher is closed")
            if self._control is None:
                await self._leave_launcher(wait=True)
                await self.open()
            control = self._control
        try:
            with anyio.fail_after(_START_PATIENCE):
                return await self._ask()
        except TimeoutError:
            error = LaunchError(f"the launcher did not answer in {_START_PATIENCE:g} s")
            if control is self._control:
                self._end_control(error)  # it may never answer; if it lives, it ends with its last shim
            raise error from None

    async def _leave_launcher(self, *, wait: bool) -> None:
        """Collect a launcher that ends by itself; one that outlives us is collected when there is another occasion."""
        if self._process is None:
            return
        identity = tree.identity_of(self._process.pid)
        if wait and identity is not None:
            with anyio.move_on_after(_CLOSE_PATIENCE, shield=True):
                await ended(identity)
        let_go(self._process)
        self._process = None

    def release(self, gate: Gate) -> None:
        """Take a shim back whose gate was not opened, or whose attempt's end is durable."""
        assert isinstance(gate, HeldShim), "gates come from this launcher"  # noqa: S101
        if gate.ended:
            return
        if self._control is None or gate.asked or len(self._idle) >= MAX_IDLE:
            gate.close()  # one that was asked to stop may hear of it only now, and take it for the next attempt
        else:
            self._idle.append(gate)

    async def attach(self, identity: Identity, directory: str) -> Attached:
        """Take back an attempt whose shim was journalled as `identity` and that works in `directory`."""
        return Found(identity, directory)

    def _ask(self) -> asyncio.Future[HeldShim]:
        assert self._control is not None, "asked only while open"  # noqa: S101
        future: asyncio.Future[HeldShim] = asyncio.get_running_loop().create_future()
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

    def _on_spare(self, future: asyncio.Future[HeldShim]) -> None:
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
        made = HeldShim(Identity(int(pid), int(start), boot), list(descriptors))
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
