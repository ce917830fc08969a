"""What supervising costs while nothing happens: eight agents that sleep."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .contenders import write_plan
from .measure import LINUX, FailedError, descendants, end_all_below, environment, fresh
from .tables import number, table
from .workloads import JOBS, make

_SETTLE = 4.0
_PATIENCE = 30.0


def run(command: Sequence[str], place: Path, seconds: float) -> dict[str, Any]:
    """Processor seconds and wake-ups of the supervisor, its launcher and its shims over a quiet time.

    Raises:
        FailedError: this system does not tell, or the agents did not start.
    """
    if not LINUX:
        raise FailedError("needs /proc")
    path = fresh(place, "idle")
    plan = write_plan(make("W1", JOBS), path, ["sleep", str(int(seconds + _SETTLE + 60))])
    with (path / "output.log").open("wb") as output:
        process = subprocess.Popen(
            [*command, "run", str(plan), "--quiet", "--parallel", str(JOBS)],
            cwd=path, env=environment({}), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
        try:
            _wait_for_agents(process)
            time.sleep(_SETTLE)
            before = _usage(process.pid)
            time.sleep(seconds)
            after = _usage(process.pid)
            _stop(process)
        finally:
            end_all_below()
    if before.keys() != after.keys():
        raise FailedError("processes came or went: it was not quiet")
    found: dict[str, Any] = {"seconds": seconds, "processes": len(after)}
    for role in ("supervisor", "launcher", "shim"):
        pids = [pid for pid, (name, _, _) in after.items() if name == role]
        found[role] = {
            "processes": len(pids),
            "cpu": sum(after[pid][1] - before[pid][1] for pid in pids),
            "wakes": sum(after[pid][2] - before[pid][2] for pid in pids),
        }
    return found


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Twice: the agents are stopped."""
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_PATIENCE)


def _wait_for_agents(process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _PATIENCE
    while sum(_name(pid) == "sleep" for pid in descendants(process.pid)) < JOBS:
        if process.poll() is not None or time.monotonic() > end:
            raise FailedError(f"{JOBS} agents did not start")
        time.sleep(0.05)


def _usage(supervisor: int) -> dict[int, tuple[str, float, int]]:
    """Of each process of ours: its role, its processor seconds, how often it began to wait."""
    found = {supervisor: ("supervisor", *_used(supervisor))}
    for pid in descendants(supervisor):
        if _name(pid) != "sleep":
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            found[pid] = ("launcher" if parent == supervisor else "shim", *_used(pid))
    return found


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _used(pid: int) -> tuple[float, int]:
    """Processor seconds and voluntary switches of all threads. The scheduler's count is finer than clock ticks."""
    seconds, waits = 0.0, 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            seconds += int((thread / "schedstat").read_text().split()[0]) / 1e9
        except OSError:
            fields = (thread / "stat").read_text().rpartition(")")[2].split()
            seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        for line in (thread / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches:"):
                waits += int(line.split()[1])
    return seconds, waits


def text(found: dict[str, Any]) -> str:
    """The table."""
    seconds = found["seconds"]
    rows = [
        [
            role, str(found[role]["processes"]), number(found[role]["cpu"] * 1000, 1),
            number(found[role]["cpu"] / seconds * 100, 3), number(found[role]["wakes"] / seconds, 1), "",
        ]
        for role in ("supervisor", "launcher", "shim")
    ]  # fmt: skip
    total = sum(found[role]["cpu"] for role in ("supervisor", "launcher", "shim"))
    rows.append(
        ["all", str(found["processes"]), number(total * 1000, 1), number(total / seconds * 100, 3), "", ""]
    )
    return table(("", "processes", f"cpu ms in {seconds:g} s", "% of a cpu", "wake-ups/s", ""), rows)
