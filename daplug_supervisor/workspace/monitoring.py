"""The files that tell of orchestrations: their state, their events, a record of each, and the hand-offs of tasks.

All of it follows from the journal and is made anew when it is lost, so nothing here waits for the disk.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

import msgspec

from daplug_supervisor.workspace.files import open_output

STATE = "orchestrations.json"
EVENTS = "orchestration-events.jsonl"
FOLDER = "orchestrations"
HANDOFFS = "handoffs"

_ENDED = "ended.json"
_TAIL = 1 << 18
_LARGEST = 64 << 20

Ended = dict[str, tuple[int, int, int]]


class _Place(msgspec.Struct):
    seq: int


class Monitoring:
    """The files in one state directory. Made of them is only what is missing; the directory itself is not.

    Args:
        path: the state directory.
    """

    def __init__(self, path: Path) -> None:
        self.state = path / STATE
        self.events = path / EVENTS
        self.folder = path / FOLDER
        self._size: int | None = None
        self._written: dict[Path, int] = {}

    # --- what has ended

    def ended(self) -> Ended | None:
        """What runs that have ended came to; None if nobody has ever written that down."""
        path = self.folder / _ENDED
        if not os.path.lexists(path):
            return None
        with contextlib.suppress(OSError, ValueError, RecursionError), open_output(path) as file:
            return msgspec.json.decode(file.read(_LARGEST), type=Ended)
        return {}

    def keep_ended(self, ended: Ended) -> None:
        """Write that down.

        Raises:
            OSError: it could not be written.
        """
        self.folder.mkdir(mode=0o700, exist_ok=True)
        _replace(self.folder / _ENDED, msgspec.json.encode(ended))

    # --- the events

    def last_told(self) -> tuple[int, int]:
        """Of which event the last line tells, and how many lines tell of that one; what was cut short is taken away.

        Raises:
            OSError: the file cannot be read or mended.
        """
        try:
            descriptor = _open(self.events, os.O_RDWR)
        except FileNotFoundError:
            self._size = 0
            return 0, 0
        with os.fdopen(descriptor, "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            begin = max(0, size - _TAIL)
            file.seek(begin)
            lines = file.read(_TAIL).splitlines(keepends=True)
            places = [_seq(line) for line in lines]
            while places and places[-1] is None:
                size -= len(lines.pop())
                places.pop()
            file.truncate(size)
        self._size = size
        last = places[-1] if places else None
        return (0, 0) if last is None else (last, places.count(last))

    def tell(self, lines: bytes) -> None:
        """Add lines.

        Raises:
            OSError: they could not be written; a part of them that was is taken away before the next ones.
        """
        descriptor = _open(self.events, os.O_WRONLY | os.O_CREAT)
        try:
            there = os.fstat(
                descriptor
            ).st_size  # less than we wrote, if somebody has moved or emptied it meanwhile
            self._size = there if self._size is None else min(self._size, there)
            os.ftruncate(descriptor, self._size)
            os.lseek(descriptor, self._size, os.SEEK_SET)
            left = memoryview(lines)
            while left:
                left = left[os.write(descriptor, left) :]
            self._size += len(lines)
        finally:
            os.close(descriptor)

    # --- state, records, hand-offs

    def keep_state(self, data: bytes) -> None:
        """Replace the state.

        Raises:
            OSError: it could not be written.
        """
        _replace(self.state, data)

    def keep_records(self, run: str, records: Mapping[str, bytes]) -> None:
        """Write the records of a run, by their names, where they have changed.

        Raises:
            OSError: one could not be written.
        """
        for name, data in records.items():
            path, mark = self.folder / run / f"{name}.json", hash(data)
            if self._written.get(path) != mark:
                self._folder(run)
                _replace(path, data)
                self._written[path] = mark

    def forget(self, run: str) -> None:
        """Nothing more is written of a run."""
        for path in [path for path in self._written if path.parent.name == run]:
            del self._written[path]

    def handed(self, run: str) -> set[str]:
        """The tasks of a run of which there is a hand-off."""
        with contextlib.suppress(OSError), os.scandir(self.folder / run / HANDOFFS) as entries:
            return {entry.name.removesuffix(".json") for entry in entries if entry.name.endswith(".json")}
        return set()

    def hand_off(self, run: str, task: str, data: bytes) -> None:
        """Write the hand-off of a task, unless there is one: it is never replaced.

        Raises:
            OSError: it could not be written.
        """
        folder = self._folder(run) / HANDOFFS
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / f"{task}.json"
        if not os.path.lexists(path):
            _replace(path, data)

    def _folder(self, run: str) -> Path:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        folder = self.folder / run
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder


def read_state(path: Path) -> bytes:
    """The state that the last supervisor wrote in a state directory; empty if it cannot be read."""
    with contextlib.suppress(OSError), open_output(path / STATE) as file:
        return file.read(_LARGEST)
    return b""


def _seq(line: bytes) -> int | None:
    """Of which event a line tells; None if it is not whole."""
    if line.endswith(b"\n"):
        with contextlib.suppress(ValueError, RecursionError):
            return msgspec.json.decode(line, type=_Place).seq
    return None


def _open(path: Path, flags: int) -> int:
    """Open an ordinary file of ours.

    Raises:
        OSError: it is something else.
    """
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is not an ordinary file")
    return descriptor


def _replace(path: Path, data: bytes) -> None:
    """As `files.write_atomically`, without waiting for the disk: after a power cut it is made anew."""
    temporary = path.with_name(f".{path.name}.tmp")
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
    )
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
