"""What every journal must satisfy: order, durability, reading back, and silence once it is closed."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.plan import Plan, Provider, Task
from daplug_supervisor.errors import JournalError
from daplug_supervisor.ports import Journal, RunMark
from daplug_supervisor.testing.expect import Contract

_contract = Contract("journal")
_expect = _contract.expect
_PLAN = Plan("p", {"a": Task(command=("true",), provider="local")}, {"local": Provider(worker="command")})
_PATIENCE = 30.0
_MANY = 100
_FIRST = 6
"""The first sequence number of the many."""


async def check_journal(make: Callable[[], Journal]) -> None:
    """Check that a journal keeps the contract of `ports.Journal`.

    Args:
        make: makes a journal on one and the same storage each time; empty at first.

    Raises:
        AssertionError: it does not keep it; the message says where.
    """
    with anyio.fail_after(_PATIENCE):
        await _check_closed(make())
        await _check_empty(make)
        await _check_order_and_reading(make)
        await _check_groups(make)
        await _check_reopening(make)
        await _check_answers(make)


async def _check_closed(journal: Journal) -> None:
    try:
        journal.append("r", 1.0, [ev.Halted()])
    except JournalError:
        return
    _contract.fail("append before open raises JournalError")


async def _check_empty(make: Callable[[], Journal]) -> None:
    journal = make()
    await journal.open()
    _expect(await journal.runs() == [], "a new journal knows no runs")
    _expect(await _read(journal, "r") == [], "a run that is not there has no entries")
    await journal.close()


async def _check_order_and_reading(make: Callable[[], Journal]) -> None:
    journal = make()
    await journal.open()
    plan = ev.RunSubmitted(_PLAN, "/target", "plan.yaml")
    odd = ev.TaskCancelled("a", "äöü \u2028 \x00 \x1b[31m \U0001f600 \"'\\ ${x} %s ]]>")
    first, durable = journal.append("r1", 1.5, [plan, ev.RunStarted(("a",), 2), odd])
    _expect([entry.seq for entry in first] == [1, 2, 3], "entries are numbered from 1, without gaps")
    _expect(
        [entry.event for entry in first] == [plan, ev.RunStarted(("a",), 2), odd], "entries hold the events"
    )
    _expect({(entry.run, entry.at) for entry in first} == {("r1", 1.5)}, "entries carry run and time")
    second, _ = journal.append("r2", 2, [plan])
    own, last = journal.append("", 3.25, [ev.SupervisorStarted(7, "boot", "1.0")])
    _expect((second[0].seq, own[0].seq) == (4, 5), "all runs share one sequence")
    await last.wait()
    await durable.wait()
    _expect(await _read(journal, "r1") == first, "what was appended is read back, equal and in order")
    _expect(await _read(journal, "r2") == second, "each run is read for itself")
    _expect(await _read(journal, "") == own, "'' reads what belongs to no run")
    _expect(await _read(journal, "r1", after=2) == first[2:], "`after` leaves out what is known already")
    _expect(await _read(journal, "r1", after=3) == [], "after the last entry there is nothing")
    await journal.close()


async def _check_groups(make: Callable[[], Journal]) -> None:
    journal = make()
    await journal.open()
    groups = [journal.append("r1", 4.0, [ev.ProviderResumed(str(number))]) for number in range(_MANY)]
    for _, durable in groups:
        await durable.wait()
        await durable.wait()  # as often as one likes
    _expect(len(await _read(journal, "r1", after=_FIRST - 1)) == _MANY, "all that was acknowledged is there")
    _, nothing = journal.append("r1", 4.0, [])
    await nothing.wait()
    with anyio.move_on_after(0):
        await journal.append("r1", 4.0, [ev.ProviderResumed("cancelled")])[1].wait()
    try:
        journal.append("r1", 4.0, [ev.ProviderResumed("good"), ev.ProviderResumed("\ud800")])
    except (ValueError, JournalError):
        pass
    else:
        _contract.fail("an event that cannot be written raises when it is appended")
    entries, _ = journal.append("r1", 5.0, [ev.RunFinished()])
    _expect(
        entries[0].seq == _FIRST + _MANY + 1,
        "an event that could not be written leaves no gap, and takes none with it",
    )
    await journal.close()


async def _check_reopening(make: Callable[[], Journal]) -> None:
    journal = make()
    await journal.open()
    events = [entry.event for entry in await _read(journal, "r1", after=_FIRST + _MANY - 1)]
    _expect(
        events == [ev.ProviderResumed("cancelled"), ev.RunFinished()],
        "close makes durable what was appended, also by those who were cancelled since",
    )
    marks = [RunMark("r1", 1, finished=True), RunMark("r2", 4, finished=False)]
    _expect(await journal.runs() == marks, "runs are known, oldest first, with their beginning and end")
    more, durable = journal.append("r1", 6.0, [ev.TaskReset("a")])
    _expect(more[0].seq == _FIRST + _MANY + 2, "numbers go on where they were")
    await durable.wait()
    _expect(
        (await journal.runs())[0] == RunMark("r1", 1, finished=False), "a run that goes on is not finished"
    )
    await journal.close()
    try:
        journal.append("r1", 7.0, [ev.Halted()])
    except JournalError:
        pass
    else:
        _contract.fail("append after close raises JournalError")
    try:
        await journal.runs()
    except JournalError:
        return
    _contract.fail("reading after close raises JournalError")


async def _check_answers(make: Callable[[], Journal]) -> None:
    journal = make()
    await journal.open()
    odd = 'a "\u2028 b'
    told = [
        ev.CommandAnswered("c1", ev.UNREADABLE, applied=False),
        ev.CommandAnswered(odd, "skip", applied=False, message='"id":"c1"'),
    ]
    journal.append("", 8.0, told)
    first = ev.CommandAnswered("c1", "skip", applied=True)
    await journal.append("r1", 8.0, [first, ev.CommandAnswered("c1", "skip", applied=False)])[1].wait()
    _expect(await journal.answer("c1") == first, "the first answer to a command is found, in whichever run")
    _expect(await journal.answer(odd) == told[1], "an id may be any text")
    _expect(await journal.answer("c") is None, "what is no command's id has no answer")
    await journal.close()


async def _read(journal: Journal, run: str, after: int = 0) -> list[ev.Entry]:
    return [entry async for entry in journal.read(run, after)]
