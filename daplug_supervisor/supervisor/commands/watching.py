"""Folders that one thread watches: the event loop is woken when something in them may have changed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection
from logging import getLogger

import anyio

log = getLogger(__name__)

_STEP_MS = 200
"""How often the watching thread asks whether it should end."""

_SET_UP = (1.0, 0.3, 0.1)
"""Seconds between the first looks, the last one first: the watch needs a moment before it sees anything."""

_LOOK = 5.0
"""How often one looks even if nothing was seen to change: not every file system tells, nor has each watch room."""


class Watch:
    """What watches for one reader, within one event loop. `name` is for people."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = asyncio.Event()
        self._stop = threading.Event()
        self._patience: list[float] = []

    def arm(self, folders: Collection[str]) -> None:
        """Watch these folders, and no others any more."""
        self.end()
        self._stop, self._patience = threading.Event(), list(_SET_UP) if folders else []
        if not folders:
            return
        # Not `awatch`: when it is cancelled it waits for its thread, which may take five seconds.
        threading.Thread(
            target=self._observe,
            args=(tuple(folders), self._stop, asyncio.get_running_loop()),
            name=self._name,
            daemon=True,
        ).start()

    def wake(self) -> None:
        """Something has changed that no file tells of."""
        self._changed.set()

    async def change(self, *, only: bool = False) -> None:
        """Wait until something may have changed, or until it is time to look again; `only`: for `wake` alone."""
        patience = None if only else self._patience.pop() if self._patience else _LOOK
        with anyio.move_on_after(patience):
            await self._changed.wait()
        self._changed = asyncio.Event()

    def end(self) -> None:
        """Watch no longer."""
        self._stop.set()

    def _observe(
        self, folders: tuple[str, ...], stop: threading.Event, loop: asyncio.AbstractEventLoop
    ) -> None:
        import watchfiles  # noqa: PLC0415 (slow to import; short runs do without it)

        try:
            for _ in watchfiles.watch(
                *folders, recursive=False, step=_STEP_MS, debounce=_STEP_MS, stop_event=stop
            ):
                if stop.is_set():
                    return
                loop.call_soon_threadsafe(self.wake)
        except Exception as error:  # noqa: BLE001 (the system has no watch left, or a folder is gone: one looks anyway)
            log.info("%s: not watched, looked at every %g s: %s", self._name, _LOOK, error)
