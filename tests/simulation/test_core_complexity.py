"""That a decision costs the same in a large plan as in a small one. Work is counted, not timed."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import pytest
from core_making import Story, plan_of, result, task
from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.commands import Command, events_of
from daplug_supervisor.core.decide import Start
from daplug_supervisor.core.plan import Plan, Provider, Retry
from daplug_supervisor.core.results import OutcomeKind
from daplug_supervisor.core.surgery.new_tasks import NewTask

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

SMALL, LARGE = 1_000, 50_000
TURNS = 300

K = OutcomeKind


class WholeError(AssertionError):
    """Something of the size of the plan was walked."""


def _walked(*_args: Any, **_kwargs: Any) -> Any:
    raise WholeError


class Table(dict[str, Any]):
    """A dict that gives single values only."""

    __iter__ = keys = values = items = copy = __or__ = _walked


class Heap(list[Any]):
    """A list that gives single entries only."""

    __iter__ = __contains__ = copy = index = count = sort = __add__ = _walked


def wide(size: int) -> Plan:
    """Short chains: most of the plan is ready from the beginning."""
    tasks = {}
    for number in range(size):
        needs = (f"t{number - 1}",) if number % 5 else ()
        spec = task(
            *needs, provider=("codex", "glm")[number % 10 > 4], priority=number % 3, retry=Retry(9, 1.0)
        )
        tasks[f"t{number}"] = spec
    return plan_of(tasks, {"codex": Provider(parallel=4), "glm": Provider(parallel=4)})


def layered(size: int) -> Plan:
    """Layers of ten: nearly all of the plan is blocked, and each task holds ten others back."""
    tasks = {}
    for number in range(size):
        layer = number // 10 * 10
        tasks[f"t{number}"] = task(
            *(f"t{other}" for other in range(max(0, layer - 10), layer)), retry=Retry(9, 1.0)
        )
    return plan_of(tasks, {"codex": Provider(parallel=4), "glm": Provider(parallel=4)})


def guarded(plan: Plan) -> Story:
    """A story of this plan in which nothing that grows with the plan can be walked."""
    story = Story(plan)
    run = story.run
    run.plan = replace(run.plan, tasks=Table(run.plan.tasks))
    run.tasks, run.after = Table(run.tasks), Table(run.after)
    for pool in run.pools.values():
        for lane in pool.lanes:
            lane.ready, lane.waiting = Heap(lane.ready), Heap(lane.waiting)
    return story


def turn(story: Story, number: int, active: list[str]) -> None:
    """Start what can be started, then let the oldest attempt end: well mostly, some to be tried again."""
    while isinstance(decision := story.decide(), Start):
        story.start(decision.task)
        active.append(decision.task)
    story.wake_at()
    name = active.pop(0)
    if number % 7 == 3:
        story.end(name, K.FAILED)
    elif number % 31 == 5:
        story.end(name, K.RATE_LIMITED, retry_at=story.now + 0.5)
    else:
        story.record(
            ev.AttemptExited(name, result(K.COMPLETED)), ev.VerificationPassed(name), ev.Landed(name)
        )
    story.now += 1.0


def counted(work: Callable[[], object]) -> int:
    """The bytecodes that run in `work`."""
    total = 0

    def look(frame: FrameType, event: str, _arg: Any) -> Any:
        nonlocal total
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        total += event == "opcode"
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        work()
    finally:
        sys.settrace(before)
    return total


def work(plan: Plan) -> int:
    story, active = guarded(plan), list[str]()
    for number in range(50):
        turn(story, number, active)

    def measured() -> None:
        for number in range(TURNS):
            turn(story, number, active)

    return counted(measured)


@pytest.mark.parametrize("shape", [wide, layered])
def test_a_decision_and_its_events_cost_the_same_in_a_plan_of_50_000_tasks(
    shape: Callable[[int], Plan],
) -> None:
    small, large = work(shape(SMALL)), work(shape(LARGE))
    assert large == pytest.approx(small, rel=0.2)


def test_a_walk_over_the_plan_would_be_noticed() -> None:
    story = guarded(wide(SMALL))
    for found in (story.run.tasks, story.run.after, story.run.plan.tasks, story.pool().bound.ready):
        with pytest.raises(WholeError):
            list(found)


def test_many_waits_that_are_over_at_once_are_looked_at_once() -> None:
    tasks = {f"t{number}": task(retry=Retry(2, 0.0)) for number in range(SMALL)}
    story = Story(plan_of(tasks, {"codex": Provider(parallel=SMALL)}))
    story.start(*tasks)
    for name in tasks:
        story.end(name, K.FAILED)
    story.record(ev.PlanChanged(plan_of(tasks)))
    active: list[str] = []
    first, second = (counted(lambda: turn(story, 0, active)) for _ in range(2))
    assert first > 10 * second


# --- plans that grow while they run -------------------------------------------------------------------------


def grown(plan: Plan, stages: Literal["dag", "barrier"]) -> int:
    """What it takes to take a family of tasks in, one by one, and to change one of them."""
    story = Story(replace(plan, stages=stages))
    changes: list[ev.Event] = [ev.TaskAdded("n0", task("t5"))]
    changes += [ev.TaskAdded(f"n{number}", task(f"n{number - 1}", parent="t7")) for number in range(1, 9)]
    changes.append(ev.TaskChanged("n5", task("n4", parent="t7", priority=5)))
    if stages == "dag":
        changes.append(ev.TaskChanged("n6", task("n4", parent="t7")))
    return counted(lambda: story.record(*changes))


@pytest.mark.parametrize("stages", ["dag", "barrier"])
def test_a_task_is_taken_into_a_large_plan_as_quickly_as_into_a_small_one(
    stages: Literal["dag", "barrier"],
) -> None:
    small, large = (grown(wide(size), stages) for size in (SMALL, 10 * SMALL))
    assert large == pytest.approx(small, rel=0.2)


def test_whether_a_new_task_fits_is_looked_at_in_what_it_waits_for() -> None:
    """All that is walked is the names, for one that differs only in upper and lower case."""
    costs = []
    for size in (SMALL, 10 * SMALL):
        story = Story(wide(size))
        new = NewTask("new", "do it", needs=("t3",), parent="t7", provider="codex")
        told = Command("c", "create", new=(new,))
        costs.append(counted(partial(events_of, story.run, told, 0.0)) / size)
    assert costs[1] < 20


def test_a_barrier_that_falls_costs_as_much_as_the_stage_that_it_lets_go() -> None:
    story = Story(replace(wide(10 * SMALL), stages="barrier"))
    first, *_ = story.run.stages
    for name in first[:-1]:
        story.record(ev.TaskSkipped(name))
    assert counted(lambda: story.record(ev.TaskSkipped(first[-1]))) < 1_000 * len(first)
    assert counted(lambda: story.record(ev.TaskSkipped(story.run.stages[1][0]))) < 5_000
