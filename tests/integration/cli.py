"""For tests with real processes: a place with a home of its own, the installed command in it, and what is left."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import anyio
import msgspec

from daplug_supervisor import Report, RunHandle
from daplug_supervisor.cli.driving.foreground import ONE_WISH
from daplug_supervisor.core import events as ev
from daplug_supervisor.core.plan import Plan, Provider, Retry, Task
from daplug_supervisor.core.state import Run, State, TaskState, apply, fold
from daplug_supervisor.errors import JournalError
from daplug_supervisor.journal.reader import ReadOnlyJournal

PROGRAM = str(Path(sys.executable).with_name("daplug-supervise"))
STANDIN = Path(__file__).parents[1] / "standin" / "executor.py"
PLACE = "DAPLUG_TEST_PLACE"
MARK = "DAPLUG_SUP_ATTEMPT"
PATIENCE = 20.0
SOON = Retry(attempts=3, backoff=0.02)
POOL = Provider(worker="command", parallel=2)

MARKING = 'echo "$DAPLUG_TASK $DAPLUG_SUP_ATTEMPT" >> starts; '
"""The beginning of a shell line that leaves one line an attempt in the file `starts`."""

HOLD = 'until [ -e "go-$DAPLUG_TASK" ] || [ -e go ]; do sleep 0.02; done; '
"""As above, for a task that goes on when the test says so (`Place.go`)."""

T = TypeVar("T")


def sh(line: str, *needs: str, provider: str = "p", **more: Any) -> Task:
    """A task that runs a shell line."""
    command = ("sh", "-c", line)
    return Task(command=command, needs=needs, provider=provider, **{"grace": 0.5, "retry": SOON, **more})


def plan_of(
    tasks: Mapping[str, Task],
    providers: Mapping[str, Provider] | None = None,
    name: str = "p",
    **more: Any,
) -> Plan:
    return Plan(name, dict(tasks), dict(providers or {"p": POOL}), **more)


def until(find: Callable[[], T], what: str, patience: float = PATIENCE) -> T:
    """Wait for something that only another process can bring about."""
    end = time.monotonic() + patience
    while not (found := find()):
        assert time.monotonic() < end, f"after {patience:g} s still not: {what}"
        time.sleep(0.02)
    return found


class Ran(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


class Place:
    """A target directory and a home. Every process that begins here carries a mark, and is ended with `close`."""

    def __init__(self, root: Path) -> None:
        self.target, self.home = root / "target", root / "home"
        self.target.mkdir()
        self.home.mkdir()
        self.state = self.target / ".daplug"
        self.name = secrets.token_hex(8)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("DAPLUG", "NO_COLOR"))}
        self.watchdogs: list[threading.Timer] = []
        self.commands: list[subprocess.Popen[str]] = []
        self.others: list[subprocess.Popen[bytes]] = []
        self.environ = kept | {"HOME": str(self.home), PLACE: self.name, "TERM": "xterm-256color"}

    # --- the command

    def start(self, *words: str, **more: Any) -> subprocess.Popen[str]:
        """Start the command in a session of its own; its output can be read with `finish`."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        how: dict[str, Any] = {**pipes, "cwd": self.target, "env": self.environ, "start_new_session": True}
        process = subprocess.Popen([PROGRAM, *words], text=True, errors="surrogateescape", **(how | more))
        self.commands.append(process)
        self.watchdogs.append(threading.Timer(3 * PATIENCE, process.kill))
        self.watchdogs[-1].start()
        return process

    def run(self, *words: str, **more: Any) -> Ran:
        """Run the command to its end."""
        return finish(self.start(*words, **more))

    def write(self, plan: Plan | str, name: str = "plan.json") -> str:
        """Write a plan file and return its name."""
        text = plan if isinstance(plan, str) else json.dumps(msgspec.to_builtins(plan))
        (self.target / name).write_text(text)
        return name

    # --- what can be seen

    def entries(self) -> list[ev.Entry]:
        """Everything in the journal; nothing as long as there is none."""
        if not (self.state / "journal.db").exists():
            return []
        try:
            journal = ReadOnlyJournal(self.state / "journal.db")
        except JournalError as error:
            if "nothing is in it yet" in str(error):
                return []
            raise
        with contextlib.closing(journal):
            return journal.read(None)

    def events(self, *kinds: type[ev.Event], task: str = "") -> list[Any]:
        """The events of these kinds, of one task if it is named."""
        found = [entry.event for entry in self.entries()]
        return [
            event for event in found if isinstance(event, kinds) and task in ("", getattr(event, "task", ""))
        ]

    def folded(self, run: str = "p-1") -> Run:
        return fold(self.entries()).runs[run]

    def task(self, name: str, run: str = "p-1") -> TaskState:
        return self.folded(run).tasks[name]

    def statuses(self, run: str = "p-1") -> dict[str, str]:
        return {name: str(task.status) for name, task in self.folded(run).tasks.items()}

    def most_at_once(self) -> dict[str, int]:
        """The most attempts that each provider, and ``*`` all together, ever had at work, as the journal tells it."""
        state, most = State(), dict[str, int]()
        for entry in self.entries():
            apply(state, entry)
            for run in state.runs.values():
                for name, pool in run.pools.items():
                    most[name] = max(most.get(name, 0), pool.running)
                most["*"] = max(most.get("*", 0), run.active)
        return most

    def lines(self, name: str = "starts") -> list[str]:
        """The lines of a file that tasks write to."""
        path = self.target / name
        return path.read_text().splitlines() if path.exists() else []

    def started(self, *tasks: str) -> None:
        """Wait until attempts at these tasks have left their line in `starts`."""
        until(lambda: set(tasks) <= {line.split()[0] for line in self.lines()}, f"{tasks} at work")

    def go(self, task: str = "") -> None:
        """Let a task that holds go on, or all."""
        (self.target / (f"go-{task}" if task else "go")).touch()

    def processes(self, *, attempts: bool = False) -> list[int]:
        """The processes that began here; only those of attempts if asked for."""
        return list(_marked(f"{PLACE}={self.name}", attempts=attempts))

    def emptied(self) -> None:
        """Have nothing here any more, once all that began here has ended."""
        until(lambda: not self.processes(), "no process left", 10)
        for folder in (self.target, self.home):
            shutil.rmtree(folder)
            folder.mkdir()

    def nothing_left(self) -> None:
        """Check that no agent is left, nor, a moment later, any launcher or shim."""
        assert self.processes(attempts=True) == []
        until(lambda: not self.processes(), "no process left", 10)

    def close(self) -> None:
        """End what is left."""
        end = time.monotonic() + 10
        while (left := self.processes()) and time.monotonic() < end:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        for watchdog in self.watchdogs:
            watchdog.cancel()
        for process in self.commands:
            process.communicate(timeout=PATIENCE)
        for other in self.others:
            other.wait(PATIENCE)


def finish(process: subprocess.Popen[str]) -> Ran:
    """Wait for a command that was started."""
    out, err = process.communicate(timeout=PATIENCE)
    return Ran(process.returncode, out, err)


def press(process: subprocess.Popen[Any], number: signal.Signals) -> None:
    """Signal a command as a person does who has read its answer to the signal before."""
    time.sleep(1.5 * ONE_WISH)
    process.send_signal(number)


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL, and nothing else: what a crash is."""
    process.kill()
    process.communicate(timeout=PATIENCE)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1] not in (b"Z", b"X")
    except OSError:
        return False


def _marked(mark: str, *, attempts: bool) -> Iterator[int]:
    wanted = {mark.encode()}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            names = (folder / "environ").read_bytes().split(b"\0")
            ours = wanted.issubset(names) and int(folder.name) != os.getpid() and alive(int(folder.name))
            if ours and (not attempts or any(name.startswith(f"{MARK}=".encode()) for name in names)):
                yield int(folder.name)


def opened(tmp_path: Path, monkeypatch: Any) -> Iterator[Place]:
    """A place for one test, as a fixture: ``place = pytest.fixture(opened)``."""
    place = Place(tmp_path)
    monkeypatch.setenv(PLACE, place.name)
    monkeypatch.setenv("HOME", str(place.home))
    yield place
    place.close()


async def reached(find: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """`until`, for tests with an event loop of their own."""
    with anyio.move_on_after(patience):
        while not find():
            await anyio.sleep(0.02)
        return
    raise AssertionError(f"after {patience:g} s still not: {what}")


async def happened(handle: RunHandle, kind: type[ev.Event], task: str = "") -> ev.Entry:
    """The next event of a kind."""
    with anyio.fail_after(PATIENCE):
        async for entry in handle.events():
            if isinstance(entry.event, kind) and task in ("", entry.task):
                return entry
    raise AssertionError(f"the run ended without {kind.__name__}")


async def ended(handle: RunHandle) -> Report:
    """The report, when the run has come to its end or to a halt."""
    with anyio.fail_after(PATIENCE):
        return await handle.wait()
