"""What acceptance promises, as the journal has it: read from the first event on after every life."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.plan import Plan, Task
from daplug_supervisor.core.results import OutcomeKind, Result

if TYPE_CHECKING:
    from simulated import Simulation

AFTER_A_LOOK = {OutcomeKind.VERIFY_FAILED, OutcomeKind.CONFLICT}
"""Why an attempt that claimed success is followed by another one: never because we crashed."""


@dataclass
class _Task:
    number: int = 0
    claims: bool = False
    checks: int = 0
    passed: bool = False
    satisfied: bool = False
    rounds: int = 0
    last_fix: bool = False
    failed: list[Result] = field(default_factory=list)


def check_proven(simulation: Simulation) -> None:
    """Done is proven, paid work is not done twice, rounds are bounded and differ, and what waits really waits."""
    if not any(spec.accept for plan in simulation.plans() for spec in plan.tasks.values()):
        return
    plans: dict[str, Plan] = {}
    tasks: dict[tuple[str, str], _Task] = {}
    for entry in simulation.entries():
        event = entry.event
        if isinstance(event, ev.RunSubmitted | ev.PlanChanged):
            plans[entry.run] = event.plan
        elif isinstance(event, ev.TaskEvent):
            task = tasks.setdefault((entry.run, event.task), _Task())
            spec = plans[entry.run].tasks[event.task]
            if isinstance(event, ev.AttemptStarted):
                waits = [need for need in spec.needs if not tasks[entry.run, need].satisfied]
                assert not waits, f"{event.task} began before {waits} had landed"
            _follow(simulation, entry.run, task, spec, event)


def _follow(simulation: Simulation, run: str, task: _Task, spec: Task, event: ev.TaskEvent) -> None:
    name = f"{run}/{event.task}#{task.number}"
    if isinstance(event, ev.AttemptStarted):
        task.number, task.claims, task.checks, task.passed = event.number, False, 0, False
    elif isinstance(event, ev.AttemptExited):
        task.claims = True
    elif isinstance(event, ev.VerificationStarted):
        assert task.claims, f"{name} is looked at before it has ended"
        assert event.number == task.checks + 1, f"{name}: looks are counted"
        task.checks = event.number
    elif isinstance(event, ev.VerificationPassed):
        assert all(one.holds for one in event.findings)
        assert {one.criterion for one in event.findings} >= set(range(len(spec.accept))), name
        assert not spec.accept or simulation.world.looked_at(run, event.task, task.number), name
        task.passed = True
    elif isinstance(event, ev.Landed):
        assert task.passed, f"{name} is done, and nobody has looked"
        seen = simulation.story.seen(event.task, task.number)
        assert not spec.accept or not any(seen.wrong), f"{name} is done, and its criteria do not hold"
        task.satisfied = True
    elif isinstance(event, ev.TaskSkipped | ev.TaskAdopted):
        task.satisfied = True
    elif isinstance(event, ev.RetryScheduled):
        _again(name, task, spec, event)
    elif isinstance(event, ev.TaskReset):
        task.rounds, task.last_fix, task.failed = 0, False, []


def _again(name: str, task: _Task, spec: Task, event: ev.RetryScheduled) -> None:
    kind = event.result.outcome.kind
    assert not task.claims or kind in AFTER_A_LOOK, f"{name} had ended well, and is done again after {kind}"
    if kind is not OutcomeKind.VERIFY_FAILED or spec.command is not None:
        return
    assert not task.last_fix, f"{name}: nothing follows the last fix"
    task.rounds += 1
    assert task.rounds <= spec.fix_rounds + 1, f"{name}: too many rounds"
    alike = [one for one in task.failed[-1:] if one.tree and _failing(one) == _failing(event.result)]
    assert not alike or event.last_fix, f"{name}: the same failure on the same tree, and an ordinary round"
    task.last_fix = event.last_fix
    task.failed.append(event.result)


def _failing(result: Result) -> tuple[str, set[int]]:
    return result.tree, {one.criterion for one in result.findings if not one.holds}
