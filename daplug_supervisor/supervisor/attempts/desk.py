"""What slots need of their supervisor."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.secrets import Mask
from daplug_supervisor.core.state import Run
from daplug_supervisor.ports import Attached, Clock, Durable, Launcher, Worker
from daplug_supervisor.supervisor.commands.outboxes import Outboxes
from daplug_supervisor.supervisor.monitoring.health import HealthCheck
from daplug_supervisor.supervisor.notifying.notices import Notices
from daplug_supervisor.workspace.files import StateDirectory


class Desk(Protocol):
    """What a slot needs of its supervisor."""

    directory: StateDirectory
    clock: Clock
    launcher: Launcher
    live: dict[tuple[str, str], Attached]
    stopping: bool
    notices: Notices
    health: HealthCheck
    outboxes: Outboxes
    environ: Mapping[str, str]
    mask: Mask

    def check(self) -> None:
        """Check that the state directory is where it was."""
        ...

    def record(self, run: str, *events: ev.Event) -> Durable:
        """Record events of a run."""
        ...

    async def settle(self) -> None:
        """Wait until all that was recorded is durable."""
        ...

    def worker(self, run: Run, provider: str) -> Worker:
        """The worker of a provider."""
        ...

    def queue(self, name: str) -> asyncio.Lock:
        """Where those wait that want to do one and the same thing one after another."""
        ...

    def forget(self, run: str) -> None:
        """Have a finished run no longer at hand."""
        ...
