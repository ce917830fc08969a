"""The supervisor as a library: order, limits, retries, time-outs, and what a failure does to the rest."""

from __future__ import annotations

import pytest
from cli import HOLD, MARKING, POOL, Place, ended, happened, opened, plan_of, reached, sh

from daplug_supervisor import Plan, Provider, Report, Retry, RunHandle, Supervisor
from daplug_supervisor.core import events as ev
from daplug_supervisor.core.commands import Command
from daplug_supervisor.core.machine import ACTIVE
from daplug_supervisor.core.results import OutcomeKind
from daplug_supervisor.core.retry import delay

place = pytest.fixture(opened)


async def ran(place: Place, plan: Plan, **how: object) -> Report:
    """Run a plan to its end and leave."""
    async with Supervisor(place.state) as supervisor:
        return await ended(await supervisor.submit(plan, **how))  # type: ignore[arg-type]


async def test_a_task_starts_when_all_that_it_needs_is_done_and_nobody_has_to_say_so(place: Place) -> None:
    names = ["db", "api", "ui", "docs", "all"]
    needs = {"api": ["db"], "ui": ["api"], "docs": ["db"], "all": ["ui", "docs"]}
    report = await ran(place, plan_of({name: sh(MARKING, *needs.get(name, ())) for name in names}))
    assert report.counts["done"] == 5
    done: set[str] = set()
    for event in place.events(ev.AttemptStarted, ev.Landed):
        if isinstance(event, ev.Landed):
            done.add(event.task)
        else:
            assert set(needs.get(event.task, ())) <= done
    assert place.lines()[0].startswith("db ")
    place.nothing_left()


async def test_priority_goes_first_then_the_longer_road(place: Place) -> None:
    tasks = {name: sh(MARKING) for name in ("plain", "base")} | {"urgent": sh(MARKING, priority=5)}
    tasks |= {"next": sh(MARKING, "base")}
    await ran(place, plan_of(tasks), parallel=1)
    assert [line.split()[0] for line in place.lines()] == ["urgent", "base", "plain", "next"]


async def test_a_full_provider_never_delays_another(place: Place) -> None:
    providers = {
        "slow": Provider(worker="command", parallel=1),
        "fast": Provider(worker="command", parallel=2),
    }
    tasks = {f"s{i}": sh(MARKING + HOLD, provider="slow") for i in range(3)}
    tasks |= {f"f{i}": sh(MARKING, *([f"f{i - 1}"] if i > 2 else []), provider="fast") for i in range(5)}
    async with Supervisor(place.state) as supervisor:
        run = await supervisor.submit(plan_of(tasks, providers))
        fast = [run.state.tasks[name] for name in tasks if name.startswith("f")]
        await reached(lambda: all(task.status == "done" for task in fast), "all of fast while slow is full")
        assert [name for name in tasks if run.state.tasks[name].status == "running"] == ["s0"]
        place.go()
        assert (await ended(run)).counts["done"] == 8
    assert place.most_at_once() == {"slow": 1, "fast": 2, "*": 3}


async def test_parallel_bounds_all_providers_together(place: Place) -> None:
    providers = dict.fromkeys(("p", "q"), POOL)
    tasks = {f"{name}{i}": sh("true", provider=name) for name in providers for i in range(3)}
    await ran(place, plan_of(tasks, providers), parallel=1)
    assert place.most_at_once()["*"] == 1
    assert set(place.statuses().values()) == {"done"}


async def test_only_what_was_asked_for_runs(place: Place) -> None:
    plan = plan_of({"a": sh(MARKING), "b": sh(MARKING), "c": sh(MARKING, "a")})
    assert (await ran(place, plan, only=["a"])).counts == {
        **dict.fromkeys(
            ("failed", "stuck", "cancelled", "skipped", "reviewing", "delegated", "blocked", "in_progress"), 0
        ),
        "total": 3,
        "done": 1,
        "not_started": 2,
    }
    assert [line.split()[0] for line in place.lines()] == ["a"]
    assert (await ran(place, plan)).counts["done"] == 3
    assert sorted(line.split()[0] for line in place.lines()) == ["a", "b", "c"]


async def test_a_wait_between_tries_outlives_the_supervisor(place: Place) -> None:
    retry = Retry(attempts=3, backoff=1.2 / delay("p-1/a#1", 1, Retry(backoff=1.0)))
    plan = plan_of({"a": sh(f"{MARKING} [ -e go ]", retry=retry)})
    async with Supervisor(place.state) as supervisor:
        await happened(await supervisor.submit(plan), ev.RetryScheduled)
    [scheduled] = place.events(ev.RetryScheduled)
    place.go()
    await ran(place, plan)
    [again] = [
        entry
        for entry in place.entries()
        if entry.event.kind == "attempt_started" and entry.event.number == 2
    ]
    assert scheduled.not_before <= again.at < scheduled.not_before + 1
    assert place.statuses() == {"a": "done"}


async def test_waits_grow_are_bounded_and_end_with_the_tries(place: Place) -> None:
    retry = Retry(attempts=5, backoff=0.05, max_backoff=0.1)
    await ran(place, plan_of({"a": sh("exit 4", retry=retry)}))
    entries = [entry for entry in place.entries() if isinstance(entry.event, ev.RetryScheduled)]
    waits = [entry.event.not_before - entry.at for entry in entries]
    names = [f"p-1/a#{number}" for number in range(1, 5)]
    expected = [delay(name, count, retry) for count, name in enumerate(names, 1)]
    assert waits == pytest.approx(expected, abs=0.05)
    assert all(wait <= 0.1 for wait in waits)
    [failed] = place.events(ev.TaskFailed)
    assert (failed.result.outcome.kind, failed.result.exit.code) == (OutcomeKind.FAILED, 4)


TREE = "trap '' TERM; setsid sleep 60 & (trap '' TERM; sleep 60) & sleep 60"


async def test_a_task_past_its_time_is_ended_with_its_whole_tree(place: Place) -> None:
    plan = plan_of({"a": sh(TREE, timeout=1.5, grace=0.1, retry=Retry(attempts=1)), "b": sh("true", "a")})
    report = await ran(place, plan)
    assert [(row.task, row.kind, row.blocks) for row in report.failures] == [("a", "timeout", 1)]
    [failed] = place.events(ev.TaskFailed)
    assert failed.result.exit.seconds >= 0.2  # its deadline counts from just before it was spawned
    place.nothing_left()


async def test_a_time_out_uses_up_a_try(place: Place) -> None:
    await ran(
        place, plan_of({"a": sh(f"{MARKING} [ -e again ] || {{ touch again; sleep 60; }}", timeout=1.5)})
    )
    task = place.task("a")
    assert (task.status, task.tries, [past.result.outcome.kind for past in task.past]) == (
        "done",
        2,
        ["timeout", "completed"],
    )


FAILING = {"a": sh("exit 1", retry=Retry(attempts=1)), "b": sh("true", "a"), "c": sh("true", "b")}


async def test_a_failure_blocks_what_needs_it_and_nothing_else(place: Place) -> None:
    report = await ran(place, plan_of(FAILING | {"x": sh("true"), "y": sh("true", "x")}))
    assert place.statuses() == {"a": "failed", "b": "pending", "c": "pending", "x": "done", "y": "done"}
    assert (report.counts["blocked"], report.failures[0].blocks, report.state) == (2, 2, "finished")


async def test_retry_of_a_failed_task_unblocks_all_behind_it(place: Place) -> None:
    plan = plan_of(
        {"a": sh("[ -e go ]", retry=Retry(attempts=1)), "b": sh("true", "a"), "c": sh("true", "b")}
    )
    async with Supervisor(place.state) as supervisor:
        run = await supervisor.submit(plan)
        assert (await ended(run)).counts["blocked"] == 2
        place.go()
        await supervisor.command(Command("c1", "retry", task="a"))
        [run] = await supervisor.resume()
        assert (await ended(run)).counts["done"] == 3
    assert place.task("a").past[-1].number == 2


async def test_a_skipped_task_no_longer_holds_back_what_needs_it(place: Place) -> None:
    async with Supervisor(place.state) as supervisor:
        run = await supervisor.submit(plan_of(FAILING))
        await ended(run)
        answer = await supervisor.command(Command("c1", "skip", task="a", reason="done by hand"))
        assert answer.applied
        [run] = await supervisor.resume()
        assert (await ended(run)).counts["skipped"] == 1
    assert place.statuses() == {"a": "skipped", "b": "done", "c": "done"}
    assert place.events(ev.TaskSkipped) == [ev.TaskSkipped("a", "done by hand")]


async def test_on_failure_halt_lets_what_runs_finish_and_starts_nothing_more(place: Place) -> None:
    tasks = {"bad": sh("exit 1", retry=Retry(attempts=1)), "long": sh(MARKING + HOLD), "late": sh(MARKING)}
    async with Supervisor(place.state) as supervisor:
        run = await supervisor.submit(plan_of(tasks, on_failure="halt"))
        event = (await happened(run, ev.HaltRequested)).event
        assert (event.by, event.running) == ("failure", ("long",))
        place.started("long")
        place.go()
        report = await ended(run)
    assert place.statuses() == {"bad": "failed", "long": "done", "late": "pending"}
    assert report.halt is not None
    assert report.halt.halted_at is not None
    await ran(place, plan_of(tasks, on_failure="halt"))
    assert place.statuses()["late"] == "done"


async def test_the_runs_time_is_over(place: Place) -> None:
    plan = plan_of({"a": sh(MARKING + HOLD), "b": sh(MARKING, "a")}, timeout=0.4)
    async with Supervisor(place.state) as supervisor:
        run = await supervisor.submit(plan)
        assert (await happened(run, ev.HaltRequested)).event.by == "timeout"
        place.go()
        await ended(run)
    assert place.statuses() == {"a": "done", "b": "pending"}


async def test_nothing_to_do_is_an_end_too(place: Place) -> None:
    plan = plan_of({"a": sh("true")})
    first = await ran(place, plan)
    assert (first.state, first.counts["done"]) == ("finished", 1)
    async with Supervisor(place.state) as supervisor:
        handle: RunHandle = await supervisor.submit(plan)
        assert handle.id == "p-2"
        await ended(handle)
        assert not [task for task in handle.state.tasks.values() if task.status in ACTIVE]
