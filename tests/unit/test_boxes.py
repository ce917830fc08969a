"""The boxes of a PLAN.md against the journal of a run: every way in which they may not agree is said."""

from __future__ import annotations

import pytest
from core_making import Story, plan_of, result, task
from msgspec.structs import replace

from daplug_supervisor.core import boxes
from daplug_supervisor.core import events as ev
from daplug_supervisor.core.changes import changes
from daplug_supervisor.core.machine import ACTIVE, Status
from daplug_supervisor.core.plan import Plan
from daplug_supervisor.core.results import OutcomeKind

PATH = ".dev/specs/login/PLAN.md"


def whole() -> Plan:
    """Four TODOs in a row, as they are read while none is ticked, and the steps around them."""
    rest = task("todo-1", "todo-2", "todo-3", "todo-4")
    return plan_of({
        "state-begin": task(),
        "todo-1": task("state-begin"), "todo-2": task("todo-1"), "todo-3": task("todo-2"), "todo-4": task("todo-3"),
        "residual-commit": rest, "report": task("residual-commit"),
    })  # fmt: skip


def read(*ticked: int) -> Plan:
    """As it is read with these ticked: without them, and without what waits for them."""
    gone = {f"todo-{at}" for at in ticked}
    tasks = {}
    for name, spec in whole().tasks.items():
        needs = tuple(one for one in spec.needs if one not in gone)
        if name.startswith("todo-") or not needs:
            needs = needs or (() if name == "state-begin" else ("state-begin",))
        if name not in gone:
            tasks[name] = replace(spec, needs=needs)
    return replace(whole(), tasks=tasks, saved_outputs={name: {"path": "x"} for name in gone})


def ticks(*ticked: int) -> dict[str, bool]:
    return {str(at): at in ticked for at in range(1, 5)}


def story() -> Story:
    """TODO 1 is done, TODO 2 is at work."""
    told = Story(whole())
    told.record(ev.TaskAdopted("state-begin"))
    told.finish("todo-1")
    return told


@pytest.mark.parametrize("status", list(Status))
def test_every_status_against_a_box(status: Status) -> None:
    told = story()
    at = told.task("todo-2")
    at.status = status
    empty, full = (boxes.disagreements(told.run, ticks(1, *more)) for more in ((), (2,)))
    assert bool(empty) is (status is Status.DONE)
    assert bool(full) is (status not in {Status.DONE, Status.SKIPPED, Status.LANDING})
    for found in (*empty, *full):
        assert (found.task, found.status, found.name) == ("todo-2", status, "TODO 2")
    if full:
        [found] = full
        assert found.taken is (status in {"pending", "failed", "stuck", "cancelled"})
        assert found.taken or status in ACTIVE | {Status.REVIEWING, Status.DELEGATED}


def test_each_is_said_with_what_follows() -> None:
    told = story()
    [done] = boxes.disagreements(told.run, ticks())
    assert boxes.words(done, PATH, "r1") == f"TODO 1: run r1 has done it, and its box in {PATH} is not ticked"
    told.start("todo-2")
    at_work, waits, _ = boxes.disagreements(told.run, ticks(1, 2, 3, 4))
    assert boxes.words(at_work, PATH, "r1").endswith("has it as running: the attempt at it goes on")
    assert boxes.words(waits, PATH, "r1").endswith("has it as pending: it is taken as done")
    assert boxes.taking(at_work) == boxes.taking(done) == ()


def test_what_is_ticked_by_hand_is_taken_as_done_and_never_tried_again() -> None:
    told = story()
    told.start("todo-2")
    told.record(ev.TaskFailed("todo-2", result()))
    for found in boxes.disagreements(told.run, ticks(1, 2, 4)):
        told.record(*boxes.taking(found))
    assert [told.task(f"todo-{at}").status for at in range(1, 5)] == ["done", "done", "pending", "done"]
    assert told.task("todo-2").reason == boxes.BY_HAND
    assert told.start_all() == ["todo-3"]
    assert boxes.disagreements(told.run, ticks(1, 2, 4)) == ()


def test_without_that_a_failed_one_would_be_tried_again_and_a_pending_one_forgotten() -> None:
    """Why the boxes are looked at before an edited plan is merged into that of a run."""
    told = story()
    told.start("todo-2")
    told.record(ev.TaskFailed("todo-2", result()))
    started = [name for name, one in told.run.tasks.items() if one.status is not Status.PENDING]
    merged = changes(told.run.plan, read(1, 2, 3), started).plan
    assert "todo-2" in merged.tasks
    assert "todo-3" not in merged.tasks


@pytest.mark.parametrize("done", range(5))
def test_our_own_ticks_are_no_edits_of_the_plan(done: int) -> None:
    told = Story(whole())
    told.record(ev.TaskAdopted("state-begin"))
    for at in range(1, done + 1):
        told.finish(f"todo-{at}")
    ticked = range(1, done + 1)
    assert boxes.going_on(told.run, read(*ticked), ticks(*ticked)) == told.run.plan


def test_edits_by_a_person_still_are() -> None:
    told = story()
    new = read(1)
    new = replace(new, tasks={**new.tasks, "todo-4": replace(new.tasks["todo-4"], title="New words"),
                              "todo-5": task("todo-4")})  # fmt: skip
    found = boxes.going_on(told.run, new, ticks(1))
    assert changes(told.run.plan, found, ["todo-1"]).summary == (
        "task todo-4: title none -> New words", "task todo-5: added",
    )  # fmt: skip
    assert found.tasks["todo-2"].needs == ("todo-1",)
    added = replace(
        new, tasks={**new.tasks, "todo-2": replace(new.tasks["todo-2"], needs=("state-begin", "todo-5"))}
    )
    assert boxes.going_on(told.run, added, ticks(1)).tasks["todo-2"].needs == ("todo-1", "todo-5")


def test_what_a_person_has_done_hands_on_what_they_wrote_down() -> None:
    told = story()
    told.attempt("todo-2", OutcomeKind.PLAN_ERROR)
    for found in boxes.disagreements(told.run, ticks(1, 2)):
        told.record(*boxes.taking(found))
    found_plan = boxes.going_on(told.run, read(1, 2), ticks(1, 2))
    assert found_plan.saved_outputs == {"todo-2": {"path": "x"}}
    before = Story(read(1))
    assert boxes.going_on(before.run, read(1), ticks(1)).saved_outputs == {"todo-1": {"path": "x"}}


def test_numbers_may_be_written_either_way() -> None:
    told = Story(plan_of({"todo-2a": task()}))
    assert boxes.disagreements(told.run, {"2A": False}) == ()
    [found] = boxes.disagreements(told.run, {"2A": True})
    assert found.name == "TODO 2a"
