"""Taking up what an earlier supervisor left: its runs, and what it had answered."""

from __future__ import annotations

from collections.abc import Callable

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.state import Run, State, apply
from daplug_supervisor.errors import IllegalTransitionError, JournalError
from daplug_supervisor.ports import Journal, RunMark

Hear = Callable[[ev.Entry], None]
"""Gets every entry that is read."""


async def load(journal: Journal, hear: Hear | None = None) -> tuple[State, list[RunMark]]:
    """The state of all unfinished runs, and the marks of all runs. Finished runs are not read."""
    state = State()
    marks = await journal.runs()
    for mark in marks:
        if not mark.finished:
            await load_run(journal, state, mark, hear)
    return state, marks


async def load_run(journal: Journal, state: State, mark: RunMark, hear: Hear | None = None) -> Run:
    """Fold the events of one more run into the state."""
    async for entry in journal.read(mark.run, mark.first_seq - 1):
        replay(state, entry)
        if hear is not None:
            hear(entry)
    return state.runs[mark.run]


def replay(state: State, entry: ev.Entry) -> None:
    """Fold an event that the journal has kept.

    Raises:
        JournalError: it does not fit those before it: the journal is damaged.
    """
    try:
        apply(state, entry)
    except IllegalTransitionError as error:
        raise JournalError(
            f"the journal is damaged: event {entry.seq}: {error}; nothing was started or changed; "
            "'daplug-supervise doctor --repair' keeps the damaged files and recovers what can be read"
        ) from error


async def answered(journal: Journal, state: State, marks: list[RunMark]) -> set[str]:
    """The ids of the commands that the last supervisor answered. It may have died before it took their files away.

    Ask before the next one is recorded as started: what is older was taken away by those before.
    """
    found: set[str] = set()
    started = 0
    async for entry in journal.read(""):
        if isinstance(entry.event, ev.SupervisorStarted):
            found, started = set(), entry.seq
        elif isinstance(entry.event, ev.CommandAnswered):
            found.add(entry.event.id)
    for mark in marks:
        if mark.run in state.runs:
            found |= state.runs[mark.run].answered
            continue
        async for entry in journal.read(mark.run, started):
            if isinstance(entry.event, ev.CommandAnswered):
                found.add(entry.event.id)
    return found
