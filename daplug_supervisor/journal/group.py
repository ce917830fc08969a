"""A group of events on its way to the disk (`ports.Durable`)."""

from __future__ import annotations

import asyncio

from daplug_supervisor.errors import JournalError


class Group:
    """Events that become durable together, and those who wait for it."""

    def __init__(self) -> None:
        self._done = asyncio.Event()
        self._error: JournalError | None = None

    def finish(self, error: JournalError | None) -> None:
        """It is on disk, or will never be."""
        self._error = error
        self._done.set()

    async def wait(self) -> None:
        """Wait until it is on disk.

        Raises:
            JournalError: it will never be.
        """
        await self._done.wait()
        if self._error is not None:
            raise self._error
