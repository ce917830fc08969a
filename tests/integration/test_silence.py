"""Real agents that hang, and real agents that work in silence."""

from __future__ import annotations

import os
import sys

import anyio
import pytest
from cli import MARKING, Place, ended, kill, opened, plan_of, reached, sh, until
from msgspec.structs import replace

from daplug_supervisor import Provider, Retry, Supervisor, Task
from daplug_supervisor.core import events as ev
from daplug_supervisor.core.health import Rules, Signs
from daplug_supervisor.core.machine import Status
from daplug_supervisor.ports import Attached
from daplug_supervisor.processes import signs, tree
from daplug_supervisor.workspace import suspects

place = pytest.fixture(opened)

IDLE = 1.5
"""Seconds that agents of these tests may be silent."""

PATIENT = 2.5
"""The same for those who are to be left alone: on a busy machine a quarter of a second may be a whole one."""

SHORT = Rules(interval=0.1, zombie_after=0.5)
NOISE = "i=0; while [ $i -lt 18 ]; do {}; i=$((i+1)); sleep 0.25; done; "
"""A shell line that does something every quarter of a second, for longer than it may be silent."""

BUSY = "timeout 4.5 sh -c 'while :; do :; done'"
OWN_LOG = """
import time
with open("own.log", "a", buffering=1) as log:
    for _ in range(18):
        log.write("still here\\n")
        time.sleep(0.25)
"""


async def test_who_hangs_is_ended_and_who_works_in_silence_is_left_alone(place: Place) -> None:
    """Each in a directory of its own, the log of the fourth elsewhere."""
    logs = place.home / "logs"
    logs.mkdir()
    lines = {
        "burns the processor": BUSY + "; true",
        "has a grandchild in a session of its own that does": f'setsid sh -c "{BUSY}" & sleep 4.5',
        "prints": NOISE.format("echo x"),
        "makes files": NOISE.format(": > file-$i"),
        "writes into a file": "mkdir -p deep; " + NOISE.format("echo x >> deep/file"),
        "hangs": "echo 'Thinking\033[2J...'; setsid sleep 1000 & sleep 1000",
    }
    tasks = {name.replace(" ", "-")[:20]: sh(line, idle_timeout=PATIENT) for name, line in lines.items()}
    command = ("env", "-C", str(logs), sys.executable, "-c", OWN_LOG)
    tasks["log"] = Task(command=command, provider="p", idle_timeout=PATIENT)
    for name in tasks:
        (place.target / name).mkdir()
    tasks = {name: replace(task, cwd=name) for name, task in tasks.items()}
    providers = {"p": Provider(worker="command", parallel=7)}
    tasks["hangs"] = replace(tasks["hangs"], retry=Retry(attempts=1))
    async with Supervisor(place.state) as supervisor:
        handle = await supervisor.submit(plan_of(tasks, providers))
        state = handle.state
        await reached(lambda: state.tasks["hangs"].past, "the one that hangs is ended")
        await reached(lambda: state.counts[Status.DONE] == len(tasks) - 1, "the others are done")
    ends = {name: [str(past.result.outcome.kind) for past in place.task(name).past] for name in tasks}
    assert ends == {name: ["silent" if name == "hangs" else "completed"] for name in tasks}
    silent = place.task("hangs").past[0].result
    assert silent.exit.stopped == "silence"
    assert silent.outcome.detail == (
        f"no output, no changed file and no processor time for {PATIENT}s; last line: Thinking\\x1b[2J..."
    )
    assert place.task("hangs").status is Status.FAILED
    place.nothing_left()


async def test_changes_of_another_who_works_in_the_same_place_keep_nobody_alive(place: Place) -> None:
    tasks = {
        "hangs": sh("sleep 1000", idle_timeout=IDLE),
        "works": sh("until [ -e stop ]; do : > file-$$; sleep 0.1; done"),
    }
    async with Supervisor(place.state) as supervisor:
        handle = await supervisor.submit(plan_of(tasks))
        await reached(lambda: handle.state.tasks["hangs"].past, "the one that hangs is ended")
        (place.target / "stop").touch()
        await reached(lambda: handle.state.tasks["works"].past, "the other is done")


def test_over_a_killed_supervisor_silence_goes_on(place: Place) -> None:
    plan = plan_of(
        {
            "hangs": sh(MARKING + "sleep 1000", idle_timeout=IDLE, retry=Retry(attempts=1)),
            "works": sh(MARKING + "until [ -e go ]; do :; done", idle_timeout=IDLE),
        }
    )
    name = place.write(plan)
    command = place.start("run", name)
    place.started("hangs", "works")
    kill(command)
    again = place.start("run", name)
    until(lambda: place.task("hangs").past, "the one that hangs is ended")
    assert len(place.events(ev.SupervisorStarted)) == 2
    assert [str(past.result.outcome.kind) for past in place.task("hangs").past[:1]] == ["silent"]
    assert place.task("works").past == ()
    place.go()
    until(lambda: place.statuses()["works"] == "done", "the one that works is done")
    kill(again)
    assert sorted(line.split()[0] for line in place.lines()) == ["hangs", "works"]
    place.nothing_left()


async def test_a_suspect_is_told_of_shown_everywhere_and_forgotten(place: Place) -> None:
    said = list[str]()
    folder = place.state / "runs" / "p-1"
    plan = plan_of(
        {"a": sh("until [ -e go ]; do sleep 0.3; done; echo done; until [ -e end ]; do sleep 0.3; done")}
    )
    async with Supervisor(place.state, health=SHORT) as supervisor:
        supervisor.notices.listen = said.append
        handle = await supervisor.submit(plan)
        await reached(lambda: suspects.read(folder), "a suspect")
        assert said[0].startswith("p-1/a#1: has shown no sign of work for ")
        for words in (("status",), ("task", "why", "a"), ("task", "show", "a"), ("doctor",)):
            ran = await anyio.to_thread.run_sync(place.run, *words)
            assert "no sign of work for" in " ".join(ran.out.split()), words
        place.go()
        (place.target / "end").touch()
        assert (await ended(handle)).counts["done"] == 1
    assert suspects.read(folder) == ()
    assert not (folder / suspects.HEALTH).exists()


async def test_what_an_attempt_shows(place: Place) -> None:
    plan = plan_of({"a": sh(MARKING + "exec 7>>own.log; echo x >&7; until [ -e go ]; do sleep 0.05; done")})
    async with Supervisor(place.state) as supervisor:
        handle = await supervisor.submit(plan)
        await reached(place.lines, "the agent at work")
        attached: Attached = supervisor.live["p-1", "a"]
        found: list[Signs] = []

        def own_log() -> list[int]:
            found[:] = [attached.signs() or Signs()]
            return [at for (_, _, path), at in found[0].positions.items() if path.endswith("/own.log") and at]

        await reached(own_log, "its log, open and written to")
        assert set(own_log()) == {2}
        assert found[0].places == {str(place.target)}
        assert len(found[0].cpu) >= 2
        attempt = handle.state.tasks["a"].attempt
        identity = tree.identity_of(attempt.pid if attempt else 0)
        assert identity is not None
        place.go()
        await ended(handle)
        assert attached.signs() is None
    await reached(lambda: signs.look(identity) is None, "nothing to be seen of a shim that is gone", 10.0)


def test_who_is_somebody_else_by_now_shows_nothing() -> None:
    myself = tree.identity_of(os.getpid())
    assert myself is not None
    assert signs.look(replace(myself, start=myself.start + 1)) is None
