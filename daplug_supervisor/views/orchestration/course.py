"""How the orchestrations of a run go, as its events tell it one by one: which stage, what is done, what is given up.

A run is an orchestration, of the tasks that are no parts of others; and so is each task with its parts. An event costs
the same whatever the size of the plan, so that this can be kept of every run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.graph import levels
from daplug_supervisor.core.machine import ACTIVE, SATISFIED, TRANSITIONS, Status
from daplug_supervisor.core.plan import Plan, Task
from daplug_supervisor.core.stages import stages_of
from daplug_supervisor.views.derived import DEAD
from daplug_supervisor.views.plan.estimate import among

WORKING = ACTIVE | {Status.DELEGATED}
"""Statuses in which a task or a part of it is being worked on."""

ENDS = ("completed", "failed", "incomplete")
"""What an orchestration may come to."""

Statuses = dict[str, Status]


class Group:
    """An orchestration: its tasks in stages. `left` counts for each stage what is not done or skipped.

    `begun` and `over` are the stages that were said to have begun and ended, `started` and `told` what was said of all.
    """

    def __init__(
        self, parent: str, specs: dict[str, Task], level: dict[str, int], before: Group | None
    ) -> None:
        self.parent, self.specs = parent, specs
        self.stage = {name: max(0, level.get(name, 0)) for name in specs}
        self.stages: list[list[str]] = [[] for _ in range(1 + max(self.stage.values(), default=-1))]
        for name, at in self.stage.items():
            self.stages[at].append(name)
        self.left = [len(names) for names in self.stages]
        self.begun: set[int] = set() if before is None else before.begun
        self.over: set[int] = set() if before is None else before.over
        self.started: bool = before is not None and before.started
        self.told: str = "" if before is None else before.told

    @property
    def current(self) -> int:
        """The first stage that is not over, from 1; the last one if all are."""
        return next((at for at, left in enumerate(self.left, 1) if left), len(self.left))

    @property
    def satisfied(self) -> int:
        """How many of its tasks are done or skipped."""
        return len(self.specs) - sum(self.left)

    @property
    def percent(self) -> int:
        """How much of it that is."""
        return 100 * self.satisfied // len(self.specs) if self.specs else 0


class Course:
    """What happened to a run so far. Feed it every entry of the run once, in order.

    `working` and `dead` are the tasks at work, and those given up with why. `ended` is what the finished run came to.
    """

    def __init__(self, run: str, plan: Plan, at: float) -> None:
        self.run, self.plan, self.at = run, plan, at
        self.tasks: dict[str, Task] = {}
        self.statuses: Statuses = {}
        self.working: dict[str, None] = {}
        self.dead: dict[str, str] = {}
        self.tries: dict[str, int] = {}
        self.added: dict[str, float] = {}
        self.only: frozenset[str] = frozenset()
        self.starts, self.halted, self.resumed = 0, False, False
        self.ended = ""
        self.seq = 0
        self._groups: dict[str, Group] = {}
        self._whole = False
        self.take_over(plan)

    def take_over(self, plan: Plan) -> None:
        """Go on with another plan."""
        self.plan, self.tasks = plan, dict(plan.tasks)
        self.statuses = {name: self.statuses.get(name, Status.PENDING) for name in plan.tasks}
        for known in (self.working, self.dead, self.tries, self.added):
            for name in [name for name in known if name not in plan.tasks]:
                known.pop(name)
        self.regroup()

    def regroup(self) -> None:
        """Tasks came, went, or need something else: sort them anew when that is asked for next."""
        self._whole, self.ended = False, ""

    @property
    def groups(self) -> dict[str, Group]:
        """Its orchestrations by the task whose parts they are; '' is the run itself."""
        if not self._whole:
            specs: dict[str, dict[str, Task]] = {"": {}}
            for name, spec in self.tasks.items():
                specs.setdefault(spec.parent or "", {})[name] = spec
            before, whole = self._groups, stages_of(self.tasks)
            self._groups = {
                name: Group(name, found, levels(among(found)) if name else whole, before.get(name))
                for name, found in specs.items()
            }
            self._whole = True
            for name, status in self.statuses.items():
                if status in SATISFIED:
                    self._count(name, -1)
            for group in self._groups.values():
                group.over = {at for at in group.over if at < len(group.left) and not group.left[at]}
        return self._groups

    def group_of(self, task: str) -> Group:
        """The orchestration that a task belongs to."""
        return self.groups[self.tasks[task].parent or ""]

    def begun(self, parent: str) -> bool:
        """Whether the orchestration of a task's parts was said to have begun; without sorting what has come since."""
        group = self._groups.get(parent)
        return group is not None and group.started

    def move(self, event: ev.TaskEvent) -> None:
        """Take over what an event means for the status of its task."""
        name = event.task
        old = self.statuses[name]
        new = TRANSITIONS[old].get(type(event), old)
        if new is old:
            return
        self.statuses[name] = new
        for kept, status in ((self.working, WORKING), (self.dead, DEAD)):
            if new not in status:
                kept.pop(name, None)
        if new in WORKING:
            self.working[name] = None
        elif new in DEAD:
            self.dead[name] = _reason(event)
        if (new in SATISFIED) != (old in SATISFIED) and self._whole:
            self._count(name, -1 if new in SATISFIED else 1)
        if new is Status.PENDING or new in ACTIVE:
            self.ended = ""
        if isinstance(event, ev.RetryScheduled):
            self.tries[name] = self.tries.get(name, 0) + 1
        elif isinstance(event, ev.TaskReset | ev.Rejected | ev.TaskAnswered):
            self.tries.pop(name, None)

    def _count(self, name: str, by: int) -> None:
        group = self._groups[self.tasks[name].parent or ""]
        at = group.stage[name]
        group.left[at] += by
        if group.left[at]:
            group.over.discard(at)

    def edit(self, event: ev.TaskAdded | ev.TaskChanged | ev.TaskRemoved, at: float) -> None:
        """A task is added, changed or taken out."""
        if isinstance(event, ev.TaskRemoved):
            self.tasks.pop(event.id)
            self._groups.pop(event.id, None)
            for known in (self.statuses, self.working, self.dead, self.tries, self.added):
                known.pop(event.id, None)
            for name, spec in self.tasks.items():
                if spec.parent == event.id:
                    self.tasks[name] = replace(spec, parent=None)
        else:
            self.tasks[event.id] = event.spec
            self.statuses.setdefault(event.id, Status.PENDING)
            if isinstance(event, ev.TaskAdded):
                self.added[event.id] = at
        self.regroup()

    def selected(self, task: str) -> bool:
        """Whether the run is to do a task: all, or those that were asked for, and their parts."""
        name: str | None = task
        while self.only and name is not None and name not in self.only:
            name = self.tasks[name].parent
        return name is not None

    def finish(self) -> None:
        """The run has ended: what it came to."""
        if self.dead:
            self.ended = "failed"
        else:
            group = self.groups[""]
            self.ended = "incomplete" if any(group.left) else "completed"

    def blocked_by(self, group: Group) -> list[str]:
        """The tasks that were given up, and that an orchestration cannot be completed without."""
        return [name for name in self.dead if not group.parent or group.parent in self._above(name)]

    def _top(self, task: str) -> str:
        return next(reversed(list(self._above(task))), task)

    def _above(self, task: str) -> Iterator[str]:
        parent = self.tasks[task].parent
        while parent is not None:
            yield parent
            parent = self.tasks[parent].parent

    def status(self, group: Group) -> str:
        """Where an orchestration stands.

        planning, in_progress, blocked (a person has to decide), halted, completed, failed, or incomplete (it has
        ended, and not all of it was asked for).
        """
        if not group.parent:
            if self.ended:
                return self.ended
            if not self.starts:
                return "planning"
        else:
            own = self._status_of_parts(group)
            if own:
                return own
        if self.blocked_by(group):
            return "blocked"
        return "halted" if self.halted else "in_progress"

    def _status_of_parts(self, group: Group) -> str:
        status = self.statuses[group.parent]
        if status is Status.DONE:
            return "completed"
        if status is Status.SKIPPED:
            return "incomplete"
        if status in DEAD or self.ended:
            return "failed" if status in DEAD else self.ended
        return "planning" if status in (Status.PENDING, Status.RUNNING) else ""

    def orchestration_id(self, parent: str) -> str:
        """What an orchestration is called."""
        return f"orch-{self.run}-{parent}" if parent else f"orch-{self.run}"

    def active(self, group: Group) -> tuple[str, ...]:
        """Those of its tasks that are being worked on."""
        return tuple(name for name in self.working if name in group.specs)

    def begins(self) -> Iterator[str]:
        """The tasks that have begun, or could: all that they need is done, and with barriers their stage has come."""
        barrier = self.plan.stages == "barrier"
        if not self.starts:
            return
        for name, spec in self.tasks.items():
            status = self.statuses[name]
            if status is Status.PENDING:
                run = self.groups[""]
                waits = barrier and run.stage[self._top(name)] + 1 > run.current
                unmet = any(self.statuses[one] not in SATISFIED for one in spec.needs)
                if not (waits or unmet or self.halted or self.ended) and self.selected(name):
                    yield name
            elif status not in (Status.SKIPPED, Status.CANCELLED):
                yield name


def _reason(event: Any) -> str:
    found = getattr(event, "result", None)
    return (
        str(found.outcome.detail or found.outcome.kind.value) if found else str(getattr(event, "reason", ""))
    )
