"""What the state is made of: runs, tasks, pools. Only `core.state` and `core.queues` change it."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.machine import ACTIVE, Status
from daplug_supervisor.core.plan import Plan, Task
from daplug_supervisor.core.results import Finding, Result, Usage

ReadyKey = tuple[int, float, int, int, str]
"""-priority, -rank, order, ticket, task: the smallest goes first."""

WaitingKey = tuple[float, int, int, str]
"""not before, order, ticket, task."""


PROBE_TRUSTED = 300.0
"""Seconds after which a probe that still runs shows that its provider works again: the CLIs give up before that."""


class Spent(Struct):
    """What attempts have cost. `unknown` counts those of agents whose cost nobody reported.

    `tokens` are those of both directions, `cost` is in US dollars.
    """

    attempts: int = 0
    tokens: int = 0
    cost: float = 0.0
    unknown: int = 0

    def add(self, usage: Usage | None) -> None:
        """Count what one attempt reports of itself."""
        if usage is None or (usage.tokens is None and usage.cost is None):
            self.unknown += 1
            return
        self.tokens += max(0, usage.tokens or 0)
        self.cost += max(0.0, usage.cost or 0.0)


class Attempt(Struct):
    """The current or last try at a task. `pid`, `start` and `boot` identify its shim once it is spawned.

    `of_children`: no try, but what the children of the task came to.
    """

    number: int
    token: str
    provider: str
    at: float
    spawned_at: float = 0.0
    pid: int = 0
    start: int = 0
    boot: str = ""
    deadline: float | None = None
    of_children: bool = False


class Check(Struct, frozen=True):
    """The latest run of a task's criteria; `pid`, `start` and `boot` identify its shim."""

    number: int
    pid: int
    start: int
    boot: str


class Past(Struct, frozen=True):
    """An ended attempt, for reports. Times are UTC seconds; `of_children` as of the attempt."""

    number: int
    provider: str
    at: float
    ended_at: float
    result: Result
    of_children: bool = False


class Remark(Struct, frozen=True):
    """What a person said of a task, and when: why its work was rejected, or the answer to its agent's question."""

    of: Literal["rejection", "answer", "approval"]
    text: str
    by: str = ""
    question: str = ""
    at: float = 0.0


class TaskState(Struct):
    """What is known of a task.

    `tries` counts the attempts that used one up, `lost` those lost in a row; `spent` is what they cost since a person
    last began the task again. `moved`: another provider than the one that the plan names has taken the task over for
    good; `rerouted`: for its own outcome, which is done once. `fixes` counts how often its work went back with what
    was found wrong (`last_fix`: the one time after all rounds is used up), `conflicts` how often because it could not
    be merged. `findings` and `flags` are the latest, `check` is who looks at it now (`checks` counts these of one
    attempt). `steps` are those of bringing it home that are done, with what the event says; `commit` and `files` are
    what came home. `children` are its parts, `open` counts those that are neither done nor skipped; `delegating`: it
    is to be ended and to wait for them; `kept` is the ref with what it had done by then. `stage` is the one that a
    barrier holds it back to, from 0 (-1: none). `remarks` are what people said of it, for the next attempt;
    `approval` is the latest.
    """

    id: str
    order: int
    provider: str
    status: Status = Status.PENDING
    unmet: int = 0
    rank: float = 0.0
    ticket: int = 0
    tries: int = 0
    lost: int = 0
    moved: bool = False
    rerouted: bool = False
    not_before: float = 0.0
    changed_at: float = 0.0
    attempt: Attempt | None = None
    past: tuple[Past, ...] = ()
    spent: Spent = field(default_factory=Spent)
    fixes: int = 0
    last_fix: bool = False
    conflicts: int = 0
    findings: tuple[Finding, ...] = ()
    flags: tuple[str, ...] = ()
    check: Check | None = None
    checks: int = 0
    steps: dict[str, str] = field(default_factory=dict)
    commit: str = ""
    files: tuple[str, ...] = ()
    children: list[str] = field(default_factory=list)
    open: int = 0
    delegating: bool = False
    kept: str = ""
    remarks: tuple[Remark, ...] = ()
    approval: Remark | None = None
    stage: int = -1
    cancelling: bool = False
    reason: str = ""
    remedy: str = ""

    @property
    def last(self) -> Result | None:
        """The result of the latest ended attempt."""
        return self.past[-1].result if self.past else None


class Lane(Struct):
    """The heaps of what a pool could run: at once, and after a wait."""

    ready: list[ReadyKey] = field(default_factory=list)
    waiting: list[WaitingKey] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.ready or self.waiting)


class Pool(Struct):
    """A provider in a run: its limit, what it runs, and what it could run.

    The tasks of the lane `free` may be run by one of its `fallback` while it is closed, those of `bound` may not.
    `rests` counts the rests in a row. `probing`: nothing has shown yet that a limit or an outage is over; `probe`
    is the task that is to show it, since `probed_at`. `answered_at` is when the provider was last seen to work.
    `reason` is why it rests or is stopped, `pause` why it is paused. `troubled_at`: since when it has rested or been
    stopped without an answer of its provider in between (0.0: it is well). Times are UTC seconds.
    """

    name: str
    limit: int
    account: str = ""
    fallback: tuple[str, ...] = ()
    running: int = 0
    rest_until: float = 0.0
    paused_until: float = 0.0
    rests: int = 0
    probing: bool = False
    probe: str = ""
    probed_at: float = 0.0
    answered_at: float = 0.0
    troubled_at: float = 0.0
    stopped: bool = False
    reason: str = ""
    pause: str = ""
    bound: Lane = field(default_factory=Lane)
    free: Lane = field(default_factory=Lane)

    @property
    def lanes(self) -> tuple[Lane, Lane]:
        """Both lanes."""
        return self.bound, self.free

    @property
    def busy(self) -> bool:
        """Whether there is something that it could run, now or later."""
        return bool(self.bound or self.free)

    def full(self, now: float) -> bool:
        """Whether it runs as many as it may: its limit, or one probe after a limit or an outage."""
        waits = self.probing and self.probe != "" and now < self.probed_at + PROBE_TRUSTED
        return waits or self.running >= self.limit

    def closed(self, now: float) -> bool:
        """Whether it takes nothing at the moment, whatever its limit."""
        return self.stopped or self.opens_at > now

    @property
    def opens_at(self) -> float:
        """When its rest and its pause are over."""
        return max(self.rest_until, self.paused_until)

    def starts(self, task: str, now: float) -> None:
        """A task starts here: the probe, if one is wanted; beside a probe that is trusted none is wanted any more."""
        if self.probing and self.probe:
            self.probing, self.probe = False, ""
        elif self.probing:
            self.probe, self.probed_at = task, now

    def answers(self, now: float) -> None:
        """Its provider has answered. What was under way when a rest began does not show how that will end."""
        self.answered_at = now
        if self.rest_until <= now:
            self.works()

    def works(self) -> None:
        """Limits and outages are over."""
        self.rests, self.probing, self.probe = 0, False, ""
        if not self.stopped:
            self.troubled_at = 0.0


class Halt(Struct, frozen=True):
    """A requested halt. `halted_at` is when the last running attempt had ended; `now`: nothing else is waited for."""

    requested_at: float
    by: ev.HaltedBy
    reason: str
    running: tuple[str, ...] = ()
    halted_at: float | None = None
    now: bool = False


class Run(Struct):
    """One execution of a plan. `counts` has a number for each status, `after` the dependents of each task.

    `hooks` are those that ran: which, and after which task; `notified` has the episodes that a person was told of.
    `whole` are the delegated tasks of which all children are done. With barriers `stages` has the tasks of each stage
    (`core.stages`), `left` how many of them are neither done nor skipped; `stage` is the first that has any left.
    `edited` has what was changed while it runs: for each such task its form in the plan as it was submitted, None
    where there was none. `removed` are those taken out after they had begun: what they did is there under their names.
    `waited`: for how long nothing was at work since the latest start, but for the wait that has lasted since
    `idle_since` (0.0: something is at work). `spent` is what all its attempts cost. `boot` and `booted` say what its
    times are measured by (`events.RunStarted`), `last_at` is its last event's.
    """

    id: str
    plan: Plan
    target: str
    source: str
    submitted_at: float
    tasks: dict[str, TaskState] = field(default_factory=dict)
    after: dict[str, list[str]] = field(default_factory=dict)
    pools: dict[str, Pool] = field(default_factory=dict)
    counts: dict[Status, int] = field(default_factory=lambda: dict.fromkeys(Status, 0))
    only: frozenset[str] = frozenset()
    parallel: int | None = None
    started_at: float = 0.0
    starts: int = 0
    idle_since: float = 0.0
    waited: float = 0.0
    fresh_failures: int = 0
    spent: Spent = field(default_factory=Spent)
    answered: set[str] = field(default_factory=set)
    hooks: dict[tuple[str, str], ev.HookRan] = field(default_factory=dict)
    notified: dict[str, ev.Notified] = field(default_factory=dict)
    whole: dict[str, None] = field(default_factory=dict)
    stages: list[list[str]] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    stage: int = 0
    edited: dict[str, Task | None] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    halt: Halt | None = None
    finished_at: float | None = None
    boot: str = ""
    booted: float = 0.0
    last_at: float = 0.0

    @property
    def active(self) -> int:
        """How many tasks have a slot."""
        return sum(self.counts[status] for status in ACTIVE)

    def worked(self, now: float) -> float:
        """For how many seconds something was at work since the latest start: what its time-out is measured by.

        A night that waits for a provider until 1:22 AM has not used up its time by then.
        """
        return (now if self.active else self.idle_since) - self.started_at - self.waited

    @property
    def at_work(self) -> tuple[str, ...]:
        """The tasks that have a slot, in plan order."""
        return tuple(name for name, task in self.tasks.items() if task.status in ACTIVE)

    def spec(self, task: str) -> Task:
        """What the plan says of a task."""
        return self.plan.tasks[task]


class State(Struct):
    """All runs that were loaded, and what the state directory went through. `seq` is the last event's."""

    runs: dict[str, Run] = field(default_factory=dict)
    seq: int = 0
    supervisor: ev.SupervisorStarted | None = None
