"""Which worktrees of a repository are ours: kept in the repository itself, each from before it is made.

So whatever is half there after a crash has an owner, and nothing that belongs to others is ever taken for ours.
"""

from __future__ import annotations

import fcntl
import os
import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from daplug_supervisor.workspace.files import make_private, sync_directory, write_atomically
from daplug_supervisor.workspace.git import running as git

BRANCHES = "daplug/"
_FOLDER = "daplug"
_ENDING = ".json"
_LARGEST = 64 << 10
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,179}")
_UNFIT = re.compile(r"[^A-Za-z0-9_-]+")
_PATIENCE = 900.0
_LOOK = 0.01
_MOST = 100

_threads: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
"""Within this process those who want a repository queue here: only one of them looks at the file."""


class Record(Struct, frozen=True, omit_defaults=True):
    """A worktree of ours.

    Attributes:
        owner: the directory of the task's attempts.
        path: where it is.
        base: the commit that it began at, and `onto` the name that was given for it.
        state: `made` is handed out. One in the making holds nobody's work, or none that is not saved; of one that
            is being mended, or was freed (its task waits for its parts), only the branch is somebody's.
    """

    owner: str
    path: str
    base: str
    onto: str = ""
    state: Literal["making", "mending", "made", "freed"] = "making"


class Place(Struct, frozen=True):
    """Where a worktree is, or would be.

    Attributes:
        common: git's directory that all checkouts of the repository share.
        name: its name in there; no two have the same.
        path: its directory.
    """

    common: str
    name: str
    path: str

    @property
    def branch(self) -> str:
        """Its branch."""
        return f"{BRANCHES}{self.name}"

    @property
    def ref(self) -> str:
        """Its branch, as git writes it in full."""
        return f"refs/heads/{self.branch}"

    @property
    def file(self) -> Path:
        """Where its record is."""
        return Path(self.common) / _FOLDER / f"{self.name}{_ENDING}"

    def read(self) -> Record | None:
        """Its record; None if it is not ours."""
        try:
            with self.file.open("rb") as file:
                return msgspec.json.decode(file.read(_LARGEST), type=Record)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None

    def write(self, record: Record) -> None:
        """Keep its record.

        Raises:
            OSError: it could not be written.
        """
        write_atomically(self.file, msgspec.json.encode(record))
        sync_directory(self.file.parent)

    def forget(self) -> None:
        """It is ours no longer."""
        self.file.unlink(missing_ok=True)


def places(repository: git.Repository, name: str) -> Iterator[Place]:
    """Where a worktree of a name may be: there, or with a number behind it. One that was made stays where it is."""
    fit = fitting(name)
    for one in (fit, *(f"{fit}-{number}" for number in range(2, _MOST))):
        place = Place(repository.common, one, f"{repository.top}/{git.FOLDER}/{one}")
        record = place.read()
        moved = record is not None and os.path.lexists(record.path)
        yield replace(place, path=record.path) if record is not None and moved else place


def fitting(name: str) -> str:
    """A name that git takes for a part of a branch; itself if it is one."""
    if _NAME.fullmatch(name) and ".." not in name and not name.endswith((".", ".lock")):
        return name
    return f"{_UNFIT.sub('-', name)[:120].strip('-') or 'task'}-{sha256(os.fsencode(name)).hexdigest()[:8]}"


def known(common: str) -> list[tuple[Place, Record]]:
    """All worktrees of ours that there are or may be, and their records."""
    folder = Path(common) / _FOLDER
    names: list[str] = []
    with suppress(OSError):
        names = sorted(path.name.removesuffix(_ENDING) for path in folder.glob(f"*{_ENDING}"))
    places = (Place(common, name, "") for name in names if name == fitting(name))
    found = ((place, place.read()) for place in places)
    return [(replace(place, path=record.path), record) for place, record in found if record is not None]


@contextmanager
def locked(common: str) -> Iterator[None]:
    """Nobody else makes or removes worktrees of ours in this repository meanwhile.

    Raises:
        GitError: somebody else has it for too long.
        OSError: there can be no lock.
    """
    folder = Path(common) / _FOLDER
    mine = _threads[common]
    if not mine.acquire(timeout=_PATIENCE):
        raise _too_long(folder)
    try:
        make_private(folder)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _flock(descriptor, folder)
            token = git.held.set((descriptor,))
            try:
                yield
            finally:
                git.held.reset(token)
        finally:
            os.close(descriptor)
    finally:
        mine.release()


def _flock(descriptor: int, folder: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise _too_long(folder) from None
            time.sleep(_LOOK)


def _too_long(folder: Path) -> git.GitError:
    return git.GitError(
        f"{folder}/lock: another process has made or removed worktrees here for {_PATIENCE:g} s"
    )
