"""What `daplug_supervisor.testing` gives others to make things go wrong with."""

from __future__ import annotations

import asyncio
from pathlib import Path

import anyio
import pytest

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.results import Exit
from daplug_supervisor.errors import JournalError, LaunchError
from daplug_supervisor.ports import Identity, Launch
from daplug_supervisor.testing import (
    Commit,
    FakeLauncher,
    Faults,
    FaultyJournal,
    Script,
    StrayError,
    VirtualClock,
    VirtualLoop,
    World,
    check_journal,
    run,
)

Rows = list[tuple[int, str, float, bytes]]


@pytest.mark.parametrize("seed", range(10))
def test_a_slow_journal_keeps_the_contract(seed: int) -> None:
    durable: Rows = []
    run(lambda: check_journal(lambda: FaultyJournal(durable, lambda _: Commit(0.2, 0.1))), seed)


@pytest.mark.parametrize("lost", [True, False])
def test_after_a_failed_commit_a_journal_takes_nothing_more(*, lost: bool) -> None:
    durable: Rows = []

    async def main() -> None:
        journal = FaultyJournal(durable, lambda n: Commit(error="no more" if n == 2 else "", lost=lost))
        await journal.open()
        await journal.append("r", 1.0, [ev.Halted()])[1].wait()
        _, second = journal.append("r", 1.0, [ev.Halted()])
        await anyio.lowlevel.checkpoint()
        _, third = journal.append("r", 1.0, [ev.Halted()])
        for group in (second, third):
            with pytest.raises(JournalError, match="no more"):
                await group.wait()
        with pytest.raises(JournalError, match="no more"):
            journal.append("r", 1.0, [ev.Halted()])
        await journal.close()

    run(main, None)
    assert len(durable) == 1 + (not lost)


def test_what_is_being_written_is_on_disk_when_a_cancelled_close_returns() -> None:
    durable: Rows = []

    async def main() -> None:
        journal = FaultyJournal(durable, lambda _: Commit(10.0))
        await journal.open()
        _, group = journal.append("r", 1.0, [ev.Halted()])
        await anyio.sleep(1.0)
        assert len(journal.unwritten) == 1
        with anyio.move_on_after(1.0):
            await journal.close()
        assert (anyio.current_time(), len(durable), journal.unwritten) == (2.0, 1, [])
        await group.wait()

    run(main)


def launch(directory: str = "/nowhere") -> Launch:
    return Launch(directory, ("true",), "/")


def test_processes_go_wrong_as_the_chances_say() -> None:
    async def first(faults: Faults) -> Exit | None:
        launcher = FakeLauncher(World(lambda _: Script(100.0), faults=faults))
        await launcher.open()
        return await (await launcher.reserve()).open(launch()).wait()

    async def refused() -> None:
        with pytest.raises(LaunchError, match="no process"):
            await first(Faults(1, {"refused": 1.0}))

    run(refused)
    assert run(lambda: first(Faults(1, {"at its gate": 1.0}))) is None
    for fault in ("just started", "midway", "record"):
        found = run(lambda fault=fault: first(Faults(1, {fault: 1.0})))  # type: ignore[misc]
        assert found is not None
        assert not found.known
    assert Faults(7, {"midway": 0.5}).part() == Faults(7, {}).part()


def test_a_power_cut_ends_all_and_begins_another_boot(tmp_path: Path) -> None:
    world = World(lambda _: Script(100.0))

    async def before() -> Identity:
        launcher = FakeLauncher(world)
        await launcher.open()
        gate = await launcher.reserve()
        gate.open(launch())
        await anyio.sleep(10.0)
        return gate.identity

    async def after() -> Exit | None:
        assert VirtualClock(booted_at=world.booted_at).monotonic() == 10.0
        launcher = FakeLauncher(world)
        await launcher.open()
        assert (await launcher.reserve()).identity.boot != identity.boot
        return await (await launcher.attach(identity, "/nowhere")).wait()

    identity = run(before)
    world.reboot(10.0)
    assert world.living(10.0) == []
    assert run(after, loop=VirtualLoop(start=20.0)) == Exit(None)


def test_a_clock_that_is_set_shows_in_the_next_clock_only() -> None:
    async def main() -> None:
        clock = VirtualClock()
        began = clock.now()
        clock.jump(1000.0)
        await anyio.sleep(5.0)
        assert (clock.now() - began, clock.ahead()) == (5.0, 1000.0)
        assert VirtualClock(wall=clock.wall).now() - began == 1005.0
        ticking = VirtualClock(tick=0.5)
        assert ticking.monotonic() + 0.5 == ticking.monotonic()

    run(main)


def test_an_error_that_nobody_hears_of_is_raised_in_the_end() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await anyio.sleep(1.0)

    with pytest.raises(StrayError) as caught:
        run(main)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_something_can_be_called_before_a_step() -> None:
    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        loop.before = {3: task.cancel}
        with pytest.raises(asyncio.CancelledError):
            await anyio.sleep_forever()

    loop = VirtualLoop()
    run(main, loop=loop)


def test_cancelled_scopes_are_left_in_the_order_of_their_making() -> None:
    def order() -> list[int]:
        left: list[int] = []

        async def waiting(number: int) -> None:
            with anyio.CancelScope():
                try:
                    await anyio.sleep_forever()
                finally:
                    left.append(number)

        async def main() -> None:
            async with anyio.create_task_group() as tasks:
                for number in range(50):
                    tasks.start_soon(waiting, number)
                await anyio.sleep(1.0)
                tasks.cancel_scope.cancel()

        run(main, None)
        return left

    assert order() == list(range(50))
