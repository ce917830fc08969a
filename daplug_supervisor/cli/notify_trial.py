"""``check PLAN --notify``: a message about nothing, to see whether it arrives before a night depends on that."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import anyio
from msgspec import Struct

from daplug_supervisor.cli import options
from daplug_supervisor.cli.output import mask, print_data
from daplug_supervisor.core.environment import handed_on
from daplug_supervisor.core.plan import Plan
from daplug_supervisor.core.secrets import Mask
from daplug_supervisor.errors import EXIT_DONE, EXIT_NOT_ALL_DONE, UsageError
from daplug_supervisor.ports import Clock, Launcher
from daplug_supervisor.processes.launch import ShimLauncher
from daplug_supervisor.supervisor.clock import SystemClock
from daplug_supervisor.supervisor.notifying.messengers import Sender, send
from daplug_supervisor.views.text import clean
from daplug_supervisor.views.told import trial


class Tried(Struct, frozen=True):
    """One way in which a trial message was sent; `problem` is why it was not taken, '' if it was."""

    way: str
    problem: str = ""


class _Office:
    def __init__(self) -> None:
        self.clock: Clock = SystemClock()
        self.launcher: Launcher = ShimLauncher(handed_on(os.environ))
        self.environ: Mapping[str, str] = os.environ
        self.mask: Mask = mask()


def try_out(plan: Plan, *, as_json: bool) -> int:
    """Send a trial message in every way that a plan names, and say how that went.

    Raises:
        UsageError: it names none.
    """
    if not plan.notify.wanted:
        raise UsageError("the plan tells nobody: give it notify with command, webhook or desktop: true")
    found = anyio.run(_send, plan, str(options.here()))
    text = "\n".join(
        f"{one.way}: {clean(one.problem)}" if one.problem else f"{one.way}: sent; see whether it arrived"
        for one in found
    )
    print_data(found, text, as_json=as_json)
    return EXIT_NOT_ALL_DONE if any(one.problem for one in found) else EXIT_DONE


async def _send(plan: Plan, target: str) -> list[Tried]:
    office = _Office()
    await office.launcher.open()
    try:
        with tempfile.TemporaryDirectory(prefix="daplug-notify-") as folder:
            sender = Sender(office, plan.notify, Path(folder), target, plan.pass_env)
            found = await send(sender, trial(plan, target, office.clock.now()))
    finally:
        await office.launcher.close()
    return [Tried(way, problem) for way, problem in found.items()]
