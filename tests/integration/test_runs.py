"""Runs over several starts: taken up again, edited, side by side, cancelled, halted, and what is lost."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import anyio
import pytest
from cli import HOLD, MARKING, Place, alive, ended, happened, opened, plan_of, reached, sh

from daplug_supervisor import (
    HaltedError,
    NotPossibleError,
    Plan,
    PlanError,
    RunHandle,
    Supervisor,
    UsageError,
)
from daplug_supervisor.core import events as ev
from daplug_supervisor.core.commands import Command
from daplug_supervisor.core.plan import Retry

place = pytest.fixture(opened)

PAIR = plan_of({"a": sh(MARKING), "b": sh(MARKING + HOLD, "a")})


def shim(place: Place, task: str) -> int:
    """The pid of the shim of a task's latest attempt."""
    return int(place.events(ev.AttemptSpawned, task=task)[-1].pid)


async def test_an_unfinished_run_goes_on_and_repeats_nothing(place: Place) -> None:
    async with Supervisor(place.state) as supervisor:
        run = await supervisor.submit(PAIR)
        await reached(lambda: len(place.lines()) == 2, "b at work")
    pid = shim(place, "b")
    assert alive(pid)
    place.go()
    async with Supervisor(place.state) as supervisor:
        again = await supervisor.submit(PAIR)
        assert (await ended(again)).counts["done"] == 2
    assert (again.id, shim(place, "b")) == (run.id, pid)
    assert [line.split()[0] for line in place.lines()] == ["a", "b"]
    place.nothing_left()


async def test_fresh_begins_anew(place: Place) -> None:
    async with Supervisor(place.state) as supervisor:
        first = await supervisor.submit(PAIR)
        second = await supervisor.submit(PAIR, fresh=True)
        place.go()
        assert [first.id, second.id] == ["p-1", "p-2"]
        assert [(await ended(run)).counts["done"] for run in (first, second)] == [2, 2]
    assert len(place.lines()) == 4


async def test_an_edited_plan_counts_for_what_has_not_started(place: Place) -> None:
    async with Supervisor(place.state) as supervisor:
        await supervisor.submit(PAIR)
        await reached(lambda: len(place.lines()) == 2, "b at work")
    edited = plan_of(
        {"a": sh("exit 9"), "b": sh("exit 9", "a"), "c": sh(f"{MARKING} echo new >> out", "b", priority=3)}
    )
    place.go()
    async with Supervisor(place.state) as supervisor:
        run = await supervisor.submit(edited)
        kept = "changed, but it has started: kept as it was (retry it to use the new plan)"
        assert run.edits == (f"task a: {kept}", f"task b: {kept}", "task c: added")
        assert (await ended(run)).counts["done"] == 3
    [changed] = place.events(ev.PlanChanged)
    assert changed.summary == run.edits
    assert place.lines("out") == ["new"]
    assert len(place.lines()) == 3


async def test_edits_that_do_not_go_with_what_has_started_are_refused(place: Place) -> None:
    async with Supervisor(place.state) as supervisor:
        await supervisor.submit(PAIR)
        await reached(lambda: len(place.lines()) == 2, "b at work")
        with pytest.raises(PlanError, match="differs from it only in upper and lower case"):
            await supervisor.submit(plan_of({"B": sh("true")}))
        assert list(supervisor.state.runs["p-1"].tasks) == ["a", "b"]
    assert place.events(ev.PlanChanged) == []


async def test_runs_side_by_side_do_not_mix(place: Place, tmp_path: Path) -> None:
    runs: dict[str, list[ev.Entry]] = {}
    plans = [plan_of({"a": sh(MARKING), "b": sh("pwd >> where", "a")}, name=name) for name in ("x", "y", "z")]

    async def listen(handle: RunHandle) -> None:
        async for entry in handle.events():
            runs.setdefault(handle.id, []).append(entry)

    async with Supervisor(place.state) as supervisor:
        handles = []
        for plan in plans:
            (tmp_path / plan.name).mkdir()
            handles.append(await supervisor.submit(plan, target=tmp_path / plan.name))
        async with anyio.create_task_group() as tasks:
            for handle in handles:
                tasks.start_soon(listen, handle)
            reports = [await ended(handle) for handle in handles]
    for plan, report in zip(plans, reports, strict=True):
        folder = tmp_path / plan.name
        assert (report.run, report.target, report.counts["done"]) == (f"{plan.name}-1", str(folder), 2)
        assert (folder / "where").read_text() == f"{folder}\n"
        assert len((folder / "starts").read_text().splitlines()) == 1
        entries = runs[report.run]
        assert {entry.run for entry in entries} == {report.run}
        assert entries[-1].event == ev.RunFinished()
        assert (place.state / "runs" / report.run / "report.json").is_file()


TREE = MARKING + "setsid sleep 60 & trap '' TERM; sleep 60 & wait; sleep 60"


async def test_cancel_ends_the_tree_and_dependents_stay_blocked(place: Place) -> None:
    async with Supervisor(place.state) as supervisor:
        run = await supervisor.submit(plan_of({"a": sh(TREE, grace=0.1), "b": sh("true", "a")}))
        await reached(place.lines, "a at work")
        await supervisor.command(Command("c1", "cancel", task="a", reason="no longer wanted"))
        await ended(run)
        assert place.processes(attempts=True) == []
    assert place.statuses() == {"a": "cancelled", "b": "pending"}
    assert place.task("a").reason == "no longer wanted"
    place.nothing_left()


async def test_what_finishes_before_it_is_cancelled_is_kept(place: Place) -> None:
    line = MARKING + "trap 'exit 0' TERM; until [ -e go ]; do sleep 0.02; done"
    async with Supervisor(place.state) as supervisor:
        run = await supervisor.submit(plan_of({"a": sh(line)}))
        await reached(place.lines, "a at work")
        place.go()
        os.kill(shim(place, "a"), signal.SIGSTOP)
        await supervisor.command(Command("c1", "cancel", task="a"))
        os.kill(shim(place, "a"), signal.SIGCONT)
        await ended(run)
    assert place.statuses()["a"] in ("done", "cancelled")


async def test_a_halt_by_a_person_holds_until_a_person_resumes(place: Place) -> None:
    async with Supervisor(place.state) as supervisor:
        run = await supervisor.submit(plan_of({"a": sh(MARKING + HOLD), "b": sh(MARKING, "a")}))
        await reached(place.lines, "a at work")
        await supervisor.command(Command("c1", "halt", reason="lunch"))
        with pytest.raises(NotPossibleError, match="halted already: lunch"):
            await supervisor.command(Command("c2", "halt"))
        place.go()
        report = await ended(run)
        assert report.halt is not None
        assert (report.halt.requested_by, report.halt.reason, report.halt.running) == (
            "command",
            "lunch",
            ("a",),
        )
        with pytest.raises(HaltedError, match="lunch"):
            await supervisor.submit(plan_of({"a": sh(MARKING + HOLD), "b": sh(MARKING, "a")}))
        [run] = await supervisor.resume("p-1")
        assert (await ended(run)).counts["done"] == 2
    assert place.events(ev.Resumed) == [ev.Resumed("command")]


async def test_a_halt_by_the_caller_ends_with_the_next_start(place: Place) -> None:
    async with Supervisor(place.state) as supervisor:
        run = await supervisor.submit(PAIR)
        await reached(lambda: len(place.lines()) == 2, "b at work")
        supervisor.halt("enough for today")
        supervisor.halt("said twice")
        place.go()
        await ended(run)
        assert [event.reason for event in place.events(ev.HaltRequested)] == ["enough for today"]
        run = await supervisor.submit(PAIR)
        assert (await ended(run)).state == "finished"


async def test_a_command_with_the_same_id_counts_once(place: Place) -> None:
    async with Supervisor(place.state) as supervisor:
        run = await supervisor.submit(PAIR)
        await reached(lambda: len(place.lines()) == 2, "b at work")
        for _ in range(2):
            assert (await supervisor.command(Command("same", "halt"))).applied
        place.go()
        await ended(run)
    assert len(place.events(ev.HaltRequested)) == 1


async def test_a_lost_attempt_is_tried_again_without_using_up_a_try(place: Place) -> None:
    async with Supervisor(place.state) as supervisor:
        run = await supervisor.submit(plan_of({"a": sh(TREE)}))
        for count in range(1, 4):
            await reached(lambda: len(place.lines()) == count, f"attempt {count}")  # noqa: B023
            os.kill(shim(place, "a"), signal.SIGKILL)
        report = await ended(run)
        assert place.processes(attempts=True) == []
    task = place.task("a")
    assert (task.status, task.tries, task.remedy) == (
        "stuck",
        0,
        "find out what kills it, then retry the task",
    )
    assert [past.result.outcome.kind for past in task.past] == ["lost"] * 3
    assert report.failures[0].kind == "lost"


async def test_lost_once_and_then_done(place: Place) -> None:
    async with Supervisor(place.state) as supervisor:
        run = await supervisor.submit(plan_of({"a": sh(MARKING + HOLD)}))
        await reached(place.lines, "a at work")
        os.kill(shim(place, "a"), signal.SIGKILL)
        await happened(run, ev.RetryScheduled)
        place.go()
        assert (await ended(run)).counts["done"] == 1
    assert (place.task("a").tries, place.task("a").lost) == (1, 0)


async def test_a_plan_that_cannot_run_here_starts_nothing(place: Place) -> None:
    plan = Plan("p", PAIR.tasks, {"p": PAIR.providers["p"], "q": PAIR.providers["p"]})
    async with Supervisor(place.state) as supervisor:
        with pytest.raises(UsageError, match="no task zzz"):
            await supervisor.submit(plan, only=["zzz"])
        with pytest.raises(NotPossibleError, match="no unfinished run"):
            await supervisor.resume("nope")
        with pytest.raises(NotPossibleError, match="there is no run 'nope'"):
            await supervisor.load("nope")
        with pytest.raises(NotPossibleError, match="no unfinished run"):
            await supervisor.command(Command("c1", "halt"))
        assert supervisor.marks == []
    assert [entry.run for entry in place.entries()] == ["", ""]


def test_what_is_said_to_type_means_the_run_that_is_looked_at(place: Place) -> None:
    """Another run that came after it has tasks of the same names."""
    tasks = {"a": sh("exit 3", retry=Retry(attempts=1)), "b": sh("true", "a")}
    assert place.run("run", place.write(plan_of(tasks)), "-q").code == 1
    assert place.run("run", place.write(plan_of(tasks, name="q")), "-q").code == 1
    assert "--run" not in place.run("status", "q-1").out
    for words in (("status", "p-1"), ("task", "why", "b", "--run", "p-1")):
        [retry] = {one for one in place.run(*words, "--json").json()["next"] if " retry " in one}
        assert retry == "daplug-supervise task retry a --run p-1"
    assert "daplug-supervise report p-1" in place.run("status", "p-1").out
    assert place.run(*retry.split()[1:]).code == 0
    assert [event.task for event in place.events(ev.TaskReset)] == ["a"]
    assert [entry.run for entry in place.entries() if isinstance(entry.event, ev.TaskReset)] == ["p-1"]
