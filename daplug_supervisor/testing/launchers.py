"""What every launcher must satisfy: gates, ends, stops, deadlines, and attempts that outlive it."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from msgspec.structs import replace

from daplug_supervisor.core.bundle import ATTEMPT_VARIABLE
from daplug_supervisor.core.results import Exit
from daplug_supervisor.ports import Identity, Launch, Launcher
from daplug_supervisor.testing.expect import Contract
from daplug_supervisor.testing.script import Script

_expect = Contract("launcher").expect
_PATIENCE = 60.0
_SOON = 0.3
_SHELL = ("/bin/sh", "-c")
_LONG = "sleep 1000"
_DEAF = 'trap "" TERM; while :; do sleep 1; done'
_KILLED = "kill -9 $$"

Make = Callable[[], Launcher]


def checked_script(launch: Launch) -> Script:
    """What `check_launcher` launches, for launchers that only pretend."""
    what = launch.argv[-1]
    if what.startswith("sleep "):
        return Script(float(what.split()[1]))
    if what == _DEAF:
        return Script(math.inf, after_term=None)
    return Script(0.1, Exit(-9 if what == _KILLED else int(what.removeprefix("exit "))))


async def check_launcher(make: Make, tmp_path: Path) -> None:
    """Check that a launcher keeps the contract of `ports.Launcher`, with ``/bin/sh`` as its agent.

    Args:
        make: makes a launcher into one and the same world each time.
        tmp_path: an empty directory.

    Raises:
        AssertionError: it does not keep it; the message says where.
    """
    with anyio.fail_after(_PATIENCE):
        await _check_ends(make, tmp_path)
        await _check_waiting(make, tmp_path)
        await _check_stops(make, tmp_path)
        await _check_gates(make, tmp_path)
        await _check_attaching(make, tmp_path)


def _launch(directory: Path, what: str, grace: float = 10.0, deadline: float | None = None) -> Launch:
    environ = {ATTEMPT_VARIABLE: str(directory)}
    return Launch(str(directory), (*_SHELL, what), "/", environ, deadline=deadline, grace=grace)


def _code(found: Exit | None) -> int | None:
    return None if found is None else found.code


@asynccontextmanager
async def _opened(make: Make) -> AsyncIterator[Launcher]:
    launcher = make()
    await launcher.open()
    try:
        yield launcher
    finally:
        await launcher.close()


async def _check_ends(make: Make, tmp_path: Path) -> None:
    identities: list[Identity] = []
    async with _opened(make) as launcher:
        for what, code in (("exit 0", 0), ("exit 3", 3), (_KILLED, -9)):
            gate = launcher.idle() or await launcher.reserve()
            identities.append(gate.identity)
            found = await gate.open(_launch(tmp_path / f"ends{code}", what)).wait()
            expected = None if found is None else Exit(code, seconds=found.seconds)
            told = None if found is None else replace(found, cpu=0.0, max_rss=0)
            _expect(told == expected, f"'{what}' ends with code {code} and nothing else, not with {found}")
            launcher.release(gate)
    _expect(all(one.pid > 0 for one in identities), "an identity has a pid")
    _expect(all(one.boot for one in identities), "an identity has a boot")


async def _check_waiting(make: Make, tmp_path: Path) -> None:
    async with _opened(make) as launcher:
        first, second = await launcher.reserve(), await launcher.reserve()
        _expect(first.identity != second.identity, "two gates are two shims")
        long, short = _launch(tmp_path / "long", "sleep 0.5"), _launch(tmp_path / "short", "exit 4")
        slow, quick = first.open(long), second.open(short)
        with anyio.move_on_after(0.05):
            await slow.wait()
        found = await quick.wait()
        _expect(_code(found) == Exit(4).code, "attempts do not wait for one another")
        found = await slow.wait()
        _expect(_code(found) == Exit(0).code, "a wait that was cancelled can be had again")
        _expect(await slow.wait() == found, "whoever waits later is told the same")
        slow.stop()
        slow.stop()
        launcher.release(first)
        launcher.release(second)
        third = await launcher.reserve()
        found = await third.open(_launch(tmp_path / "third", "sleep 0.2")).wait()
        _expect(_code(found) == Exit(0).code, "to stop what has ended stops nothing else")


async def _check_stops(make: Make, tmp_path: Path) -> None:
    async with _opened(make) as launcher:
        now = anyio.current_time()
        attempts = {
            name: (await launcher.reserve()).open(_launch(tmp_path / name, what, grace, deadline))
            for name, what, grace, deadline in (
                ("asked", _LONG, 60.0, None),
                ("deaf", _DEAF, _SOON, None),
                ("twice", _DEAF, 1000.0, None),
                ("late", _LONG, 60.0, now + _SOON),
                ("deaf and late", _DEAF, _SOON, now + _SOON),
            )
        }
        await anyio.sleep(_SOON)  # until the shells have set their traps
        for name in ("asked", "deaf", "twice"):
            attempts[name].stop()
        await anyio.sleep(_SOON)
        attempts["twice"].stop()
        for name, code, why in (
            ("asked", -15, "request"),
            ("deaf", -9, "request"),
            ("twice", -9, "request"),
            ("late", -15, "deadline"),
            ("deaf and late", -9, "deadline"),
        ):
            found = await attempts[name].wait()
            told = found and (found.code, found.stopped)
            _expect(told == (code, why), f"'{name}' ends with {code}, stopped by {why}, not with {found}")
        gate = await launcher.reserve()
        attached = gate.open(_launch(tmp_path / "at once", _LONG, grace=60.0))
        attached.stop()
        found = await attached.wait()
        _expect(found and found.stopped == "request", f"to stop at once after opening stops, not {found}")


async def _check_gates(make: Make, tmp_path: Path) -> None:
    async with _opened(make) as launcher:
        used, unused = await launcher.reserve(), await launcher.reserve()
        launcher.release(used)
        again = launcher.idle() or await launcher.reserve()
        found = await again.open(_launch(tmp_path / "again", "exit 5")).wait()
        _expect(_code(found) == Exit(5).code, "a gate that was handed back unopened does no harm")
        left = unused.identity
    async with _opened(make) as launcher:
        directory = str(tmp_path / "never")
        found = await (await launcher.attach(left, directory)).wait()
        _expect(found is None, f"what was not let through its gate never ran, it did not end with {found}")


async def _check_attaching(make: Make, tmp_path: Path) -> None:
    names = ("sleep 0.6", "exit 6", _LONG, _DEAF)
    identities = []
    async with _opened(make) as launcher:
        for number, what in enumerate(names):
            gate = await launcher.reserve()
            identities.append(gate.identity)
            attached = gate.open(_launch(tmp_path / f"left{number}", what, grace=_SOON))
            if what == "exit 6":
                await attached.wait()
    await anyio.sleep(_SOON)
    async with _opened(make) as launcher:
        found = [
            await launcher.attach(identity, str(tmp_path / f"left{number}"))
            for number, identity in enumerate(identities)
        ]
        for number in (2, 3):
            found[number].stop()
        ends = [await one.wait() for one in found]
    told = [end and (end.code, end.stopped) for end in ends]
    expected = [(0, ""), (6, ""), (-15, "request"), (-9, "request")]
    _expect(told == expected, f"what lived on is taken back, with its exact end {expected}, not {told}")
    async with _opened(make) as launcher:
        again = [
            await (await launcher.attach(identity, str(tmp_path / f"left{number}"))).wait()
            for number, identity in enumerate(identities)
        ]
        _expect(again == ends, "it can be taken back any number of times")
        stranger = Identity(1, 2, "another boot")
        nobody = await launcher.attach(stranger, str(tmp_path / "left1"))
        nobody.stop()
        _expect(await nobody.wait() == ends[1], "who has the pid now does not matter, the record does")
        nobody = await launcher.attach(stranger, str(tmp_path / "nothing"))
        _expect(await nobody.wait() == Exit(None), "a power cut may have taken the record: nobody knows")
        stranger = replace(stranger, boot=identities[0].boot)
        nobody = await launcher.attach(stranger, str(tmp_path / "nothing"))
        _expect(await nobody.wait() is None, "without a shim and without a record it never ran")
