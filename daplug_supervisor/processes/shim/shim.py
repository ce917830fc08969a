"""The shim: owner of one process tree after another."""

from __future__ import annotations

import contextlib
import errno
import marshal
import os
import select
import signal
import socket
import time
from typing import Any

from .agent import refusal, spawn
from .files import create, make_private, sync
from .memory import Victim
from .output import Log
from .protocol import HEAD_SIZE, OUTPUTS, RECORD, RECORD_SIZE
from .record import written
from .system import LINUX, alarm_pipe, become_subreaper, calm, children, drain, kill, kill_group
from .watch import Watch

_LEVELS = 5
"""Directories from the state directory (``runs/RUN/TASK/N`` below it) down to the attempt's own."""

_MOST_REAPED = 1000
_STORM = 50
"""Reaped in one go: in a storm of forks there is always one more, and a deadline has to be kept; from how many on it is
one."""

_TOLD_LATER = 0.2

_NOT_HERE = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
"""What file systems say that cannot promise room (glibc writes then, other C libraries do not): our text takes it."""


class Shim:
    """One process tree after another, each from its own gate message to its own exit record."""

    def __init__(self, gate: socket.socket, kills: int = -1) -> None:
        self.gate = gate
        self.kills = kills
        self.requests = 0
        self.directory = ""
        self.record = -1
        self.victim = Victim()
        os.setsid()
        become_subreaper()
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self.on_request)
        for ignored in (signal.SIGINT, signal.SIGHUP):
            signal.signal(ignored, signal.SIG_IGN)
        self.alarm = alarm_pipe()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # `Launcher.fork` held it back
        self.poll = select.poll()
        self.poll.register(self.alarm, select.POLLIN)

    def on_request(self, *_: object) -> None:
        """The supervisor (or a system that shuts down) asks us to end the tree."""
        self.requests += 1

    def serve(self) -> None:
        """Run what the gate says until it closes."""
        while (message := self.receive()) is not None:
            self.forget_record()
            record = self.run(message)
            self.requests = 0  # not before the run: a request may come before we have read what it is about
            with contextlib.suppress(OSError):  # no supervisor: the record on disk is what it will find
                self.gate.sendall(record)
        self.keep_record()

    def receive(self) -> dict[str, Any] | None:
        """The next gate message, or None when the supervisor is gone."""
        try:
            size = int.from_bytes(self.receive_all(HEAD_SIZE), "big")
            body = self.receive_all(size)
        except OSError:
            return None
        message: dict[str, Any] = marshal.loads(body)  # noqa: S302 (from our own supervisor)
        return message

    def receive_all(self, size: int) -> bytes:
        """So many bytes from the gate, however many signals come meanwhile.

        Raises:
            OSError: the supervisor is gone.
        """
        data = b""
        while len(data) < size:
            more = self.gate.recv(size - len(data))
            if not more:
                raise ConnectionResetError
            data += more
        return data

    def forget_record(self) -> None:
        """The supervisor has made the last end durable, or it would not have sent us something new."""
        if self.record >= 0:
            os.close(self.record)
            self.record = -1

    def keep_record(self) -> None:
        """Nobody may have made the last end durable: do it ourselves before going."""
        if self.record < 0:
            return
        with contextlib.suppress(OSError):
            os.fsync(self.record)
            folder = self.directory
            for _ in range(_LEVELS):  # their names may be as new as the record
                sync(folder)
                folder = folder.rpartition("/")[0]

    def run(self, launch: dict[str, Any]) -> bytes:
        """Start a tree, wait until it is gone, and return its exit record."""
        began = time.monotonic()
        mark = launch["mark"]
        logs: list[Log] = []
        claimed = False
        try:
            self.claim(launch["directory"], mark)
            claimed = True
            logs.extend(Log(f"{launch['directory']}/{name}", launch["output_limit"]) for name in OUTPUTS)
            watch = Watch(0, launch, began, logs, self.kills)
            watch.agent = spawn(launch, logs, self.victim)
        except (OSError, ValueError) as error:  # ValueError: no system takes such an argument or variable
            return self.finish(
                {"state": "exited", "mark": mark, **refusal(error, launch, claimed=claimed)}, logs
            )
        self.poll.register(self.gate.fileno(), select.POLLIN)
        try:
            while not self.reap(watch):
                self.advance(watch)
        finally:
            with contextlib.suppress(KeyError):
                self.poll.unregister(self.gate.fileno())
        self.listen(watch)
        return self.finish(watch.result(mark, time.monotonic() - began), logs)

    def listen(self, watch: Watch) -> None:
        """If the agent died of a TERM that is not ours, wait a moment for one of our own.

        A machine or a service that goes down sends one to everybody, in any order.
        """
        if (
            watch.stopped
            or watch.status is None
            or os.waitstatus_to_exitcode(watch.status) != -signal.SIGTERM
        ):
            return
        end = time.monotonic() + _TOLD_LATER
        while not self.requests and (left := end - time.monotonic()) > 0:
            self.poll.poll(left * 1000)
            drain(self.alarm)
        if self.requests:
            watch.stopped = "request"

    def finish(self, record: dict[str, Any], logs: list[Log]) -> bytes:
        """Bring the output into its last form, and leave the exit record where it will be looked for."""
        for log in logs:
            with contextlib.suppress(OSError):
                log.shorten()
            log.close()
        text = self.write(record)
        with contextlib.suppress(OSError):
            self.put_back(text)
        return text

    def put_back(self, text: bytes) -> None:
        """An agent that cleans up may have removed our record, or put something else there: write it anew."""
        path = f"{self.directory}/{RECORD}"
        with contextlib.suppress(FileNotFoundError):
            found = os.lstat(path)
            if self.record >= 0 and os.path.samestat(found, os.fstat(self.record)):
                return
        for missing in (
            self.directory.rpartition("/")[0],
            self.directory,
        ):  # not more: who wanted all gone has it gone
            with contextlib.suppress(FileExistsError):
                os.mkdir(missing, 0o700)  # noqa: PTH102
        self.forget_record()
        self.record = create(path, os.O_RDWR)
        self.write_all(text)

    def claim(self, directory: str, mark: str) -> None:
        """Take the attempt's directory, and the room for its exit record while there still is room.

        Raises:
            OSError: there is none; nothing may be started whose end could not be told.
        """
        self.directory = directory
        if directory.endswith("/1"):
            # A task's first attempt: making its parent first spares a call that would fail.
            make_private(directory.rpartition("/")[0])
        make_private(directory)
        self.record = create(f"{directory}/{RECORD}", os.O_RDWR)
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(self.record, 0, RECORD_SIZE)
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
        self.write_all(written({"state": "starting", "mark": mark, "shim": os.getpid()}))

    def write(self, record: dict[str, Any]) -> bytes:
        """Put a record in place: one write, no larger than what was allocated."""
        text = written(record)
        if self.record >= 0:
            with contextlib.suppress(OSError):
                self.write_all(text)
        return text

    def write_all(self, text: bytes) -> None:
        """Write a record, all of it.

        Raises:
            OSError: it could not be written.
        """
        if os.pwrite(self.record, text, 0) < len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), f"{self.directory}/{RECORD}")

    def reap(self, watch: Watch) -> bool:
        """Collect what has ended; True when the agent has ended and nothing of its tree is left."""
        count = 0
        while count < _MOST_REAPED:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return True  # the kernel's word that the tree is empty
            if not pid:
                break
            count += 1
            if pid == watch.agent:
                watch.status, watch.usage = status, usage
                if not LINUX:  # pragma: not on this platform
                    kill_group(pid, signal.SIGKILL)  # no subreaper: the group is all that is left to find
        if watch.status is not None:
            for pid in children():
                kill(pid, signal.SIGKILL)
        elif count >= _STORM:
            calm(watch.agent)
        return False

    def advance(self, watch: Watch) -> None:
        """Wait for the next signal or time, and do what is due."""
        for descriptor, _ in self.poll.poll(watch.patience(time.monotonic()) * 1000):
            if descriptor == self.alarm:
                drain(self.alarm)
            else:
                self.poll.unregister(descriptor)  # no supervisor any more: go on alone
        watch.act(time.monotonic(), self.requests)
