"""A machine whose clock is set and that sleeps: the real command in real processes, with clocks that lie.

Each process reads a file each time that it looks at a clock: by how many seconds the wall clock was set, and for how
many seconds the machine has slept. The shims' clock (`time.monotonic`) is the real one: it stands still in sleep.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli import PATIENCE, Place, Ran

_PROGRAM = """
import sys, time
wall, clock = time.time, time.clock_gettime
def told():
    with open(sys.argv[0]) as file:
        return [float(word) for word in file.read().split()]
def skewed_time():
    jumped, slept = told()
    return wall() + jumped + slept
def skewed_clock(which):
    jumped, slept = told()
    extra = {time.CLOCK_REALTIME: jumped + slept, time.CLOCK_BOOTTIME: slept}.get(which, 0.0)
    return clock(which) + extra
time.time, time.clock_gettime = skewed_time, skewed_clock
from daplug_supervisor.cli.main import main
main()
"""


class Machine:
    """A place on a machine of its own."""

    def __init__(self, place: Place) -> None:
        if not hasattr(__import__("time"), "CLOCK_BOOTTIME"):
            pytest.skip("there is no CLOCK_BOOTTIME here")
        self.place = place
        self.jumped = self.slept = 0.0
        self._file = place.home / "clocks"
        self._write()

    def jump(self, seconds: float) -> None:
        """Somebody sets the clock."""
        self.jumped += seconds
        self._write()

    def sleep(self, seconds: float) -> None:
        """The machine is suspended, and woken."""
        self.slept += seconds
        self._write()

    def _write(self) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(f"{self.jumped!r} {self.slept!r}")
        new.replace(self._file)

    def start(self, *words: str) -> subprocess.Popen[str]:
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen(
            [sys.executable, "-c", f"import sys; sys.argv[0] = {str(self._file)!r}\n{_PROGRAM}", *words],
            cwd=self.place.target,
            env=os.environ | self.place.environ,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            **pipes,
        )
        self.place.commands.append(process)
        return process

    def run(self, *words: str) -> Ran:
        process = self.start(*words)
        out, err = process.communicate(timeout=PATIENCE)
        return Ran(process.returncode, out, err)

    @property
    def file(self) -> Path:
        return self._file
