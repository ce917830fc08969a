"""The supervisor's end of the sockets to launcher and shims, with the other end in our own hands."""

from __future__ import annotations

import asyncio
import contextlib
import os
import py_compile
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
import pytest_asyncio

from daplug_supervisor.core.results import Exit
from daplug_supervisor.errors import LaunchError
from daplug_supervisor.ports import Identity, Launch
from daplug_supervisor.processes import shim, start
from daplug_supervisor.processes.held import HeldShim
from daplug_supervisor.processes.launch import ShimLauncher
from daplug_supervisor.processes.tree import boot_id

NOBODY = Identity(2**22 - 1, 1, boot_id())
RECORD = b'{"state":"exited","code":3}'.ljust(shim.RECORD_SIZE - 1) + b"\n"


class Ends:
    """A shim of which we play the other end."""

    def __init__(self) -> None:
        ours, self.theirs = socket.socketpair()
        self.shim = HeldShim(NOBODY, [ours.detach()])


@pytest_asyncio.fixture
async def ends() -> AsyncIterator[Ends]:
    made = Ends()
    yield made
    made.shim.close()
    made.theirs.close()


def launch(directory: str = "/none", **env: str) -> Launch:
    return Launch(directory, ("true",), "/", env)


async def test_a_record_in_pieces_is_put_together(ends: Ends) -> None:
    attached = ends.shim.open(launch())
    for piece in (RECORD[:1], RECORD[1:700], RECORD[700:]):
        ends.theirs.send(piece)
        await anyio.sleep(0.01)
    assert await attached.wait() == Exit(3)
    again = ends.shim.open(launch())
    ends.theirs.send(RECORD)
    assert await again.wait() == Exit(3)


async def test_a_shim_that_dies_in_the_middle_of_its_record_has_only_what_is_on_disk(ends: Ends) -> None:
    attached = ends.shim.open(launch())
    ends.theirs.send(RECORD[:100])
    ends.theirs.close()
    assert await attached.wait() is None
    assert ends.shim.ended
    ends.shim.stop()
    assert not ends.shim.asked


async def test_a_record_that_nobody_waits_for_is_nothing(ends: Ends) -> None:
    ends.theirs.send(RECORD)
    await anyio.sleep(0.01)
    ends.theirs.close()
    await anyio.sleep(0.01)
    assert ends.shim.ended


async def test_a_reset_is_an_end(ends: Ends) -> None:
    attached = ends.shim.open(launch())  # never read by the other side, which makes its end a reset
    ends.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    ends.theirs.close()
    assert await attached.wait() is None


async def test_being_woken_for_nothing_is_nothing(ends: Ends) -> None:
    ends.shim._on_record()
    assert not ends.shim.ended


async def test_a_message_that_is_larger_than_the_socket_gets_there_whole(ends: Ends) -> None:
    ends.shim.open(launch(LARGE="x" * 3_000_000))
    ends.shim._send(b"")  # while it is full
    size = int.from_bytes(ends.theirs.recv(shim.HEAD_SIZE), "big")
    received = 0
    with anyio.fail_after(10):
        while received < size:
            with contextlib.suppress(BlockingIOError):
                received += len(ends.theirs.recv(100_000, socket.MSG_DONTWAIT))
            await anyio.sleep(0)
    assert received == size > 3_000_000


async def test_a_shim_that_dies_before_it_has_read_its_message(ends: Ends) -> None:
    ends.theirs.close()
    assert await ends.shim.open(launch()).wait() is None


class Played(ShimLauncher):
    """A launcher whose process we play."""

    async def open(self) -> None:
        ours, self.theirs = socket.socketpair()
        ours.setblocking(False)
        self._control, self._closed = ours, False
        asyncio.get_running_loop().add_reader(ours.fileno(), self._on_reply)

    def reply(self) -> None:
        gate, ours = socket.socketpair()
        message = b"4194303 1 boot".ljust(shim.REPLY_SIZE)
        socket.send_fds(self.theirs, [message], [gate.fileno()])
        gate.close()
        ours.close()


@pytest_asyncio.fixture
async def played() -> AsyncIterator[Played]:
    launcher = Played()
    await launcher.open()
    yield launcher
    await launcher.close()
    launcher.theirs.close()


async def test_a_shim_that_nobody_wants_any_more_waits(played: Played) -> None:
    with anyio.move_on_after(0.01):
        await played.reserve()
    played.reply()
    played.reply()
    await anyio.sleep(0.01)
    assert len(played._idle) <= 2
    await anyio.sleep(0.01)
    assert played.idle() is None, "they have died since"


async def test_a_reply_without_descriptors_is_a_refusal(played: Played) -> None:
    played.theirs.send(b"1 1 boot".ljust(shim.REPLY_SIZE))
    await anyio.sleep(0.01)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(refused, played, "too many open files")
        await anyio.sleep(0.01)
        played.theirs.send(b"1 1 boot".ljust(shim.REPLY_SIZE))


async def refused(launcher: ShimLauncher, why: str) -> None:
    with pytest.raises(LaunchError, match=why):
        await launcher.reserve()


async def test_a_launcher_that_goes_leaves_word_to_all_who_wait(played: Played) -> None:
    played._on_reply()  # for nothing
    first = played._ask()
    second = played._ask()
    second.cancel()
    played.theirs.close()
    with pytest.raises(LaunchError, match="the launcher is gone"):
        await first
    played._on_reply()
    assert played._control is None


async def test_a_launcher_that_resets_is_gone(played: Played) -> None:
    played._ask().cancel()  # never read by the other side, which makes its end a reset
    played.theirs.close()
    await anyio.sleep(0.01)
    assert played._control is None


async def test_a_launcher_that_cannot_be_asked_is_gone(played: Played) -> None:
    played.theirs.close()
    with pytest.raises(LaunchError, match="the launcher is gone: Broken pipe"):
        await played._ask()


async def test_what_cannot_be_opened_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with pytest.raises(LaunchError, match="cannot start"):
        await ShimLauncher().open()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


async def test_all_who_wait_for_an_end_are_told(ends: Ends) -> None:
    attached = ends.shim.open(launch())
    found = []

    async def wait() -> None:
        found.append(await attached.wait())

    with anyio.move_on_after(5):
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(wait)
            await anyio.sleep(0.01)
            ends.theirs.send(RECORD)
    assert found == [Exit(3)] * 3


async def test_a_refusal_says_why(played: Played) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(refused, played, "no process could be started: Resource temporarily unavailable")
        await anyio.sleep(0.01)
        for _ in range(2):  # one of them is of the spare
            played.theirs.send(
                f"{shim.REFUSED}Resource temporarily unavailable".encode().ljust(shim.REPLY_SIZE)
            )


def started(*words: str) -> str:
    """What the launcher's program prints, started as `_start` does it."""
    command = [sys.executable, "-I", "-S", *words, "0"]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, cwd="/").stdout


def copied(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """A copy of the shim's package without compiled files, to be started from now on."""
    package = folder / "shim"
    shutil.copytree(Path(shim.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(shim, "__file__", str(package / "__init__.py"))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    return package


@pytest.mark.parametrize("mode", py_compile.PycInvalidationMode)
def test_a_launcher_is_never_compiled_from_another_source(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: py_compile.PycInvalidationMode
) -> None:
    source = copied(monkeypatch, tmp_path) / "main.py"
    source.write_text("def main(): print('old')")
    py_compile.compile(str(source), invalidation_mode=mode)
    assert started(*start.program()) == "old\n"
    source.write_text("def main(): print('newer')")
    assert started(*start.program()) == "newer\n"


def test_compiled_files_are_kept_as_they_are_for_us(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = copied(monkeypatch, tmp_path)
    (package / "main.py").write_text("def main(): print('here')")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert started(*start.program()) == "here\n"
    assert not list(tmp_path.rglob("*.pyc"))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path / "elsewhere"))
    started(*start.program())
    assert list((tmp_path / "elsewhere").rglob("main.*.pyc"))
    assert not (package / "__pycache__").exists()
    monkeypatch.setattr(sys, "pycache_prefix", None)
    started(*start.program())
    assert list(package.rglob("main.*.pyc")), "or every start would compile it anew"


def test_a_launcher_imports_all_of_the_shim_and_nothing_else_of_ours_nor_of_others() -> None:
    *options, program, folder = start.program()
    modules = "(f'{name}={getattr(one, \"__file__\", None)}' for name, one in sys.modules.items())"
    told = f"print(*{modules}, *sys.path, sep='\\n')"
    lines = started(*options, program.replace("main()", told), folder).splitlines()
    named = dict(line.split("=", 1) for line in lines if "=" in line)
    assert {name for name, file in named.items() if file.startswith(folder)} == {
        "shim", *(f"shim.{path.stem}" for path in Path(folder).glob("[!_]*.py"))
    }  # fmt: skip
    others = {name for name in named if name.partition(".")[0] not in sys.stdlib_module_names}
    assert {name.partition(".")[0] for name in others} == {"__main__", "shim"}
    assert str(Path(folder).parent) not in lines
    assert {"json", "ctypes"}.isdisjoint(named), "imported when they are needed"
