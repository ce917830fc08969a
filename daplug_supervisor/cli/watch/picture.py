"""What is on the screen of ``status --watch``, and what it is made of."""

from __future__ import annotations

from daplug_supervisor.cli.output import mask
from daplug_supervisor.cli.watch.journal import Following
from daplug_supervisor.cli.watch.tails import Tails
from daplug_supervisor.core.health import Suspect
from daplug_supervisor.journal import wal
from daplug_supervisor.views.live.digest import Digest, digest
from daplug_supervisor.views.live.head import Shown
from daplug_supervisor.views.live.keys import Look, keys, pressed
from daplug_supervisor.views.live.lines import Line
from daplug_supervisor.views.live.screen import rows_of, screen, tree_room
from daplug_supervisor.views.live.tree import Row
from daplug_supervisor.views.text import command
from daplug_supervisor.workspace import room, suspects

_SELDOM = 10.0
"""Seconds after which is looked again for what the journal does not tell."""

_OTHERS = 2


class Picture:
    """What is on the screen.

    Args:
        following: the run.
        width, height: of the terminal.

    Attributes:
        look: what the person looks at.
        size: width and height of the terminal; may change.
    """

    def __init__(self, following: Following, width: int, height: int) -> None:
        self.look = Look()
        self.size = width, height
        self._following, self._tails = following, Tails(following.directory, mask())
        self._digest = Digest(0.0)
        self._seq = -1
        self._rows: tuple[object, list[Row]] = None, []
        self._notices: list[str] = []
        self._suspects: tuple[Suspect, ...] = ()
        self._noted_at = 0.0

    def lines(self) -> list[Line]:
        """As it is now."""
        shown = self._shown()
        rows, _ = self._tree(shown)
        printed: list[str] = []
        if self.look.panel == "output":
            printed = self._tails.lines(shown.run, self.look.chosen, self.size[1])
        return screen(shown, self.look, *self.size, rows, printed)

    def press(self, data: bytes) -> bytes:
        """Do what keys ask for; what is only the beginning of one is given back."""
        found, rest = keys(data)
        for key in found:
            shown = self._shown()
            self.look = pressed(self.look, key, shown.run, *self._tree(shown))
        return rest

    def _shown(self) -> Shown:
        following = self._following
        run, now = following.run, following.now()
        seldom = abs(now - self._noted_at) >= _SELDOM
        if seldom:
            self._note(now)
        if seldom or following.seq != self._seq:
            self._digest, self._seq = digest(run, now), following.seq
        more = len(following.others) - _OTHERS
        others = [
            f"also unfinished here: {name} ({command('status', name, '--watch')})"
            for name in following.others
        ]
        return Shown(
            run,
            now,
            following.live,
            self._digest,
            self._tails.last(run, self._digest.work[: self.size[1]], following.ahead()),
            self._notices,
            [*others[:_OTHERS], *([f"and {more} more unfinished runs"] if more > 0 else [])],
            self._suspects,
            following.directory.stop_requested(),
        )

    def _note(self, now: float) -> None:
        directory = self._following.directory
        notices = (room.notice(str(directory.path)), wal.large(directory.journal))
        self._notices = [text for text in notices if text]
        self._suspects = suspects.read(directory.run(self._following.run.id))
        self._noted_at = now

    def _tree(self, shown: Shown) -> tuple[list[Row], int]:
        """The rows of the tree, and how many of them fit."""
        fits = tree_room(shown, *self.size)
        key = self._seq, fits, self.look.wanted, self.look.opened
        if self._rows[0] != key:
            self._rows = key, rows_of(shown.run, self.look, fits)
        return self._rows[1], fits
