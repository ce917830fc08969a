"""The rules of providers that are closed, looked at from outside: all follows from a plan and the events alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.model import PROBE_TRUSTED
from daplug_supervisor.core.plan import Plan
from daplug_supervisor.core.results import ANSWERED

_ENDS = (ev.AttemptExited, ev.RetryScheduled, ev.TaskFailed, ev.TaskStuck, ev.Delegated)
_LEAVES = (ev.TaskCancelled, ev.Landed, ev.Delegated, ev.ReviewRequested)


class Door:
    """What may be started in one provider."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.rests_until = self.paused_until = 0.0
        self.stopped = self.untested = False
        self.probe: tuple[str, float] | None = None
        self.running: set[str] = set()

    def closed(self, at: float) -> bool:
        """Whether nothing may go in."""
        return self.stopped or at < max(self.rests_until, self.paused_until)

    def start(self, task: str, at: float) -> str:
        """Take in a start; why it may not be, or ''."""
        wrong = "which was closed" if self.closed(at) else ""
        if len(self.running) >= self.limit:
            wrong = "which was full"
        self.running.add(task)
        if self.untested and self.probe is None:
            self.probe = task, at
        elif self.untested and self.probe is not None:
            if at < self.probe[1] + PROBE_TRUSTED:
                wrong = f"beside the probe {self.probe[0]}"
            self.works()
        return wrong

    def leave(self, task: str) -> None:
        """Take in the end of an attempt."""
        self.running.discard(task)
        if self.probe is not None and self.probe[0] == task:
            self.probe = None

    def works(self) -> None:
        """Nothing needs to be tested."""
        self.untested, self.probe = False, None

    def said(
        self, event: ev.ProviderRested | ev.ProviderStopped | ev.ProviderPaused | ev.ProviderResumed
    ) -> None:
        """Take in what is said of the provider."""
        if isinstance(event, ev.ProviderRested):
            self.rests_until, self.untested = max(self.rests_until, event.until), True
        elif isinstance(event, ev.ProviderStopped):
            self.stopped = True
        elif isinstance(event, ev.ProviderPaused):
            self.paused_until = inf if event.until is None else event.until
        else:
            self.rests_until, self.paused_until, self.stopped = 0.0, 0.0, False
            self.works()


class Rules:
    """Reads the events of a run in their order."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.doors = {name: Door(provider.parallel) for name, provider in plan.providers.items()}
        self.place: dict[str, str] = {}
        self.moved: dict[str, str] = {}
        self.of_children: set[str] = set()

    def take(self, event: ev.Event, at: float) -> str:
        """Take in an event; which rule it breaks, or ''."""
        if isinstance(event, ev.AttemptStarted):
            wrong = self.astray(event, at) or self.doors[event.provider].start(event.task, at)
            self.place[event.task] = event.provider
            self.of_children.discard(event.task)
            return wrong and f"{event.task}#{event.number} was started in {event.provider}, {wrong}"
        if isinstance(event, ev.ProviderRested | ev.ProviderStopped | ev.ProviderPaused | ev.ProviderResumed):
            self.doors[event.provider].said(event)
        elif isinstance(event, ev.Resumed | ev.RunStarted):
            for door in self.doors.values():
                door.stopped = False
        elif isinstance(event, ev.TaskReset | ev.Rejected | ev.TaskAnswered):
            self.moved.pop(event.task, None)
        elif isinstance(event, ev.ChildrenDone):
            self.place[event.task] = event.provider
            self.of_children.add(event.task)
        elif isinstance(event, _ENDS):
            self.end(event, at)
        if isinstance(event, ev.Approved | ev.ChildrenDone):
            self.doors[self.place[event.task]].running.add(event.task)
        if isinstance(event, _LEAVES) and event.task in self.place:
            self.doors[self.place[event.task]].leave(event.task)
        return ""

    def end(
        self,
        event: ev.AttemptExited | ev.RetryScheduled | ev.TaskFailed | ev.TaskStuck | ev.Delegated,
        at: float,
    ) -> None:
        """Take in how an attempt ended. One that claims success keeps its slot until that has landed."""
        if event.result is None:
            return
        door = self.doors[self.place[event.task]]
        if not isinstance(event, ev.AttemptExited):
            door.leave(event.task)
        if isinstance(event, ev.RetryScheduled) and event.provider is not None:
            self.moved[event.task] = event.provider
        answered = event.result.outcome.kind in ANSWERED and event.task not in self.of_children
        if answered and door.rests_until <= at:
            door.works()

    def astray(self, event: ev.AttemptStarted, at: float) -> str:
        """Why a task may not run in this provider, or ''."""
        spec = self.plan.tasks[event.task]
        own = self.moved.get(event.task) or spec.provider or ""
        if event.provider == own:
            return ""
        if not spec.fallback or event.provider not in self.plan.providers[own].fallback:
            return "which is none of its own"
        return "" if self.doors[own].closed(at) else f"though {own} was open"


def broken_rules(plan: Plan, entries: Iterable[ev.Entry]) -> Iterator[str]:
    """What was started where it may not be, in the events of one run."""
    rules = Rules(plan)
    for entry in entries:
        wrong = rules.take(entry.event, entry.at)
        if wrong:
            yield wrong
