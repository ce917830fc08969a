"""The same on each version of Python: signals, a crash, and what asyncio does to children when its loop closes.

Interpreters into which the package is installed are looked for in ``DAPLUG_TEST_PYTHONS`` (paths, separated by colons),
or where ``make pythons`` puts them: ``build/pythons/VERSION/bin/python``.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGTERM

import cli
import pytest
from cli import HOLD, MARKING, Place, alive, kill, opened, plan_of, sh
from driven import fresh
from promises import Proof
from test_signal_matrix import WORKING, at_work, ends_well, shims

from daplug_supervisor.core import events as ev

pytestmark = pytest.mark.promise("P14", "P1")
place = pytest.fixture(opened)

ROOT = Path(__file__).parents[2]


def others() -> list[Path | None]:
    """The interpreters to try, or None if there is none."""
    given = os.environ.get("DAPLUG_TEST_PYTHONS", "")
    if given:
        return [Path(path) for path in given.split(":") if path] or [None]
    return [*sorted(ROOT.glob("build/pythons/*/bin/python"))] or [None]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    found = others() if metafunc.config.getoption("--sweep") else others()[-1:]
    metafunc.parametrize("python", found, ids=lambda path: path and path.parts[-3], indirect=True)


@pytest.fixture
def python(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An interpreter; its own command is the one that `Place.start` starts."""
    found: Path | None = request.param
    if found is None:
        pytest.skip("no other Python: 'make pythons' gets them ready, or DAPLUG_TEST_PYTHONS names them")
    program = found.with_name("daplug-supervise")
    if not program.exists():
        pytest.skip(f"{program} is not there: the package is not installed for {found}")
    monkeypatch.setattr(cli, "PROGRAM", str(program))
    return found


WISHES = [(SIGINT, SIGINT), (SIGTERM,), (SIGTERM,) * 3, (SIGHUP,)]


def test_signals_do_the_same(python: Path, tmp_path: Path, proof: Proof) -> None:
    for number, wishes in enumerate(WISHES[: proof.pick(1, len(WISHES))]):
        for terminal in proof.pick([False], [False, True]):
            with fresh(tmp_path / f"{number}{terminal}") as one:
                at_work(one, "run", wishes, terminal)
            proof.count("signals", len(wishes))


def test_killed_in_between_the_agents_are_taken_back(python: Path, place: Place, proof: Proof) -> None:
    process = place.start(place.write(WORKING))
    place.started("a")
    [shim] = shims(place)
    for _ in range(proof.pick(1, 5)):
        kill(process)
        assert alive(shim)
        before = len(place.events(ev.RunStarted))
        process = place.start("plan.json")
        while len(place.events(ev.RunStarted)) == before:
            assert process.poll() is None
        proof.count("kills")
    kill(process)
    ends_well(place, 2)
    assert [event.pid for event in place.events(ev.AttemptSpawned, task="a")] == [shim]


EMBEDDED = """
import asyncio, gc, pathlib, sys, warnings
warnings.simplefilter("error")
from daplug_supervisor import Supervisor, load_plan
async def main():
    async with Supervisor(".daplug") as supervisor:
        run = await supervisor.submit(load_plan("plan.json"))
        async for entry in run.events():
            if entry.event.kind == "attempt_spawned":
                break
        while not pathlib.Path("starts").exists():
            await asyncio.sleep(0.02)
asyncio.run(main(), debug=True)
gc.collect()
print("left")
"""


def test_closing_the_loop_ends_no_agent(python: Path, place: Place, proof: Proof) -> None:
    """From 3.12 on asyncio kills the children that it knows when its loop is closed."""
    place.write(plan_of({"a": sh(MARKING + HOLD), "b": sh(MARKING, "a")}))
    words = [str(python), "-X", "dev", "-W", "error", "-c", EMBEDDED]
    ran = subprocess.run(
        words, cwd=place.target, env=place.environ, capture_output=True, text=True, timeout=20, check=False
    )
    said = [
        line for line in ran.stderr.splitlines() if " took " not in line
    ]  # asyncio's remarks on slow steps
    assert (ran.returncode, ran.stdout, said) == (0, "left\n", [])
    [shim] = shims(place)
    assert alive(shim)
    ends_well(place, 2)
    proof.count("kills")
