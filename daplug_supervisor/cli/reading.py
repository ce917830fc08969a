"""Reading runs from the journal, while a supervisor runs and after it has died."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from daplug_supervisor.core.state import Run, State
from daplug_supervisor.errors import NotPossibleError
from daplug_supervisor.journal.reader import ReadOnlyJournal
from daplug_supervisor.ports import RunMark
from daplug_supervisor.supervisor.recovery import replay
from daplug_supervisor.views.text import speak_of
from daplug_supervisor.workspace.files import StateDirectory


@contextmanager
def reading(directory: StateDirectory) -> Iterator[ReadOnlyJournal]:
    """The journal of a state directory, read-only.

    Raises:
        StateDirectoryError: there is no journal.
        JournalError: it cannot be read.
    """
    directory.require()
    journal = ReadOnlyJournal(directory.journal)
    try:
        yield journal
    finally:
        journal.close()


def choose(marks: list[RunMark], run: str | None) -> RunMark:
    """The run that is meant: the one named, else the latest unfinished one, else the latest.

    Raises:
        NotPossibleError: there is none.
    """
    if run is not None:
        found = next((mark for mark in marks if mark.run == run), None)
        if found is None:
            known = ", ".join(mark.run for mark in marks[-5:]) or "none"
            raise NotPossibleError(f"there is no run {run!r} here (latest runs: {known})")
        return found
    unfinished = [mark for mark in marks if not mark.finished]
    if not marks:
        raise NotPossibleError("nothing was run here yet")
    return (unfinished or marks)[-1]


def chosen(marks: list[RunMark], run: str | None) -> RunMark:
    """As `choose`; from now on, commands that are shown name that run if they would mean another one.

    Raises:
        NotPossibleError: there is none.
    """
    mark = choose(marks, run)
    speak_of("" if mark == choose(marks, None) else mark.run)
    return mark


def load_run(directory: StateDirectory, run: str | None) -> Run:
    """The state of a run as the journal has it now.

    Raises:
        StateDirectoryError, NotPossibleError, JournalError: as `reading` and `choose`.
    """
    with reading(directory) as journal:
        mark = chosen(journal.runs(), run)
        state = State()
        for entry in journal.read(mark.run, mark.first_seq - 1):
            replay(state, entry)
    return state.runs[mark.run]
