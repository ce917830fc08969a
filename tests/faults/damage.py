"""For tests of damaged journals: journals of several shapes with the truth about them, and ways to damage them."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import struct
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.plan import Plan, Provider, Task
from daplug_supervisor.core.results import Exit, Outcome, OutcomeKind, Result
from daplug_supervisor.core.state import State, apply, fold
from daplug_supervisor.journal.header import shm_of, wal_of
from daplug_supervisor.journal.pages import _written
from daplug_supervisor.journal.rows import COLUMNS, tail_of
from daplug_supervisor.journal.sqlite import SqliteJournal

T0 = 1_795_224_123.25
DONE = Result(Outcome(OutcomeKind.COMPLETED), Exit(0, seconds=2.5))
FAILED = Result(Outcome(OutcomeKind.FAILED, "boom"), Exit(1, seconds=0.5))


class Truth(Struct):
    """A journal's files, its entries, what they fold to, and what its attempts left in their directories."""

    name: str
    files: dict[str, bytes]
    entries: list[ev.Entry]
    state: State
    records: dict[tuple[str, str, int], dict[str, Any]]
    kept: dict[int, bytes]
    """The bytes of each row as SQLite keeps it in a page."""


def fast_folder() -> Path:
    """A new folder where syncing costs nothing, if there is such a place."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None))


@contextmanager
def folder() -> Iterator[Path]:
    """As above, until the end of the block."""
    made = fast_folder()
    try:
        yield made
    finally:
        shutil.rmtree(made)


class Author:
    """Writes a history that could have happened, with its attempts' records."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.groups: list[tuple[str, list[ev.Event]]] = []
        self.records: dict[tuple[str, str, int], dict[str, Any]] = {}
        self.state = State()
        self.seq = 0
        self.pid = 4_100_000  # above what the system gives out

    def say(self, run: str, *events: ev.Event) -> None:
        for event in events:
            self.seq += 1
            apply(self.state, ev.Entry(self.seq, run, T0 + self.seq, event))
        self.groups.append((run, list(events)))

    def submit(self, run: str, tasks: int, text: int = 20) -> None:
        names = [f"t{number}" for number in range(tasks)]
        specs = {
            name: Task(command=("sh", "-c", "x" * text), needs=tuple(names[: at // 2][-1:]), provider="p")
            for at, name in enumerate(names)
        }
        providers = {"p": Provider(worker="command", parallel=4), "q": Provider(worker="command")}
        self.say(run, ev.RunSubmitted(Plan(run.rpartition("-")[0], specs, providers), "/target"))
        self.say(run, ev.RunStarted())

    def step(self, run: str) -> None:
        """Something happens in a run."""
        found = self.state.runs[run]
        ready = [t for t in found.tasks.values() if t.status == "pending" and not t.unmet]
        working = [t for t in found.tasks.values() if t.status == "running"]
        ended = [t for t in found.tasks.values() if t.status in ("failed", "stuck")]
        what = self.chance.random()
        if working and (what < 0.5 or not ready):
            self.end(run, self.chance.choice(working).id)
        elif ready and what > 0.96:
            self.say(run, ev.TaskSkipped(ready[-1].id, "not needed"))
        elif ready:
            self.begin(run, self.chance.choice(ready).id)
        elif ended:
            self.say(run, ev.TaskReset(self.chance.choice(ended).id, "again"))

    def begin(self, run: str, task: str) -> None:
        known = self.state.runs[run].tasks[task].attempt
        number = known.number + 1 if known else 1
        token = f"token-{run}-{task}-{number}"
        self.pid += 1
        spawned = ev.AttemptSpawned(task, self.pid, 77, "boot")
        self.say(run, ev.AttemptStarted(task, number, token, "p"), spawned)
        self.records[run, task, number] = {"state": "starting", "mark": token, "shim": self.pid}

    def end(self, run: str, task: str) -> None:
        attempt = self.state.runs[run].tasks[task].attempt
        assert attempt is not None
        what = self.chance.random()
        good = what < 0.7
        result = DONE if good else FAILED
        self.records[run, task, attempt.number] = {
            "state": "exited", "mark": attempt.token, "code": 0 if good else 1, "seconds": 1.0,
        }  # fmt: skip
        if good:
            self.say(run, ev.AttemptExited(task, result))
            self.say(run, ev.VerificationPassed(task), ev.Landed(task))
        elif what < 0.85:
            self.say(run, ev.RetryScheduled(task, result))
        else:
            self.say(run, ev.TaskFailed(task, result))

    def finish(self, run: str) -> None:
        """Bring a run to its end."""
        while any(t.status in ("pending", "running") for t in self.state.runs[run].tasks.values()):
            ready = [t for t in self.state.runs[run].tasks.values() if t.status == "running"]
            able = [t for t in self.state.runs[run].tasks.values() if t.status == "pending" and not t.unmet]
            if not ready and not able:
                break
            self.step(run)
        self.say(run, ev.RunFinished())


def running(author: Author) -> None:
    """One run, in the middle."""
    author.say("", ev.SupervisorStarted(1, "boot", "1"))
    author.submit("p-1", 12)
    for _ in range(25):
        author.step("p-1")


def finished(author: Author) -> None:
    author.say("", ev.SupervisorStarted(1, "boot", "1"))
    author.submit("p-1", 6)
    author.finish("p-1")
    author.say("", ev.SupervisorStopped())


def several(author: Author) -> None:
    """Runs with long plans, some over, two of them at work at once."""
    for name in ("p-1", "q-1"):
        author.say("", ev.SupervisorStarted(1, "boot", "1"))
        author.submit(name, 5, 900)
        author.finish(name)
        author.say("", ev.SupervisorStopped())
    author.submit("p-2", 10)
    author.submit("q-2", 8, 2000)
    for at in range(40):
        author.step("pq"[at % 2] + "-2")


SHAPES = {"running": running, "finished": finished, "several": several}


async def written(name: str, seed: int = 1, *, closed: bool) -> Truth:
    """A journal of a shape; not `closed`: as its supervisor left it when it was killed, with all in the log."""
    author = Author(seed)
    SHAPES[name](author)
    with folder() as place:
        path = place / "journal.db"
        entries: list[ev.Entry] = []
        journal = SqliteJournal(path)
        await journal.open()
        for number, (run, events) in enumerate(author.groups):
            if number == len(author.groups) // 2:  # some of it in the file already
                await journal.close()
                journal = SqliteJournal(path)
                await journal.open()
            made, durable = journal.append(run, T0 + number, events)
            await durable.wait()
            entries += made
        if closed:
            await journal.close()
        files = {file.name: file.read_bytes() for file in files_of(path) if file.exists()}
        if not closed:
            await journal.close()
        with closing(sqlite3.connect(path)) as db:
            rows = {row[0]: as_kept(row) for row in db.execute(f"SELECT {COLUMNS} FROM event")}
    told = f"{name}{'' if closed else ' (killed)'}"
    return Truth(told, files, entries, fold(entries), author.records, rows)


def as_kept(row: tuple[Any, ...]) -> bytes:
    """A row as SQLite writes it into a page, without its length and number: the header, then the columns."""
    types, body = [b"\0"], b""
    for value in row[1:]:
        if isinstance(value, str):
            data = value.encode()
            types.append(_written(13 + 2 * len(data)))
        elif isinstance(value, float):
            data = struct.pack(">d", value)
            types.append(b"\7")
        elif value in (0, 1):
            data = b""
            types.append(bytes([8 + value]))
        else:
            kind, size = next((k, n) for k, n in _INTEGERS if -(1 << 8 * n - 1) <= value < 1 << 8 * n - 1)
            data = value.to_bytes(size, "big", signed=True)
            types.append(bytes([kind]))
        body += data
    header = b"".join(types)
    return _written(len(header) + 1) + header + body


_INTEGERS = ((1, 1), (2, 2), (3, 3), (4, 4), (5, 6), (6, 8))


def files_of(path: Path) -> list[Path]:
    """The journal's files."""
    return [path, wal_of(path), shm_of(path), tail_of(path)]


def lay_out(files: dict[str, bytes], place: Path) -> Path:
    """Write a journal's files; returns the journal."""
    for name, data in files.items():
        (place / name).write_bytes(data)
    return place / "journal.db"


def leave_records(truth: Truth, place: Path) -> None:
    """Write what the attempts left."""
    for (run, task, number), record in truth.records.items():
        made = place / run / task / str(number)
        made.mkdir(parents=True)
        (made / "process.json").write_text(json.dumps(record))


# --- ways to damage it ------------------------------------------------------------------------------------------


def destroy(files: dict[str, bytes], *kept: bytes) -> None:
    """Make certain rows unreadable, wherever they stand."""
    for name, data in list(files.items()):
        left = data
        for row in kept:
            left = left.replace(row, b"\xa5" * len(row))
        files[name] = left


def flip(files: dict[str, bytes], chance: random.Random) -> str:
    """One bit of one file."""
    name = chance.choice([name for name, data in files.items() if data and not name.endswith("-shm")])
    data = bytearray(files[name])
    at = chance.randrange(len(data) * 8)
    data[at // 8] ^= 1 << at % 8
    files[name] = bytes(data)
    return f"bit {at} of {name}"


def truncate(files: dict[str, bytes], chance: random.Random) -> str:
    """The end of a file is gone."""
    name = chance.choice([name for name, data in files.items() if data and not name.endswith("-shm")])
    size = len(files[name])
    at = chance.choice([0, chance.randrange(size), chance.randrange(size) // 4096 * 4096])
    files[name] = files[name][:at]
    return f"{name} ends at {at} of {size}"


def zero_page(files: dict[str, bytes], chance: random.Random) -> str:
    name, at = _page(files, chance)
    files[name] = files[name][:at] + bytes(4096) + files[name][at + 4096 :]
    return f"page at {at} of {name} is zero"


def swap_pages(files: dict[str, bytes], chance: random.Random) -> str:
    name, at = _page(files, chance)
    _, other = _page({name: files[name]}, chance)
    data = bytearray(files[name])
    data[at : at + 4096], data[other : other + 4096] = data[other : other + 4096], data[at : at + 4096]
    files[name] = bytes(data)
    return f"pages at {at} and {other} of {name} are swapped"


def scribble(files: dict[str, bytes], chance: random.Random) -> str:
    """Some bytes are something else."""
    name = chance.choice([name for name, data in files.items() if data])
    at = chance.randrange(len(files[name]))
    noise = chance.randbytes(chance.choice([2, 40, 600, 5000]))
    files[name] = (files[name][:at] + noise + files[name][at + len(noise) :])[: len(files[name])]
    return f"{len(noise)} bytes at {at} of {name} are noise"


def lose(files: dict[str, bytes], chance: random.Random) -> str:
    name = chance.choice([name for name, data in files.items() if data])
    del files[name]
    return f"{name} is gone"


def _page(files: dict[str, bytes], chance: random.Random) -> tuple[str, int]:
    name = chance.choice(
        [name for name in ("journal.db", "journal.db-wal") if len(files.get(name, b"")) > 4096]
    )
    size = len(files[name])
    if name.endswith("-wal"):
        return name, 32 + 24 + chance.randrange((size - 32) // 4120) * 4120
    return name, chance.randrange(size // 4096) * 4096


COARSE = [zero_page, swap_pages, scribble, lose]
