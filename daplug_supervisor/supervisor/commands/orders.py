"""Commands of people and agents, turned into events: which runs are meant, what follows, and the answer."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.commands import Command, events_of
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.queues import selected
from daplug_supervisor.core.state import Run, State
from daplug_supervisor.core.surgery.affected import affected
from daplug_supervisor.core.surgery.new_tasks import Known
from daplug_supervisor.errors import NotPossibleError, UsageError
from daplug_supervisor.formats.resolve import builtin_providers
from daplug_supervisor.ports import Journal
from daplug_supervisor.supervisor.admission import Admission
from daplug_supervisor.supervisor.commands.admitting import admitted
from daplug_supervisor.views.affected import Preview
from daplug_supervisor.views.text import at_clock, duration
from daplug_supervisor.workspace.tasker import home as tasker_home

_SHOWN: Final = 5
_LONG: Final = 100
_ALL_RUNS: Final = frozenset({"halt", "resume"})
_ALL_WITH_PROVIDER: Final = frozenset({"pause_provider", "resume_provider"})

_GOES_ON: Final = frozenset(
    {"create", "update", "delegate", "remove", "split", "approve", "reject", "answer", "retry", "skip"}
)
"""Verbs after which there may be something to do."""

Record = Callable[..., object]
"""`Recorder.record`."""


class RefusedBeforeError(NotPossibleError):
    """The command with this id was refused before: it is answered already, and that is in the journal."""


async def answered_before(journal: Journal, command: Command) -> ev.CommandAnswered | None:
    """The answer that a command with this id got, if there was one: it gets no other, whenever it comes again.

    Raises:
        RefusedBeforeError: it was refused, or the id was another command's.
    """
    answer = await journal.answer(command.id)
    if answer is None:
        return None
    answer = as_before(answer, command)
    if not answer.applied:
        raise RefusedBeforeError(answer.message)
    return answer


def as_before(answer: ev.CommandAnswered, command: Command) -> ev.CommandAnswered:
    """What to say to a command whose id has this answer already."""
    if answer.verb == command.verb:
        return answer
    told = f"the id {command.id} was that of a {answer.verb!r}: use another one"
    return ev.CommandAnswered(command.id, command.verb, applied=False, message=told)


class Orders:
    """Carries commands out on the runs at hand.

    Args:
        state: the runs.
        now: the time that events carry.
        admission: knows whose workers can work here.
        driven: whether somebody drives a run, by its id.
    """

    def __init__(
        self,
        state: State,
        now: Callable[[], float],
        admission: Admission,
        driven: Callable[[str], bool] = lambda _run: False,
    ) -> None:
        self._state = state
        self._now = now
        self._admission = admission
        self._driven = driven

    def carry_out(self, command: Command, record: Record) -> ev.CommandAnswered:
        """Record what a command asks for, together with its answer, in one transaction a run.

        Raises:
            NotPossibleError: it cannot be done now; nothing was changed.
        """
        _sound(command)
        done: list[ev.CommandAnswered] = []
        refused: NotPossibleError | None = None
        for run in self._meant(command):
            try:
                events = self._events(run, command)
            except NotPossibleError as error:
                refused = error
                continue
            if command.verb == "resume":
                tasker_home.clear_stop(run)
            record(run.id, *events)
            said = _say(run, command, self._now()) + self._hint(run, command)
            done.append(ev.CommandAnswered(command.id, command.verb, applied=True, message=said))
            record(run.id, done[-1])
        if not done:
            raise refused or NotPossibleError("there is no unfinished run")
        return done[-1]

    def preview(self, command: Command) -> Preview:
        """What a command would affect, if it was carried out now.

        Raises:
            NotPossibleError: it would be refused.
        """
        _sound(command)
        [run] = self._meant(command)
        now = self._now()
        events = self._events(run, command)
        return Preview(command.verb, run.id, _say(run, command, now), affected(run, events, now))

    def _events(self, run: Run, command: Command) -> Sequence[ev.Event]:
        events = events_of(run, command, self._now(), self._known(run))
        try:
            self._admission.check_words(command.reason)
            return admitted(self._admission, run, events)
        except NotPossibleError:
            raise
        except UsageError as error:
            raise NotPossibleError(str(error)) from error

    def _known(self, run: Run) -> Known:
        """What the run itself does not say, for what is to be created in it."""
        runs = self._state.runs.values()

        def elsewhere(task: str) -> str:
            return next((other.id for other in runs if other is not run and task in other.tasks), "")

        return Known(builtin_providers(os.cpu_count() or 1), elsewhere)

    def _meant(self, command: Command) -> list[Run]:
        runs = self._state.runs
        if command.run:
            if command.run not in runs:
                there = ", ".join(list(runs)[-_SHOWN:])
                also = f"; there is {there} (what has finished can be changed when no supervisor is alive)"
                raise NotPossibleError(f"there is no run {command.run!r} at hand{also if there else ''}")
            return [runs[command.run]]
        unfinished = [run for run in runs.values() if run.finished_at is None]
        if command.verb in _ALL_RUNS:
            return unfinished
        if command.verb in _ALL_WITH_PROVIDER:
            return [run for run in unfinished if command.provider in run.pools] or unfinished
        task = command.task or command.sender or (command.new[0].parent if command.new else "")
        found = [run for run in unfinished or runs.values() if not task or task in run.tasks]
        found = found[-1:] or list(runs.values())[-1:]
        if not found:
            raise NotPossibleError("there is no run here yet: run a plan first")
        return found

    def _hint(self, run: Run, command: Command) -> str:
        """What a person should know beside: who goes on with the run, and what is not started."""
        if command.verb not in _GOES_ON or run.finished_at is not None:
            return ""
        driven = self._driven(run.id)
        left = [one.id for one in command.new if not selected(run, one.id)]
        if left and (run.halt is None or not driven):  # `resume` would ask for the same ones again
            which = "this start" if driven else "the latest start"
            return f"; {which} asked for other tasks only, and {left[0]} waits for another 'daplug-supervise run'"
        if not driven:
            return f"; 'daplug-supervise resume {run.id}' goes on with it"
        return "; the run is halted: 'daplug-supervise resume' goes on with it" if run.halt else ""


def _sound(command: Command) -> None:
    """Refuse a command that could not have come out of the inbox: who embeds us may have made it anyhow.

    Raises:
        NotPossibleError: so it is.
    """
    try:
        msgspec.json.decode(msgspec.json.encode(command), type=Command)
    except (msgspec.MsgspecError, UnicodeError, TypeError, ValueError) as error:
        raise NotPossibleError(f"this is no command: {error}") from error


def _say(run: Run, command: Command, now: float) -> str:
    name = command.provider
    new = ", ".join(one.id for one in command.new)
    task = command.task or command.sender
    words = {
        "create": f"task {new} is added to run {run.id}",
        "update": f"task {task} is changed{_dead(run, task)}",
        "delegate": f"task {task} waits for its parts",
        "remove": f"task {task} is removed",
        "split": f"task {task} waits for its parts {new}",
        "approve": f"task {task} is approved, and lands",
        "reject": f"task {task} is done again; the next attempt is told: {_short(command.reason)}",
        "answer": f"task {task} goes on with the answer",
        "halt": f"run {run.id} halts: nothing more is started; 'daplug-supervise resume' goes on",
        "resume": f"run {run.id} goes on",
        "retry": f"task {task} will be tried again",
        "skip": f"task {task} is skipped: what needs it may go on",
        "cancel": f"task {task} is cancelled: what needs it stays blocked",
        "pause_provider": f"run {run.id} starts nothing more with {name}{_until(command, now)}; what runs may finish",
        "resume_provider": f"run {run.id} starts tasks with {name} again",
    }
    return words[command.verb]


def _short(text: str) -> str:
    return text if len(text) <= _LONG else f"{text[:_LONG]}…"


def _dead(run: Run, name: str) -> str:
    """What else to type after a change to a task that is not tried again by itself."""
    task = run.tasks.get(name)
    if task is None or task.status not in (Status.FAILED, Status.STUCK, Status.CANCELLED):
        return ""
    return f"; it is {task.status}: 'daplug-supervise task retry {name}' tries it again"


def _until(command: Command, now: float) -> str:
    """How long a pause lasts."""
    if command.seconds is None:
        return f" before 'daplug-supervise provider resume {command.provider}'"
    return f" until {at_clock(now + command.seconds, now)}, for {duration(command.seconds)}"
