"""The journal in memory keeps the contract, and loses what a crash loses."""

import pytest

from daplug_supervisor.core import events as ev
from daplug_supervisor.errors import JournalError
from daplug_supervisor.journal.memory import MemoryJournal
from daplug_supervisor.testing import check_journal, run


async def test_it_keeps_the_contract_of_a_journal() -> None:
    durable: list[tuple[int, str, float, bytes]] = []
    await check_journal(lambda: MemoryJournal(durable))


@pytest.mark.parametrize("seed", range(20))
def test_it_keeps_it_in_every_order_of_callbacks(seed: int) -> None:
    durable: list[tuple[int, str, float, bytes]] = []
    run(lambda: check_journal(lambda: MemoryJournal(durable)), seed)


async def test_what_is_appended_is_not_durable_before_the_loop_has_turned() -> None:
    journal = MemoryJournal()
    await journal.open()
    _, first = journal.append("r", 1.0, [ev.Resumed("a")])
    _, second = journal.append("r", 1.0, [ev.Resumed("b")])
    assert first is second
    assert [entry async for entry in journal.read("r")] == []
    after_a_crash = MemoryJournal(list(journal.durable))
    await first.wait()
    assert [entry.seq async for entry in journal.read("r")] == [1, 2]
    await after_a_crash.open()
    assert [entry async for entry in after_a_crash.read("r")] == []
    assert after_a_crash.append("r", 1.0, [ev.Halted()])[0][0].seq == 1


async def test_closing_twice_is_closing_once() -> None:
    journal = MemoryJournal()
    await journal.open()
    journal.append("r", 1.0, [ev.Halted()])
    await journal.close()
    await journal.close()
    assert len(journal.durable) == 1
    with pytest.raises(JournalError, match="closed"):
        await journal.runs()
