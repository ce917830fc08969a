"""``status --watch``: the screen that a person keeps open, and plain lines where there is no screen."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import click

from daplug_supervisor.cli.watch.journal import Following, changes
from daplug_supervisor.cli.watch.picture import Picture
from daplug_supervisor.errors import EXIT_HUP, EXIT_INT, EXIT_QUIT, EXIT_TERM, SupervisorError
from daplug_supervisor.views.live.keys import keys
from daplug_supervisor.views.status import status
from daplug_supervisor.views.status_text import status_line
from daplug_supervisor.views.text import at_clock
from daplug_supervisor.workspace.files import StateDirectory

if TYPE_CHECKING:
    from daplug_supervisor.cli.watch.screen import Terminal

_SECOND = 1.0
_SELDOM = 10.0
"""Seconds between two pictures while nothing is at work: a rest counts down, a supervisor may have died."""

_PAUSE = 0.4
"""Seconds that a picture stays at least, however much happens; keys are answered at once."""

_ENDS = {
    signal.SIGINT: EXIT_INT,
    signal.SIGTERM: EXIT_TERM,
    signal.SIGHUP: EXIT_HUP,
    signal.SIGQUIT: EXIT_QUIT,
}
_AGAIN = (signal.SIGWINCH, signal.SIGCONT)
_GONE = frozenset({errno.EIO, errno.EPIPE, errno.ENXIO, errno.EBADF})


def watch(directory: StateDirectory, run: str | None) -> int:
    """Show a run until a person leaves; without a screen, until nobody drives it any more."""
    from daplug_supervisor.cli.watch.screen import able  # noqa: PLC0415 (rich is slow to import)

    following = Following(directory, run)
    try:
        return anyio.run(_watch, following) if able() else anyio.run(_lines, following)
    finally:
        following.close()


# --- without a screen -----------------------------------------------------------------------------------------


async def _lines(following: Following) -> int:
    """A line whenever the numbers change; it ends when nothing can change any more."""
    last = ""
    wakes = _Wakes()
    async with _attending(following, wakes):
        while True:
            wakes.clear()
            following.read()
            now = following.now()
            view = status(following.run, now, following.live)
            line = status_line(view)
            if line != last:
                click.echo(f"{at_clock(now, now)} {line}")
                last = line
            if view.state in ("finished", "halted", "interrupted") or not following.live:
                return 0
            await wakes.wait(_SELDOM)


class _Wakes:
    """What the screen waits for: something `new` in the journal, or something that wants an answer `now`."""

    def __init__(self) -> None:
        self._patience = _SECOND / 4
        self.clear()

    def clear(self) -> None:
        """What is told from now on is new."""
        self._event, self._at_once = anyio.Event(), anyio.Event()

    def news(self) -> None:
        """Something was written."""
        self._event.set()

    def at_once(self) -> None:
        """Something was typed, say."""
        self._event.set()
        self._at_once.set()

    async def wait(self, patience: float) -> None:
        """Until there is something, or patience is over; what need not be shown at once is collected for a while.

        At first patience is short: what is written while somebody begins to listen is not heard of.
        """
        self._patience = min(_SELDOM, 2 * self._patience)
        with anyio.move_on_after(min(patience, self._patience)):
            await self._event.wait()
        with anyio.move_on_after(_PAUSE):
            await self._at_once.wait()


@contextlib.asynccontextmanager
async def _attending(
    following: Following, wakes: _Wakes, *more: Callable[[], Coroutine[Any, Any, None]]
) -> AsyncIterator[None]:
    """Attend to the journal, and to whatever else, as long as this lasts. What goes wrong within is raised as it is."""
    problem: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_attend, following.directory, wakes)
        for one in more:
            tasks.start_soon(one)
        try:
            yield
        except (SupervisorError, OSError) as error:
            problem = error
        tasks.cancel_scope.cancel()
    if problem is not None:
        raise problem


async def _attend(directory: StateDirectory, wakes: _Wakes) -> None:
    async for _ in changes(directory):
        wakes.news()


# --- the screen -----------------------------------------------------------------------------------------------


class _Session:
    """A person before the screen: keys, signals, and when it is over."""

    def __init__(self, following: Following, terminal: Terminal) -> None:
        self.wakes = _Wakes()
        self.code: int | None = None
        self._following, self._terminal = following, terminal
        self._picture = Picture(following, terminal.width, terminal.height)

    async def show(self, signals: AsyncIterator[signal.Signals]) -> int:
        """Draw whenever there is something new, until it is over; the exit code."""
        others: list[Callable[[], Coroutine[Any, Any, None]]] = [partial(self._obey, signals)]
        if self._terminal.keys is not None:
            others.append(self._keys)
        async with _attending(self._following, self.wakes, *others):
            while self.code is None and not self._picture.look.over:
                self.wakes.clear()
                self._following.read()
                self._terminal.draw(self._picture.lines())
                await self.wakes.wait(_SECOND - _PAUSE if self._following.ticking else _SELDOM)
        return self.code or 0

    async def _keys(self) -> None:
        rest = b""
        while self.code is None:
            data = await self._typed()
            if not data:
                self.end(EXIT_HUP)
            rest = self._picture.press(rest + data)
            if "redraw" in keys(data)[0]:
                self._terminal.measure()
            self.wakes.at_once()

    async def _typed(self) -> bytes:
        """What was typed next; nothing: the terminal is gone."""
        assert self._terminal.keys is not None  # noqa: S101
        try:
            await anyio.wait_readable(self._terminal.keys)
            return self._terminal.read()
        except OSError:
            return b""

    async def _obey(self, signals: AsyncIterator[signal.Signals]) -> None:
        async for number in signals:
            if number in _ENDS:
                self.end(_ENDS[number])
            elif number == signal.SIGTSTP:
                self._rest()
            self._terminal.measure()
            self._picture.size = self._terminal.width, self._terminal.height
            self.wakes.at_once()

    def _rest(self) -> None:
        """Ctrl-Z: give the terminal back, stop, and take it again when the shell lets us go on."""
        self._terminal.give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._terminal.take_again()

    def end(self, code: int) -> None:
        """It is over."""
        self.code = code
        self.wakes.at_once()


async def _watch(following: Following) -> int:
    from daplug_supervisor.cli.watch.screen import Terminal  # noqa: PLC0415 (rich is slow to import)

    known = (*_ENDS, *_AGAIN, signal.SIGTSTP)
    heard = [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]
    try:
        # Who is killed between taking the terminal and listening could not give it back.
        with anyio.open_signal_receiver(*heard) as signals, Terminal() as terminal:
            return await _Session(following, terminal).show(signals)
    except OSError as error:
        if error.errno in _GONE:
            return EXIT_HUP  # nobody is there to be told anything
        raise
