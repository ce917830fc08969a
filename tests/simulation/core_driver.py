"""A supervisor without a world: it carries decisions out by recording events; chance says how attempts end.

After every event the indexes are compared with what is recomputed from scratch, every decision with what a
plain search over all tasks would decide.
"""

from __future__ import annotations

from copy import deepcopy
from math import inf
from typing import TYPE_CHECKING, Any

from core_making import RUN, Story, result
from core_plans import USAGES, another_task, edited

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.commands import Command, Verb, events_of
from daplug_supervisor.core.decide import ConfirmHalt, Finish, RequestHalt, Start
from daplug_supervisor.core.machine import ACTIVE, ENDED, SATISFIED, TRANSITIONS, Status
from daplug_supervisor.core.model import PROBE_TRUSTED
from daplug_supervisor.core.results import OutcomeKind, uses_try
from daplug_supervisor.core.retry import after_attempt
from daplug_supervisor.errors import IllegalTransitionError, NotPossibleError

if TYPE_CHECKING:
    from random import Random

    from daplug_supervisor.core.model import Pool, Run, TaskState
    from daplug_supervisor.core.plan import Plan

BAD = [kind for kind in OutcomeKind if kind is not OutcomeKind.COMPLETED]
VERBS: list[Verb] = ["halt", "resume", "retry", "skip", "cancel", "pause_provider", "resume_provider"]
WILD = 80
"""Steps after which every attempt succeeds and no person interferes, so that the run must end."""


# --- recomputed from scratch ----------------------------------------------------------------------------


def startable(run: Run, task: TaskState) -> bool:
    """Whether only time and place can keep a task from starting."""
    met = all(run.tasks[name].status in SATISFIED for name in run.spec(task.id).needs)
    return task.status is Status.PENDING and met and (not run.only or task.id in run.only)


def urgency(run: Run, task: TaskState) -> tuple[int, float, int]:
    return -run.spec(task.id).priority, -longest(run, task.id), list(run.plan.tasks).index(task.id)


def longest(run: Run, name: str) -> float:
    """The heaviest chain from a task on, by trying all."""
    behind = [other for other, spec in run.plan.tasks.items() if name in spec.needs]
    return (run.spec(name).estimate or 1.0) + max((longest(run, other) for other in behind), default=0.0)


def is_open(pool: Pool, now: float) -> bool:
    return not pool.stopped and pool.rest_until <= now and pool.paused_until <= now


def has_place(run: Run, pool: Pool, now: float) -> bool:
    probed = pool.probing and pool.probe and now < pool.probed_at + PROBE_TRUSTED
    return at_work(run, pool) < pool.limit and is_open(pool, now) and not probed


def place_of(run: Run, task: TaskState, now: float) -> str | None:
    """Where a task could start now: in its own pool, or while that is closed in the first fallback with a place."""
    pool = run.pools[task.provider]
    names = [pool.name]
    if not is_open(pool, now) and run.spec(task.id).fallback:
        names += run.plan.providers[pool.name].fallback
    return next((name for name in names if has_place(run, run.pools[name], now)), None)


def at_work(run: Run, pool: Pool) -> int:
    attempts = [task.attempt for task in run.tasks.values() if task.status in ACTIVE]
    return sum(attempt is not None and attempt.provider == pool.name for attempt in attempts)


def should_start(run: Run, now: float) -> str | None:
    """The task that a plain search over all of them finds."""
    active = sum(task.status in ACTIVE for task in run.tasks.values())
    if run.halt or run.finished_at is not None or (run.parallel is not None and active >= run.parallel):
        return None
    budget = run.plan.budget
    if budget and budget.attempts and run.spent.attempts + active >= budget.attempts:
        return None
    found = [
        t for t in run.tasks.values() if startable(run, t) and t.not_before <= now and place_of(run, t, now)
    ]
    return min(found, key=lambda task: (is_guest(run, task, now), *urgency(run, task))).id if found else None


def is_guest(run: Run, task: TaskState, now: float) -> bool:
    """Whether a fallback would start it for as long as its own pool is closed: then its own tasks go first."""
    pool = run.pools[task.provider]
    return not (is_open(pool, now) or pool.stopped)


def check_indexes(run: Run) -> None:
    tasks = run.tasks.values()
    assert list(run.tasks) == list(run.plan.tasks)
    assert run.counts == {status: sum(task.status is status for task in tasks) for status in Status}
    assert run.active == sum(task.status in ACTIVE for task in tasks)
    for task in tasks:
        assert task.unmet == sum(
            run.tasks[name].status not in SATISFIED for name in set(run.spec(task.id).needs)
        )
        assert run.after[task.id] == [name for name, spec in run.plan.tasks.items() if task.id in spec.needs]
        assert task.lost < 3 or task.status is Status.STUCK
        assert not task.cancelling or task.status in ACTIVE
    assert list(run.pools) == list(run.plan.providers)
    for pool in run.pools.values():
        check_pool(run, pool)


def check_pool(run: Run, pool: Pool) -> None:
    assert pool.running == at_work(run, pool)
    valid: list[str] = []
    heaps: tuple[list[Any], ...] = (pool.bound.ready, pool.bound.waiting, pool.free.ready, pool.free.waiting)
    for heap in heaps:
        assert all(heap[(i - 1) // 2] <= heap[i] for i in range(1, len(heap)))
        fresh = [run.tasks[entry[-1]].ticket == entry[-2] for entry in heap]
        assert fresh[:1] in ([], [True])
        valid += [entry[-1] for entry, ok in zip(heap, fresh, strict=True) if ok]
    assert sorted(valid) == sorted(
        t.id for t in run.tasks.values() if startable(run, t) and t.provider == pool.name
    )


# --- the run --------------------------------------------------------------------------------------------


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
            if isinstance(event, ev.TaskReset):
                self.base[event.task] = len(self.task(event.task).past)
            check_indexes(self.run)
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

    def to_the_end(self) -> None:
        """Go on until the run has finished or halted for good."""
        enough = WILD + 20 * (len(self.run.tasks) + 10)
        while self.step():
            self.steps += 1
            assert self.steps < enough, "the run does not come to an end"
            self.now += self.random.choice([0.0, 0.5, 7.0])
        assert self.run.active == 0

    def step(self) -> bool:
        if self.chance(6):
            self.interfere()
        decision, expected = self.decide(), should_start(self.run, self.now)
        self.check_sleep(decision is None)
        if isinstance(decision, Start):
            self.begin(decision, expected)
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
            return self.wait()
        return True

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
        """What is left is blocked by what ended without being done, or was not asked for."""
        run = self.run
        assert not run.active
        for task in run.tasks.values():
            if task.status not in ENDED and task.status is not Status.DELEGATED:
                assert (run.only and task.id not in run.only) or task.unmet

    def wait(self) -> bool:
        """Let an attempt get on, or time pass, or a person come; False if the run is over."""
        active = [task for task in self.run.tasks.values() if task.status in ACTIVE]
        delegated = [task for task in self.run.tasks.values() if task.status is Status.DELEGATED]
        if active:
            self.get_on(self.random.choice(active))
        elif delegated:
            self.record(ev.ChildrenDone(delegated[0].id))
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
            kind = self.random.choice(BAD)
            self.record(
                *after_attempt(
                    self.run, task, result(kind, retry_at=at, usage=self.random.choice(USAGES)), self.now
                )
            )
        elif task.status is Status.RUNNING:
            if self.chance(2):
                self.record(ev.AttemptSpawned(task.id, 1, 2, "boot"))
            claims = ev.AttemptExited(task.id, result(OutcomeKind.COMPLETED))
            self.record(ev.Delegated(task.id) if self.chance(12) else claims)
        else:
            self.record(
                ev.VerificationPassed(task.id) if task.status is Status.VERIFYING else ev.Landed(task.id)
            )

    # --- people ------------------------------------------------------------------------------------------

    def interfere(self) -> None:
        choice = self.random.randrange(10)
        if choice == 0:
            self.restart()
        elif choice == 1:
            self.record(ev.ProviderResumed(self.random.choice(list(self.run.pools))))
        elif choice == 2:
            self.change(ev.PlanChanged(edited(self.run.plan, self.random)))
        elif choice == 3 and len(self.run.tasks) < 12:
            self.change(ev.TaskAdded(f"new{len(self.entries)}", another_task(self.run.plan, self.random)))
        else:
            self.command()

    def command(self) -> None:
        active = [name for name, task in self.run.tasks.items() if task.status in ACTIVE]
        verb, name = self.random.choice(VERBS), self.random.choice(list(self.run.tasks))
        if active and self.chance(3):
            verb, name = "cancel", self.random.choice(active)
        pool = self.random.choice(list(self.run.pools))
        seconds = self.random.choice([None, 0.5, 100.0])
        told = Command("c1", verb, RUN, name, provider=pool, seconds=seconds, reason="because")
        try:
            events = events_of(self.run, told, self.now)
        except NotPossibleError:
            return
        self.record(*events)

    def change(self, event: ev.Event) -> None:
        """A changed plan is refused only for what is under way, and then nothing has changed."""
        before = deepcopy(self.state)
        try:
            self.record(event)
        except IllegalTransitionError as error:
            refusal = str(error)
        else:
            return
        assert "cannot leave the plan" in refusal or "with its old provider" in refusal
        assert self.state == before
