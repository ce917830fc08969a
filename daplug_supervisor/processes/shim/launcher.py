"""The launcher: forks the shims, and ends what a killed one leaves behind."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket

from .memory import open_kills
from .protocol import REFUSED, REPLY_SIZE
from .shim import Shim
from .system import alarm_pipe, become_subreaper, children, collect, dead_child, drain, identify, kill
from .watch import SWEEP_EVERY


class Launcher:
    """Forks shims on request, reaps them, and ends what a killed shim leaves behind.

    When the supervisor is gone it stays until the last of its shims has ended: whatever a shim leaves that is killed
    meanwhile becomes the launcher's as well, with or without a supervisor.
    """

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.shims: set[int] = set()
        self.kills = open_kills()
        become_subreaper()
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.alarm = alarm_pipe()

    def serve(self) -> None:
        """Answer requests until the supervisor is gone, and watch over the shims until they are."""
        poll = select.poll()
        poll.register(self.alarm, select.POLLIN)
        poll.register(self.control.fileno(), select.POLLIN)
        supervised, clean = True, True
        while supervised or self.shims:
            for descriptor, _ in poll.poll(None if clean else SWEEP_EVERY * 1000):
                if descriptor == self.alarm:
                    drain(self.alarm)
                    continue
                requests = self.receive()
                if not requests:
                    poll.unregister(self.control.fileno())
                    self.control.close()
                    supervised = False
                for _ in requests:
                    self.answer()
            clean = self.reap()

    def receive(self) -> bytes:
        """One byte for each shim that is asked for; empty when the supervisor is gone."""
        try:
            return self.control.recv(4096)
        except OSError:
            return b""

    def answer(self) -> None:
        """Make a shim, or say why there is none: too many processes or open files now may be fewer later."""
        try:
            self.fork()
        except OSError as error:
            with contextlib.suppress(OSError):  # no supervisor any more: the next look at the socket tells
                self.control.sendall(f"{REFUSED}{error.strerror}".encode()[:REPLY_SIZE].ljust(REPLY_SIZE))

    def fork(self) -> None:
        """Make a shim, and pass the supervisor its identity, its gate and its pidfd.

        Raises:
            OSError: it could not be made; one that was made all the same ends by itself, for its gate is closed.
        """
        ours, theirs = socket.socketpair()
        passed = [ours.fileno()]
        with ours:
            with theirs:
                pid = self.fork_at(ours, theirs)
            self.shims.add(pid)
            start, boot = identify(pid)
            try:
                if hasattr(os, "pidfd_open"):
                    passed.append(os.pidfd_open(pid))
                reply = f"{pid} {start} {boot or '-'}".encode().ljust(REPLY_SIZE)
                socket.send_fds(self.control, [reply], passed)
            finally:
                for descriptor in passed[1:]:
                    os.close(descriptor)

    def fork_at(self, ours: socket.socket, theirs: socket.socket) -> int:
        """Fork; the child is the shim at the gate `theirs`, and does not return."""
        signal.pthread_sigmask(
            signal.SIG_BLOCK, {signal.SIGTERM}
        )  # a shim can be asked as soon as it has a pid
        try:
            pid = os.fork()
            if not pid:
                with contextlib.suppress(BaseException):
                    ours.close()
                    self.control.close()
                    os.close(self.alarm)
                    Shim(theirs, self.kills).serve()
                os._exit(0)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        return pid

    def reap(self) -> bool:
        """Collect the dead. False: a killed shim has left something that is being killed; look again soon.

        A dead shim is collected only when nothing is left of its tree. So whoever sees its pid gone, while its
        launcher lives, has the kernel's word that the tree is gone too.
        """
        while pid := dead_child():
            is_shim = pid in self.shims
            orphans = [child for child in children() if child not in self.shims] if is_shim else [pid]
            for orphan in orphans:
                kill(orphan, signal.SIGKILL)
                collect(orphan)
            if is_shim:
                if orphans:
                    return False
                collect(pid)
                self.shims.discard(pid)
        return True
