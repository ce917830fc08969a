"""Power cuts, simulated: from what a program told the system (strace), all disks are built that a cut may leave.

The model is the weakest that POSIX allows. What was written is there for certain only after a successful fsync of that
file; before that any part of it may be there, in any order, torn at sectors. A name is there for certain only after
an fsync of its directory. After an fsync that failed, what it was about never gets to the disk by another fsync: the
system has marked it clean (that is what Linux does), although everybody still reads it.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SECTOR = 512
CALLS = "openat,close,dup,pwrite64,write,fsync,fdatasync,ftruncate,fallocate,rename,unlink,mkdir,rmdir"


def can_trace() -> bool:
    """Whether strace is there and may trace."""
    if shutil.which("strace") is None:
        return False
    return (
        subprocess.run(
            ["strace", "-f", "-o", "/dev/null", "true"], capture_output=True, check=False
        ).returncode
        == 0
    )


class Step(NamedTuple):
    """A system call that has ended: its name, its arguments as strace shows them, and its result."""

    call: str
    words: str
    result: int


def trace(script: str, *words: object, to: Path, inject: str = "") -> list[Step]:
    """Run a Python script, and return what it told the system."""
    more = ["-e", f"inject={inject}"] if inject else []
    subprocess.run(
        ["strace", "-f", "-qq", "-xx", "-s", "4194304", "-e", "signal=none", "-o", str(to), "-e", f"trace={CALLS}",
         *more, sys.executable, script, *map(str, words)],
        stdout=subprocess.DEVNULL, check=False, timeout=120,
    )  # fmt: skip
    return list(steps(to.read_text()))


_WHOLE = re.compile(r"^\d+ +(\w+)\((.*)\) += (-?\d+)")
_BEGUN = re.compile(r"^(\d+) +\w+\((.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(.*)\) += (-?\d+)")


def steps(text: str) -> Iterator[Step]:
    """The calls in the order in which they ended."""
    begun: dict[str, str] = {}
    for line in text.splitlines():
        if found := _BEGUN.match(line):
            begun[found[1]] = found[2]
        elif found := _RESUMED.match(line):
            yield Step(found[2], begun.pop(found[1], "") + found[3], int(found[4]))
        elif found := _WHOLE.match(line):
            yield Step(found[1], found[2], int(found[3]))


def _texts(words: str) -> list[bytes]:
    return [bytes.fromhex(text.replace("\\x", "")) for text in re.findall(r'"((?:\\x[0-9a-f]{2})*)"', words)]


class File:
    """What is on the disk for certain, and what was written since."""

    def __init__(self) -> None:
        self.durable = b""
        self.pending: list[tuple[int, bytes | None]] = []

    def disk(self, chance: random.Random, mode: str) -> bytes:
        """What is there after a cut."""
        found = self.durable
        if mode == "nothing":
            return found
        kept = self.pending
        if mode == "some":
            kept = [one for one in kept if chance.random() < 0.6]
            if chance.random() < 0.5:
                chance.shuffle(kept)
        for offset, data in kept:
            found = _apply(found, offset, data, chance if mode == "some" else None)
        return found


def _apply(found: bytes, offset: int, data: bytes | None, chance: random.Random | None) -> bytes:
    if data is None:
        return found[:offset].ljust(offset, b"\0")
    if chance is None or chance.random() < 0.5:
        return _put(found, offset, data)
    at = 0
    while at < len(data):
        size = SECTOR - (offset + at) % SECTOR
        if chance.random() < 0.7:
            found = _put(found, offset + at, data[at : at + size])
        at += size
    return found


def _put(found: bytes, offset: int, data: bytes) -> bytes:
    found = found.ljust(offset, b"\0")
    return found[:offset] + data + found[offset + len(data) :]


class Disk:
    """A disk below a directory, as the calls make it.

    Attributes:
        told: what the program said on standard output so far: its acknowledgements.
    """

    def __init__(self, base: Path) -> None:
        self.base = str(base)
        self.told: list[str] = []
        self._names: dict[str, File | None] = {}  # None: a directory
        self._sure: dict[str, File | None] = {}
        self._changes: list[tuple[str, str, File | None, bool]] = []
        self._open: dict[int, tuple[File | str, int]] = {}
        self._touched = 0

    def new_life(self) -> None:
        """Another process begins; the system goes on."""
        self._open = {}

    def step(self, step: Step) -> bool:
        """Follow one call. False: it was not about this disk."""
        handler, before = getattr(self, f"_{step.call}", None), self._touched
        if handler is not None and (step.result >= 0 or step.call in ("fsync", "fdatasync")):
            handler(step)
        return self._touched > before

    def _ours(self, path: bytes) -> str:
        text = path.decode()
        return text if text.startswith(f"{self.base}/") or text == self.base else ""

    def _change(self, path: str, file: File | None, there: bool) -> None:
        if there:
            self._names[path] = file
        else:
            self._names.pop(path, None)
        self._changes.append((path.rpartition("/")[0], path, file, there))
        self._touched += 1

    def _openat(self, step: Step) -> None:
        path = self._ours(_texts(step.words)[0])
        self._open.pop(step.result, None)
        if not path or path.endswith("-shm"):
            return
        if path == self.base or (path in self._names and self._names[path] is None):
            self._open[step.result] = path, 0
            return
        if path not in self._names:
            if "O_CREAT" not in step.words:
                return
            self._change(path, File(), there=True)
        file = self._names[path]
        assert isinstance(file, File)
        if "O_TRUNC" in step.words:
            file.pending.append((0, None))
        self._open[step.result] = file, 0

    def _close(self, step: Step) -> None:
        self._open.pop(int(step.words), None)

    def _pwrite64(self, step: Step) -> None:
        file, _ = self._open.get(int(step.words.split(",")[0]), ("", 0))
        if isinstance(file, File):
            self._touched += 1
            file.pending.append((int(step.words.rpartition(",")[2]), _texts(step.words)[0][: step.result]))

    def _write(self, step: Step) -> None:
        number = int(step.words.split(",")[0])
        data = _texts(step.words)[0][: step.result]
        if number == 1:
            self.told += data.decode().splitlines()
            self._touched += 1
        file, at = self._open.get(number, ("", 0))
        if isinstance(file, File):
            self._touched += 1
            file.pending.append((at, data))
            self._open[number] = file, at + len(data)

    def _ftruncate(self, step: Step) -> None:
        number, size = step.words.split(",")
        file, _ = self._open.get(int(number), ("", 0))
        if isinstance(file, File):
            self._touched += 1
            file.pending.append((int(size), None))

    def _fsync(self, step: Step) -> None:
        file, _ = self._open.get(int(step.words), ("", 0))
        self._touched += bool(file)
        if isinstance(file, File):
            if step.result == 0:
                for offset, data in file.pending:
                    file.durable = _apply(file.durable, offset, data, None)
            file.pending = []
        elif file and step.result == 0:
            for folder, path, what, there in self._changes:
                if folder == file:
                    self._settle(self._sure, path, what, there)
            self._changes = [one for one in self._changes if one[0] != file]

    _fdatasync = _fsync

    def _rename(self, step: Step) -> None:
        old, new = (self._ours(text) for text in _texts(step.words))
        if old in self._names:
            file = self._names[old]
            self._change(new, file, there=True)
            self._change(old, file, there=False)

    def _unlink(self, step: Step) -> None:
        path = self._ours(_texts(step.words)[0])
        if path in self._names:
            self._change(path, self._names[path], there=False)

    _rmdir = _unlink

    def _mkdir(self, step: Step) -> None:
        path = self._ours(_texts(step.words)[0])
        if path:
            self._change(path, None, there=True)

    @staticmethod
    def _settle(names: dict[str, File | None], path: str, file: File | None, there: bool) -> None:
        if there:
            names[path] = file
        else:
            names.pop(path, None)

    def cut(self, folder: Path, chance: random.Random, mode: str) -> None:
        """Write what is there after a cut into another directory. `mode`: nothing, all, or some of what is not sure."""
        names = dict(self._sure)
        for _, path, file, there in self._changes:
            if mode == "all" or (mode == "some" and chance.random() < 0.5):
                self._settle(names, path, file, there)
        folder.mkdir()
        for path, found in sorted(names.items()):
            place = folder / path.removeprefix(f"{self.base}/")
            if not place.parent.is_dir():
                continue  # its directory is not there
            if found is None:
                place.mkdir(exist_ok=True)
            else:
                place.write_bytes(found.disk(chance, mode))
