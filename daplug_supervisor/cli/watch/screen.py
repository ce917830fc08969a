"""A terminal that is taken over for a while: its other screen, single keys, and all of it given back in the end."""

from __future__ import annotations

import contextlib
import os
import sys
import termios
import tty
from collections.abc import Sequence
from functools import cache
from types import TracebackType
from typing import Any, Self

from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style

from daplug_supervisor.views.live.lines import Line, in_ascii, size

# The other screen, no cursor, no wrapping (a character may be wider here than we think); and back.
_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[H\x1b[2J"
_LEAVE = "\x1b[?7h\x1b[0m\x1b[?25h\x1b[?1049l"
_ERASE = "\x1b[K"
_CHUNK = 1024
_SYSTEMS = {
    "standard": ColorSystem.STANDARD,
    "256": ColorSystem.EIGHT_BIT,
    "truecolor": ColorSystem.TRUECOLOR,
}


def able() -> bool:
    """Whether there is a terminal that a screen can be shown on."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown", "")


class Terminal:
    """The terminal while it shows our screen. Use it with ``with``: whatever happens within, it is given back.

    Attributes:
        keys: the file to read keys from, or None: standard input is no terminal.
    """

    def __init__(self) -> None:
        console = Console()
        self._colours = _SYSTEMS.get(console.color_system or "")
        self._plain = console.no_color
        self._signs = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
        self._out = sys.stdout.fileno()
        self.keys = sys.stdin.fileno() if sys.stdin.isatty() else None
        self._before: list[Any] | None = None
        self._drawn: list[str] = []
        self.width, self.height = 80, 24

    def __enter__(self) -> Self:
        try:
            self._take()
        except BaseException:
            self.give_back()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_back()

    def _take(self) -> None:
        if self.keys is not None:
            self._before = termios.tcgetattr(self.keys)
            tty.setcbreak(self.keys)  # Ctrl-C and Ctrl-Z stay signals
        self._write(_ENTER)
        self.measure()

    def take_again(self) -> None:
        """After it was given back for a while."""
        self._take()

    def give_back(self) -> None:
        """As it was before. Nothing stops this: what of it is possible is done."""
        with contextlib.suppress(OSError):
            self._write(_LEAVE)
        if self._before is not None and self.keys is not None:
            with contextlib.suppress(OSError, termios.error):
                termios.tcsetattr(self.keys, termios.TCSANOW, self._before)
            self._before = None

    def measure(self) -> None:
        """Ask for its size, and draw everything anew next time."""
        try:
            found = os.get_terminal_size(self._out)
        except OSError:
            found = os.terminal_size((0, 0))
        self.width, self.height = found.columns or 80, found.lines or 24
        self._drawn = []

    def read(self) -> bytes:
        """What was typed; nothing: the terminal is gone."""
        assert self.keys is not None  # noqa: S101
        return os.read(self.keys, _CHUNK)

    def draw(self, lines: Sequence[Line]) -> None:
        """Show lines; only those that have changed are sent.

        Raises:
            OSError: the terminal is gone.
        """
        # What fills its row is not followed by an erasure: that would take its last character.
        said = [self._line(line) + (_ERASE if size(line) < self.width else "") for line in lines]
        news = [] if self._drawn else ["\x1b[2J"]
        for at, text in enumerate(said):
            if at >= len(self._drawn) or self._drawn[at] != text:
                news.append(f"\x1b[{at + 1};1H{text}")
        self._drawn = said
        if news:
            self._write("".join(news))

    def _line(self, line: Line) -> str:
        if not self._signs:
            line = tuple((in_ascii(text), style) for text, style in line)
        return "".join(self._styled(text, style) for text, style in line)

    def _styled(self, text: str, style: str) -> str:
        if not style or self._colours is None:
            return text
        return _style(style, no_color=self._plain).render(text, color_system=self._colours)

    def _write(self, text: str) -> None:
        data = text.encode(sys.stdout.encoding or "ascii", "replace")
        while data:
            data = data[os.write(self._out, data) :]


@cache
def _style(words: str, *, no_color: bool) -> Style:
    found = Style.parse(words)
    return found.without_color if no_color else found
