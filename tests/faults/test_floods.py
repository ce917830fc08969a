"""Output without end, without line ends, and that is no text: how much disk it takes, and who is slowed down by it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import msgspec
import pytest
import pytest_asyncio
from cli import PROGRAM, Place, plan_of, sh
from cli import opened as opened_place
from processes import end_of, launch, opened
from promises import Proof

from daplug_supervisor import Plan, Provider, Retry, Task
from daplug_supervisor.core import events as ev
from daplug_supervisor.processes.launch import ShimLauncher

place = pytest.fixture(opened_place)

MIB = 1 << 20
LIMIT = 64 * MIB
ROOM = 6 << 30
WATCHED = Path(__file__).with_name("watched.py")

FLOOD = """
import os, sys, time
rest, size = float(sys.argv[1]), int(sys.argv[2])
block = bytes(range(256)) * 4096
os.write(1, b"first line\\n")
time.sleep(rest)
while size > 0:
    size -= os.write(1, block)
os.write(1, b"\\nlast line\\n")
"""
"""Writes as fast as it can, after a rest; not text, but every byte there is."""

NAMELESS = """
import os, sys, time
os.unlink("stdout.log")
size, block = int(sys.argv[1]), bytes(1 << 20)
while size > 0:
    size -= os.write(1, block)
before = os.fstat(1).st_blocks * 512
time.sleep(0.8)
with open("used", "w") as file:
    print(before, os.fstat(1).st_blocks * 512, file=file)
"""

JUNK_OF_COMMANDS = {
    "line": "head -c {size} /dev/zero | tr '\\0' y; exit 3",
    "binary": "head -c {size} /dev/urandom; head -c {size} /dev/urandom >&2; exit 3",
    "nuls": "head -c {size} /dev/zero; exit 3",
    "escapes": r"yes '\033[2J\007\342\200\256' | head -c {size} | xargs -d '\n' -n 1000 printf %b; exit 3",
}

JUNK = {
    "emoji": "chunk = '\\U0001f600'.encode() * 250_000",
    "no text": "chunk = os.urandom(1_000_000)",
    "braces": "chunk = b'\\n{' * 500_000",
    "nests": "chunk = b'\\n' + b'{\"a\":[' * 160_000",
    "quotes": "chunk = b'\\n{\"prompts\": \"' + b'x' * 980_000",
}
EXECUTOR = """
import os, sys
prompt = open(sys.argv[sys.argv.index("--prompt-file") + 1]).read()
for name, text in {junk!r}.items():
    if name in prompt:
        exec(text)
for _ in range(40):
    os.write(1, chunk)
"""


@pytest_asyncio.fixture
async def launcher() -> AsyncIterator[ShimLauncher]:
    async with opened() as launcher:
        yield launcher


def room() -> None:
    if shutil.disk_usage(tempfile.gettempdir()).free < ROOM:
        pytest.skip("little room on the disk")


@pytest.mark.promise("P21")
async def test_a_flood_takes_a_bounded_part_of_the_disk(
    proof: Proof, launcher: ShimLauncher, tmp_path: Path
) -> None:
    """Looked at every few milliseconds; the first flood comes at once, the others when it had long been quiet."""
    room()
    most = 0
    sizes = proof.pick([(0.6, 400 * MIB)], [(0.0, 10 << 30), (1.0, 2 << 30), (3.0, 2 << 30)])
    for number, (rest, size) in enumerate(sizes):
        directory = tmp_path / str(number)
        began = time.monotonic()
        what = launch(directory, sys.executable, "-I", "-S", "-c", FLOOD, str(rest), str(size))
        gate = launcher.idle() or await launcher.reserve()
        output, ended = directory / "stdout.log", anyio.Event()
        used = 0
        async with anyio.create_task_group() as tasks:

            async def look(output: Path = output, ended: anyio.Event = ended) -> None:
                nonlocal used
                while not ended.is_set():
                    if output.exists():
                        used = max(used, output.stat().st_blocks * 512)
                    await anyio.sleep(0.002)

            tasks.start_soon(look)
            found = await end_of(gate.open(what))
            ended.set()
        assert found.code == 0
        speed = size / (time.monotonic() - began - rest) / MIB
        data = output.read_bytes()
        assert len(data) <= LIMIT + 100
        assert data.startswith(b"first line\n\x00\x01")
        assert data.endswith(b"\nlast line\n")
        assert b" bytes left out ...]\n" in data[LIMIT // 2 :][:100]
        most = max(most, used)
        proof.measure("fastest flood", speed, "MiB/s")
        launcher.release(gate)
        output.unlink()
    proof.measure(
        "most disk that a flood took beyond the 64 MiB it may keep",
        max(0, most - LIMIT) / MIB,
        "MiB",
        at_most=2048,
    )


@pytest.mark.promise("P21")
async def test_what_is_written_to_a_file_without_a_name_is_bounded_too(
    proof: Proof, launcher: ShimLauncher, tmp_path: Path
) -> None:
    """An agent that removes its log while it writes to it does not fill the disk either."""
    room()
    size = proof.pick(300 * MIB, 2 << 30)
    what = launch(tmp_path, sys.executable, "-I", "-S", "-c", NAMELESS, str(size), cwd=str(tmp_path))
    gate = await launcher.reserve()
    assert (await end_of(gate.open(what))).code == 0
    before, after = map(int, (tmp_path / "used").read_text().split())
    proof.measure("most disk that a flood into a file without a name held", before / MIB, "MiB")
    assert after <= LIMIT + MIB


def watched(place: Place, plan: Plan, executor: str = "") -> dict[str, float]:
    """Run a plan with `watched.py`, and return what it says of itself."""
    file = place.target / "plan.json"
    file.write_bytes(msgspec.json.encode(plan))
    ran = subprocess.run(
        [sys.executable, str(WATCHED), str(place.state), str(file), str(place.target), executor],
        env=place.environ, cwd=place.target, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    told: dict[str, float] = json.loads(ran.stdout)
    return told


def tell(proof: Proof, told: dict[str, float], who: str) -> None:
    assert told["ticks"] > 10
    proof.measure(f"most memory of the supervisor, {who}", told["memory"] / MIB, "MiB", at_most=150)
    proof.measure(f"lag of its loop (p99), {who}", told["p99"] * 1000, "ms", at_most=250)
    proof.measure(f"longest lag of its loop, {who}", told["longest"] * 1000, "ms")


@pytest.mark.promise("P21")
def test_the_supervisor_stays_small_and_quick_while_agents_flood(proof: Proof, place: Place) -> None:
    room()
    size = proof.pick(150 * MIB, 5 << 30)
    once = Retry(attempts=1)
    flood = Task(
        command=(sys.executable, "-I", "-S", "-c", FLOOD, "0.3", str(size)), provider="p", retry=once
    )
    tasks = {"flood": flood, "another": flood}
    junk = proof.pick(MIB, 100 * MIB)
    tasks |= {name: sh(text.format(size=junk), retry=once) for name, text in JUNK_OF_COMMANDS.items()}
    tasks |= {f"small-{number}": sh("echo hello") for number in range(proof.pick(10, 300))}
    told = watched(place, plan_of(tasks, {"p": Provider(worker="command", parallel=6)}))
    statuses = place.statuses()
    bad = {name for name, status in statuses.items() if status != "done"}
    assert bad == set(JUNK_OF_COMMANDS)
    tell(proof, told, "agents that flood")
    for failed in place.events(ev.TaskFailed):
        assert len(failed.result.outcome.detail) <= 300
        assert failed.result.outcome.detail.isprintable()
    look_at_it(proof, place, sorted(bad))


PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
"""


def look_at_it(proof: Proof, place: Place, names: list[str]) -> None:
    """Every view of it is quick, and takes little memory: nobody reads more than the tail."""
    slowest = most = 0.0
    for name in names if proof.full else names[:1]:
        for words in (["status"], ["report"], ["task", "show", name], ["task", "why", name]):
            began = time.monotonic()
            ran = place.run(*words)
            slowest = max(slowest, time.monotonic() - began)
            assert ran.code in (0, 1, 3), ran.err
            assert len(ran.out) < 100_000
            assert "\x1b" not in ran.out
    with (place.target / "out").open("wb") as sink:
        for name in names if proof.full else names[:1]:
            began = time.monotonic()
            # Forked from something small: the peak of a child begins with what its parent has.
            ran_logs = subprocess.run(
                [sys.executable, "-I", "-S", "-c", PEAK, PROGRAM, "task", "logs", name],
                cwd=place.target, env=place.environ, stdout=sink, stderr=subprocess.PIPE, check=True, timeout=100,
            )  # fmt: skip
            proof.measure("slowest 'task logs' of 64 MiB", time.monotonic() - began, "s")
            most = max(most, int(ran_logs.stderr.split()[-1]) * 1024)
    proof.measure("slowest view of tasks that flooded", slowest, "s", at_most=2.0)
    proof.measure("most memory of 'task logs'", most / MIB, "MiB", at_most=150)


@pytest.mark.promise("P21")
def test_a_log_that_grows_is_shown_without_its_hole(proof: Proof, place: Place) -> None:
    assert place.run(place.write(plan_of({"a": sh("true")}))).code == 0
    log, hole = place.state / "runs" / "p-1" / "a" / "1" / "stdout.log", 10 << 30
    with log.open("wb") as file:
        file.write(b"head\n" * 1000)
        begin = file.seek(file.tell() // 65536 * 65536 + 65536)
        file.seek(begin + hole)
        file.write(b"here\n")
    began = time.monotonic()
    shown = place.run("task", "logs", "a")
    proof.measure("'task logs' of a log with a hole of 10 GiB", time.monotonic() - began, "s", at_most=5.0)
    head, _, tail = shown.out.partition("\n[... ")
    assert head.startswith("head\nhead\n")
    assert tail.endswith(" bytes left out ...]\nhere\n")
    assert int(tail.split()[0]) >= hole


@pytest.mark.promise("P21")
def test_nor_does_an_executor_that_talks_nonsense_slow_it_down(proof: Proof, place: Place) -> None:
    """Its document may be anywhere in many megabytes, so this is looked through."""
    executor = place.target / "executor.py"
    executor.write_text(EXECUTOR.format(junk=JUNK))
    chosen = proof.pick(["emoji", "nests"], [*JUNK] * 6)
    tasks = {
        f"t{number}": Task(instructions=kind, provider="codex", retry=Retry(attempts=1))
        for number, kind in enumerate(chosen)
    }
    tasks |= {f"quiet-{number}": sh("sleep 0.1", provider="local") for number in range(proof.pick(10, 300))}
    pools = {"codex": Provider(parallel=4), "local": Provider(worker="command", parallel=1)}
    told = watched(place, plan_of(tasks, pools), str(executor))
    assert {name for name, status in place.statuses().items() if status != "failed"} == {
        name for name in tasks if name.startswith("quiet")
    }
    tell(proof, told, "executors that talk nonsense")
