"""Runs under strace (`power.trace`): writes what must be durable, and says so on standard output when it is."""

from __future__ import annotations

import os
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "integration")]

import anyio  # noqa: E402
from cli import plan_of, sh  # noqa: E402

from daplug_supervisor.core import events as ev  # noqa: E402
from daplug_supervisor.core.results import Exit, Outcome, OutcomeKind, Result  # noqa: E402
from daplug_supervisor.errors import JournalError  # noqa: E402
from daplug_supervisor.journal import wal  # noqa: E402
from daplug_supervisor.journal.sqlite import SqliteJournal  # noqa: E402
from daplug_supervisor.processes.shim.shim import Shim  # noqa: E402
from daplug_supervisor.workspace.files import StateDirectory, sync_directory, write_atomically  # noqa: E402

DONE = Result(Outcome(OutcomeKind.COMPLETED), Exit(0))


def tell(text: object) -> None:
    os.write(1, f"{text}\n".encode())


async def journal(state: Path, life: int, groups: int) -> None:
    """One life of a journal: some runs, group by group; every other life ends without closing anything."""
    wal._EVERY = 25  # copied often, so that cuts fall into that as well
    StateDirectory(state).create()
    opened = SqliteJournal(state / "journal.db")
    await opened.open()
    try:
        for number in range(groups):
            name, task, source = f"r{life}-{number}", "t", "s" * (9000 if number % 5 == 0 else 10)
            plan = plan_of({task: sh("true")})
            for events in (
                [
                    ev.RunSubmitted(plan, "/target", source),
                    ev.RunStarted(),
                    ev.AttemptStarted(task, 1, "token", "p"),
                ],
                [ev.AttemptSpawned(task, 1, 2, "boot")],
                [
                    ev.AttemptExited(task, DONE),
                    ev.VerificationPassed(task),
                    ev.Landed(task),
                    ev.RunFinished(),
                ],
            ):
                entries, durable = opened.append(name, 1.0, events)
                await durable.wait()
                tell(entries[-1].seq)
    except JournalError:
        pass  # injected
    if life % 2:
        os._exit(0)
    await opened.close()


def report(state: Path) -> None:
    """A file that is replaced as a whole."""
    state.mkdir()
    sync_directory(state.parent)
    for number in range(5):
        write_atomically(state / "report.json", f"{number} ".encode() * 700)
        sync_directory(state)
        tell(number)


def record(state: Path) -> None:
    """An exit record that a shim leaves when there is no supervisor."""
    state.mkdir()
    sync_directory(state.parent)
    for number in range(1, 4):
        shim = Shim.__new__(Shim)
        shim.record = -1
        shim.claim(f"{state}/runs/r/t/{number}", "mark")
        shim.write({"state": "exited", "mark": "mark", "code": number})
        shim.keep_record()
        tell(number)


if __name__ == "__main__":
    base, what = Path(sys.argv[1]), sys.argv[2]
    if what == "journal":
        anyio.run(journal, base / "new" / "state", int(sys.argv[3]), int(sys.argv[4]))
    else:
        {"report": report, "record": record}[what](base / "state")
