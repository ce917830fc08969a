"""A supervisor without a world: it carries decisions out by recording events; chance says how attempts end.

After every event the indexes are compared with what is recomputed from scratch, every decision with what a
plain search over all tasks would decide.
"""

from __future__ import annotations

from copy import deepcopy
from math import inf
from typing import TYPE_CHECKING, Self

from core_making import Story, result
from core_orders import MOST, random_command
from core_plain import (
    check_indexes,
    check_shape,
    chosen,
    place_of,
    should_complete,
    should_start,
    startable,
    wholes,
)
from core_plans import USAGES, another_task, edited

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.commands import events_of
from daplug_supervisor.core.decide import Complete, ConfirmHalt, Finish, RequestHalt, Start
from daplug_supervisor.core.delegation import children_done
from daplug_supervisor.core.machine import ACTIVE, TRANSITIONS, Status
from daplug_supervisor.core.model import PROBE_TRUSTED
from daplug_supervisor.core.results import OutcomeKind, uses_try
from daplug_supervisor.core.retry import after_attempt
from daplug_supervisor.core.stages import holding
from daplug_supervisor.errors import IllegalTransitionError, NotPossibleError

if TYPE_CHECKING:
    from random import Random

    from daplug_supervisor.core.model import TaskState
    from daplug_supervisor.core.plan import Plan

BAD = [kind for kind in OutcomeKind if kind is not OutcomeKind.COMPLETED]
HANDED_IN = [kind for kind in BAD if kind not in (OutcomeKind.DELEGATED, OutcomeKind.NEEDS_INPUT)]
"""What may be found of work that was handed in."""

SHAPES = (ev.RunSubmitted, ev.PlanChanged, ev.TaskAdded, ev.TaskChanged, ev.TaskRemoved)
AGAIN = (ev.TaskReset, ev.Rejected, ev.TaskAnswered)
"""What begins a task again, with its tries counted anew."""

REFUSALS = ("cannot leave the plan", "with its old provider", "tasks need each other")

WILD = 80
"""Steps after which every attempt succeeds and no person interferes, so that the run must end."""


class Drive(Story):
    """Drives a run to its end; `random` chooses whatever a world would decide."""

    def __init__(self, plan: Plan, random: Random) -> None:
        self.random, self.steps, self.base = random, 0, dict[str, int]()
        super().__init__(plan, start=False)
        self.restart()

    @property
    def calm(self) -> bool:
        return self.steps > WILD

    def chance(self, one_in: int) -> bool:
        return not self.calm and not self.random.randrange(one_in)

    def record(self, *events: ev.Event) -> None:
        for event in events:
            if isinstance(event, ev.TaskEvent):
                assert type(event) in TRANSITIONS[self.task(event.task).status]
            super().record(event)
            if isinstance(event, AGAIN):
                self.base[event.task] = len(self.task(event.task).past)
            check_indexes(self.run)
            if isinstance(event, SHAPES):
                check_shape(self.run)
        for task in self.run.tasks.values():
            kinds = [past.result.outcome.kind for past in task.past[self.base.get(task.id, 0) :]]
            command = self.run.spec(task.id).command is not None
            counted = [uses_try(kind, command=command) for kind in kinds]
            free = kinds.count(OutcomeKind.SILENT) + task.conflicts
            assert sum(counted) - free <= task.tries <= sum(counted)
            assert task.tries <= self.run.spec(task.id).retry.attempts

    def restart(self) -> None:
        some = self.random.sample(list(self.run.tasks), self.random.randint(1, len(self.run.tasks)))
        only = tuple(some) if self.chance(4) else ()
        self.record(ev.RunStarted(only, self.random.choice([None, None, 1, 2])))

    def to_the_end(self) -> Self:
        """Go on until the run has finished or halted for good."""
        enough = WILD + 20 * (len(self.run.tasks) + 10)
        while self.step():
            self.steps += 1
            assert self.steps < enough, "the run does not come to an end"
            self.now += self.random.choice([0.0, 0.5, 7.0])
        assert self.run.active == 0
        return self

    def step(self) -> bool:
        if self.chance(6):
            self.interfere()
        decision, expected = self.decide(), should_start(self.run, self.now)
        self.check_sleep(decision is None)
        if isinstance(decision, Start):
            self.begin(decision, expected)
        elif isinstance(decision, Complete):
            self.look_at_children(decision)
        elif isinstance(decision, RequestHalt):
            assert decision.reason
            self.record(ev.HaltRequested(decision.reason, decision.by))
        elif isinstance(decision, ConfirmHalt):
            assert not self.run.active
            self.record(ev.Halted())
        elif isinstance(decision, Finish):
            assert expected is None
            self.check_finish()
            self.record(ev.RunFinished())
        else:
            assert expected is None
            assert not should_complete(self.run)
            return self.wait()
        return True

    def look_at_children(self, decision: Complete) -> None:
        task = self.task(decision.task)
        assert task.id in should_complete(self.run)
        self.record(children_done(self.run, task, f"{task.id}-of-children"))
        assert self.pool(task.provider).running <= self.pool(task.provider).limit

    def begin(self, decision: Start, expected: str | None) -> None:
        task, pool = self.task(decision.task), self.pool(decision.provider)
        assert decision.task == expected
        assert startable(self.run, task)
        assert place_of(self.run, task, self.now) == pool.name
        self.start(decision.task, provider=pool.name)
        assert pool.running <= pool.limit
        assert self.run.parallel is None or self.run.active <= self.run.parallel

    def check_sleep(self, asleep: bool) -> None:
        """If nothing is to be done now, nothing becomes due before the time at which we look again."""
        if not asleep or self.run.halt or self.run.finished_at is not None:
            return
        times = [task.not_before for task in self.run.tasks.values()]
        for pool in self.run.pools.values():
            times += [pool.rest_until, pool.paused_until, pool.probed_at + PROBE_TRUSTED]
        times += [self.run.started_at + (self.run.plan.timeout or 0.0)]
        wake = self.wake_at()
        assert wake is None or wake > self.now
        before = self.now
        for self.now in sorted(time for time in times if before < time < (inf if wake is None else wake)):
            assert self.decide() is None
        self.now = before

    def check_finish(self) -> None:
        """What is left waits for a person, is blocked by what does so, or was not asked for."""
        run = self.run
        assert not run.active
        assert not wholes(run)
        for task in run.tasks.values():
            assert not startable(run, task)
            if task.status is Status.PENDING and not task.unmet and chosen(run, task.id):
                assert holding(run, task)[1]

    def wait(self) -> bool:
        """Let an attempt get on, or time pass, or a person come; False if the run is over."""
        active = [task for task in self.run.tasks.values() if task.status in ACTIVE]
        if active:
            self.get_on(self.random.choice(active))
        elif self.run.halt or self.run.finished_at is not None:
            assert self.run.finished_at is not None or (self.run.halt and self.run.halt.halted_at is not None)
            if self.calm or self.chance(9):
                return False
            self.interfere()
        else:
            wake = self.wake_at()
            if wake is None:
                paused = [pool.name for pool in self.run.pools.values() if pool.paused_until == inf]
                assert paused, "work waits, and nothing will ever wake us"
                self.record(ev.ProviderResumed(self.random.choice(paused)))
            else:
                self.now = wake
        return True

    def get_on(self, task: TaskState) -> None:
        """One step of an attempt."""
        bad = not self.calm and self.random.random() < 0.4
        if bad or task.cancelling:
            at = self.now + self.random.choice([-5.0, 40.0]) if self.random.random() < 0.3 else None
            kind = self.random.choice(BAD if task.status is Status.RUNNING else HANDED_IN)
            self.record(
                *after_attempt(
                    self.run, task, result(kind, retry_at=at, usage=self.random.choice(USAGES)), self.now
                )
            )
        elif task.status is Status.RUNNING:
            if self.chance(2):
                self.record(ev.AttemptSpawned(task.id, 1, 2, "boot"))
            if task.delegating or (task.children and self.chance(3)):
                self.record(ev.Delegated(task.id, result(OutcomeKind.DELEGATED)))
            else:
                self.record(ev.AttemptExited(task.id, result(OutcomeKind.COMPLETED)))
        elif task.status is Status.VERIFYING:
            reviewed = self.run.spec(task.id).review is not None
            self.record(ev.ReviewRequested(task.id) if reviewed else ev.VerificationPassed(task.id))
        else:
            self.record(ev.Landed(task.id))

    # --- people ------------------------------------------------------------------------------------------

    def interfere(self) -> None:
        choice = self.random.randrange(10)
        if choice == 0:
            self.restart()
        elif choice == 1:
            self.record(ev.ProviderResumed(self.random.choice(list(self.run.pools))))
        elif choice == 2:
            self.change(ev.PlanChanged(edited(self.run.plan, self.random)))
        elif choice == 3 and len(self.run.tasks) < MOST:
            self.change(ev.TaskAdded(f"new{len(self.entries)}", another_task(self.run.plan, self.random)))
        else:
            self.command()

    def command(self) -> None:
        """What a person or an agent says: refused with nothing changed, or events that fit."""
        told = random_command(self.run, self.random)
        before = deepcopy(self.state)
        try:
            events = events_of(self.run, told, self.now)
        except NotPossibleError:
            events = []
        assert self.state == before
        self.record(*events)

    def change(self, event: ev.Event) -> None:
        """A change is refused only for what is under way or goes in a circle, and then nothing has changed."""
        before = deepcopy(self.state)
        try:
            self.record(event)
        except IllegalTransitionError as error:
            refusal = str(error)
        else:
            return
        assert any(words in refusal for words in REFUSALS)
        assert self.state == before
