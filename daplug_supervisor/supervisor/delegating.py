"""Delegating: the workspace of a task that hands its work to its children is freed, and what is in it is kept."""

from __future__ import annotations

from daplug_supervisor.core.bundle import Bundle
from daplug_supervisor.core.state import Run
from daplug_supervisor.supervisor.desk import Desk


async def release(desk: Desk, run: Run, bundle: Bundle) -> str:
    """Keep the unfinished work of an attempt whose task is delegated, and free where it worked; returns the ref."""
    del desk, run, bundle
    return ""
