"""The supervisor is killed at every effect that it has: each attempt runs at most once, and none unjournalled."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli import MARKING, PATIENCE, Place, opened, plan_of, sh, until
from forked import Forge, Life, forge
from promises import Proof

from daplug_supervisor.core import events as ev

place = pytest.fixture(opened)
RUN = ("plan.json",)
PLAN = plan_of({"a": sh(MARKING), "b": sh(MARKING), "c": sh(MARKING, "a", "b")})

CALLS = (
    "sendto,sendmsg,recvmsg,pwrite64,write,fdatasync,fsync,unlink,rename,mkdir,flock,vfork,clone,clone3,fork"
)
"""System calls that somebody else could notice. `recvmsg` is when a shim is handed over."""


@pytest.fixture
def forked() -> Iterator[Forge]:
    with forge() as made:
        yield made


def afresh(place: Place) -> None:
    """Forget what was run here."""
    shutil.rmtree(place.state, ignore_errors=True)
    for path in place.target.glob("st*"):
        path.unlink()
    place.write(PLAN)


def started(place: Place) -> Counter[str]:
    """How often each attempt was started, by its token."""
    return Counter(line.split()[1] for line in place.lines())


def check_after_a_kill(place: Place) -> None:
    """What holds when nobody supervises: what ran is journalled, and ran once."""
    until(lambda: not place.processes(), "no process left: agents are quick, idle shims end", 10)
    if (place.state / "journal.db-journal").exists():  # killed while the journal was being made
        assert not place.lines()
        return
    spawned = {event.task for event in place.events(ev.AttemptSpawned)}
    tokens = {event.token for event in place.events(ev.AttemptStarted) if event.task in spawned}
    ran = started(place)
    assert set(ran) <= tokens, "something was started that is not in the journal"
    assert set(ran.values()) <= {1}, "an attempt was started twice"


def go_on(forked: Forge, place: Place) -> None:
    """Give the command again, unless the run was over already: that would begin another."""
    unborn = (place.state / "journal.db-journal").exists()
    if unborn or not place.events(ev.RunFinished):
        [ended] = forked.run(place, Life(RUN))
        assert ended.code == 0, ended


def check_at_the_end(place: Place) -> None:
    """All is done, by one start each."""
    assert place.statuses() == dict.fromkeys("abc", "done")
    assert sorted(line.split()[0] for line in place.lines()) == ["a", "b", "c"]
    assert set(started(place)) <= {event.token for event in place.events(ev.AttemptStarted)}
    assert place.processes(attempts=True) == []
    until(lambda: not place.processes(), "no process left", 10)


@pytest.mark.promise("P2")
def test_killed_at_every_effect(place: Place, forked: Forge, proof: Proof) -> None:
    """Before and after each call that sends, writes, locks, forks or commits; in whichever thread."""
    number, survived = 0, 0
    while survived < proof.pick(1, 3):  # the number of calls differs a little from life to life
        number += proof.pick(37, 1)
        afresh(place)
        [ended] = forked.run(place, Life(RUN, kill_at=number))
        survived += ended.code == 0
        if ended.code == 0:
            continue
        assert ended.code == -9, ended
        check_after_a_kill(place)
        go_on(forked, place)
        check_at_the_end(place)
        proof.count("crash points")
        proof.count("kills")
    assert number > 100


@pytest.mark.promise("P2")
def test_killed_again_and_again(place: Place, forked: Forge, proof: Proof) -> None:
    """Those who take over are killed as well, wherever they are."""
    chance = random.Random(4)
    for _ in range(proof.pick(2, 15)):
        afresh(place)
        while True:
            [ended] = forked.run(place, Life(RUN, kill_at=chance.randint(20, 220)))
            if ended.code == 0:
                break
            proof.count("kills")
            if not (place.state / "journal.db-journal").exists() and place.events(ev.RunFinished):
                break
            if chance.random() < 0.5:  # else the next one meets what still runs
                check_after_a_kill(place)
        check_at_the_end(place)


def traced(place: Place, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the plan under strace, which leaves alone whatever is executed by it."""
    program = [sys.executable, "-c", "from daplug_supervisor.cli.main import main; main()", *RUN]
    command = ["strace", "-f", "--detach-on=execve", "-qq", *options, *program]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=place.target,
        env=place.environ, timeout=3 * PATIENCE,
    )  # fmt: skip


def calls_made(place: Place, log: Path) -> dict[str, int]:
    """How often each system call is made at most by one of the threads, since the journal is there."""
    afresh(place)
    ran = traced(place, "-o", str(log), "-e", f"trace={CALLS}")
    if "ptrace" in ran.stderr or ran.returncode != 0:
        pytest.skip(f"strace cannot be used here: {ran.stderr[-200:]}")
    found: Counter[tuple[str, str]] = Counter()
    for line in log.read_text().splitlines():
        call = re.match(r"(\d+) +(\w+)\(", line)
        if call is not None:
            found[call[2], call[1]] += 1
    most: dict[str, int] = {}
    for (name, _), count in found.items():
        most[name] = max(count, most.get(name, 0))
    return most


@pytest.mark.promise("P2")
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_killed_at_every_system_call(place: Place, forked: Forge, proof: Proof, tmp_path: Path) -> None:
    """Also inside SQLite's own transactions: between two writes, and between a write and its fdatasync."""
    made = calls_made(place, tmp_path / "log")
    points = [(name, number) for name, most in sorted(made.items()) for number in range(1, most + 1)]
    points = random.Random(5).sample(points, min(len(points), proof.pick(2, 40)))
    for name, number in points:
        afresh(place)
        ran = traced(place, "-o", "/dev/null", "-e", f"inject={name}:signal=SIGKILL:when={number}")
        if ran.returncode == 0:
            continue
        assert ran.returncode in (-9, 137), ran
        check_after_a_kill(place)
        go_on(forked, place)
        check_at_the_end(place)
        proof.count("crash points")
        proof.count("kills")
