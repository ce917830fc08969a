"""For tests of storage: a small disk of our own, in a mount namespace, and a disk that can be filled."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

_WAYS = (["unshare", "-m"], ["unshare", "-r", "-m"])
_MOUNT = 'mount -t tmpfs -o size="$0",mode=0700 tmpfs "$1" && shift && exec "$@"'


@cache
def way() -> tuple[str, ...]:
    """How a process gets mounts of its own here: as root, or with a user namespace; empty if not at all."""
    for words in _WAYS if shutil.which("unshare") else ():
        tried = subprocess.run(
            [*words, "sh", "-c", _MOUNT, "1m", "/mnt", "true"], capture_output=True, check=False, timeout=20
        )
        if tried.returncode == 0:
            return tuple(words)
    return ()


def on_small_disk(folder: Path, size: str, script: Path, *words: object, patience: float = 60) -> Any:
    """Run a script with an empty disk of its own mounted at ``folder/disk``; returns the JSON that it prints last."""
    if not way():
        pytest.skip("no mounts of our own here: neither as root nor in a user namespace")
    disk = folder / "disk"
    disk.mkdir()
    shell = ["sh", "-c", _MOUNT, size, str(disk), sys.executable, str(script), str(folder)]
    done = subprocess.run(
        [*way(), *shell, *map(str, words)], capture_output=True, text=True, check=False, timeout=patience
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


class Filled:
    """A file that takes all the room there is, but for `left` bytes, until it is removed."""

    def __init__(self, disk: Path, left: int = 0) -> None:
        self._path = disk / "fill"
        with self._path.open("wb", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue
            if left:
                file.truncate(max(0, file.tell() - left))

    def remove(self) -> None:
        self._path.unlink()
