"""For tests with real processes: launching, owners that can be killed, and who is left."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream

from daplug_supervisor.core.bundle import ATTEMPT_VARIABLE
from daplug_supervisor.core.results import Exit
from daplug_supervisor.ports import Attached, Identity, Launch
from daplug_supervisor.processes.launch import ShimLauncher

SOON = 20.0
"""Seconds after which a test gives up waiting."""

OWNER = """
import anyio, json, sys
from daplug_supervisor.ports import Launch
from daplug_supervisor.processes.launch import ShimLauncher
async def main():
    launcher = ShimLauncher()
    await launcher.open()
    for line in sys.stdin:
        order = json.loads(line)
        gate = await launcher.reserve()
        if order is not None:
            gate.open(Launch(**order))
        who = gate.identity
        print(json.dumps([who.pid, who.start, who.boot]), flush=True)
anyio.run(main)
"""


def launch(directory: Path, *argv: str, cwd: str = "/", **more: Any) -> Launch:
    """A launch with the mark that the supervisor gives its attempts; it ends in a minute, if a test does not end it."""
    more.setdefault("deadline", time.monotonic() + 60)
    env = {ATTEMPT_VARIABLE: f"token of {directory}"} | more.pop("env", {})
    return Launch(str(directory), argv, cwd, env, **more)


def shell(directory: Path, text: str, **more: Any) -> Launch:
    return launch(directory, "/bin/sh", "-c", text, **more)


@asynccontextmanager
async def opened() -> AsyncIterator[ShimLauncher]:
    launcher = ShimLauncher()
    await launcher.open()
    try:
        yield launcher
    finally:
        await launcher.close()


async def finished(launcher: ShimLauncher, what: Launch) -> Exit:
    """Run something to its end."""
    gate = launcher.idle() or await launcher.reserve()
    found = await end_of(gate.open(what))
    launcher.release(gate)
    return found


async def end_of(attached: Attached) -> Exit:
    with anyio.fail_after(SOON):
        found = await attached.wait()
    assert found is not None
    return found


class Owner:
    """A process that holds a launcher, and can be killed."""

    def __init__(self, process: anyio.abc.Process) -> None:
        self.process = process
        self.pid = process.pid
        assert process.stdout is not None
        self.answers = BufferedByteReceiveStream(process.stdout)

    async def start(self, what: Launch | None) -> Identity:
        """Launch something; None: only reserve its gate."""
        assert self.process.stdin is not None
        keys = ("directory", "argv", "cwd", "env", "deadline", "grace", "output_limit")
        order = None if what is None else {key: getattr(what, key) for key in keys}
        await self.process.stdin.send(json.dumps(order).encode() + b"\n")
        with anyio.fail_after(SOON):
            return Identity(*json.loads(await self.answers.receive_until(b"\n", 1000)))

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def owner() -> AsyncIterator[Owner]:
    async with await anyio.open_process([sys.executable, "-c", OWNER], stderr=None) as process:
        try:
            yield Owner(process)
        finally:
            if process.returncode is None:
                process.kill()


async def gone(pid: int, within: float = SOON) -> None:
    """Wait until nobody has this pid."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        with anyio.fail_after(within):
            await anyio.wait_readable(pidfd)
    finally:
        os.close(pidfd)


async def said(path: Path, text: str = "\n") -> str:
    """Wait until a file says something."""
    with anyio.fail_after(SOON):
        while not path.exists() or text not in path.read_text():
            await anyio.sleep(0.005)
    return path.read_text()


def new_token() -> str:
    return f"{random.randrange(10**12):012}"


def with_token(token: str) -> list[int]:
    """Living processes that have a text in their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state = (folder / "stat").read_text().rpartition(") ")[2][0]
            if state not in "ZX" and token.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except (FileNotFoundError, ProcessLookupError):
            pass
    return [pid for pid in found if pid != os.getpid()]


async def none_with(token: str, within: float = 5.0) -> None:
    """Wait until nobody has a text in the command line."""
    with anyio.move_on_after(within):
        while with_token(token):
            await anyio.sleep(0.01)
    left = with_token(token)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left
