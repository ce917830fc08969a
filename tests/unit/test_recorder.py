"""The recorder: folded first, published when durable, never after a failure."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest
from core_making import plan_of

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.state import State
from daplug_supervisor.errors import IllegalTransitionError, JournalError
from daplug_supervisor.journal.group import Group
from daplug_supervisor.supervisor.recorder import Recorder, Subscription

SUBMITTED = ev.RunSubmitted(plan_of(["a"]), "/target")


class SlowJournal:
    """A journal whose groups become durable, or fail, when the test says so."""

    def __init__(self) -> None:
        self.seq = 0
        self.groups: list[Group] = []

    def append(self, run: str, at: float, events: Sequence[ev.Event]) -> tuple[list[ev.Entry], Group]:
        entries = [ev.Entry(self.seq + count, run, at, event) for count, event in enumerate(events, 1)]
        self.seq += len(entries)
        self.groups.append(Group())
        return entries, self.groups[-1]


class Clock:
    def now(self) -> float:
        return 7.0

    def monotonic(self) -> float:
        return 8.0


class Desk:
    def __init__(self) -> None:
        self.journal, self.state, self.changes = SlowJournal(), State(), 0
        self.recorder = Recorder(self.journal, self.state, Clock(), self.changed)  # type: ignore[arg-type]

    def changed(self) -> None:
        self.changes += 1


async def taken(subscription: Subscription, count: int) -> list[ev.Entry]:
    found: list[ev.Entry] = []
    with anyio.fail_after(5):
        async for entry in subscription:
            found.append(entry)
            if len(found) == count:
                break
    return found


async def test_it_folds_at_once_and_publishes_what_is_durable_in_order() -> None:
    desk = Desk()
    subscription = desk.recorder.subscribe("r1")
    first = desk.recorder.record("r1", SUBMITTED, ev.RunStarted())
    assert (desk.state.runs["r1"].starts, desk.changes, desk.state.seq) == (1, 1, 2)
    desk.recorder.record("r1", ev.HaltRequested("enough", "caller"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(desk.recorder.publish)
        await anyio.wait_all_tasks_blocked()
        desk.journal.groups[1].finish(None)
        await anyio.wait_all_tasks_blocked()
        assert not subscription._entries  # the group before it is not durable yet
        desk.journal.groups[0].finish(None)
        await first.wait()
        kinds = [entry.event.kind for entry in await taken(subscription, 3)]
        tasks.cancel_scope.cancel()
    assert kinds == ["run_submitted", "run_started", "halt_requested"]


async def test_a_subscriber_hears_only_of_its_run_and_only_until_it_closes() -> None:
    desk = Desk()
    mine, closed = desk.recorder.subscribe("r1"), desk.recorder.subscribe("r1")
    ours = desk.recorder.subscribe("")
    closed.close()
    closed.close()
    desk.recorder.record("r2", SUBMITTED)
    desk.recorder.record("r1", SUBMITTED)
    desk.recorder.record("", ev.SupervisorStopped())
    async with anyio.create_task_group() as tasks:
        for group in desk.journal.groups:
            group.finish(None)
        tasks.start_soon(desk.recorder.publish)
        assert [entry.run for entry in await taken(mine, 1)] == ["r1"]
        assert [entry.run for entry in await taken(ours, 1)] == [""]
        tasks.cancel_scope.cancel()
    assert not mine._entries
    assert not closed._entries


async def test_a_subscription_that_ends_hands_out_what_it_has() -> None:
    desk = Desk()
    subscription = desk.recorder.subscribe("r1")
    subscription.offer([ev.Entry(1, "r1", 0.0, ev.RunStarted()), ev.Entry(2, "r2", 0.0, ev.RunStarted())])
    subscription.end()
    assert [entry.seq async for entry in subscription] == [1]


async def test_an_event_that_does_not_fit_is_not_recorded() -> None:
    desk = Desk()
    with pytest.raises(IllegalTransitionError):
        desk.recorder.record("r1", ev.Landed("a"))
    assert (desk.journal.groups, desk.changes, desk.state.runs) == ([], 0, {})


async def test_what_came_before_an_event_that_does_not_fit_is_in_the_journal_as_it_is_in_the_state() -> None:
    desk = Desk()
    with pytest.raises(IllegalTransitionError):
        desk.recorder.record("r1", SUBMITTED, ev.Landed("a"), ev.RunStarted())
    assert (desk.journal.seq, desk.state.seq, desk.changes) == (1, 1, 1)
    desk.recorder.record("r1", ev.RunStarted())
    assert (desk.journal.seq, desk.state.seq, desk.state.runs["r1"].starts) == (2, 2, 1)


async def test_settling_waits_for_all_and_a_failure_reaches_everybody() -> None:
    desk = Desk()
    for name in ("r1", "r2"):
        desk.recorder.record(name, SUBMITTED)
    error = JournalError("disk I/O error")
    subscription = desk.recorder.subscribe("r1")
    desk.journal.groups[0].finish(None)
    desk.journal.groups[1].finish(error)
    with anyio.fail_after(5):
        with pytest.raises(JournalError, match="I/O"):
            await desk.recorder.settle()
        with pytest.raises(JournalError, match="I/O"):
            await desk.recorder.publish()
    assert [entry.run for entry in subscription._entries] == ["r1"]
