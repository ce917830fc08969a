"""Agents that do not end, whose children hide, and that harm their own shim, record or output."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import pytest
import pytest_asyncio
from animals import NOBODY, animal, as_nobody, built, cage, zoo
from cli import MARKING, Place, plan_of, sh
from cli import opened as opened_place
from processes import (
    end_of,
    finished,
    gone,
    new_token,
    none_with,
    opened,
    owner,
    said,
    shell,
    with_token,
)
from promises import Proof

from daplug_supervisor import Retry
from daplug_supervisor.core import events as ev
from daplug_supervisor.ports import Launch
from daplug_supervisor.processes.launch import ShimLauncher

__all__ = ["built"]

place = pytest.fixture(opened_place)

GRACE = 0.3
DEAF = "trap '' TERM INT HUP; echo ready; while :; do sleep 0.05; done"
STUBBORN = {
    "deaf": DEAF,
    "says yes, and goes on": "trap 'echo bye' TERM INT HUP; echo ready; while :; do sleep 0.05; done",
    "another in its place": "trap 'setsid sleep 100 &' TERM; echo ready; while :; do sleep 0.05; done",
    "stopped": "echo ready; kill -STOP $$; sleep 100",
    "stops its shim": f"kill -STOP $PPID; {DEAF}",
    "stopped children": "(kill -STOP $(sh -c 'echo $PPID'); sleep 100) & echo ready; wait",
    "a closed terminal": f"exec </dev/null; {DEAF}",
}
"""Agents that do not end when they are asked; the shim itself is stopped only while there is a supervisor."""


@pytest_asyncio.fixture
async def launcher() -> AsyncIterator[ShimLauncher]:
    async with opened() as launcher:
        yield launcher


# --- P9: agents that do not end


def stubborn(directory: Path, token: str, built: str, kind: str, **more: Any) -> Launch:
    if kind == "zoo":
        return zoo(directory, token, built, stay=True, **more)
    if kind == "guards":
        return animal(directory, token, built, "guards", 4, **more)
    return shell(directory, f"sleep 1000.{token} & setsid sleep 1000.{token} & {STUBBORN[kind]}", **more)


def kinds(built: str) -> list[str]:
    return [*STUBBORN, "zoo", *(["guards"] if built else [])]


@pytest.mark.promise("P9")
async def test_whatever_an_agent_does_it_is_gone_soon_after_its_deadline(
    proof: Proof, launcher: ShimLauncher, tmp_path: Path, built: str
) -> None:
    """With a supervisor, that asks at the deadline as well."""
    worst = 0.0
    for number in range(proof.pick(1, 12)):
        for kind in kinds(built):
            token, directory = new_token(), tmp_path / f"{number}{kind}"
            gate = launcher.idle() or await launcher.reserve()
            attached = gate.open(stubborn(directory, token, built, kind, grace=GRACE, deadline=None))
            await said(directory / "stdout.log", "ready")
            asked = time.monotonic()
            attached.stop()
            assert (await end_of(attached)).stopped == "request", kind
            worst = max(worst, time.monotonic() - asked - GRACE)
            assert with_token(token) == [], kind
            launcher.release(gate)
            proof.count("kills")
    proof.measure("slowest end after the grace, with a supervisor", worst, "s", at_most=1.0)


@pytest.mark.promise("P9")
async def test_nor_does_it_help_an_agent_that_its_supervisor_is_killed(
    proof: Proof, tmp_path: Path, built: str
) -> None:
    worst = 0.0
    for number in range(proof.pick(1, 8)):
        found = {}
        async with owner() as first:
            chosen = [kind for kind in kinds(built) if kind != "stops its shim"]
            for kind in chosen:
                token, directory = new_token(), tmp_path / f"{number}{kind}"
                deadline = time.monotonic() + 3.0
                what = stubborn(directory, token, built, kind, grace=GRACE, deadline=deadline)
                found[kind] = await first.start(what), token, deadline, directory
            for _, _, _, directory in found.values():
                await said(directory / "stdout.log", "ready")
            await first.kill()
        for kind, (identity, token, deadline, directory) in found.items():
            await gone(identity.pid)
            assert with_token(token) == [], kind
            record = json.loads((directory / "process.json").read_bytes())
            assert record["stopped"] == "deadline", kind
            began = deadline - 3.0
            worst = max(worst, began + record["seconds"] - deadline - GRACE)
            proof.count("kills")
    proof.measure("slowest end after deadline and grace, without a supervisor", worst, "s", at_most=1.0)


@pytest.mark.promise("P9")
def test_a_task_whose_agent_stops_its_shim_times_out_all_the_same(proof: Proof, place: Place) -> None:
    tasks = {"a": sh(f"kill -STOP $PPID; {DEAF}", timeout=1.0, grace=GRACE, retry=Retry(1))}
    ran = place.run(place.write(plan_of(tasks)))
    assert ran.code == 1
    [failed] = place.events(ev.TaskFailed)
    assert failed.result.outcome.kind == "timeout"
    proof.measure(
        "time-out and end of one that stops its shim",
        failed.result.exit.seconds - 1.0 - GRACE,
        "s",
        at_most=1.0,
    )
    place.nothing_left()


# --- P10: children that hide


@pytest.mark.promise("P10")
async def test_nothing_of_the_zoo_survives(
    proof: Proof, launcher: ShimLauncher, tmp_path: Path, built: str
) -> None:
    """Its keeper ends by itself, is asked to, or its shim is killed; nothing is left whichever it is."""
    most = 0
    for number in range(proof.pick(3, 60)):
        token, directory = new_token(), tmp_path / str(number)
        gate = launcher.idle() or await launcher.reserve()
        attached = gate.open(zoo(directory, token, built, stay=number % 3 > 0, grace=0.1))
        if number % 3:
            await said(directory / "stdout.log", "ready")
            most = max(most, len(with_token(token)))
        if number % 3 == 1:
            attached.stop()
        elif number % 3 == 2:
            os.kill(gate.identity.pid, signal.SIGKILL)
        found = await end_of(attached)
        assert (found.code, found.known) == {0: (7, True), 1: (found.code, True), 2: (None, False)}[
            number % 3
        ]
        await none_with(token, within=0.0 if number % 3 < 2 else 5.0)
        launcher.release(gate)
        proof.count("kills")
    assert most >= 10
    proof.measure("most processes of one agent", most)


@pytest.mark.promise("P10")
async def test_nothing_of_the_zoo_survives_an_ordinary_user_either(
    proof: Proof, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shim has no rights but those of its user."""
    with cage() as built, TemporaryDirectory() as home:
        if os.geteuid() == 0:
            as_nobody(Path(home), monkeypatch)
        async with opened() as launcher:
            for number in range(proof.pick(1, 40)):
                token = new_token()
                gate = launcher.idle() or await launcher.reserve()
                assert Path(f"/proc/{gate.identity.pid}").stat().st_uid == NOBODY != 0
                ended = await end_of(gate.open(zoo(Path(home) / str(number), token, built, stay=False)))
                assert (ended.code, with_token(token)) == (7, [])
                launcher.release(gate)
                proof.count("kills")


# --- P13: who holds the output open


@pytest.mark.promise("P13")
async def test_who_holds_the_output_open_does_not_delay_the_end(
    proof: Proof, launcher: ShimLauncher, tmp_path: Path
) -> None:
    """What is left of a tree is killed when its agent has ended. Output goes to files: nobody waits."""
    worst = 0.0
    for number in range(proof.pick(3, 100)):
        token, directory = new_token(), tmp_path / str(number)
        holders = f"for i in 1 2 3 4 5; do setsid sleep 1000.{token} & done; (trap '' HUP TERM; sleep 1000.{token}) &"
        gate = launcher.idle() or await launcher.reserve()
        attached = gate.open(shell(directory, f"{holders} date +%s.%N; exit 3"))
        assert (await end_of(attached)).code == 3
        worst = max(worst, time.time() - float((directory / "stdout.log").read_text()))
        assert with_token(token) == []
        launcher.release(gate)
    proof.measure("slowest end seen while grandchildren hold the output", worst, "s", at_most=1.0)


# --- agents that harm what is ours; they are of our user, so this is about accidents, and is no wall


@pytest.mark.promise("P9")
def test_an_agent_that_ends_its_shim_is_not_tried_for_ever(proof: Proof, place: Place) -> None:
    """Politely or not, the attempt is lost, and after three in a row a person is asked."""
    tasks = {
        "polite": sh(f"{MARKING} kill -TERM $PPID; sleep 100", retry=Retry(attempts=3, backoff=0.01)),
        "rude": sh(f"{MARKING} kill -KILL $PPID; sleep 100", retry=Retry(attempts=3, backoff=0.01)),
        "well-behaved": sh("sleep 1"),
    }
    ran = place.run(place.write(plan_of(tasks)))
    assert ran.code == 1, ran.err
    assert place.statuses() == {"polite": "stuck", "rude": "stuck", "well-behaved": "done"}
    assert sorted(line.split()[0] for line in place.lines()) == ["polite"] * 3 + ["rude"] * 3
    proof.count("kills", 6)
    place.nothing_left()


def tidy(directory: str) -> dict[str, tuple[str, bool]]:
    """What agents may do to their own directory, and whether their record can still be read afterwards."""
    forged = '{"state":"exited","code":0}'
    return {
        "removes everything": (f"rm -rf {directory}", True),
        "removes the task": (f"rm -rf {directory}/..", True),
        "empties the record": (f": > {directory}/process.json", True),
        "forges the record": (f"echo '{forged}' > {directory}/process.json", True),
        "replaces the record": (
            f"echo '{forged}' > {directory}/x; mv {directory}/x {directory}/process.json",
            True,
        ),
        "links the record": (f"ln -sf /dev/null {directory}/process.json", True),
        "a fifo for a record": (f"rm {directory}/process.json; mkfifo {directory}/process.json", True),
        "fifos for logs": (
            f"rm {directory}/*.log; mkfifo {directory}/stdout.log {directory}/stderr.log",
            True,
        ),
        "links for logs": (
            f"ln -sf $PRECIOUS {directory}/stdout.log; ln -sf /dev/zero {directory}/stderr.log",
            True,
        ),
        "directories for logs": (f"rm {directory}/*.log; mkdir {directory}/stdout.log", True),
        "shuts the door": (f"chmod 0 {directory}/process.json; chmod 0 {directory}/stdout.log", True),
    }


@pytest.mark.promise("P9")
async def test_an_agent_that_tidies_up_our_files_fools_nobody(proof: Proof, tmp_path: Path) -> None:
    """While no supervisor runs: the record is all that the next one has."""
    precious = tmp_path / "precious"
    precious.write_bytes(b"p" * 10_000)
    found = {}
    async with owner() as first:
        for name in tidy(""):
            directory = tmp_path / "run" / name / "1"
            harm = tidy(f"'{directory}'")[name][0]
            flood = "i=0; while [ $i -lt 300 ]; do echo 0123456789; i=$((i+1)); done"
            text = f"echo ready; {flood}; {harm}; touch did; {flood}; until [ -e ../go ]; do sleep 0.02; done; exit 9"
            work = tmp_path / "work" / name
            work.mkdir(parents=True)
            env = {"PRECIOUS": str(precious)}
            what = shell(directory, text, cwd=str(work), output_limit=2000, env=env)
            found[name] = await first.start(what), directory
        for name in found:
            await said(tmp_path / "work" / name / "did", "")
        await first.kill()
    async with opened() as launcher:
        attached = {}
        for name, (identity, directory) in found.items():
            attached[name] = await launcher.attach(identity, str(directory))
            with anyio.move_on_after(0.02) as scope:
                await attached[name].wait()
            assert scope.cancelled_caught, f"{name}: as long as its agent lives no record counts"
        (tmp_path / "work" / "go").touch()
        for name, one in attached.items():
            ended = await end_of(one)
            assert (ended.code, ended.known) == (9, True), name
            proof.count("injected faults")
    assert precious.read_bytes() == b"p" * 10_000


@pytest.mark.promise("P9")
def test_readers_do_not_wait_for_what_an_agent_put_in_place_of_its_output(proof: Proof, place: Place) -> None:
    own = "$(ls -d .daplug/runs/p-1/$DAPLUG_TASK/1)"
    tasks = {
        "fifo": sh(f"rm {own}/*.log; mkfifo {own}/stdout.log {own}/stderr.log; exit 3", retry=Retry(1)),
        "zero": sh(
            f"ln -sf /dev/zero {own}/stdout.log; ln -sf /dev/tty {own}/stderr.log; exit 3", retry=Retry(1)
        ),
        "secret": sh(
            f"printf 'hu%s' sh >secret; ln -sf $PWD/secret {own}/stderr.log; exit 3", retry=Retry(1)
        ),
    }
    ran = place.run(place.write(plan_of(tasks)))
    assert ran.code == 1
    assert "hush" not in ran.out + ran.err
    for name in tasks:
        began = time.monotonic()
        for words in (
            ["report"],
            ["task", "show", name],
            ["task", "logs", name],
            ["task", "logs", name, "--stderr"],
        ):
            told = place.run(*words)
            assert "hush" not in told.out + told.err
            assert "Traceback" not in told.err
            proof.count("injected faults")
        assert time.monotonic() - began < 20
    assert "not an ordinary file" in place.run("task", "logs", "fifo").err


@pytest.mark.promise("P5", "P9")
async def test_who_has_open_what_an_agent_linked_its_output_to_is_not_killed(
    proof: Proof, tmp_path: Path
) -> None:
    """The search for what a killed shim left looks for those who write to its output."""
    log = tmp_path / "of somebody else"
    with log.open("wb") as file:
        bystander = subprocess.Popen(["sleep", "1000"], stdout=file, start_new_session=True)
    try:
        async with owner() as first:
            directory = tmp_path / "a"
            text = f"ln -sf '{log}' '{directory}/stderr.log'; echo ready; sleep 1000"
            identity = await first.start(shell(directory, text))
            await said(directory / "stdout.log", "ready")
            for pid in (first.pid, identity.pid):
                os.kill(pid, signal.SIGKILL)
            await first.kill()
        async with opened() as launcher:
            assert not (await end_of(await launcher.attach(identity, str(directory)))).known
        assert bystander.poll() is None
        proof.count("injected faults")
    finally:
        bystander.kill()
        bystander.wait()


async def test_a_trap_that_an_earlier_attempt_left_is_cleared_away(
    launcher: ShimLauncher, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("p")
    traps: list[Callable[[Path], object]] = [os.mkfifo, lambda path: path.symlink_to(precious)]
    for number, trap in enumerate(traps):
        directory = tmp_path / str(number)
        directory.mkdir()
        for name in ("process.json", "stdout.log", "stderr.log", "stdout.log.tmp"):
            trap(directory / name)
        found = await finished(
            launcher, shell(directory, "head -c 10000 /dev/zero; exit 4", output_limit=100)
        )
        assert found.code == 4
        assert (directory / "stdout.log").stat().st_size < 200
    assert precious.read_text() == "p"
