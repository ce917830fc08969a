"""The supervisor inside another program: its events, its errors, and what is left when it is left."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio
import pytest
from cli import HOLD, MARKING, POOL, Place, alive, ended, happened, opened, plan_of, reached, sh

from daplug_supervisor import (
    Bundle,
    BusyError,
    Command,
    Evidence,
    JournalError,
    Outcome,
    OutcomeKind,
    PlanError,
    Provider,
    RunHandle,
    Supervisor,
    Task,
    UsageError,
)
from daplug_supervisor.core import events as ev
from daplug_supervisor.core import plan as plans
from daplug_supervisor.journal import sqlite
from daplug_supervisor.journal.sqlite import SqliteJournal

place = pytest.fixture(opened)

HOLDING = plan_of({"a": sh(MARKING + HOLD), "b": sh(MARKING, "a")})


async def test_events_come_in_order_each_once_and_end_with_the_run(place: Place) -> None:
    seen: list[ev.Entry] = []
    async with Supervisor(place.state) as supervisor:
        run = await supervisor.submit(plan_of({"a": sh("true"), "b": sh("true", "a")}))
        with anyio.fail_after(20):
            seen.extend([entry async for entry in run.events()])
    assert [entry for entry in place.entries() if entry.run == run.id][-len(seen) :] == seen
    assert [entry.event.kind for entry in seen if entry.event.kind in ("landed", "run_finished")] == [
        "landed",
        "landed",
        "run_finished",
    ]


async def test_events_of_a_run_that_is_over_are_none_and_do_not_wait(place: Place) -> None:
    async with Supervisor(place.state) as supervisor:
        run = await supervisor.submit(plan_of({"a": sh("true")}))
        await ended(run)
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(20):
            assert [entry async for entry in run.events()] == []


async def test_what_an_event_says_is_on_disk_when_it_is_told(place: Place) -> None:
    async with Supervisor(place.state) as supervisor:
        run = await supervisor.submit(plan_of({"a": sh("true")}))
        entry = await happened(run, ev.Landed)
        assert entry in place.entries()


async def test_the_second_supervisor_is_refused_and_says_who_has_it(place: Place) -> None:
    async with Supervisor(place.state):
        with pytest.raises(BusyError, match=r"process \d+ supervises .* already"):
            async with Supervisor(place.state):
                raise AssertionError("entered")
    async with Supervisor(place.state):
        pass
    assert len(place.events(ev.SupervisorStarted)) == 2


async def test_it_is_used_entered(place: Place) -> None:
    supervisor = Supervisor(place.state)
    uses: list[Callable[[], object]] = [
        lambda: supervisor.state,
        lambda: supervisor.record("", ev.Resumed()),
        lambda: asyncio.run(supervisor.submit(HOLDING)),
    ]
    for use in uses[:2]:
        with pytest.raises(UsageError, match="async with"):
            use()
    with pytest.raises(UsageError, match="async with"):
        await supervisor.submit(HOLDING)
    assert not place.state.exists()


class TheirsError(Exception):
    pass


async def test_an_error_in_the_body_comes_out_as_it_is_and_agents_live_on(place: Place) -> None:
    with pytest.raises(TheirsError) as caught:  # noqa: PT012
        async with Supervisor(place.state) as supervisor:
            await supervisor.submit(HOLDING)
            await reached(place.lines, "a at work")
            raise TheirsError("mine")
    assert str(caught.value) == "mine"
    [spawned] = place.events(ev.AttemptSpawned)
    assert alive(spawned.pid)
    place.go()
    async with Supervisor(place.state) as supervisor:
        await ended(await supervisor.submit(HOLDING))
    assert [line.split()[0] for line in place.lines()] == ["a", "b"]
    place.nothing_left()


async def test_a_group_of_errors_in_the_body_stays_that_group(place: Place) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with Supervisor(place.state):
            raise ExceptionGroup("two", [TheirsError("a"), TheirsError("b")])
    assert caught.value.message == "two"


async def test_cancelling_the_caller_detaches(place: Place) -> None:
    async def caller() -> None:
        async with Supervisor(place.state) as supervisor:
            await ended(await supervisor.submit(HOLDING))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(caller)
        await reached(place.lines, "a at work")
        tasks.cancel_scope.cancel()
    [spawned] = place.events(ev.AttemptSpawned)
    assert alive(spawned.pid)
    async with Supervisor(place.state) as supervisor:
        run = await supervisor.submit(HOLDING)
        assert (run.id, "p-1" in supervisor.state.runs) == ("p-1", True)
        await reached(lambda: supervisor.live, "the attempt taken back")
        place.go()
        assert (await ended(run)).counts["done"] == 2
    assert [event.pid for event in place.events(ev.AttemptSpawned, task="a")] == [spawned.pid]
    assert [line.split()[0] for line in place.lines()] == ["a", "b"]
    place.nothing_left()


async def test_a_task_that_asyncio_cancels_detaches_too(place: Place) -> None:
    async def caller() -> None:
        async with Supervisor(place.state) as supervisor:
            await ended(await supervisor.submit(HOLDING))

    task = asyncio.ensure_future(caller())
    await reached(place.lines, "a at work")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert alive(place.events(ev.AttemptSpawned)[0].pid)


@pytest.mark.parametrize("when", ["at work", "leaving"])
async def test_when_the_journal_fails_nothing_goes_on(
    place: Place, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.state.mkdir()
    journal = SqliteJournal(place.state / "journal.db")

    async def full(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with pytest.raises(JournalError, match="disk I/O error"), anyio.fail_after(20):  # noqa: PT012
        async with Supervisor(place.state, journal=journal) as supervisor:
            run = await supervisor.submit(HOLDING)
            await reached(place.lines, "a at work")
            monkeypatch.setattr(journal._db, "execute_insert", full)
            if when == "at work":
                place.go()
                await run.wait()
                raise AssertionError("it went on")
    assert place.statuses() == {"a": "running", "b": "pending"}
    place.go()
    async with Supervisor(place.state) as supervisor:
        assert (await ended(await supervisor.submit(HOLDING))).counts["done"] == 2
    assert [line.split()[0] for line in place.lines()] == ["a", "b"]
    place.nothing_left()


class Faulty:
    """A worker of somebody else's, with a fault."""

    output_wanted = 100

    def __init__(self, where: str) -> None:
        self.where = where

    def problems(self, assignments: Sequence[plans.Assignment]) -> list[str]:
        if self.where == "problems":
            raise TheirsError("no idea")
        return []

    def command(self, bundle: Bundle) -> Command:
        if self.where == "command":
            raise TheirsError("no idea")
        return Command(("true",), env={"A": 1} if self.where == "type" else {})  # type: ignore[dict-item]

    def outcome(self, evidence: Evidence) -> Outcome:
        if self.where == "outcome":
            raise TheirsError("no idea")
        return Outcome(OutcomeKind.COMPLETED)


THEIRS = plan_of(
    {"a": Task(instructions="do it", provider="theirs"), "b": sh("true")},
    {"theirs": Provider(worker="theirs"), "p": POOL},
)


@pytest.mark.parametrize("where", ["command", "outcome"])
async def test_a_worker_with_a_fault_stops_its_provider_and_nothing_else(place: Place, where: str) -> None:
    async with Supervisor(place.state, workers={"theirs": Faulty(where)}) as supervisor:
        run = await supervisor.submit(THEIRS)
        report = await ended(run)
        assert report.halt is not None
        assert report.halt.requested_by == "provider"
        assert "worker theirs failed: TheirsError: no idea" in report.halt.reason
    assert place.statuses() == {"a": "pending", "b": "done"}
    [stopped] = place.events(ev.ProviderStopped)
    assert stopped.provider == "theirs"
    assert place.task("a").tries == 0
    async with Supervisor(place.state, workers={"theirs": Faulty("")}) as supervisor:
        assert (await ended(await supervisor.submit(THEIRS))).counts["done"] == 2


async def test_a_worker_that_cannot_even_be_asked_is_refused(place: Place) -> None:
    async with Supervisor(place.state, workers={"theirs": Faulty("problems")}) as supervisor:
        with pytest.raises(UsageError, match="worker theirs failed: TheirsError: no idea"):
            await supervisor.submit(THEIRS)
        assert supervisor.state.runs == {}


async def test_another_worker_is_added_without_touching_the_core(place: Place) -> None:
    async with Supervisor(place.state, workers={"theirs": Faulty("")}) as supervisor:
        assert (await ended(await supervisor.submit(THEIRS))).counts["done"] == 2


async def test_an_unknown_worker_is_refused(place: Place) -> None:
    async with Supervisor(place.state) as supervisor:
        with pytest.raises(UsageError, match="there is no worker 'theirs'"):
            await supervisor.submit(THEIRS)
        assert supervisor.state.runs == {}


async def test_a_report_that_cannot_be_written_does_not_end_the_run_badly(place: Place) -> None:
    line = "rm -rf .daplug/runs/p-1; touch .daplug/runs/p-1"
    async with Supervisor(place.state) as supervisor:
        report = await ended(await supervisor.submit(plan_of({"a": sh(line)})))
        assert (report.state, report.counts["done"]) == ("finished", 1)
    assert place.events(ev.RunFinished) == [ev.RunFinished()]


@pytest.mark.parametrize(("line", "run"), [("true", "p-2"), ("exit 1", "p-1")])
async def test_a_plan_submitted_by_several_at_once_is_one_run(place: Place, line: str, run: str) -> None:
    plan = plan_of({"a": sh(line), "b": sh("true")})
    async with Supervisor(place.state) as supervisor:
        await ended(await supervisor.submit(plan))
    async with Supervisor(place.state) as supervisor:
        handles = await asyncio.gather(*(supervisor.submit(plan) for _ in range(3)))
        assert [handle.id for handle in handles] == [run] * 3
        assert all(handle.state is supervisor.state.runs[run] for handle in handles)
        await ended(handles[0])


async def test_a_run_that_is_read_is_at_hand_whole_or_not_at_all(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "PAGE", 1)
    plan = plan_of({"a": sh(MARKING), "b": sh("exit 1", "a")})
    async with Supervisor(place.state) as supervisor:
        await ended(await supervisor.submit(plan))
    async with Supervisor(place.state) as supervisor:
        reading = asyncio.create_task(supervisor.submit(plan))
        fetch, pages = SqliteJournal._fetch, iter(range(4))

        async def cancelled(self: SqliteJournal, query: str, values: tuple[object, ...]) -> list[sqlite3.Row]:
            if next(pages, None) is None:
                reading.cancel()
            return await fetch(self, query, values)

        with monkeypatch.context() as patch:
            patch.setattr(SqliteJournal, "_fetch", cancelled)
            await asyncio.wait([reading])
        assert reading.cancelled()
        assert not supervisor.state.runs
        assert (await ended(await supervisor.submit(plan))).counts["done"] == 1
    assert [line.split()[0] for line in place.lines()] == ["a"]


async def test_who_waits_for_events_hears_that_the_supervisor_is_left(place: Place) -> None:
    async def listen(run: RunHandle) -> None:
        async for _ in run.events():
            pass

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks, Supervisor(place.state) as supervisor:
            tasks.start_soon(listen, await supervisor.submit(HOLDING))
            await reached(place.lines, "a at work")
    place.go()


async def test_it_is_entered_once(place: Place) -> None:
    async with Supervisor(place.state) as supervisor:
        pass
    with pytest.raises(UsageError, match="make a new one"):
        async with supervisor:
            raise AssertionError("entered")
    async with Supervisor(place.state):
        pass


async def test_a_plan_of_another_directory_does_not_go_on_with_this_ones_run(
    place: Place, tmp_path: Path
) -> None:
    here, there, link = tmp_path / "here", tmp_path / "there", tmp_path / "link"
    here.mkdir()
    there.mkdir()
    link.symlink_to(here)
    plan = plan_of({"a": sh("pwd >> ran; exit 1")})
    async with Supervisor(place.state) as supervisor:
        await ended(await supervisor.submit(plan, target=here))
        with pytest.raises(UsageError, match=r"run p-1 of plan p is about .*here, and this is .*there"):
            await supervisor.submit(plan, target=there)
        ran = len((here / "ran").read_text().splitlines())
        await ended(await supervisor.submit(plan, target=link))
        assert len((here / "ran").read_text().splitlines()) == 2 * ran
        assert not (there / "ran").exists()


async def test_an_attempt_at_work_is_read_by_the_worker_that_it_began_with(place: Place) -> None:
    held = {"a": sh(MARKING + HOLD), "b": Task(instructions="do it", provider="theirs")}
    theirs = Provider(worker="theirs")
    plan = plan_of(held, {"p": POOL, "theirs": theirs})
    other = plan_of(held, {"p": Provider(worker="theirs"), "theirs": theirs})
    named = plan_of({"a": sh(MARKING + HOLD, provider="q"), "b": sh("true", provider="q")}, {"q": POOL})
    workers = {"theirs": Faulty("nowhere")}
    async with Supervisor(place.state, workers=workers) as supervisor:
        await supervisor.submit(plan, only=["a"])
        await reached(place.lines, "a at work")
    async with Supervisor(place.state, workers=workers) as supervisor:
        with pytest.raises(PlanError, match="task a is at work in provider p"):
            await supervisor.submit(other)
        place.go()
        assert (await ended(await supervisor.submit(named))).counts["done"] == 2
    assert [line.split()[0] for line in place.lines()] == ["a"]
    place.nothing_left()
