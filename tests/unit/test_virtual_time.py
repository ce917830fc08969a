"""Virtual time: timers in order, no waiting, the same seed the same run, a deadlock is said."""

from __future__ import annotations

import asyncio
import time

import anyio
import anyio.to_thread
import pytest

from daplug_supervisor.testing import CrashError, DeadlockError, VirtualClock, VirtualLoop, run


async def tick(log: list[tuple[str, float]], name: str, *pauses: float) -> None:
    for pause in pauses:
        await anyio.sleep(pause)
        log.append((name, anyio.current_time()))


def race(seed: int | None) -> list[tuple[str, float]]:
    log: list[tuple[str, float]] = []

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for name in "abcdef":
                tasks.start_soon(tick, log, name, 0, 0, 3600, 0)

    run(main, seed)
    return log


def test_time_jumps_to_the_next_timer() -> None:
    log: list[tuple[str, float]] = []

    async def main() -> float:
        clock = VirtualClock()
        began = clock.now()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tick, log, "slow", 86400.0)
            tasks.start_soon(tick, log, "quick", 1.0, 3600.0)
        assert clock.now() - began == clock.monotonic() == 86400.0
        return clock.now()

    real = time.monotonic()
    assert run(main) == 1_800_086_400.0
    assert time.monotonic() - real < 5
    assert log == [("quick", 1.0), ("quick", 3601.0), ("slow", 86400.0)]


def test_a_seed_is_an_interleaving_and_no_seed_is_asyncios_own() -> None:
    assert race(None) == race(None)
    assert race(None)[:12] == [(name, 0.0) for _ in range(2) for name in "abcdef"]
    assert race(1) == race(1)
    assert len({str(race(seed)) for seed in range(10)}) > 5
    assert all(sorted(race(seed)) == sorted(race(None)) for seed in range(10))


def test_timeouts_cancellation_and_threads_work() -> None:
    async def main() -> str:
        with pytest.raises(TimeoutError):
            with anyio.fail_after(5):
                await anyio.sleep_forever()
        with anyio.move_on_after(1) as scope:
            await anyio.sleep(2)
        assert scope.cancelled_caught
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep_forever)
            await anyio.sleep(1)
            tasks.cancel_scope.cancel()
        return await anyio.to_thread.run_sync("-".join, ["a", "b"], abandon_on_cancel=True)

    before = anyio.to_thread.run_sync
    assert run(main, 3) == "a-b"
    assert anyio.to_thread.run_sync is before


def test_a_deadlock_is_said_and_leaves_nothing() -> None:
    ended = []

    async def main() -> None:
        try:
            await anyio.Event().wait()
        finally:
            ended.append(1)
            await anyio.sleep(1)

    with pytest.raises(DeadlockError, match="waits for ever"):
        run(main)
    assert ended == [1]


def test_there_are_no_threads_and_no_sockets() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(NotImplementedError):
            await loop.run_in_executor(None, print)
        with pytest.raises(NotImplementedError):
            loop.add_reader(0, print)
        loop.call_soon_threadsafe(list)
        loop.call_later(1, print).cancel()
        await anyio.sleep(2)

    run(main)


def test_tasks_that_are_left_over_are_cancelled() -> None:
    ended = []

    async def left() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(1)

    async def main() -> None:
        main.task = asyncio.get_running_loop().create_task(left())  # type: ignore[attr-defined]
        await anyio.sleep(1)

    run(main)
    assert ended == [1]


def test_a_crash_leaves_the_loop_where_it_was() -> None:
    log: list[tuple[str, float]] = []

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tick, log, "a", 1.0, 1.0, 1.0)

    whole = VirtualLoop(0)
    run(main, loop=whole)
    seen = set()
    for step in range(1, whole.steps + 1):
        log.clear()
        loop = VirtualLoop(0, crash_at=step, start=10.0)
        with pytest.raises(CrashError):
            run(main, loop=loop)
        assert loop.steps == step
        loop.abandon()
        assert loop.is_closed()
        seen.add(len(log))
    assert seen == {0, 1, 2, 3}
