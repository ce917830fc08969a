"""One supervisor for many runs, in a process of its own: ``python soaking.py STATE RUNS TASKS`` prints its samples.

After every run it says, as one line of JSON, how many descriptors, threads, children and bytes it has.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path

import anyio
import psutil

from daplug_supervisor import Plan, Provider, Retry, Supervisor, Task

AGENTS = (
    ("true",),
    ("sh", "-c", "echo said; exit 0"),
    ("sh", "-c", 'test "${PWD##*/}" && [ "$(basename "$DAPLUG_TASK")" ] && exit 3'),  # fails each time
    ("sh", "-c", "head -c 200000 /dev/zero | tr '\\0' 'x'; exit 0"),
    ("sh", "-c", "sleep 30 & setsid sleep 30 & exit 0"),  # leaves children
    ("sleep", "30"),  # comes to its time-out
    ("no-such-program",),
)


def plan(number: int, tasks: int) -> Plan:
    """A plan in which every kind of end comes up."""
    found = {}
    for index in range(tasks):
        kind = index % len(AGENTS) if index % 10 == 0 else index % 2
        found[f"t{index}"] = Task(
            command=AGENTS[kind],
            needs=(f"t{index - 1}",) if index % 10 == 1 else (),
            provider=("one", "two")[index % 2],
            timeout=0.2 if AGENTS[kind][0] == "sleep" else 60.0,
            grace=0.2,
            retry=Retry(2, 0.0),
        )
    pools = {"one": Provider(worker="command", parallel=2), "two": Provider(worker="command", parallel=3)}
    return Plan(f"soak{number}", found, pools)


def sample(attempts: int, state: Path) -> dict[str, int]:
    """What this process has now."""
    gc.collect()
    me = psutil.Process()
    files = {name: state / name for name in ("journal.db", "journal.db-wal")}
    return {
        "attempts": attempts,
        "descriptors": me.num_fds(),
        "threads": me.num_threads(),
        "children": len(me.children(recursive=True)),
        "rss": me.memory_info().rss,
        **{name: path.stat().st_size if path.exists() else 0 for name, path in files.items()},
    }


async def main(state: Path, runs: int, tasks: int) -> None:
    attempts = 0
    async with Supervisor(state) as supervisor:
        for number in range(runs):
            report = await (await supervisor.submit(plan(number, tasks))).wait()
            attempts += report.attempts.total
            await anyio.wait_all_tasks_blocked()
            print(json.dumps(sample(attempts, state)), flush=True)


if __name__ == "__main__":
    os.umask(0o077)
    anyio.run(main, Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
