"""For tests of those who embed or extend the supervisor: virtual time, processes that are not, conformance checks.

In virtual time a run of hours takes milliseconds, and the same seed gives the same run::

    async def main() -> Report:
        async with Supervisor(folder, launcher=FakeLauncher(world), journal=MemoryJournal(), clock=VirtualClock(),
                              inbox=False) as supervisor:
            return await (await supervisor.submit(plan)).wait()

    report = run(main, seed=7)

Each check raises `AssertionError` with a message that says what was expected.
"""

from daplug_supervisor.testing.criteria import Shown, criteria_of, shows
from daplug_supervisor.testing.faults import Commit, Fault, Faults, FaultyJournal
from daplug_supervisor.testing.journals import check_journal
from daplug_supervisor.testing.launchers import check_launcher, checked_script
from daplug_supervisor.testing.script import Script
from daplug_supervisor.testing.virtual import (
    CrashError,
    DeadlockError,
    StrayError,
    VirtualClock,
    VirtualLoop,
    run,
)
from daplug_supervisor.testing.workers import EXITS, HOSTILE_OUTPUT, LONGEST_DETAIL, check_worker
from daplug_supervisor.testing.world import FakeLauncher, FakeProcess, World

__all__ = [
    "EXITS",
    "HOSTILE_OUTPUT",
    "LONGEST_DETAIL",
    "Commit",
    "CrashError",
    "DeadlockError",
    "FakeLauncher",
    "FakeProcess",
    "Fault",
    "Faults",
    "FaultyJournal",
    "Script",
    "Shown",
    "StrayError",
    "VirtualClock",
    "VirtualLoop",
    "World",
    "check_journal",
    "check_launcher",
    "check_worker",
    "checked_script",
    "criteria_of",
    "run",
    "shows",
]
