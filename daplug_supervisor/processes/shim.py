"""The launcher and its shims: a program of its own, run as ``python -I -S shim.py FD``.

The launcher is started once by a supervisor and forks a shim whenever one is asked for. A shim owns one process
tree at a time. It waits at its gate (a socket to the supervisor) for one message that says what to start; end of
file there means that the supervisor is gone, and nothing is started any more. While a tree runs, its shim needs no
supervisor: it keeps the hard deadline, bounds the output, sweeps the tree and leaves the exit record.

Nothing of the package or of site-packages is imported here: forking must stay cheap, and a repository's own
``json.py`` must never be imported by accident.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import marshal
import os
import select
import signal
import socket
import sys
import time
from typing import Any

LINUX = sys.platform == "linux"
RECORD = "process.json"
RECORD_SIZE = 1024
REPLY_SIZE = 64
HEAD_SIZE = 4
FORK = b"f"

_PR_SET_CHILD_SUBREAPER = 36
_PUNCH_HOLE_KEEP_SIZE = 0x03
_BLOCK = 4096
_WATCH_OUTPUT_EVERY = 2.0
_SWEEP_EVERY = 0.005
_LONGEST_TEXT = 360
"""Characters of a text in a record: with two of them it has to fit into `RECORD_SIZE`."""

ENVIRON = dict(os.environ)
_BYTES = dict(os.environb)
"""As bytes, which `posix_spawn` need not encode anew for every agent."""


def identify(pid: int) -> tuple[int, str]:
    """Start time (clock ticks since boot) and boot id of a process; (0, "") where the system does not tell."""
    if not LINUX:  # pragma: not on this platform
        return 0, ""
    with open("/proc/sys/kernel/random/boot_id") as file:  # noqa: PTH123 (pathlib is slow to import)
        boot = file.read().strip()
    with open(f"/proc/{pid}/stat", "rb") as stat:  # noqa: PTH123
        fields = stat.read().rpartition(b") ")[2].split()
    return int(fields[19]), boot


@functools.cache
def libc() -> Any:
    """The C library, for the two calls that Python does not have; None where it cannot be had."""
    try:
        import ctypes  # noqa: PLC0415 (only the launcher needs it, not the supervisor that imports this module)

        library = ctypes.CDLL(None, use_errno=True)
        library.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    except (ImportError, OSError, AttributeError):  # pragma: not on this platform
        return None
    return library


def become_subreaper() -> None:
    """Make orphans among our descendants our children. Where that does not exist, groups must do."""
    if LINUX and libc() is not None:
        libc().prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children() -> list[int]:
    """The pids of our own children; empty where the system does not tell."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:  # noqa: PTH123
            return [int(pid) for pid in file.read().split()]
    except OSError:  # pragma: not on this platform
        return []


def kill(pid: int, number: int) -> None:
    """Signal a child of ours (not yet reaped, so its pid cannot be another's)."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def kill_group(pid: int, number: int) -> None:
    """Signal the group that a child of ours leads."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def alarm_pipe() -> int:
    """A descriptor that becomes readable with every signal that has a handler."""
    readable, writable = os.pipe()
    os.set_blocking(readable, False)
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    return readable


def drain(descriptor: int) -> None:
    """Empty a non-blocking descriptor."""
    with contextlib.suppress(BlockingIOError):
        while os.read(descriptor, _BLOCK):
            pass


# --- the shim ---------------------------------------------------------------------------------------------------


class Shim:
    """One process tree after another, each from its own gate message to its own exit record."""

    def __init__(self, gate: socket.socket) -> None:
        self.gate = gate
        self.requests = 0
        self.record = -1
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
        if self.record >= 0:
            with contextlib.suppress(OSError):
                os.fsync(self.record)

    def run(self, launch: dict[str, Any]) -> bytes:
        """Start a tree, wait until it is gone, and return its exit record."""
        began = time.monotonic()
        mark = launch["mark"]
        try:
            self.claim(launch["directory"], mark)
            agent = self.spawn(launch)
        except (OSError, ValueError) as error:  # ValueError: no system takes such an argument or variable
            return self.write({"state": "exited", "mark": mark, "error": _say(error, launch)})
        self.poll.register(self.gate.fileno(), select.POLLIN)
        watch = Watch(agent, launch, began)
        try:
            while not self.reap(watch):
                self.advance(watch)
        finally:
            with contextlib.suppress(KeyError):
                self.poll.unregister(self.gate.fileno())
        bound_output(launch["directory"], launch["output_limit"], ended=True)
        return self.write(watch.result(mark, time.monotonic() - began))

    def claim(self, directory: str, mark: str) -> None:
        """Take the attempt's directory, and the room for its exit record while there still is room."""
        if directory.endswith("/1"):
            # A task's first attempt: making its parent first spares a call that would fail.
            make_private(directory.rpartition("/")[0])
        make_private(directory)
        self.record = os.open(f"{directory}/{RECORD}", os.O_RDWR | os.O_CREAT, 0o600)
        self.write({"state": "starting", "mark": mark, "shim": os.getpid()})

    def write(self, record: dict[str, Any]) -> bytes:
        """Put a record in place: one write, no larger than what was allocated."""
        text = _json(record).ljust(RECORD_SIZE - 1) + b"\n"
        if self.record >= 0:
            with contextlib.suppress(OSError):
                os.pwrite(self.record, text, 0)
        return text

    def spawn(self, launch: dict[str, Any]) -> int:
        """Start the agent in a group of its own, with empty input and its output in files."""
        directory, argv = launch["directory"], launch["argv"]
        environ = {
            **_BYTES,
            **{os.fsencode(name): os.fsencode(value) for name, value in launch["env"].items()},
        }
        os.chdir(launch["cwd"])
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        try:
            return os.posix_spawn(
                argv[0] if "/" in argv[0] else find(argv[0], {**ENVIRON, **launch["env"]}),
                argv,
                environ,
                file_actions=(
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, f"{directory}/stdout.log", flags, 0o600),
                    (os.POSIX_SPAWN_OPEN, 2, f"{directory}/stderr.log", flags, 0o600),
                ),
                setpgroup=0,
                setsigdef=(signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGHUP),
            )
        finally:
            os.chdir("/")

    def reap(self, watch: Watch) -> bool:
        """Collect what has ended; True when the agent has ended and nothing of its tree is left."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return True  # the kernel's word that the tree is empty
            if not pid:
                break
            if pid == watch.agent:
                watch.status, watch.usage = status, usage
                if not LINUX:  # pragma: not on this platform
                    kill_group(pid, signal.SIGKILL)  # no subreaper: the group is all that is left to find
        if watch.status is not None:
            for pid in children():
                kill(pid, signal.SIGKILL)
        return False

    def advance(self, watch: Watch) -> None:
        """Wait for the next signal or time, and do what is due."""
        for descriptor, _ in self.poll.poll(watch.patience(time.monotonic()) * 1000):
            if descriptor == self.alarm:
                drain(self.alarm)
            else:
                self.poll.unregister(descriptor)  # no supervisor any more: go on alone
        watch.act(time.monotonic(), self.requests)


class Watch:
    """What a running tree is watched for: its end, its deadline, requests to stop, and the size of its output."""

    def __init__(self, agent: int, launch: dict[str, Any], now: float) -> None:
        self.agent = agent
        self.launch = launch
        self.status: int | None = None
        self.usage: Any = None
        self.deadline: float | None = launch["deadline"]
        self.kill_at: float | None = None
        self.stopped = ""
        self.look_at = now + _WATCH_OUTPUT_EVERY

    def patience(self, now: float) -> float:
        """Seconds until something is due."""
        if self.status is not None:
            return _SWEEP_EVERY
        times = [self.look_at]
        if self.kill_at is not None:
            times.append(self.kill_at)
        elif self.deadline is not None:
            times.append(self.deadline)
        return max(0.0, min(times) - now)

    def act(self, now: float, requests: int) -> None:
        """Stop the tree if it is time; look at its output if it is time."""
        if self.status is not None:
            return
        if self.kill_at is None:
            if requests:
                self.stop("request", now)
            elif self.deadline is not None and now >= self.deadline:
                self.stop("deadline", now)
        elif now >= self.kill_at or requests > 1:
            kill_group(self.agent, signal.SIGKILL)
            kill(self.agent, signal.SIGKILL)
            self.kill_at = now + 1.0
        if now >= self.look_at:
            bound_output(self.launch["directory"], self.launch["output_limit"])
            self.look_at = now + _WATCH_OUTPUT_EVERY

    def stop(self, why: str, now: float) -> None:
        """Ask the agent to end, and give it its grace."""
        self.stopped = why
        self.kill_at = now + self.launch["grace"]
        kill_group(self.agent, signal.SIGTERM)

    def result(self, mark: str, seconds: float) -> dict[str, Any]:
        """The exit record."""
        status, usage = self.status, self.usage
        code = None if status is None else os.waitstatus_to_exitcode(status)
        record = {"state": "exited", "mark": mark, "code": code, "stopped": self.stopped, "seconds": seconds}
        if usage is not None:
            record["cpu"] = usage.ru_utime + usage.ru_stime
            record["max_rss"] = usage.ru_maxrss * (1024 if LINUX else 1)
        return record


def make_private(directory: str) -> None:
    """Make a directory, and those above it that are missing, for our own eyes."""
    try:
        os.mkdir(directory, 0o700)  # noqa: PTH102
    except FileNotFoundError:
        make_private(directory.rpartition("/")[0])
        with contextlib.suppress(FileExistsError):  # another shim makes the same ones at this moment
            os.mkdir(directory, 0o700)  # noqa: PTH102
    except FileExistsError:
        pass


def find(program: str, environ: dict[str, str]) -> str:
    """The path of a program, looked up on the PATH that it will have."""
    if "/" in program:
        return program
    for folder in environ.get("PATH", os.defpath).split(os.pathsep):
        path = f"{folder or '.'}/{program}"
        if os.access(path, os.X_OK) and not os.path.isdir(path):  # noqa: PTH112
            return path
    raise FileNotFoundError(2, "not found on PATH", program)


def bound_output(directory: str, limit: int, *, ended: bool = False) -> None:
    """Give back the middle of output files that have grown beyond `limit` bytes, keeping both ends.

    While the agent writes, the middle becomes a hole: offsets stay, so whoever reads the file is not disturbed.
    When it has ended, the file is rewritten without the hole.
    """
    for name in ("stdout.log", "stderr.log"):
        path = f"{directory}/{name}"
        with contextlib.suppress(OSError):
            size = os.stat(path).st_size  # noqa: PTH116
            if size > limit:
                (_rewrite if ended else _punch)(path, size, limit)


def _punch(path: str, size: int, limit: int) -> None:
    start = -(-(limit // 2) // _BLOCK) * _BLOCK
    length = (size - limit // 2 - start) // _BLOCK * _BLOCK
    if length <= 0 or libc() is None:
        return
    descriptor = os.open(path, os.O_RDWR)
    try:
        libc().fallocate(descriptor, _PUNCH_HOLE_KEEP_SIZE, start, length)
    finally:
        os.close(descriptor)


def _rewrite(path: str, size: int, limit: int) -> None:
    half = limit // 2
    with open(path, "rb") as whole, open(f"{path}.tmp", "wb") as short:  # noqa: PTH123
        os.fchmod(short.fileno(), 0o600)
        _copy(whole, short, half)
        short.write(b"\n[... %d bytes left out ...]\n" % (size - 2 * half))
        whole.seek(size - half)
        _copy(whole, short, half)
    os.replace(f"{path}.tmp", path)  # noqa: PTH105


def _copy(source: Any, sink: Any, count: int) -> None:
    while count > 0:
        chunk = source.read(min(count, 1 << 20))
        if not chunk:
            return
        sink.write(chunk)
        count -= len(chunk)


def _say(error: OSError | ValueError, launch: dict[str, Any]) -> str:
    if isinstance(error, ValueError):
        return f"{launch['argv'][0]}: {error}"
    if error.filename == launch["cwd"]:
        return f"working directory {launch['cwd']}: {error.strerror}"
    return f"{error.filename or launch['argv'][0]}: {error.strerror}"


def _json(record: dict[str, Any]) -> bytes:
    """JSON of a flat record; the json module is imported only for the rare text that needs escaping."""
    parts = []
    for key, value in record.items():
        if value is None:
            text = "null"
        elif isinstance(value, str):
            text = _text(value)
        else:
            text = repr(value)
        parts.append(f'"{key}":{text}')
    return ("{" + ",".join(parts) + "}").encode()


def _text(value: str) -> str:
    """A text as JSON, cut so that the record never outgrows its room; bytes that are no text become ``?``."""
    value = value.encode("utf-8", "replace").decode()
    if value.isascii() and value.isprintable() and '"' not in value and "\\" not in value:
        return f'"{value[:_LONGEST_TEXT]}"'
    import json  # noqa: PLC0415

    while len(text := json.dumps(value)) > _LONGEST_TEXT:
        value = value[: len(value) * _LONGEST_TEXT // len(text)]
    return text


# --- the launcher -----------------------------------------------------------------------------------------------


class Launcher:
    """Forks shims on request, reaps them, and ends what a killed shim leaves behind."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.shims: set[int] = set()
        become_subreaper()
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.alarm = alarm_pipe()

    def serve(self) -> None:
        """Answer requests until the supervisor is gone."""
        poll = select.poll()
        poll.register(self.alarm, select.POLLIN)
        poll.register(self.control.fileno(), select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == self.alarm:
                    drain(self.alarm)
                    self.reap()
                    continue
                requests = self.control.recv(4096)
                if not requests:
                    return
                for _ in requests:
                    self.fork()

    def fork(self) -> None:
        """Make a shim, and pass the supervisor its identity, its gate and its pidfd."""
        ours, theirs = socket.socketpair()
        signal.pthread_sigmask(
            signal.SIG_BLOCK, {signal.SIGTERM}
        )  # a shim can be asked as soon as it has a pid
        pid = os.fork()
        if not pid:
            with contextlib.suppress(BaseException):
                ours.close()
                self.control.close()
                os.close(self.alarm)
                Shim(theirs).serve()
            os._exit(0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        theirs.close()
        self.shims.add(pid)
        start, boot = identify(pid)
        passed = [ours.fileno()]
        if hasattr(os, "pidfd_open"):
            passed.append(os.pidfd_open(pid))
        reply = f"{pid} {start} {boot or '-'}".encode().ljust(REPLY_SIZE)
        socket.send_fds(self.control, [reply], passed)
        ours.close()
        for descriptor in passed[1:]:
            os.close(descriptor)

    def reap(self) -> None:
        """Collect dead shims and their orphans; kill orphans that still live."""
        while True:
            with contextlib.suppress(ChildProcessError):
                while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
                    self.shims.discard(pid)
            orphans = [pid for pid in children() if pid not in self.shims]
            if not orphans:
                return
            for pid in orphans:
                kill(pid, signal.SIGKILL)
            time.sleep(_SWEEP_EVERY)


def main() -> None:
    """Serve the socket whose descriptor is the one argument."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.setblocking(True)
    null = os.open(os.devnull, os.O_RDWR)
    launcher = Launcher(control)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    os.chdir("/")
    gc.collect()
    gc.freeze()
    gc.disable()
    launcher.serve()


if __name__ == "__main__":
    main()
