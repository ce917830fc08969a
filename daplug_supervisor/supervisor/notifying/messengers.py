"""The ways in which a person is told something: a command of theirs, a webhook, their desktop. Each bounded in time.

None of them raises: what does not work is said in words, without what an address holds.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from logging import getLogger
from pathlib import Path
from typing import Protocol

import anyio
import anyio.to_thread
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from daplug_supervisor.core.bundle import ATTEMPT_VARIABLE
from daplug_supervisor.core.environment import named
from daplug_supervisor.core.plan import Notify
from daplug_supervisor.core.results import Exit
from daplug_supervisor.core.secrets import Mask
from daplug_supervisor.errors import LaunchError, SupervisorError
from daplug_supervisor.ports import Attached, Clock, Gate, Launch, Launcher
from daplug_supervisor.processes import webhook
from daplug_supervisor.supervisor.closing.hooks import went_wrong
from daplug_supervisor.views.text import harmless_json
from daplug_supervisor.views.told import Message, plain
from daplug_supervisor.workers.text import one_line
from daplug_supervisor.workspace.files import make_private, write_atomically

log = getLogger(__name__)

_AGAIN = 1.0
"""Seconds after which what did not work is tried once more."""

_GRACE = 1.0
_LATE = 2.0
"""Seconds after its time in which a shim should have ended a command."""

_DESKTOP = ("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "DBUS_SESSION_BUS_ADDRESS")
"""What a program needs to find the desktop."""

_SHORT = 500
"""Characters that are shown on a desktop."""

_LONGEST = 32 << 10
"""Bytes of a variable: the system takes no more than 128 KiB."""

_APPLE = (
    "-e", "on run argv", "-e", "display notification (item 2 of argv) with title (item 1 of argv)", "-e", "end run",
)  # fmt: skip
_MESSAGE = "message.json"
_number = count(1)


class Office(Protocol):
    """What sending needs; a `desk.Desk` has it."""

    clock: Clock
    launcher: Launcher
    environ: Mapping[str, str]
    mask: Mask


class Sender(Struct, frozen=True):
    """Who sends, of whose plan: `folder` is where commands leave their output, `pass_env` what they may know."""

    office: Office
    notify: Notify
    folder: Path
    target: str
    pass_env: tuple[str, ...] = ()


class _FailedError(Exception):
    """It did not work. `again`: another try may help."""

    def __init__(self, message: str, *, again: bool = True) -> None:
        super().__init__(message)
        self.again = again


_Way = Callable[[float], Awaitable[None]]
"""Sends within so many seconds, or raises."""


async def send(sender: Sender, message: Message) -> dict[str, str]:
    """Send a message in all ways that a plan names, at once; by way, what went wrong ('' if nothing)."""
    ways = _ways(sender, message)
    found = dict.fromkeys(ways, "")

    async def one(name: str, way: _Way) -> None:
        found[name] = await _bounded(sender, name, way)

    async with anyio.create_task_group() as tasks:
        for name, way in ways.items():
            tasks.start_soon(one, name, way)
    return found


def lacking(notify: Notify, environ: Mapping[str, str], target: str) -> list[str]:
    """What will not work here, as far as that can be seen without sending anything."""
    found = []
    if notify.command and not _is_there(notify.command[0], environ, target):
        found.append(f"the command {one_line(notify.command[0])} is not there")
    if notify.webhook:
        try:
            webhook.resolved(notify.webhook, environ)
        except webhook.PostError as error:
            found.append(f"webhook: {error}")
    if notify.desktop and _desktop(environ) is None:
        found.append("desktop: there is neither notify-send nor osascript")
    return found


def _is_there(program: str, environ: Mapping[str, str], target: str) -> bool:
    where = str(Path(target) / program) if "/" in program else program
    return shutil.which(where, path=environ.get("PATH")) is not None


def _ways(sender: Sender, message: Message) -> dict[str, _Way]:
    notify, ways = sender.notify, dict[str, _Way]()
    if notify.command:
        words = notify.command

        async def command(seconds: float) -> None:
            await _run(sender, message, words, seconds, data=_json(message))

        ways["command"] = command
    if notify.webhook:
        ways["webhook"] = _webhook(sender, message, notify.webhook)
    if notify.desktop:
        ways["desktop"] = _on_desktop(sender, message)
    return ways


async def _bounded(sender: Sender, name: str, way: _Way) -> str:
    """Send in one way; if that does not work, once more. Returns what went wrong."""
    clock, seconds = sender.office.clock, sender.notify.timeout
    end, wrong = clock.monotonic() + seconds, f"not done within {seconds:g} s"
    with anyio.move_on_after(seconds + _LATE):
        for last in (False, True):
            try:
                await way(max(0.0, end - clock.monotonic()))
            except _FailedError as error:
                wrong = str(error)
                if last or not error.again or clock.monotonic() + _AGAIN >= end:
                    break
                await anyio.sleep(_AGAIN)
            except SupervisorError:
                raise
            except Exception as error:
                log.exception("a message could not be sent by %s", name)
                wrong = f"a fault in the supervisor itself: {type(error).__name__}"
                break
            else:
                return ""
    return one_line(sender.office.mask(wrong))


# --- a webhook ---------------------------------------------------------------------------------------------------


def _webhook(sender: Sender, message: Message, written: str) -> _Way:
    body = _json(replace(message, text=plain(message.text)))

    async def send(seconds: float) -> None:
        try:
            address = webhook.resolved(written, sender.office.environ)
        except webhook.PostError as error:
            raise _FailedError(str(error), again=False) from error
        try:
            await anyio.to_thread.run_sync(webhook.post, address, body, seconds, abandon_on_cancel=True)
        except webhook.PostError as error:
            raise _FailedError(f"{webhook.shown(address)}: {error}", again=error.passing) from error

    return send


def _json(message: Message) -> bytes:
    return harmless_json(msgspec.json.encode(message).decode()).encode() + b"\n"


# --- commands ----------------------------------------------------------------------------------------------------


def _desktop(environ: Mapping[str, str], title: str = "", text: str = "") -> tuple[str, ...] | None:
    """What shows a message on this desktop."""
    path = environ.get("PATH")
    found = shutil.which("notify-send", path=path)
    if found is not None:  # of a text it takes a backslash as the beginning of another character
        return (found, "--app-name=daplug-supervisor", "--", title, text.replace("\\", "\\\\"))
    found = shutil.which("osascript", path=path) if sys.platform == "darwin" else None
    return None if found is None else (found, *_APPLE, title, text)


def _on_desktop(sender: Sender, message: Message) -> _Way:
    async def send(seconds: float) -> None:
        brief = message.brief if len(message.brief) <= _SHORT else f"{message.brief[:_SHORT]}\u2026"
        shows = _desktop(sender.office.environ, plain(message.title), plain(brief))
        if shows is None:
            raise _FailedError("there is neither notify-send nor osascript", again=False)
        await _run(sender, message, shows, seconds)

    return send


async def _run(
    sender: Sender, message: Message, words: tuple[str, ...], seconds: float, *, data: bytes = b""
) -> None:
    """Run a program in a shim, and wait for its end.

    Raises:
        _FailedError: it did not end well.
    """
    office, name = sender.office, f"notify-{int(sender.office.clock.now() * 1000)}-{next(_number)}"
    folder, grace = sender.folder / name, min(_GRACE, seconds / 4)
    try:
        make_private(folder)
        if data:
            write_atomically(folder / _MESSAGE, data)
        gate = office.launcher.idle() or await office.launcher.reserve()
    except (LaunchError, OSError) as error:
        raise _FailedError(f"it could not be started: {error}") from error
    launch = Launch(
        directory=str(folder),
        argv=words,
        cwd=sender.target,
        env={
            **named(office.environ, (*sender.pass_env, *_DESKTOP)),
            **_variables(message),
            ATTEMPT_VARIABLE: f"{message.run or 'trial'}-{name}",
        },
        stdin=str(folder / _MESSAGE) if data else None,
        deadline=office.clock.monotonic() + seconds - grace,
        grace=grace,
    )
    found = await _ended(office, gate, gate.open(launch))
    wrong = went_wrong(found, str(folder), sender.notify.timeout)
    shutil.rmtree(folder, ignore_errors=True)
    if wrong:
        raise _FailedError(wrong, again=not (found.stopped or found.error))


def _variables(message: Message) -> dict[str, str]:
    return {
        "DAPLUG_RUN": message.run,
        "DAPLUG_TASK": message.task,
        "DAPLUG_TROUBLE": message.trouble,
        "DAPLUG_MESSAGE": message.text.encode()[:_LONGEST].decode("utf-8", "ignore"),
    }


async def _ended(office: Office, gate: Gate, attached: Attached) -> Exit:
    """Wait for its end; who does not wait any longer has it ended."""
    found: Exit | None = None
    try:
        found = await attached.wait() or Exit(None)
    finally:
        if found is None:
            attached.stop()
        office.launcher.release(gate)
    return found
