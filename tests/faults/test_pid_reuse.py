"""A pid belongs to somebody else now, or the machine was started anew: nobody else is ever signalled."""

from __future__ import annotations

import functools
import itertools
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import anyio
import pytest
from cli import MARKING, Place, ended, opened, plan_of, reached, sh
from msgspec.structs import replace
from promises import Proof

from daplug_supervisor import Retry, Supervisor
from daplug_supervisor.core import events as ev
from daplug_supervisor.core.results import Exit
from daplug_supervisor.ports import Attached, Gate, Identity, Launch
from daplug_supervisor.processes import tree
from daplug_supervisor.processes.ends import Found
from daplug_supervisor.processes.launch import ShimLauncher
from daplug_supervisor.supervisor.clock import SystemClock

place = pytest.fixture(opened)
HERE = Path(__file__).parent
FAR = 1e7


@functools.cache
def unshare() -> tuple[str, ...]:
    """The command that makes namespaces here, if we may."""
    own = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    command = ("unshare", *own, "--pid", "--fork", "--mount-proc", "--kill-child")
    probe = "echo 7 > /proc/sys/kernel/ns_last_pid && unshare --time --fork --monotonic=5 true"
    try:
        tried = subprocess.run([*command, "sh", "-c", probe], check=False, capture_output=True, timeout=20)
    except OSError:
        return ()
    return command if tried.returncode == 0 else ()


def inside(folder: Path, *words: str) -> Any:
    """Run `reused.py` in namespaces of its own, and return what it told."""
    if not unshare():
        pytest.skip("namespaces of its own are not allowed here")
    folders = [str(HERE), *(str(HERE.parent / name) for name in ("integration", "."))]
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(folders)}
    command = [*unshare(), sys.executable, str(HERE / "reused.py"), str(folder), *words]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, env=environ, timeout=120)
    assert ran.returncode == 0, ran
    return json.loads(ran.stdout.splitlines()[-1])


EXPECTED = {
    "running": {"outcomes": ["lost"], "attempts": 2, "starts": 2},
    "ended": {"outcomes": [], "attempts": 1, "starts": 1},
    "never ran": {"outcomes": [], "attempts": 1, "starts": 2},
}
"""What comes of an attempt that was at work, had ended, or had left nothing, as if its gate had never opened: after a
reboot that counts as lost as well, for a power cut may have taken what it left."""


QUICK = [("running", "survivor", "same"), ("running", "leader", "another")]
ALL = list(itertools.product(EXPECTED, ("leader", "plain", "survivor"), ("same", "another")))
"""The attempt's state; what the stranger is: a leader of its own session, a plain process, or one who stayed in the
session of a leader that has died; and the boot."""


@pytest.mark.promise("P5", "P6")
def test_whoever_has_the_pid_of_a_dead_shim_is_left_alone(tmp_path: Path, proof: Proof) -> None:
    for number, (state, who, boot) in enumerate(proof.pick(QUICK, ALL)):
        folder = tmp_path / str(number)
        folder.mkdir()
        told = inside(folder, state, who, boot)
        expected = EXPECTED["running" if (state, boot) == ("never ran", "another") else state]
        wanted = {"code": 0, "touched": [], "tries": 1, "statuses": {"a": "done"}, **expected}
        assert {name: told[name] for name in wanted} == wanted, (state, who, boot, told)
        assert told["watched"] >= 2
        proof.measure("signals to strangers", len(told["touched"]), at_most=0)
        proof.count("kills", 2)


@pytest.mark.promise("P5")
def test_stops_around_the_end_of_a_tree_reach_nobody_else(tmp_path: Path, proof: Proof) -> None:
    """Each pid that is free is used again at once, while stops are asked for a thousand times."""
    told = inside(tmp_path, "race", str(proof.pick(1, 20)))
    assert told["hit"] == 0
    assert told["rounds"] > 5
    proof.measure("signals to strangers", told["hit"], at_most=0)
    proof.count("signals", told["asked"])
    proof.count("races", told["rounds"])


@pytest.mark.promise("P5")
async def test_a_thread_may_have_the_number_of_a_dead_shim(tmp_path: Path) -> None:
    """Threads have their numbers from where processes have them, and most of the numbers of a machine are theirs."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        number = thread.native_id or 0
        found = tree.identity_of(number)
        assert found is not None, "a thread can be looked at as a process can"
        for dead in (replace(found, start=found.start - 1), replace(found, boot="former")):
            attached = Found(dead, str(tmp_path / "left"))
            attached.stop()
            with anyio.fail_after(20):
                left = await attached.wait()
            assert left == (None if dead.boot == found.boot else Exit(None))
    finally:
        over.set()
        thread.join()


class Elsewhen(SystemClock):
    """A clock of another boot."""

    def __init__(self, ahead: float) -> None:
        super().__init__()
        self._ahead = ahead

    def monotonic(self) -> float:
        return super().monotonic() + self._ahead


class FormerBoot(ShimLauncher):
    """Tells what it starts to be somebody else's pid, of a former boot."""

    def __init__(self, pid: int) -> None:
        super().__init__()
        self._pid = pid

    def idle(self) -> Gate | None:
        return None

    async def reserve(self) -> Gate:
        return Renamed(await super().reserve(), self._pid)


class Renamed:
    """A gate under another name."""

    def __init__(self, gate: Gate, pid: int) -> None:
        self._gate = gate
        self.identity: Identity = replace(gate.identity, pid=pid, boot="former")

    def open(self, launch: Launch) -> Attached:
        return self._gate.open(launch)


@pytest.mark.promise("P6")
@pytest.mark.parametrize(("before", "after"), [(FAR, 0.0), (0.0, FAR)])
async def test_after_a_reboot_what_ran_is_lost_and_costs_no_try(
    place: Place, before: float, after: float
) -> None:
    """A deadline of the former boot is neither over nor still to come: there is nothing left that it is about."""
    line = f"{MARKING} if [ -e again ]; then exit 0; fi; touch again; sleep 1000"
    plan = plan_of({"a": sh(line, timeout=3600, retry=Retry(attempts=1, backoff=0.01))})
    async with await anyio.open_process(["sleep", "1000"], start_new_session=True, env={}) as stranger:
        former = FormerBoot(stranger.pid)
        async with Supervisor(place.state, launcher=former, clock=Elsewhen(before)) as supervisor:
            await supervisor.submit(plan)
            await reached(place.lines, "it at work")
        place.close()
        with anyio.fail_after(20):
            async with Supervisor(place.state, clock=Elsewhen(after)) as supervisor:
                report = await ended(await supervisor.submit(plan))
        assert stranger.returncode is None
        stranger.kill()
    assert report.counts["done"] == 1
    [lost] = place.events(ev.RetryScheduled)
    assert (lost.result.outcome.kind, lost.uses_try, lost.result.exit.stopped) == ("lost", False, "")
    assert (place.task("a").tries, len(place.lines())) == (1, 2)
