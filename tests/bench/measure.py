"""Measuring one command, with everything that it starts."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
LINUX = sys.platform == "linux"
MIB = 1 << 20
_SAMPLE_EVERY = 0.25
_UNWANTED = (
    "PYTHONPATH",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONUNBUFFERED",
    "MAKEFLAGS",
    "COVERAGE_PROCESS_CONFIG",
    "COVERAGE_PROCESS_START",
)
_PR_SET_CHILD_SUBREAPER = 36
_KCMP = {"x86_64": 312, "aarch64": 272}
"""The number of the system call, by kind of processor."""

_KCMP_VM = 1


class FailedError(Exception):
    """A command did not do what it should; there is no figure."""


@dataclass(frozen=True)
class Call:
    """A command and where it runs."""

    argv: Sequence[str]
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cost:
    """What a run cost. Seconds and bytes.

    `cpu` and `rss` (of the largest process) are of all processes that had ended and been reaped when the last one
    was; `tree` is the largest sum of proportional set sizes that was seen, 0 if it was not looked at; `foreign` is
    the processor time that the machine spent on anything else, a second of wall time.
    """

    wall: float
    cpu: float
    rss: int
    tree: int
    foreign: float
    left: int


def become_subreaper() -> None:
    """What a killed child leaves behind becomes ours."""
    if LINUX:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _UNWANTED}
    return {**kept, **extra}


def measure(call: Call, patience: float, *, tree: bool = False) -> Cost:
    """Run a command to its end.

    Raises:
        FailedError: it failed, took too long, or left something that had to be killed.
    """
    report = call.cwd / "meter.json"
    argv = [sys.executable, "-I", "-S", str(HERE / "meter.py"), str(report), *call.argv]
    busy = machine_busy()
    with (call.cwd / "output.log").open("wb") as output:
        process = subprocess.Popen(
            argv,
            cwd=call.cwd,
            env=environment(call.env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        sampler = Sampler(process.pid) if tree else None
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            raise FailedError(f"not finished after {patience:g} s") from None
        finally:
            end_all_below()
            peak = sampler.end() if sampler else 0
    if not report.exists():
        raise FailedError(f"no figures: {_last_line(call.cwd)}")
    found = json.loads(report.read_text())
    if found["code"]:
        raise FailedError(f"exit code {found['code']}: {_last_line(call.cwd)}")
    if found["killed"]:
        raise FailedError(f"{found['killed']} processes did not end")
    cpu = found["user"] + found["system"]
    lasted = found["wall"] + found["linger"]
    foreign = max(0.0, machine_busy() - busy - cpu) / lasted
    return Cost(found["wall"], cpu, found["rss"], peak, foreign, found["left"])


def _last_line(folder: Path) -> str:
    lines = (folder / "output.log").read_text(errors="replace").splitlines()
    return lines[-1][:200] if lines else "nothing printed"


def fresh(parent: Path, name: str) -> Path:
    """A new directory. It stays until all is measured.

    ext4 does not give an inode away again for some minutes after its file was removed, and searches a block group
    for others one by one. So to remove what one run left would slow the next ones down, by far: three times the
    processor time was seen.
    """
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent))


def spread(parent: Path) -> None:
    """Ask the file system to put each directory in `parent` in a part of the disk of its own, if it can do that.

    With that (`chattr +T`) what was removed before we came does not slow us down either; see `fresh`.
    """
    with contextlib.suppress(OSError):
        subprocess.run(["chattr", "+T", str(parent)], capture_output=True, check=False)


# --- processes --------------------------------------------------------------------------------------------------


def descendants(pid: int) -> list[int]:
    """All processes below one, where the system tells."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                found += [int(child), *descendants(int(child))]
    return found


def end_all_below() -> None:
    """Kill and reap all that is below us."""
    for _ in range(200):
        pids = descendants(os.getpid())
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not pids:
            return
        time.sleep(0.01)


def machine_busy() -> float:
    """Processor seconds that the machine has spent on anything since it started; 0 where it does not tell."""
    if not LINUX:
        return 0.0
    with Path("/proc/stat").open() as file:
        user, nice, system, _idle, _wait, *interrupts = map(int, file.readline().split()[1:8])
    return (user + nice + system + sum(interrupts[:2])) / os.sysconf("SC_CLK_TCK")


def shares_memory(pid: int) -> bool:
    """Whether a process still is in its parent's memory, as the child of a vfork is until it runs its program."""
    call = _KCMP.get(platform.machine())
    if call is None:
        return False
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return not ctypes.CDLL(None).syscall(call, pid, parent, _KCMP_VM, 0, 0)


def proportional(pid: int) -> int:
    """A process's share of the memory that it has in common with others, in bytes."""
    with contextlib.suppress(OSError, ValueError):
        if shares_memory(pid):
            return 0
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


class Sampler(threading.Thread):
    """Watches the memory of all processes below one, and keeps the largest sum."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self._over = threading.Event()
        self._peak = 0
        self.start()

    def run(self) -> None:
        while not self._over.wait(_SAMPLE_EVERY):
            self._peak = max(self._peak, sum(proportional(pid) for pid in descendants(self._pid)))

    def end(self) -> int:
        self._over.set()
        self.join()
        return self._peak
