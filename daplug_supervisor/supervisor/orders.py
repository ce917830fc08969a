"""Commands of people, turned into events: which runs are meant, what follows, and the answer."""

from __future__ import annotations

import os

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.commands import Command, events_of
from daplug_supervisor.core.new_tasks import Known
from daplug_supervisor.core.state import Run
from daplug_supervisor.errors import NotPossibleError
from daplug_supervisor.formats.resolve import builtin_providers
from daplug_supervisor.supervisor.recorder import Recorder
from daplug_supervisor.views.text import at_clock, duration
from daplug_supervisor.workspace import tasker_home

_ALL_RUNS = frozenset({"halt", "resume"})


class Orders:
    """Carries commands out on the runs at hand, each id once."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def carry_out(self, command: Command) -> ev.CommandAnswered:
        """Record what a command asks for, together with its answer, in one transaction a run.

        Raises:
            NotPossibleError: it cannot be done now; nothing was changed.
        """
        done: list[str] = []
        refused: NotPossibleError | None = None
        answer = ev.CommandAnswered(command.id, command.verb, applied=True)
        for run in self._meant(command):
            if command.id in run.answered:
                return answer
            try:
                events = events_of(run, command, now := self._recorder.now(), self._known(run))
            except NotPossibleError as error:
                refused = error
                continue
            if command.verb == "resume":
                tasker_home.clear_stop(run)
            said = _say(run, command, now)
            answer = ev.CommandAnswered(command.id, command.verb, applied=True, message=said)
            self._recorder.record(run.id, *events, answer)
            done.append(run.id)
        if not done:
            raise refused or NotPossibleError("there is no unfinished run")
        return answer

    def _known(self, run: Run) -> Known:
        """What the run itself does not say, for what is to be created in it."""
        runs = self._recorder.state.runs.values()

        def elsewhere(task: str) -> str:
            return next((other.id for other in runs if other is not run and task in other.tasks), "")

        return Known(builtin_providers(os.cpu_count() or 1), elsewhere)

    def _meant(self, command: Command) -> list[Run]:
        runs = self._recorder.state.runs
        if command.run:
            if command.run not in runs:
                raise NotPossibleError(f"there is no run {command.run!r} at hand")
            return [runs[command.run]]
        unfinished = [run for run in runs.values() if run.finished_at is None]
        if command.verb in _ALL_RUNS:
            return unfinished
        if command.provider:
            return [run for run in unfinished if command.provider in run.pools] or unfinished
        task = command.task or (command.new[0].parent if command.new else "")
        found = [run for run in unfinished or runs.values() if not task or task in run.tasks]
        return found[-1:] or list(runs.values())[-1:]


def _say(run: Run, command: Command, now: float) -> str:
    name = command.provider
    new = ", ".join(one.id for one in command.new)
    about = f"{command.task}: {command.reason}" if command.reason else command.task
    words = {
        "create": f"task {new} is added to run {run.id}",
        "update": f"task {command.task} is changed",
        "delegate": f"task {command.task or command.sender} waits for its parts",
        "remove": f"task {command.task} is removed",
        "split": f"task {command.task} waits for its parts {new}",
        "approve": f"task {command.task} is approved, and lands",
        "reject": f"task {about}; it is done again, told so",
        "answer": f"task {command.task} goes on with the answer",
        "halt": f"run {run.id} halts: nothing more is started; 'daplug-supervise resume' goes on",
        "resume": f"run {run.id} goes on",
        "retry": f"task {command.task} will be tried again",
        "skip": f"task {command.task} is skipped: what needs it may go on",
        "cancel": f"task {command.task} is cancelled: what needs it stays blocked",
        "pause_provider": f"run {run.id} starts nothing more with {name}{_until(command, now)}; what runs may finish",
        "resume_provider": f"run {run.id} starts tasks with {name} again",
    }
    return words[command.verb]


def _until(command: Command, now: float) -> str:
    """How long a pause lasts."""
    if command.seconds is None:
        return f" before 'daplug-supervise provider resume {command.provider}'"
    return f" until {at_clock(now + command.seconds, now)}, for {duration(command.seconds)}"
