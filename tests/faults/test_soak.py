"""One supervisor for thousands of attempts, and a state directory that has seen a year."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import pytest
from cli import Place, ended, opened, plan_of, sh
from promises import Proof
from soaking import plan

from daplug_supervisor import Retry, Supervisor
from daplug_supervisor.journal.sqlite import SqliteJournal

pytestmark = [pytest.mark.soak, pytest.mark.promise("P29")]
place = pytest.fixture(opened)
MIB = 1 << 20
WARM = 17
"""Runs after which what is kept at hand is full: as many as a supervisor keeps, and one."""


def test_thousands_of_attempts_leave_nothing_behind(place: Place, proof: Proof) -> None:
    runs, tasks = proof.pick((WARM + 3, 40), (65, 100))
    command = [sys.executable, str(Path(__file__).with_name("soaking.py"))]
    done = subprocess.run(
        [*command, str(place.state), str(runs), str(tasks)],
        env=place.environ, cwd=place.target, stdout=subprocess.PIPE, check=True, timeout=1200,
    )  # fmt: skip
    samples: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    warm, last = samples[WARM - 1], samples[-1]
    spread = {
        name: max(sample[name] for sample in samples[WARM:]) - warm[name]
        for name in ("descriptors", "threads", "children")
    }
    proof.measure("attempts in one supervisor", last["attempts"])
    proof.measure("more threads at the end", last["threads"] - warm["threads"], at_most=0)
    proof.measure("more descriptors at the end", last["descriptors"] - warm["descriptors"])
    proof.measure("more memory at the end", (last["rss"] - warm["rss"]) / MIB, "MiB", at_most=5)
    proof.measure("journal for each attempt", last["journal.db"] / last["attempts"] / 1024, "KiB")
    proof.measure(
        "write-ahead log", max(sample["journal.db-wal"] for sample in samples) / MIB, "MiB", at_most=64
    )
    assert spread["threads"] <= 1
    assert spread["descriptors"] <= 2 * 16 + 1, "two for each idle shim, of which there are up to 16"
    assert spread["children"] <= 16
    if proof.full:
        assert last["attempts"] >= 5000
    place.nothing_left()


def test_a_year_of_finished_runs_costs_nothing(place: Place, proof: Proof) -> None:
    async def a_run() -> None:
        async with Supervisor(place.state, inbox=False) as supervisor:
            await (await supervisor.submit(plan(0, 20), target=place.target)).wait()

    anyio.run(a_run)
    days, a_day = proof.pick(20, 365), 3
    model = [entry for entry in place.entries() if entry.run]

    async def a_year() -> None:
        journal = SqliteJournal(place.state / "journal.db")
        await journal.open()
        for number in range(2, days * a_day + 2):
            _, durable = journal.append(
                f"soak0-{number}", model[-1].at + number, [entry.event for entry in model]
            )
            await durable.wait()
        await journal.close()

    anyio.run(a_year)
    opened_in, seen = anyio.run(_open, place.state)
    assert seen == days * a_day + 1
    began = time.monotonic()
    ran = place.run("status", "--json")
    status_in = time.monotonic() - began
    assert ran.code == 0, ran.err
    proof.measure("finished runs", seen)
    proof.measure("journal after a year", (place.state / "journal.db").stat().st_size / MIB, "MiB")
    proof.measure("opening after a year", opened_in, "s", at_most=1)
    proof.measure("status after a year, with the interpreter's start", status_in, "s", at_most=1)
    began = time.monotonic()
    ran = place.run("run", place.write(plan(1, 5)), "--quiet")
    proof.measure("a run of five tasks after a year", time.monotonic() - began, "s")
    assert ran.code in (0, 1), ran.err


async def _open(state: Path) -> tuple[float, int]:
    """Seconds until a supervisor can start something, and how many runs it knows."""
    began = time.monotonic()
    async with Supervisor(state) as supervisor:
        return time.monotonic() - began, len(supervisor.marks)


async def test_of_finished_runs_only_the_last_are_kept_at_hand_and_none_is_forgotten(place: Place) -> None:
    failing = plan_of({"a": sh("exit 1", retry=Retry(1))}, name="failing")
    async with Supervisor(place.state, inbox=False) as supervisor:
        first = await supervisor.submit(failing)
        await ended(first)
        for number in range(WARM):
            await ended(await supervisor.submit(plan_of({"a": sh("true")}, name=f"p{number}")))
        await anyio.wait_all_tasks_blocked()
        assert first.id not in supervisor.state.runs
        assert len(supervisor.state.runs) == WARM - 1
        assert first.state.tasks["a"].tries == 1, "whoever holds a handle keeps what it shows"
        assert (await supervisor.load(first.id)).tasks["a"].tries == 1
        again = await supervisor.submit(failing)
        await ended(again)
        assert again.id == first.id
        assert len(again.state.tasks["a"].past) == 2
