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
import errno
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
OUTPUTS = ("stdout.log", "stderr.log")
RECORD_SIZE = 1024
_LEVELS = 5
"""Directories from the state directory (``runs/RUN/TASK/N`` below it) down to the attempt's own."""

REPLY_SIZE = 64
HEAD_SIZE = 4
FORK = b"f"
REFUSED = "! "
"""How a reply begins that says why there is no shim."""

_PR_SET_CHILD_SUBREAPER = 36
_PUNCH_HOLE_KEEP_SIZE = 0x03
_BLOCK = 4096
_LOOK_EVERY = 0.25
_LOOK_AT_LEAST_EVERY = 0.01
"""Seconds between two looks at the output: quiet, and growing as fast as memory takes it."""

_SWEEP_EVERY = 0.005
_SWEEP_PATIENT = 0.25
"""Seconds between two sweeps: at first, and of what does not die (another user's, after `sudo`)."""

_SWEEPS_IN_A_HURRY = 400
_MOST_REAPED = 1000
_STORM = 50
"""Reaped in one go: in a storm of forks there is always one more, and a deadline has to be kept; from how many on it is
one."""

_LITTLE = 10
"""The niceness of a storm."""

_AGENT_SCORE = 500
"""How much sooner than ourselves an agent is chosen when the memory is full: as if it had half of it already."""

_COUNT_EVERY = 10.0
_BY_SHELL = 128 + signal.SIGKILL
LACKS = {
    errno.ENOSPC: "disk", errno.EDQUOT: "disk", errno.EAGAIN: "processes", errno.ENOMEM: "memory",
    errno.EMFILE: "files", errno.ENFILE: "files",
}  # fmt: skip
"""What the machine has too little of, by the error that says so."""

_TOLD_LATER = 0.2
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


def calm(agent: int) -> None:
    """Give those that the agent's descendants left little of the processor, and all that they fork.

    Else a storm of forks ends faster than we can collect, and its dead use up all the process numbers of the machine.
    Not the least there is: whoever is killed needs the processor once more.
    """
    for pid in children():
        if pid != agent:
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, pid, _LITTLE)


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


def create(path: str, flags: int) -> int:
    """Make a file that was not there and open it. What has its name (a fifo, a link: who knows) is removed first."""
    flags |= os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileExistsError:
        os.unlink(path)  # noqa: PTH108
        return os.open(path, flags, 0o600)


def sync(directory: str) -> None:
    """Make durable what is in a directory under which names."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- memory -----------------------------------------------------------------------------------------------------


class Victim:
    """Makes what we start the first to go when the memory is full: a shim that goes instead frees nothing.

    A process may raise its own score, and take back what it has raised. So we raise ours for the moment of the
    start, and every child of the agent has inherited it before it exists.
    """

    def __init__(self) -> None:
        self.ours = self.agents = b""
        self.descriptor = -1
        with contextlib.suppress(OSError):
            self.descriptor = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
            self.ours = os.pread(self.descriptor, 16, 0).strip()
            self.agents = b"%d" % min(1000, int(self.ours) + _AGENT_SCORE)

    def __enter__(self) -> None:
        self.put(self.agents)

    def __exit__(self, *_: object) -> None:
        self.put(self.ours)

    def put(self, score: bytes) -> None:
        """Take a score, where there is such a thing."""
        if score:
            with contextlib.suppress(OSError):
                os.pwrite(self.descriptor, score, 0)


def open_kills(cgroup: str = "/proc/self/cgroup", mount: str = "/sys/fs/cgroup") -> int:
    """The file that counts who was killed for want of memory: in our control group, or else in all; -1 for none."""
    places = []
    with contextlib.suppress(OSError, ValueError), open(cgroup) as file:  # noqa: PTH123
        for line in file:
            _, kinds, path = line.rstrip("\n").split(":", 2)
            if not kinds:
                places += [f"{mount}{path}/memory.events", f"{mount}/memory.events"]
            elif "memory" in kinds.split(","):
                places += [f"{mount}/memory{path}/memory.oom_control", f"{mount}/memory/memory.oom_control"]
    for place in (*places, "/proc/vmstat"):
        with contextlib.suppress(OSError):
            descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
            if count_kills(descriptor) is not None:
                return descriptor
            os.close(descriptor)
    return -1


def count_kills(descriptor: int) -> int | None:
    """What the file says now."""
    with contextlib.suppress(OSError, ValueError):
        for line in os.pread(descriptor, 1 << 15, 0).splitlines():
            if line.startswith(b"oom_kill "):
                return int(line.split()[1])
    return None


# --- the shim ---------------------------------------------------------------------------------------------------


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
            watch.agent = self.spawn(launch, logs)
        except (OSError, ValueError) as error:  # ValueError: no system takes such an argument or variable
            return self.finish(
                {"state": "exited", "mark": mark, **_refusal(error, launch, claimed=claimed)}, logs
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
            os.posix_fallocate(self.record, 0, RECORD_SIZE)
        self.write_all(_record({"state": "starting", "mark": mark, "shim": os.getpid()}))

    def write(self, record: dict[str, Any]) -> bytes:
        """Put a record in place: one write, no larger than what was allocated."""
        text = _record(record)
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

    def spawn(self, launch: dict[str, Any], logs: list[Log]) -> int:
        """Start the agent in a group of its own, with empty input and its output in files."""
        argv = launch["argv"]
        environ = {
            **_BYTES,
            **{os.fsencode(name): os.fsencode(value) for name, value in launch["env"].items()},
        }
        os.chdir(launch["cwd"])
        try:
            program = argv[0] if "/" in argv[0] else find(argv[0], {**ENVIRON, **launch["env"]})
            with self.victim:
                return os.posix_spawn(
                    program,
                    argv,
                    environ,
                    file_actions=(
                        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                        (os.POSIX_SPAWN_DUP2, logs[0].descriptor, 1),
                        (os.POSIX_SPAWN_DUP2, logs[1].descriptor, 2),
                    ),
                    setpgroup=0,
                    setsigdef=(signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGHUP),
                )
        finally:
            os.chdir("/")

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


class Watch:
    """What a running tree is watched for: its end, its deadline, requests to stop, and the size of its output."""

    def __init__(
        self, agent: int, launch: dict[str, Any], now: float, logs: list[Log] | None = None, kills: int = -1
    ) -> None:
        self.agent = agent
        self.grace: float = launch["grace"]
        self.logs = logs or []
        self.status: int | None = None
        self.usage: Any = None
        self.deadline: float | None = launch["deadline"]
        self.kill_at: float | None = None
        self.stopped = ""
        self.looked_at, self.look_at = now, now + _LOOK_EVERY
        self.sweeps = 0
        self.kills = kills
        self.counted_at = now
        self.counts = (count_kills(kills),) * 2 if kills >= 0 else (None, None)

    def patience(self, now: float) -> float:
        """Seconds until something is due."""
        if self.status is not None:
            self.sweeps += 1
            return _SWEEP_EVERY if self.sweeps < _SWEEPS_IN_A_HURRY else _SWEEP_PATIENT
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
            self.look(now)

    def stop(self, why: str, now: float) -> None:
        """Ask the agent to end, and give it its grace. One that is stopped (SIGSTOP) goes on, or it could not hear."""
        self.stopped = why
        self.kill_at = now + self.grace
        kill_group(self.agent, signal.SIGTERM)
        kill_group(self.agent, signal.SIGCONT)

    def look(self, now: float) -> None:
        """Bound the output. The faster it grows, the sooner we look again."""
        soonest = _LOOK_EVERY
        for log in self.logs:
            log.bound()
            soonest = min(soonest, log.lasts(now - self.looked_at))
        self.looked_at, self.look_at = now, now + max(_LOOK_AT_LEAST_EVERY, soonest)
        if self.kills >= 0 and now - self.counted_at >= _COUNT_EVERY:
            self.counted_at, self.counts = now, (self.counts[1], count_kills(self.kills))

    def result(self, mark: str, seconds: float) -> dict[str, Any]:
        """The exit record."""
        status, usage = self.status, self.usage
        code = None if status is None else os.waitstatus_to_exitcode(status)
        record = {"state": "exited", "mark": mark, "code": code, "stopped": self.stopped, "seconds": seconds}
        if usage is not None:
            record["cpu"] = usage.ru_utime + usage.ru_stime
            record["max_rss"] = usage.ru_maxrss * (1024 if LINUX else 1)
        if code in (-signal.SIGKILL, _BY_SHELL) and not self.stopped and self.lacked_memory():
            record["lack"] = "memory"
        return record

    def lacked_memory(self) -> bool:
        """Whether the system has killed somebody for want of memory in the last ten seconds or a little more."""
        before, now = self.counts[0], count_kills(self.kills)
        return before is not None and now is not None and now > before


class Log:
    """A file that takes output of the agent, at most so much of it.

    It is held open: the agent may remove it, or put a link or a fifo under its name, and it is still this file that
    is bounded, and nothing else is ever touched.
    """

    def __init__(self, path: str, limit: int) -> None:
        self.path = path
        self.limit = limit
        self.size = self.grown = 0
        self.descriptor = create(path, os.O_WRONLY | os.O_APPEND)

    def close(self) -> None:
        """Let go of it."""
        os.close(self.descriptor)

    def bound(self) -> None:
        """Give back the middle of what has grown beyond the limit, keeping both ends.

        The middle becomes a hole: offsets stay, so whoever reads the file is not disturbed.
        """
        size = os.fstat(self.descriptor).st_size
        self.grown, self.size = size - self.size, size
        start = -(-(self.limit // 2) // _BLOCK) * _BLOCK
        length = (size - self.limit // 2 - start) // _BLOCK * _BLOCK
        if size > self.limit and length > 0 and libc() is not None:
            libc().fallocate(self.descriptor, _PUNCH_HOLE_KEEP_SIZE, start, length)

    def lasts(self, seconds: float) -> float:
        """How long until it needs a look again, if it goes on growing as it did in these last seconds."""
        if self.grown <= 0:
            return _LOOK_EVERY
        return max(self.limit - self.size, self.limit // 4) * seconds / self.grown

    def shorten(self) -> None:
        """Rewrite the file without its middle, now that nobody writes to it any more.

        Raises:
            OSError: it could not be rewritten, and is as it was.
        """
        size, half = os.fstat(self.descriptor).st_size, self.limit // 2
        if size <= self.limit:
            return
        source = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(source, "rb") as whole:  # noqa: PTH123
            if not os.path.samestat(os.fstat(source), os.fstat(self.descriptor)):
                return  # not the agent's output any more, whatever it is
            temporary = f"{self.path}.tmp"
            try:
                with open(create(temporary, os.O_WRONLY), "wb") as short:
                    _copy(whole, short, half)
                    short.write(b"\n[... %d bytes left out ...]\n" % (size - 2 * half))
                    whole.seek(size - half)
                    _copy(whole, short, half)
                os.replace(temporary, self.path)  # noqa: PTH105
            except OSError:
                os.unlink(temporary)  # noqa: PTH108
                raise


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


def _copy(source: Any, sink: Any, count: int) -> None:
    while count > 0:
        chunk = source.read(min(count, 1 << 20))
        if not chunk:
            return
        sink.write(chunk)
        count -= len(chunk)


def _refusal(error: OSError | ValueError, launch: dict[str, Any], *, claimed: bool) -> dict[str, str]:
    """Why it could not be started; and of what there was too little, if it was that."""
    lack = LACKS.get(error.errno or 0, "") if isinstance(error, OSError) else ""
    lack = lack or ("" if claimed else "directory")
    return {"error": _say(error, launch), **({"lack": lack} if lack else {})}


def _say(error: OSError | ValueError, launch: dict[str, Any]) -> str:
    if isinstance(error, ValueError):
        return f"{launch['argv'][0]}: {error}"
    if error.filename == launch["cwd"]:
        return f"working directory {launch['cwd']}: {error.strerror}"
    return f"{error.filename or launch['argv'][0]}: {error.strerror}"


def _record(record: dict[str, Any]) -> bytes:
    """A record as it is kept and sent."""
    return _json(record).ljust(RECORD_SIZE - 1) + b"\n"


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
            for descriptor, _ in poll.poll(None if clean else _SWEEP_EVERY * 1000):
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


def dead_child() -> int:
    """A child of ours that has ended and is not collected yet; 0 if there is none."""
    try:
        if hasattr(os, "waitid"):
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            return found.si_pid if found else 0
        return os.waitpid(-1, os.WNOHANG)[0]  # pragma: not on this platform
    except ChildProcessError:
        return 0


def collect(pid: int) -> None:
    """Take the end of a child, if it has ended."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


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
