"""For tests of the core: small plans, a run that events are recorded in, one event of every kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.commands import Command, Verb, events_of
from daplug_supervisor.core.decide import Complete, Decision, Start, decide, wake_at
from daplug_supervisor.core.delegation import children_done
from daplug_supervisor.core.plan import Plan, Provider, Retry, Task
from daplug_supervisor.core.results import Exit, Finding, Outcome, OutcomeKind, Result, Usage
from daplug_supervisor.core.retry import after_attempt
from daplug_supervisor.core.state import Pool, Run, State, TaskState, apply
from daplug_supervisor.core.surgery.new_tasks import Known

RUN = "r1"
NOTHING = Known()


def task(*needs: str, provider: str = "codex", **options: Any) -> Task:
    return Task(command=("true",), needs=needs, provider=provider, **options)


def plan_of(
    tasks: Mapping[str, Task] | Iterable[str], providers: Mapping[str, Provider] | None = None, **options: Any
) -> Plan:
    """A plan of these tasks; names alone stand for tasks that need nothing."""
    given = tasks if isinstance(tasks, Mapping) else {name: task() for name in tasks}
    return Plan("p", dict(given), dict(providers or {"codex": Provider()}), **options)


def chain(*names: str) -> Plan:
    """A plan in which each task needs the one before it."""
    return plan_of({name: task(*names[max(0, i - 1) : i]) for i, name in enumerate(names)})


def result(
    kind: OutcomeKind = OutcomeKind.FAILED,
    detail: str = "why",
    retry_at: float | None = None,
    usage: Usage | None = None,
) -> Result:
    return Result(Outcome(kind, detail, retry_at, usage=usage), Exit(1))


class Story:
    """A run and what happens to it."""

    def __init__(self, plan: Plan, now: float = 1000.0, *, start: bool = True, **started: Any) -> None:
        self.state, self.entries, self.now = State(), list[ev.Entry](), now
        self.record(ev.RunSubmitted(plan, "/target"))
        if start:
            self.record(ev.RunStarted(**started))

    @property
    def run(self) -> Run:
        return self.state.runs[RUN]

    def task(self, name: str) -> TaskState:
        return self.run.tasks[name]

    def pool(self, name: str = "codex") -> Pool:
        return self.run.pools[name]

    def record(self, *events: ev.Event) -> None:
        for event in events:
            entry = ev.Entry(len(self.entries) + 1, RUN, self.now, event)
            apply(self.state, entry)
            self.entries.append(entry)

    def start(self, *names: str, provider: str | None = None) -> None:
        for name in names:
            known = self.task(name)
            number = known.attempt.number + 1 if known.attempt else 1
            self.record(ev.AttemptStarted(name, number, f"{name}-{number}", provider or known.provider))

    def start_all(self) -> list[str]:
        """Carry out decisions to start, as long as there are any."""
        names: list[str] = []
        while isinstance(decision := self.decide(), Start):
            self.start(decision.task, provider=decision.provider)
            names.append(decision.task)
        return names

    def claim(self, name: str) -> None:
        """An attempt ends and says that it succeeded."""
        self.start(name)
        self.record(ev.AttemptExited(name, result(OutcomeKind.COMPLETED)))

    def finish(self, *names: str) -> None:
        for name in names:
            self.claim(name)
            self.record(ev.VerificationPassed(name), ev.Landed(name))

    def end(self, name: str, kind: OutcomeKind, **outcome: Any) -> list[ev.Event]:
        """The attempt that runs ends with this outcome; returns what followed."""
        follows = after_attempt(self.run, self.task(name), result(kind, **outcome), self.now)
        self.record(*follows)
        return follows

    def attempt(self, name: str, kind: OutcomeKind, **outcome: Any) -> list[ev.Event]:
        self.start(name)
        return self.end(name, kind, **outcome)

    def tell(self, verb: Verb, task: str = "", known: Known = NOTHING, **said: Any) -> list[ev.Event]:
        """Carry out what a person says or, with `sender`, an agent; returns what followed."""
        follows = events_of(self.run, Command("c", verb, RUN, task, **said), self.now, known)
        self.record(*follows)
        return follows

    def complete(self, name: str) -> None:
        """What the children of a delegated task came to is looked at, and found good."""
        assert self.decide() == Complete(name)
        self.record(children_done(self.run, self.task(name), f"{name}-of-children"))
        self.record(ev.VerificationPassed(name), ev.Landed(name))

    def statuses(self, *names: str) -> list[str]:
        return [self.task(name).status.value for name in names]

    def decide(self) -> Decision | None:
        return decide(self.run, self.now)

    def wake_at(self) -> float | None:
        return wake_at(self.run, self.now)


def samples(name: str = "a", provider: str = "codex") -> dict[type[ev.TaskEvent], ev.TaskEvent]:
    """One event of every kind that a task has."""
    events: list[ev.TaskEvent] = [
        ev.AttemptStarted(name, 1, "token", provider),
        ev.AttemptSpawned(name, 7, 8, "boot", 9.5),
        ev.AttemptExited(name, result(OutcomeKind.COMPLETED)),
        ev.VerificationStarted(name, 1, 17, 18, "boot"),
        ev.VerificationPassed(name, (Finding(0, "it works", claimed="PASS"),), ("a flag",)),
        ev.StepDone(name, "commit", "c0ffee"),
        ev.Landed(name, "c0ffee", ("a.txt",)),
        ev.RetryScheduled(name, result(), 5.0, uses_try=False, provider=provider),
        ev.TaskFailed(name, result()),
        ev.TaskStuck(name, result(), "remedy"),
        ev.CancelRequested(name, "no more"),
        ev.TaskCancelled(name, "no more"),
        ev.TaskSkipped(name, "go on"),
        ev.TaskReset(name, "again"),
        ev.TaskAdopted(name, "was there"),
        ev.DelegationRequested(name),
        ev.Delegated(name),
        ev.ChildrenDone(name, 2, "token-2", provider, result(OutcomeKind.COMPLETED)),
        ev.ReviewRequested(name, (Finding(0, "it works"),), ("a flag",)),
        ev.Approved(name, "me"),
        ev.Rejected(name, "not yet", "me"),
        ev.TaskAnswered(name, "the second", "me"),
    ]
    return {type(event): event for event in events}


def others(plan: Plan) -> list[ev.Event]:
    """One event of every kind that no task has."""
    return [
        ev.SupervisorStarted(1, "boot", "0.1"),
        ev.SupervisorStopped(2),
        ev.CommandAnswered("c1", "halt", applied=True, message="done"),
        ev.JournalRepaired("damaged-1", ((3, 5),), (6,)),
        ev.RunSubmitted(plan, "/target", "plan.yaml"),
        ev.PlanChanged(plan, ("a: priority",)),
        ev.TaskAdded("new", task(), Provider()),
        ev.TaskChanged("a", task(title="A"), "title none -> A"),
        ev.TaskRemoved("b", "not wanted"),
        ev.RunStarted(("a",), 2),
        ev.HaltRequested("enough", "command", ("a",)),
        ev.Halted(),
        ev.Resumed("me"),
        ev.ProviderRested("codex", 60.5, "429"),
        ev.ProviderStopped("codex", "401"),
        ev.ProviderPaused("codex", 2000.0, "lunch"),
        ev.ProviderResumed("codex"),
        ev.HookRan("post_task", "a", 1, "exit code 1"),
        ev.Notified("needs_person", "a#1", "exit code 1"),
        ev.RunFinished(),
    ]


FAST = Retry(attempts=3, backoff=0.0)
