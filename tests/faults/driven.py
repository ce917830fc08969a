"""For tests of signals: the command in the foreground, on pipes or on a real terminal, and what a person does to it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cli
from cli import PATIENCE, Place, until

from daplug_supervisor.cli.driving.foreground import ONE_WISH

HIDDEN = ("\x1b[?25l", "\x1b[?1049h")
"""What takes the cursor or the screen away from whoever comes next."""

_KEYS = {signal.SIGINT: b"\x03", signal.SIGQUIT: b"\x1c"}


class Driven:
    """The command at work, in a session of its own; `terminal`: that has a terminal, and the command is in front."""

    def __init__(self, place: Place, *words: str, terminal: bool = False) -> None:
        self.terminal, self.data = terminal, b""
        self._parent, child = pty.openpty() if terminal else os.pipe()
        if terminal:
            fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        self.process = subprocess.Popen(
            [cli.PROGRAM, *words],
            stdin=child if terminal else subprocess.DEVNULL,
            stdout=child,
            stderr=child,
            cwd=place.target,
            env=place.environ,
            start_new_session=True,
            preexec_fn=(lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) if terminal else None,  # noqa: PLW1509
        )
        os.close(child)
        place.others.append(self.process)
        self._pressed = 0.0
        self._open = True
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        return self.data.decode("utf-8", "replace")

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while self._open:
                if select.select([self._parent], [], [], 0.02)[0]:
                    data = os.read(self._parent, 65536)
                    if not data:
                        return
                    self.data += data

    def says(self, text: str) -> None:
        until(lambda: text in self.text, f"it says {text!r}, not {self.text!r}")

    def press(self, number: signal.Signals) -> None:
        """Signal it, at the pace of a person: with the key of the terminal if there is one."""
        time.sleep(max(0.0, self._pressed + 1.5 * ONE_WISH - time.monotonic()))
        if self.terminal and number in _KEYS:
            self.type(_KEYS[number])
        else:
            self.process.send_signal(number)
        self._pressed = time.monotonic()

    def type(self, keys: bytes) -> None:
        os.write(self._parent, keys)

    def resize(self, columns: int) -> None:
        fcntl.ioctl(self._parent, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))

    def close(self) -> None:
        """Nobody reads any more: the terminal is closed, which hangs it up, or the pipe is."""
        if self._open:
            self._open = False
            self._reader.join(PATIENCE)
            os.close(self._parent)

    def finish(self) -> int:
        """Wait for its end; the exit code, or minus the signal that killed it."""
        code = self.process.wait(PATIENCE)
        if self._open:
            self._reader.join(PATIENCE)
            self.close()
        assert "Traceback" not in self.text, self.text
        for hidden in HIDDEN:
            assert hidden not in self.text
        return code

    def stopped(self) -> bool:
        state = Path(f"/proc/{self.process.pid}/stat").read_bytes().rpartition(b") ")[2][:1]
        return state in (b"T", b"t")


@contextlib.contextmanager
def fresh(folder: Path) -> Iterator[Place]:
    """A place for one case of many."""
    folder.mkdir()
    place = Place(folder)
    try:
        yield place
    finally:
        place.close()
