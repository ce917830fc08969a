"""What a person should know while it lasts: a full disk, a log that grows."""

from __future__ import annotations

from collections.abc import Callable
from logging import getLogger

from daplug_supervisor.ports import Clock

log = getLogger(__name__)


class Notices:
    """Tells the log, and whoever listens, when something begins that a person should know, and when it is over.

    Args:
        clock: says how long it lasted.
    """

    def __init__(self, clock: Clock) -> None:
        self.listen: Callable[[str], None] = lambda _: None
        self._clock = clock
        self._lasting: dict[str, tuple[float, str]] = {}

    def tell(self, about: str, text: str) -> None:
        """Something lasts, or (with '' as text) does not."""
        found = self._lasting.get(about)
        if text:
            self._lasting[about] = (found[0] if found else self._clock.monotonic(), text)
            if found is None:
                self._say(text)
        elif found is not None:
            del self._lasting[about]
            self._say(f"{about}: all is well again after {self._clock.monotonic() - found[0]:.1f} s")

    def forget(self, about: str) -> None:
        """It does not last any more, and that need not be told."""
        self._lasting.pop(about, None)

    def _say(self, text: str) -> None:
        log.warning("%s", text)
        self.listen(text)

    def since(self, about: str) -> float:
        """When this began (monotonic seconds); now, if it is not so."""
        return self._lasting[about][0] if about in self._lasting else self._clock.monotonic()

    @property
    def texts(self) -> list[str]:
        """All that is so now."""
        return [text for _, text in self._lasting.values()]
