"""F1 and F3: the least that asyncio, and asyncio with a durable journal, can do. ``bare.py GRAPH [JOURNAL]``.

GRAPH is a JSON file {"jobs": 8, "command": PROGRAM, "needs": {task: [tasks]}}. Without JOURNAL this is F1. With it,
it is F3, the yardstick of our targets: one thread writes a SQLite file (WAL, synchronous=FULL); all that has come up
while it was busy goes into its next transaction; a start is on disk before its process is started; a task's end and
the starts that it allows are in one transaction.
"""

from __future__ import annotations

import asyncio
import json
import queue
import sqlite3
import sys
import threading
import time
import warnings
from collections import deque
from pathlib import Path
from typing import Any

Row = tuple[float, str, str, int]
Batch = tuple[list[Row], "asyncio.Future[None]"]


class Journal:
    """Groups of rows, each group one transaction in a thread of its own."""

    def __init__(self, path: str) -> None:
        self.rows: list[Row] = []
        self.group: asyncio.Future[None] | None = None
        self.busy = False
        self.loop = asyncio.get_running_loop()
        self.work: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self.write, args=(path,))
        self.thread.start()

    def write(self, path: str) -> None:
        database = sqlite3.connect(path, isolation_level=None)
        for statement in (
            "PRAGMA journal_mode=WAL",
            "PRAGMA synchronous=FULL",
            "CREATE TABLE event (seq INTEGER PRIMARY KEY, at REAL, task TEXT, kind TEXT, code INTEGER) STRICT",
        ):
            database.execute(statement)
        while (batch := self.work.get()) is not None:
            database.execute("BEGIN")
            database.executemany("INSERT INTO event (at, task, kind, code) VALUES (?, ?, ?, ?)", batch[0])
            database.execute("COMMIT")
            self.loop.call_soon_threadsafe(self.written, batch[1])
        database.close()

    def add(self, task: str, kind: str, code: int = 0) -> asyncio.Future[None]:
        self.rows.append((time.time(), task, kind, code))
        if self.group is None:
            self.group = self.loop.create_future()
            if not self.busy:
                self.loop.call_soon(self.flush)
        return self.group

    def flush(self) -> None:
        if self.group is not None and not self.busy:
            self.busy = True
            self.work.put((self.rows, self.group))
            self.rows, self.group = [], None

    def written(self, group: asyncio.Future[None]) -> None:
        self.busy = False
        group.set_result(None)
        self.loop.call_soon(self.flush)

    async def close(self) -> None:
        await self.add("", "over")
        self.work.put(None)
        self.thread.join()


class Runner:
    """Runs a graph."""

    def __init__(self, graph: dict[str, Any], journal: Journal | None) -> None:
        self.command: str = graph["command"]
        self.journal = journal
        self.free: int = graph["jobs"]
        self.unmet = {task: len(needs) for task, needs in graph["needs"].items()}
        self.after: dict[str, list[str]] = {task: [] for task in self.unmet}
        for task, needs in graph["needs"].items():
            for other in needs:
                self.after[other].append(task)
        self.ready = deque(task for task, unmet in self.unmet.items() if not unmet)
        self.left = len(self.unmet)
        self.failed = False
        self.tasks: set[asyncio.Task[None]] = set()
        self.over = asyncio.Event()

    def start_what_can_start(self) -> None:
        while self.free and self.ready:
            self.free -= 1
            task = self.ready.popleft()
            durable = self.journal.add(task, "start") if self.journal else None
            running = asyncio.create_task(self.run(task, durable))
            self.tasks.add(running)
            running.add_done_callback(self.tasks.discard)

    async def run(self, task: str, durable: asyncio.Future[None] | None) -> None:
        if durable is not None:
            await durable
        null = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(self.command, stdin=null, stdout=null, stderr=null)
        code = await process.wait()
        if self.journal:
            self.journal.add(task, "end", code)
        self.failed |= bool(code)
        for other in self.after[task]:
            self.unmet[other] -= 1
            if not self.unmet[other]:
                self.ready.append(other)
        self.free += 1
        self.left -= 1
        self.start_what_can_start()
        if not self.left:
            self.over.set()


async def main() -> int:
    if sys.version_info < (3, 12):  # later versions do this by themselves; threads would be slower
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            watcher = asyncio.PidfdChildWatcher()
            watcher.attach_loop(asyncio.get_running_loop())
            asyncio.set_child_watcher(watcher)
    graph = json.loads(Path(sys.argv[1]).read_text())
    journal = Journal(sys.argv[2]) if len(sys.argv) > 2 else None
    runner = Runner(graph, journal)
    runner.start_what_can_start()
    await runner.over.wait()
    if journal:
        await journal.close()
    return int(runner.failed)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
