"""States for tests, made the way the supervisor makes them: by folding events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.model import Run, State
from daplug_supervisor.core.plan import Plan, Provider, Retry, Task
from daplug_supervisor.core.results import Exit, Outcome, OutcomeKind, Result, Usage
from daplug_supervisor.core.state import apply

T0 = 1795224123.0  # 2026-11-21 01:22:03Z


def plan(
    tasks: Mapping[str, Task | tuple[str, ...]],
    providers: dict[str, Provider] | None = None,
    name: str = "add-oauth",
    **more: Any,
) -> Plan:
    """A plan; a tuple stands for a task that runs by codex and needs these."""
    specs = {
        key: spec if isinstance(spec, Task) else task(*spec, title=f"Do {key}") for key, spec in tasks.items()
    }
    return Plan(name, specs, providers or {"codex": Provider(parallel=2)}, **more)


def task(*needs: str, **more: Any) -> Task:
    """A task with what a loader always writes into it."""
    more.setdefault("provider", "codex")
    more.setdefault("instructions", "do it")
    return Task(needs=needs, **more)


def result(
    kind: str = "completed", detail: str = "", code: int | None = 0, seconds: float = 5.0, **more: Any
) -> Result:
    return Result(Outcome(OutcomeKind(kind), detail), Exit(code, seconds=seconds, **more))


def used(usage: Usage | None, kind: str = "failed") -> Result:
    """The result of an attempt that says what it cost."""
    found = result(kind, code=1)
    return replace(found, outcome=replace(found.outcome, usage=usage))


BOOM = result("failed", "exit code 1: boom", 1)


class World:
    """One state directory: `at` is the time of the next event, which `tick` moves on."""

    def __init__(self, of: Plan, run: str = "r1", *, started: bool = True) -> None:
        self.state = State()
        self.name = run
        self.at = T0
        self.entries: list[ev.Entry] = []
        self.say(ev.RunSubmitted(of, "/target", "plan.yaml"))
        if started:
            self.say(ev.RunStarted())

    @property
    def run(self) -> Run:
        return self.state.runs[self.name]

    def tick(self, seconds: float) -> World:
        self.at += seconds
        return self

    def say(self, *events: ev.Event) -> World:
        for event in events:
            entry = ev.Entry(len(self.entries) + 1, self.name, self.at, event)
            apply(self.state, entry)
            self.entries.append(entry)
        return self

    def begin(self, name: str, *, spawn: bool = True) -> World:
        """An attempt starts, in the pool that the task is in."""
        now = self.run.tasks[name]
        number = now.attempt.number + 1 if now.attempt else 1
        self.say(ev.AttemptStarted(name, number, f"t{number}", now.provider))
        timeout = self.run.spec(name).timeout
        deadline = None if timeout is None else 1000.0 + timeout
        return self.say(ev.AttemptSpawned(name, 100 + number, 1, "boot", deadline)) if spawn else self

    def done(self, *names: str, seconds: float = 5.0) -> World:
        for name in names:
            self.begin(name).tick(seconds)
            self.say(ev.AttemptExited(name, result(seconds=seconds, cpu=1.5, max_rss=50 << 20)))
            self.say(ev.VerificationPassed(name), ev.Landed(name))
        return self

    def retried(self, name: str, *, wait: float = 0.0, why: Result = BOOM, **more: Any) -> World:
        self.begin(name).tick(5)
        return self.say(ev.RetryScheduled(name, why, self.at + wait if wait else 0.0, **more))

    def failed(self, name: str, why: Result = BOOM) -> World:
        self.begin(name).tick(5)
        return self.say(ev.TaskFailed(name, why))

    def stuck(self, name: str, why: Result | None = None, remedy: str = "") -> World:
        self.begin(name).tick(5)
        return self.say(ev.TaskStuck(name, why or result("blocked", "needs a decision", 1), remedy))


__all__ = ["BOOM", "T0", "Plan", "Provider", "Retry", "Task", "World", "plan", "result", "task", "used"]
