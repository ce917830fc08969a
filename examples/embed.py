"""The supervisor inside another asyncio program, beside work of its own: ``python examples/embed.py``."""

from __future__ import annotations

import asyncio
import sys
from tempfile import TemporaryDirectory

from daplug_supervisor import Plan, Provider, Supervisor, Task

PLAN = Plan(
    name="embedded",
    providers={"local": Provider(worker="command", parallel=2)},
    tasks={
        "left": Task(command=("sh", "-c", "sleep 1; echo left"), provider="local"),
        "right": Task(command=("sh", "-c", "sleep 1; echo right"), provider="local"),
        "join": Task(command=("sh", "-c", "echo both"), provider="local", needs=("left", "right")),
    },
)


async def heartbeat() -> None:
    """The host program's own work: the supervisor never blocks its loop."""
    while True:
        print("the host goes on", flush=True)
        await asyncio.sleep(0.5)


async def main() -> int:
    """Run the plan while the heart beats. Returns 0 if all tasks are done."""
    async with asyncio.TaskGroup() as own:
        beating = own.create_task(heartbeat())
        with TemporaryDirectory() as folder:
            async with Supervisor(f"{folder}/.daplug") as supervisor:
                run = await supervisor.submit(PLAN)
                async for entry in run.events():  # ends with the run; each event is durable when it is seen
                    print(f"{entry.seq:3}  {entry.event.kind:20}  {entry.task}", flush=True)
                report = await run.wait()
        beating.cancel()
    print(f"{report.run}: {report.counts['done']} of {report.counts['total']} done")
    return 0 if report.counts["done"] == report.counts["total"] else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
