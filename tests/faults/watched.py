"""A supervisor in a process of its own that looks at itself: how late its loop is, and how much memory it has had.

Run as ``python watched.py STATE PLAN TARGET EXECUTOR``; prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import anyio
import msgspec

from daplug_supervisor import Supervisor
from daplug_supervisor.core.plan import Plan

TICK = 0.01


async def tick(late: list[float]) -> None:
    while True:
        before = time.perf_counter()
        await anyio.sleep(TICK)
        late.append(time.perf_counter() - before - TICK)


def most_memory() -> int:
    """The most that this process has ever had, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


async def main(*words: str) -> None:
    state, plan, target, executor = words
    late: list[float] = []
    async with Supervisor(state, executor=executor or None) as supervisor, anyio.create_task_group() as tasks:
        tasks.start_soon(tick, late)
        run = await supervisor.submit(msgspec.json.decode(Path(plan).read_bytes(), type=Plan), target=target)
        await run.wait()
        tasks.cancel_scope.cancel()
    late.sort()
    at = late[int(len(late) * 0.99)]
    print(json.dumps({"ticks": len(late), "p99": at, "longest": late[-1], "memory": most_memory()}))


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:])
