"""Carrying a command out when no supervisor is alive: take the lock, record, let go. And looking what it would do."""

from __future__ import annotations

import os
from contextlib import closing

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.commands import Command
from daplug_supervisor.core.state import Run, State
from daplug_supervisor.errors import NotPossibleError
from daplug_supervisor.journal.reader import ReadOnlyJournal
from daplug_supervisor.journal.sqlite import SqliteJournal
from daplug_supervisor.ports import Clock, RunMark
from daplug_supervisor.supervisor import recovery
from daplug_supervisor.supervisor.admission import Admission
from daplug_supervisor.supervisor.clock import clock_of
from daplug_supervisor.supervisor.commands.orders import Orders, RefusedBeforeError, answered_before
from daplug_supervisor.supervisor.recorder import Recorder
from daplug_supervisor.views.affected import Preview
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
            try:
                before = await answered_before(journal, command)
            except RefusedBeforeError as error:
                return ev.CommandAnswered(command.id, command.verb, applied=False, message=str(error))
            if before is not None:
                return before
            state, marks = await recovery.load(journal)
            for mark in _wanted(state, marks, command):
                await recovery.load_run(journal, state, mark)
            recorder = Recorder(journal, state, clock or clock_of(_latest(state)), lambda: None)
            answer = _apply(recorder, command)
            await recorder.settle()
            return answer
        finally:
            await journal.close()
    finally:
        lock.release()


def preview(directory: StateDirectory, command: Command) -> Preview:
    """What a command would affect; nothing is stored. A supervisor may be alive.

    Raises:
        NotPossibleError: it would be refused.
        StateDirectoryError, JournalError: there is no journal, or it cannot be read.
    """
    directory.require()
    state = State()
    with closing(ReadOnlyJournal(directory.journal)) as journal:
        marks = journal.runs()
        for mark in [mark for mark in marks if not mark.finished]:
            _replay(journal, state, mark)
        for mark in _wanted(state, marks, command):
            _replay(journal, state, mark)
    now = clock_of(_latest(state)).now
    return Orders(state, now, _admission()).preview(command)


def _replay(journal: ReadOnlyJournal, state: State, mark: RunMark) -> None:
    for entry in journal.read(mark.run, mark.first_seq - 1):
        recovery.replay(state, entry)


def _wanted(state: State, marks: list[RunMark], command: Command) -> list[RunMark]:
    """The finished run that a command is about, if it is about one: the one named, else the latest."""
    if command.verb == "halt" or not (command.run or not state.runs):
        return []
    wanted = [mark for mark in marks if mark.run == command.run] if command.run else marks[-1:]
    return [mark for mark in wanted if mark.run not in state.runs]


def _latest(state: State) -> Run | None:
    return max(state.runs.values(), key=lambda run: run.last_at, default=None)


def _admission() -> Admission:
    return Admission({}, None, os.environ)


def _apply(recorder: Recorder, command: Command) -> ev.CommandAnswered:
    orders = Orders(recorder.state, recorder.now, _admission())
    try:
        answer = orders.carry_out(command, recorder.record)
    except NotPossibleError as error:
        answer = ev.CommandAnswered(command.id, command.verb, applied=False, message=str(error))
        recorder.record("", answer)
    for run in recorder.state.runs.values():
        if run.halt is not None and run.halt.halted_at is None and not run.active:
            recorder.record(run.id, ev.Halted())
    return answer
