"""Many lives of the installed command, quickly: a process that has imported it, and forks one life after another.

Run as a program it is that process; `Forge` is the test's side of it. A life can be killed at its nth effect: a call
that another process, the kernel or the disk could notice.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from cli import Place

EFFECTS = frozenset(
    {"send", "sendmsg", "recvmsg", "execute", "executemany", "executescript", "fork_exec", "flock", "mkdir", "replace",
     "unlink", "pwrite", "pidfd_open", "pidfd_send_signal", "socketpair"}
)  # fmt: skip


class Life(NamedTuple):
    """What to run: words after the command's name. `kill_at` 0: it is not killed. `delay`: seconds before it begins.

    `kill_after`: it is killed as soon as the event of that number is durable, before anybody acts on it.
    """

    words: tuple[str, ...]
    kill_at: int = 0
    delay: float = 0.0
    kill_after: int = 0


class Ended(NamedTuple):
    """How a life ended: exit code, or minus a signal; seconds since it could begin; what it said on stderr."""

    code: int
    seconds: float
    err: str
    pid: int


class Forge:
    """The test's side."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, place: Place, *lives: Life) -> list[Ended]:
        """Let lives begin at one moment in a place, and wait until all are over."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"target": str(place.target), "environ": place.environ, "lives": lives}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the forking process has died"
        return [Ended(*one) for one in json.loads(answer)]


@contextmanager
def forge() -> Iterator[Forge]:
    """A process that forks lives. It belongs to no place itself."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DAPLUG")}
    command = [sys.executable, __file__]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean
    ) as process:
        try:
            yield Forge(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()


def serve() -> None:
    """Take orders from stdin until it ends."""
    from daplug_supervisor.cli import run  # noqa: F401 (imported once for all lives)
    from daplug_supervisor.cli.driving import foreground as driving  # noqa: F401 (imported once for all lives)
    from daplug_supervisor.cli.main import main

    for line in sys.stdin:
        order = json.loads(line)
        wait, go = os.pipe()
        pids = [_fork(main, order, Life(*life), wait, go) for life in order["lives"]]
        os.close(wait)
        began = time.monotonic()
        os.close(go)
        ended: dict[int, list[Any]] = {}
        while len(ended) < len(pids):
            pid, status = os.wait()
            if pid in pids:
                err = Path(f"{order['target']}/stderr-{pid}")
                code = os.waitstatus_to_exitcode(status)
                ended[pid] = [code, time.monotonic() - began, err.read_text() if err.exists() else "", pid]
        print(json.dumps([ended[pid] for pid in pids]), flush=True)


def _fork(main: Callable[[], None], order: dict[str, Any], life: Life, wait: int, go: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        os.close(go)
        os.chdir(order["target"])
        os.environ.update(order["environ"])
        for number, name in enumerate(("/dev/null", "/dev/null", f"stderr-{os.getpid()}")):
            os.dup2(os.open(name, os.O_RDWR | os.O_CREAT, 0o600), number)
        os.read(wait, 1)
        os.close(wait)
        random.seed()
        time.sleep(life.delay)
        sys.argv = ["daplug-supervise", *life.words]
        if life.kill_at:
            _kill_at(life.kill_at)
        if life.kill_after:
            _kill_after(life.kill_after)
        main()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 0
    finally:
        sys.stderr.flush()
        os._exit(code)


def _kill_at(number: int) -> None:
    """Kill ourselves right before or right after an effect: each counts twice."""
    count = itertools.count(1)

    def look(_frame: object, event: str, what: object) -> None:
        if (
            event in ("c_call", "c_return")
            and getattr(what, "__name__", "") in EFFECTS
            and not isinstance(getattr(what, "__self__", None), str | bytes)  # texts have a `replace`, too
            and next(count) == number
        ):
            os.kill(os.getpid(), signal.SIGKILL)

    threading.setprofile(look)
    sys.setprofile(look)


def _kill_after(number: int) -> None:
    """Kill ourselves when an event is durable."""
    from daplug_supervisor.journal.sqlite import SqliteJournal

    insert = SqliteJournal._insert

    async def inserted(journal: SqliteJournal, db: Any, rows: list[Any]) -> None:
        await insert(journal, db, rows)
        if rows[-1][0] >= number:
            os.kill(os.getpid(), signal.SIGKILL)

    SqliteJournal._insert = inserted  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    serve()
