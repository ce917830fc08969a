"""Run in a pid namespace of its own: strangers get the pids that a dead shim and its agent had.

Arguments: a folder, and words that say what is to be tried. Prints what came of it as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import anyio
from cli import MARKING, PROGRAM, Place, alive, kill, plan_of, sh, until
from processes import shell

from daplug_supervisor import Retry
from daplug_supervisor.core import events as ev
from daplug_supervisor.processes.launch import ShimLauncher

LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
BOOT = Path("/proc/sys/kernel/random/boot_id")
LATER = 10_000_000
FIRST = 5000


def take(pid: int, become: Callable[[], None]) -> None:
    """Have a stranger with this very pid, that holds back all signals, so that they can be seen."""
    for _ in range(200):
        LAST_PID.write_text(str(pid - 1))
        found = os.fork()
        if not found:
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            if os.getpid() == pid:
                become()
                while True:
                    time.sleep(1000)
            os._exit(0)
        if found == pid:
            return
        os.waitpid(found, 0)
    raise AssertionError(f"pid {pid} cannot be had")


def leave_one_behind() -> None:
    """Lead a session, and die; somebody else stays in it."""
    os.setsid()
    LAST_PID.write_text(str(4 * FIRST))
    if os.fork():
        os._exit(0)


BECOME = {"leader": os.setsid, "plain": lambda: None, "survivor": leave_one_behind}


def untouched(pid: int) -> bool:
    """Whether a stranger lives, and no signal was ever sent to it."""
    status = Path(f"/proc/{pid}/status").read_text() if alive(pid) else ""
    pending = [line.split()[1] for line in status.splitlines() if line.startswith(("SigPnd", "ShdPnd"))]
    return bool(pending) and not any(int(one, 16) for one in pending)


def strangers_of(session: int) -> list[int]:
    """Who is in a session, and the process of that number."""
    found = [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]
    return [pid for pid in found if alive(pid) and (pid == session or os.getsid(pid) == session)]


def after_a_crash(folder: Path, state: str, who: str, boot: str) -> dict[str, object]:
    """Supervisor, launcher, shim and agent are gone, and strangers have their pids: what does the next one do?"""
    place = Place(folder)
    ending = "[ -e again ] || { touch again; echo $$ > pid; until [ -e go ]; do sleep 0.01; done; }"
    task = sh(f"{MARKING} {ending}", timeout=3600, retry=Retry(attempts=2, backoff=0.01))
    process = place.start(place.write(plan_of({"a": task})))
    place.started("a")
    [spawned] = place.events(ev.AttemptSpawned)
    until(lambda: (place.target / "pid").exists() and (place.target / "pid").read_text().strip(), "its pid")
    agent = int((place.target / "pid").read_text())
    kill(process)
    if state == "ended":
        place.go()
        until(lambda: not place.processes(), "the agent ended by itself")
    place.close()
    until(lambda: not {spawned.pid, agent} & set(map(int, pids())), "their pids are free")
    if state == "never ran":
        for path in Path(place.state, "runs/p-1/a/1").iterdir():
            path.unlink()
    for pid in (spawned.pid, agent):
        take(pid, BECOME[who])
        if who == "survivor":
            os.waitpid(pid, 0)
    watched = [one for pid in (spawned.pid, agent) for one in strangers_of(pid)]
    place.go()
    if boot == "another":
        (folder / "boot").write_text("11111111-2222-3333-4444-555555555555\n")
        subprocess.run(["mount", "--bind", str(folder / "boot"), str(BOOT)], check=True)
    code = place.run("plan.json").code if boot == "same" else other_time(place)
    results = [event.result for event in place.events(ev.RetryScheduled, ev.TaskFailed, ev.TaskStuck)]
    return {
        "code": code, "watched": len(watched), "touched": [pid for pid in watched if not untouched(pid)],
        "outcomes": [str(result.outcome.kind) for result in results], "tries": place.task("a").tries,
        "starts": len(place.lines()), "attempts": len(place.events(ev.AttemptStarted)),
        "statuses": place.statuses(),
    }  # fmt: skip


def other_time(place: Place) -> int:
    """Run with a monotonic clock that is far ahead: a deadline of the former boot would be long over."""
    ahead = [f"--{clock}={LATER}" for clock in ("monotonic", "boottime")]
    command = ["unshare", "--time", "--fork", *ahead, PROGRAM, "plan.json"]
    return subprocess.run(command, cwd=place.target, env=place.environ, check=False, timeout=60).returncode


def pids() -> list[str]:
    return [folder.name for folder in Path("/proc").glob("[0-9]*")]


def churn(seconds: float) -> int:
    """Use the same few pids again and again; returns how many of those who had them were sent a signal."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    hit, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            LAST_PID.write_text(str(FIRST))
        children = []
        for _ in range(30):
            pid = os.fork()
            if not pid:
                time.sleep(0.002)
                os._exit(bool(signal.sigpending()))
            children.append(pid)
        hit += sum(os.waitpid(pid, 0)[1] != 0 for pid in children)
    return hit


async def stops(folder: Path, seconds: float) -> dict[str, int]:
    """Ask for stops around the end of trees, of shims that live, that were killed, and that are found again."""
    asked = rounds = 0
    launcher = ShimLauncher()
    await launcher.open()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        rounds += 1
        gate = launcher.idle() or await launcher.reserve()
        directory = folder / str(rounds)
        attached = gate.open(shell(directory, "exit 0" if rounds % 3 else "sleep 0.01"))
        found = await launcher.attach(gate.identity, str(directory))
        if rounds % 2:
            os.kill(gate.identity.pid, signal.SIGKILL)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(attached.wait)
            for _ in range(10):
                attached.stop()
                found.stop()
                asked += 2
                await anyio.sleep(0.001)
        for one in (attached, found):
            one.stop()
            asked += 1
        launcher.release(gate)
    await launcher.close()
    return {"asked": asked, "rounds": rounds}


def race(folder: Path, seconds: str) -> dict[str, object]:
    """Stops on one side, and pids that are used again at once on the other."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(writer, json.dumps(churn(float(seconds) + 0.5)).encode())
        os._exit(0)
    told = anyio.run(stops, folder, float(seconds))
    os.waitpid(pid, 0)
    return {**told, "hit": json.loads(os.read(reader, 100))}


def main() -> None:
    folder, *words = sys.argv[1:]
    child = os.fork()
    if child:  # the first process of a namespace: its task is to collect orphans
        while True:
            pid, status = os.wait()
            if pid == child:
                os._exit(os.waitstatus_to_exitcode(status) and 1)
    LAST_PID.write_text(str(FIRST))
    told = race(Path(folder), *words[1:]) if words[0] == "race" else after_a_crash(Path(folder), *words)
    print(json.dumps(told), flush=True)
    os._exit(0)  # not waiting for the watchdogs of commands that are over


if __name__ == "__main__":
    main()
