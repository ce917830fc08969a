"""An attempt's outbox: a directory where it works, into which it writes for us.

It is in the way of agents, of this attempt and of others: no link is followed in there, nothing but an ordinary file is
read, and no more of that than is wanted. Git is told to pass it over.

Where an attempt may divide its work, files in ``commands/`` say what it wants done, and those in ``answers/`` what came
of it.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Final, NamedTuple

from daplug_supervisor.core.bundle import RESULT
from daplug_supervisor.workspace.files import NAME, open_output

FOLDER = "outbox"
COMMANDS: Final = "commands"
ANSWERS: Final = "answers"
ABOUT: Final = "about.json"
"""Whose outbox it is, for whoever is in the way of an attempt and has lost its environment."""

LARGEST_COMMAND: Final = 64 << 10
_MOST_LISTED = 2000
"""Names that are looked at in ``commands/`` at once: what lies behind them is found when these are gone."""

_COMMAND = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63})\.json")
_IGNORE = ".gitignore"
_OURS = 3
"""How many parts of its path are ours: ``.daplug``, ``outbox`` and the token."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_one_at_a_time = threading.Lock()
"""What one attempt no longer needs may be what another one begins to use."""


def make(cwd: str, token: str, own: Path) -> str:
    """Make the outbox of an attempt that works in `cwd`, and return its path; `own` is the state directory.

    Raises:
        OSError: there can be none; somebody else's link or file may be in its place.
    """
    above = f"{cwd}/{NAME}"
    with suppress(OSError):
        if Path(above).samefile(own):  # it may be a link of the user's
            above = str(own.resolve())
    folder, _, name = above.rpartition("/")
    with _one_at_a_time, _opened(folder, [name, FOLDER], make=True) as outbox:
        with suppress(FileExistsError):
            number = os.open(
                _IGNORE, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=outbox
            )
            with os.fdopen(number, "wb") as file:
                file.write(b"*\n")
        shutil.rmtree(
            token, ignore_errors=True, dir_fd=outbox
        )  # of this attempt, when it could not be started before
        os.mkdir(token, 0o700, dir_fd=outbox)
    return f"{above}/{FOLDER}/{token}"


def furnish(path: str, about: bytes) -> None:
    """Make it an outbox with commands; `about` is what to tell those who find it.

    Raises:
        OSError: there was no room.
    """
    with _inside(path) as outbox:
        for name in (COMMANDS, ANSWERS):
            os.mkdir(name, 0o700, dir_fd=outbox)
        _write(outbox, ABOUT, about)


def is_one(path: str, token: str) -> bool:
    """Whether a path can be that of the outbox of an attempt."""
    return path.startswith("/") and os.path.normpath(path) == path and path.split("/")[-2:] == [FOLDER, token]


def place(path: str) -> str:
    """The directory where the attempt with this outbox works, if that is not the target."""
    return path.rsplit("/", _OURS)[0]


def take(path: str, most: int, name: str = RESULT) -> bytes:
    """What is in a file of an outbox, the result: `most` bytes of it, and one more if there are more.

    Raises:
        FileNotFoundError: there is none.
        OSError: it is no ordinary file, or cannot be read.
    """
    with _inside(path) as outbox:
        return _read(outbox, name, most)


class Asked(NamedTuple):
    """What an attempt asks for: the id that it gives it, and what is in the file or, if that is not fit, why."""

    id: str
    data: bytes = b""
    flaw: str = ""


def asked(path: str, most: int) -> tuple[list[Asked], bool]:
    """The `most` oldest files in ``commands/``, and whether there is more than that, of whatever kind.

    Raises:
        OSError: it is no outbox with commands any more.
    """
    with _inside(path, COMMANDS) as folder:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in islice(entries, _MOST_LISTED + 1)]
        found = []
        for name in names:
            if _COMMAND.fullmatch(name):
                with suppress(FileNotFoundError):
                    about = os.stat(name, dir_fd=folder, follow_symlinks=False)
                    found.append((about.st_mtime_ns, _counted(name), name))
        found.sort()
        several = [_one(folder, name) for *_, name in found[:most]]
    others = any(not _COMMAND.fullmatch(name) and not name.startswith(".") for name in names)
    return several, others or len(found) > most or len(names) > _MOST_LISTED


def _counted(name: str) -> list[tuple[bool, int, str]]:
    """What orders 2 before 10: clocks of file systems may be as coarse as 10 ms, and a script writes faster."""
    words = re.findall(r"\d+|\D+", name.removesuffix(".json"), re.ASCII)
    return [(False, int(word), word) if word.isdigit() else (True, 0, word) for word in words]


def _one(folder: int, name: str) -> Asked:
    which = name.removesuffix(".json")
    try:
        data = _read(folder, name, LARGEST_COMMAND)
    except OSError as error:
        flaw = "not a regular file" if not _is_ordinary(folder, name) else f"cannot be read: {error.strerror}"
        return Asked(which, flaw=flaw)
    if len(data) > LARGEST_COMMAND:
        return Asked(which, flaw=f"larger than {LARGEST_COMMAND} bytes")
    return Asked(which, data)


def _is_ordinary(folder: int, name: str) -> bool:
    with suppress(OSError):
        return S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    return False


def answer(path: str, which: str, data: bytes) -> None:
    """Put the answer to a command where its sender looks for it, and take the command away.

    Raises:
        OSError: it could not be put there; the command is taken away all the same.
    """
    try:
        with _inside(path, ANSWERS) as folder:
            _write(folder, f"{which}.json", data)
    finally:
        with suppress(OSError), _inside(path, COMMANDS) as folder:
            _out_of_the_way(folder, f"{which}.json")


def _out_of_the_way(folder: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass
    except OSError:  # a directory, say
        os.rename(name, f".refused-{secrets.token_hex(6)}", src_dir_fd=folder, dst_dir_fd=folder)


def has_commands(path: str) -> bool:
    """Whether an outbox is one of an attempt that may divide its work."""
    with suppress(OSError):
        return S_ISDIR(os.lstat(f"{path}/{COMMANDS}").st_mode)
    return False


def remove(path: str) -> None:
    """Remove an outbox with all that is in it, and of the directories above it those that nobody needs any more."""
    above, name, folder, token = path.rsplit("/", _OURS)
    with suppress(OSError, RecursionError), _one_at_a_time, _opened(above, [name]) as ours:
        with _opened(f"/proc/self/fd/{ours}", [folder]) as outbox:
            _clear(token, outbox)
            if set(os.listdir(outbox)) <= {_IGNORE}:  # noqa: PTH208 (of what is open)
                os.unlink(_IGNORE, dir_fd=outbox)
        os.rmdir(folder, dir_fd=ours)  # fails unless it is empty
        if name == NAME:
            os.rmdir(f"{above}/{name}")  # noqa: PTH106 (as above)


def _clear(name: str, folder: int) -> None:
    """Remove an outbox, or what an agent has put in its place. It may have closed it to itself, and so to us."""
    with suppress(OSError):
        os.unlink(name, dir_fd=folder)
    with suppress(OSError):
        number = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            os.chmod(f"/proc/self/fd/{number}", 0o700)  # noqa: PTH101 (of what is open)
        finally:
            os.close(number)
        shutil.rmtree(name, ignore_errors=True, dir_fd=folder)


def _read(folder: int, name: str, most: int) -> bytes:
    with open_output(Path(f"/proc/self/fd/{folder}/{name}")) as file:
        return file.read(most + 1)


def _write(folder: int, name: str, data: bytes) -> None:
    """Write a file whole or not at all; whatever had its name is not followed."""
    temporary = f".{secrets.token_hex(8)}.tmp"
    how = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    number = os.open(temporary, how, 0o600, dir_fd=folder)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(data)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise


@contextmanager
def _inside(path: str, *below: str) -> Iterator[int]:
    """The directory of an outbox, or one in it."""
    above, *ours = path.rsplit("/", _OURS)
    with _opened(above, [*ours, *below]) as folder:
        yield folder


@contextmanager
def _opened(above: str, names: list[str], *, make: bool = False) -> Iterator[int]:
    """A directory `names` deep below another one, on the way to which there is no link."""
    with ExitStack() as stack:
        folder = os.open(above or "/", _DIRECTORY)
        stack.callback(os.close, folder)
        for name in names:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=folder)
            folder = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            stack.callback(os.close, folder)
        yield folder
