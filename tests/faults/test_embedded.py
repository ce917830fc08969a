"""The supervisor inside other programs, good ones and bad ones: it takes nothing of theirs, and bears with them."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import anyio
import pytest
from cli import HOLD, MARKING, Place, alive, ended, opened, plan_of, sh
from promises import Proof

from daplug_supervisor import Supervisor, UsageError
from daplug_supervisor.core import events as ev
from daplug_supervisor.core.plan import Plan

place = pytest.fixture(opened)

HOLDING = plan_of({"a": sh(MARKING + HOLD), "b": sh(MARKING, "a")})
CODES = plan_of({"a": sh("exit 0"), "b": sh("exit 0", "a"), "c": sh("exit 0"), "d": sh("exit 7")})


def handlers() -> list[object]:
    """What this process does with each signal, and where the loop would hear of them."""
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    return [wakeup, *(signal.getsignal(number) for number in sorted(signal.valid_signals()))]


@pytest.mark.promise("P14")
async def test_it_touches_no_signal_handler(place: Place) -> None:
    before = handlers()
    async with Supervisor(place.state) as supervisor:
        run = await supervisor.submit(HOLDING)
        assert handlers() == before
        place.go()
        await ended(run)
        assert handlers() == before
    assert handlers() == before


@pytest.mark.promise("P7")
async def test_two_supervisors_in_one_process_share_nothing(place: Place, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    async with Supervisor(place.state) as one, Supervisor(other / ".daplug") as two:
        runs = [await supervisor.submit(HOLDING) for supervisor in (one, two)]
        place.go()
        (other / "go").touch()
        for run in runs:
            assert (await ended(run)).counts["done"] == 2
    assert len((other / "starts").read_text().splitlines()) == len(place.lines()) == 2


@pytest.mark.promise("P15")
def test_it_runs_in_any_thread(place: Place) -> None:
    found: list[object] = []

    async def main() -> None:
        async with Supervisor(place.state) as supervisor:
            found.append((await ended(await supervisor.submit(HOLDING))).counts["done"])

    thread = threading.Thread(target=anyio.run, args=(main,))
    thread.start()
    place.started("a")
    place.go()
    thread.join(20)
    assert found == [2]


@pytest.mark.promise("P15")
def test_another_event_loop_is_refused_in_plain_words(place: Place) -> None:
    entering = Supervisor(place.state).__aenter__()
    with pytest.raises(UsageError, match="needs asyncio"):
        entering.send(None)
    assert not place.state.exists()


HOST = """
import asyncio, gc, os, sys, threading, warnings
from daplug_supervisor import Supervisor, load_plan

def reap():  # a bad host: it collects children that are not its own
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            pass

async def main():
    async with Supervisor(".daplug") as supervisor:
        run = await supervisor.submit(load_plan("plan.json"))
        report = await run.wait()
    print(report.counts["done"], report.counts["failed"])

if "reap" in sys.argv:
    threading.Thread(target=reap, daemon=True).start()
asyncio.run(main(), debug=True)
gc.collect()
"""


def host(place: Place, plan: Plan, *words: str) -> subprocess.Popen[str]:
    place.write(plan)
    process = subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", "-c", HOST, *words], cwd=place.target, env=place.environ,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    place.commands.append(process)
    return process


@pytest.fixture(params=[[], ["reap"]], ids=["good host", "bad host"])
def words(request: pytest.FixtureRequest) -> list[str]:
    found: list[str] = request.param
    return found


@pytest.mark.promise("P15")
def test_asyncio_has_nothing_to_complain_of(place: Place, words: list[str], proof: Proof) -> None:
    """Also when the host collects all children: exit codes are the shims' word, not the host's."""
    for _ in range(proof.pick(1, 10)):
        out, err = host(place, CODES, *words).communicate(timeout=20)
        lines = [line for line in err.splitlines() if "took" not in line]  # asyncio's remarks on slow steps
        assert (out, lines) == ("3 1\n", [])
        proof.count("injected faults", len(words))


@pytest.mark.promise("P15")
def test_ctrl_c_in_the_host_detaches(place: Place, proof: Proof) -> None:
    process = host(place, HOLDING)
    place.started("a")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert err.splitlines()[-1] == "KeyboardInterrupt"
    assert process.returncode == -signal.SIGINT
    [spawned] = place.events(ev.AttemptSpawned)
    assert alive(spawned.pid)
    place.go()
    out, _ = host(place, HOLDING).communicate(timeout=20)
    assert out == "2 0\n"
    assert len(place.lines()) == 2
    place.nothing_left()
    proof.count("signals")
    proof.count("cancellations")
