"""An attempt's outbox: a directory where it works, into which it writes for us.

It is in the way of agents, of this attempt and of others: no link is followed in there, nothing but an ordinary file is
read, and no more of that than is wanted. Git is told to pass it over.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from daplug_supervisor.core.bundle import RESULT
from daplug_supervisor.workspace.files import NAME, open_output

FOLDER = "outbox"
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


def is_one(path: str, token: str) -> bool:
    """Whether a path can be that of the outbox of an attempt."""
    return path.startswith("/") and os.path.normpath(path) == path and path.split("/")[-2:] == [FOLDER, token]


def place(path: str) -> str:
    """The directory where the attempt with this outbox works, if that is not the target."""
    return path.rsplit("/", _OURS)[0]


def take(path: str, most: int) -> bytes:
    """What is in the result file of an outbox: `most` bytes of it, and one more if there are more.

    Raises:
        FileNotFoundError: there is none.
        OSError: it is no ordinary file, or cannot be read.
    """
    above, *ours = path.rsplit("/", _OURS)
    with _opened(above, ours) as outbox, open_output(Path(f"/proc/self/fd/{outbox}/{RESULT}")) as file:
        return file.read(most + 1)


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
