"""Processes that are not: a world in which they live on while supervisors come and go, and a launcher into it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import anyio
import anyio.lowlevel
from msgspec.structs import replace

from daplug_supervisor.core.health import Signs
from daplug_supervisor.core.results import Exit
from daplug_supervisor.errors import LaunchError
from daplug_supervisor.ports import Attached, Gate, Identity, Launch
from daplug_supervisor.testing.criteria import criteria_of, shows
from daplug_supervisor.testing.faults import Faults
from daplug_supervisor.testing.script import Script
from daplug_supervisor.workspace.files import STDERR, STDOUT

BOOT = "boot-{}"


_LONG = 3600.0
"""Within so many seconds goes wrong what is to go wrong in the middle of an agent that never ends."""


@dataclass(eq=False)
class FakeProcess:
    """A shim and its tree: at its gate until `launch` is there, gone from `ends_at` on."""

    identity: Identity
    launch: Launch | None = None
    script: Script = field(default_factory=Script)
    opened_at: float = math.inf
    ends_at: float = math.inf
    exit: Exit | None = None
    asked: int = 0
    age: int = 0
    watchers: dict[anyio.Event, None] = field(default_factory=dict)

    def lives(self, now: float) -> bool:
        """Whether its agent runs."""
        return self.opened_at <= now < self.ends_at

    def end_by(self, at: float, exit_: Exit | None) -> None:
        """Have it end at this time, if it does not end earlier by itself."""
        if at < self.ends_at:
            self.ends_at, self.exit = at, exit_
            for watcher in self.watchers:
                watcher.set()


class World:
    """What goes on outside the supervisor and outlives it.

    Args:
        script: what an attempt does, by what is launched; every attempt takes a second and succeeds, unless given.
        looks: what running a task's criteria shows (see `shows`); that takes a second and they hold, unless given.
        faults: what goes wrong; nothing, unless given.
    """

    def __init__(
        self,
        script: Callable[[Launch], Script] | None = None,
        *,
        looks: Callable[[Launch], Script] | None = None,
        faults: Faults | None = None,
    ) -> None:
        self.script = script or (lambda _: Script())
        self.looks = looks or shows
        self.faults = faults or Faults(0, {})
        self.processes: dict[int, FakeProcess] = {}
        self.age = 0
        self.boots = 1
        self.booted_at = 0.0

    @property
    def boot(self) -> str:
        """The id of this boot."""
        return BOOT.format(self.boots)

    def opened(self, process: FakeProcess) -> None:
        """An agent starts, at this moment. For those who watch the world to override."""

    def stopped(self, process: FakeProcess) -> None:
        """The supervisor asks an agent to stop, at this moment. For those who watch the world to override."""

    def reboot(self, at: float) -> None:
        """The machine loses its power: nothing runs any more, and what ran left no exit record.

        Give the next supervisor a `VirtualClock` with this world's `booted_at`.
        """
        self.crash()
        for process in self.living(at):
            process.end_by(at, Exit(None))
        self.boots += 1
        self.booted_at = at

    def crash(self) -> None:
        """The supervisor is gone, from one moment to the next, and nobody is left who waits for anything."""
        for process in self.processes.values():
            process.watchers.clear()
        self.let_go()

    def let_go(self) -> None:
        """The supervisor's launcher is closed: what was started lives on, what waits at its gate ends."""
        self.age += 1
        for process in self.processes.values():
            if process.launch is None:
                process.end_by(-math.inf, None)

    def kill_shim(self, pid: int) -> None:
        """Somebody kills a shim, and with it its tree: there is no exit record."""
        process = self.processes[pid]
        process.end_by(anyio.current_time(), None if process.launch is None else Exit(None))

    def living(self, now: float) -> list[FakeProcess]:
        """Those whose agents run at this time."""
        return [process for process in self.processes.values() if process.lives(now)]

    def launched(self) -> list[FakeProcess]:
        """Those whose gate was opened, oldest first."""
        found = [process for process in self.processes.values() if process.launch is not None]
        return sorted(found, key=lambda process: process.opened_at)


class FakeLauncher:
    """`ports.Launcher` into a `World`. Time is the event loop's, so it belongs into a `VirtualLoop`.

    It keeps a shim's promises: the deadline holds without a supervisor, asking to stop gives a grace, asking twice
    kills, what was not let through its gate never ran. A shim is used for one attempt only.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._age = -1

    async def open(self) -> None:
        """Get ready."""
        self._age = self._world.age

    async def close(self) -> None:
        """Let go; what runs goes on running."""
        if self._age == self._world.age:
            self._world.let_go()
        self._age = -1

    def idle(self) -> Gate | None:
        """None: each is made when it is wanted."""
        return None

    async def reserve(self) -> Gate:
        """A shim at its gate.

        Raises:
            LaunchError: the launcher is not open, or a fault of the world says so.
        """
        if self._age != self._world.age:
            raise LaunchError("the launcher is closed")
        await anyio.lowlevel.checkpoint()
        if self._world.faults.happens("refused"):
            raise LaunchError("no process can be started")
        pid = 1000 + len(self._world.processes)
        process = self._world.processes[pid] = FakeProcess(
            Identity(pid, pid, self._world.boot), age=self._age
        )
        return _FakeGate(self._world, process, self._age)

    def release(self, gate: Gate) -> None:
        """Take a shim back: it ends."""

    async def attach(self, identity: Identity, directory: str) -> Attached:
        """Take back an attempt."""
        process = self._world.processes.get(identity.pid)
        never = process is None or process.identity != identity or process.launch is None
        if identity.boot != self._world.boot and never and self._recorded(directory) is None:
            return _Nobody(Exit(None))  # a power cut may have taken the record with it
        if process is None or process.identity != identity:
            return _Nobody(self._recorded(directory))
        if process.age == self._age and not process.asked and process.exit != Exit(None):
            await anyio.sleep_forever()  # it is ours: it waits at its gate, and not only for what it did
        return _FakeAttached(self._world, process)

    def _recorded(self, directory: str) -> Exit | None:
        """What the exit record in a directory says."""
        for process in self._world.launched():
            if process.launch is not None and process.launch.directory == directory:
                return process.exit if process.ends_at <= anyio.current_time() else Exit(None)
        return None


class _FakeGate:
    def __init__(self, world: World, process: FakeProcess, age: int) -> None:
        self._world = world
        self._process = process
        self._age = age

    @property
    def identity(self) -> Identity:
        """Who it is."""
        return self._process.identity

    def open(self, launch: Launch) -> Attached:
        """Let it start `launch`."""
        world, process, now = self._world, self._process, anyio.current_time()
        if world.faults.happens("at its gate"):
            process.end_by(now, None)
        if process.ends_at < math.inf or self._age != world.age:
            return _FakeAttached(world, process)  # it is dead, or we are
        script = (world.looks if criteria_of(launch) else world.script)(launch)
        process.launch, process.script, process.opened_at = launch, script, now
        world.opened(process)
        process.end_by(now + script.seconds, replace(script.exit, seconds=script.seconds))
        if launch.deadline is not None:
            _stop(process, launch.deadline + world.booted_at, "deadline")
        self._go_wrong(process, now)
        for name, data in ((STDOUT, script.stdout), (STDERR, script.stderr)):
            if data:
                folder = Path(launch.directory)
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                (folder / name).write_bytes(data)
        return _FakeAttached(world, process)

    def _go_wrong(self, process: FakeProcess, now: float) -> None:
        faults = self._world.faults
        if faults.happens("just started"):
            process.end_by(now, Exit(None))
        elif faults.happens("midway"):
            process.end_by(now + faults.part() * min(process.ends_at - now, _LONG), Exit(None))
        elif faults.happens("record"):
            process.exit = Exit(None)


class _FakeAttached:
    def __init__(self, world: World, process: FakeProcess) -> None:
        self._world = world
        self._process = process

    async def wait(self) -> Exit | None:
        """Wait for the end."""
        process = self._process
        changed = anyio.Event()
        while (left := process.ends_at - anyio.current_time()) > 0:
            process.watchers[changed] = None
            try:
                with anyio.move_on_after(left):
                    await changed.wait()
            finally:
                process.watchers.pop(changed, None)
            changed = anyio.Event()
        await anyio.lowlevel.checkpoint()
        return process.exit

    def stop(self) -> None:
        """Ask the shim to end the tree."""
        process, now = self._process, anyio.current_time()
        if not process.lives(now):
            return
        process.asked += 1
        self._world.stopped(process)
        if process.asked == 1:
            _stop(process, now, "request")
        else:
            process.end_by(now, Exit(-9, stopped="request", seconds=now - process.opened_at))

    def signs(self) -> Signs | None:
        """What the tree shows of its work at this moment."""
        process, now = self._process, anyio.current_time()
        if not process.lives(now):
            return None
        busy = min(now - process.opened_at, process.script.works)
        return Signs({(process.identity.pid, process.identity.start): busy})


class _Nobody:
    """An attempt whose shim is not there any more, or is somebody else's by now."""

    def __init__(self, found: Exit | None) -> None:
        self._found = found

    async def wait(self) -> Exit | None:
        """What its record says."""
        await anyio.lowlevel.checkpoint()
        return self._found

    def stop(self) -> None:
        """Nothing is there to be stopped."""

    def signs(self) -> Signs | None:
        """Nothing is there to be seen."""
        return None


def _stop(process: FakeProcess, at: float, why: Literal["request", "deadline"]) -> None:
    """End a process: it is asked at this time, and killed when its grace is over."""
    assert process.launch is not None, "only what runs is stopped"  # noqa: S101
    patience, grace = process.script.after_term, process.launch.grace
    code, after = (-9, grace) if patience is None or patience > grace else (-15, patience)
    if at < process.ends_at <= at + after and process.exit is not None:
        process.exit = replace(
            process.exit, stopped=process.exit.stopped or why
        )  # it ends by itself meanwhile
    process.end_by(at + after, Exit(code, stopped=why, seconds=at + after - process.opened_at))
