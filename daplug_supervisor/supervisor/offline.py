"""Carrying a command out when no supervisor is alive: take the lock, record, let go."""

from __future__ import annotations

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.commands import Command
from daplug_supervisor.errors import NotPossibleError
from daplug_supervisor.journal.sqlite import SqliteJournal
from daplug_supervisor.ports import Clock
from daplug_supervisor.supervisor import recovery
from daplug_supervisor.supervisor.clock import clock_of
from daplug_supervisor.supervisor.orders import Orders
from daplug_supervisor.supervisor.recorder import Recorder
from daplug_supervisor.workspace.files import StateDirectory


async def carry_out(
    directory: StateDirectory, command: Command, clock: Clock | None = None
) -> ev.CommandAnswered:
    """Apply a command to the journal and return the answer.

    Raises:
        BusyError: a supervisor came to life meanwhile; send it the command.
        JournalError: the journal cannot be used.
    """
    lock = directory.lock()
    journal = SqliteJournal(directory.journal)
    try:
        await journal.open()
        try:
            state, marks = await recovery.load(journal)
            if command.verb != "halt" and (command.run or not state.runs):
                wanted = [mark for mark in marks if mark.run == command.run] if command.run else marks[-1:]
                for mark in wanted:
                    if mark.run not in state.runs:
                        await recovery.load_run(journal, state, mark)
            latest = max(state.runs.values(), key=lambda run: run.last_at, default=None)
            recorder = Recorder(journal, state, clock or clock_of(latest), lambda: None)
            answer = _apply(recorder, command)
            await recorder.settle()
            return answer
        finally:
            await journal.close()
    finally:
        lock.release()


def _apply(recorder: Recorder, command: Command) -> ev.CommandAnswered:
    orders = Orders(recorder)
    try:
        answer = orders.carry_out(command)
    except NotPossibleError as error:
        answer = ev.CommandAnswered(command.id, command.verb, applied=False, message=str(error))
        recorder.record("", answer)
    for run in recorder.state.runs.values():
        if run.halt is not None and run.halt.halted_at is None and not run.active:
            recorder.record(run.id, ev.Halted())
    return answer
