"""A durable supervisor for batches of coding-agent tasks.

Embed it in an asyncio program::

    async with Supervisor(".daplug") as supervisor:
        run = await supervisor.submit(load_plan("plan.yaml"))
        report = await run.wait()
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from daplug_supervisor.core.bundle import Bundle, Command, Evidence
    from daplug_supervisor.core.events import Entry, Event
    from daplug_supervisor.core.machine import Status
    from daplug_supervisor.core.plan import Budget, Loop, Plan, Provider, Retry, Task
    from daplug_supervisor.core.results import Exit, Outcome, OutcomeKind, Usage
    from daplug_supervisor.core.state import Run
    from daplug_supervisor.errors import (
        BusyError,
        HaltedError,
        JournalError,
        LaunchError,
        NotPossibleError,
        PlanError,
        StateDirectoryError,
        SupervisorError,
        UsageError,
    )
    from daplug_supervisor.formats import load_plan
    from daplug_supervisor.ports import Worker
    from daplug_supervisor.supervisor.handle import RunHandle
    from daplug_supervisor.supervisor.supervisor import Supervisor
    from daplug_supervisor.views.report.contents import Report
    from daplug_supervisor.workers.settings import Settings

__version__ = "0.1.0"

__all__ = [
    "Budget",
    "Bundle",
    "BusyError",
    "Command",
    "Entry",
    "Event",
    "Evidence",
    "Exit",
    "HaltedError",
    "JournalError",
    "LaunchError",
    "Loop",
    "NotPossibleError",
    "Outcome",
    "OutcomeKind",
    "Plan",
    "PlanError",
    "Provider",
    "Report",
    "Retry",
    "Run",
    "RunHandle",
    "Settings",
    "StateDirectoryError",
    "Status",
    "Supervisor",
    "SupervisorError",
    "Task",
    "Usage",
    "UsageError",
    "Worker",
    "__version__",
    "load_plan",
]

_PLACES = {
    "Budget": "core.plan",
    "Bundle": "core.bundle",
    "BusyError": "errors",
    "Command": "core.bundle",
    "Entry": "core.events",
    "Event": "core.events",
    "Evidence": "core.bundle",
    "Exit": "core.results",
    "HaltedError": "errors",
    "JournalError": "errors",
    "LaunchError": "errors",
    "Loop": "core.plan",
    "NotPossibleError": "errors",
    "Outcome": "core.results",
    "OutcomeKind": "core.results",
    "Plan": "core.plan",
    "PlanError": "errors",
    "Provider": "core.plan",
    "Report": "views.report.contents",
    "Retry": "core.plan",
    "Run": "core.state",
    "RunHandle": "supervisor.handle",
    "Settings": "workers.settings",
    "StateDirectoryError": "errors",
    "Status": "core.machine",
    "Supervisor": "supervisor.supervisor",
    "SupervisorError": "errors",
    "Task": "core.plan",
    "Usage": "core.results",
    "UsageError": "errors",
    "Worker": "ports",
    "load_plan": "formats",
}
"""Where each public name is. They are imported when they are asked for: the command line starts without them."""


def __getattr__(name: str) -> Any:
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{place}"), name)


def __dir__() -> list[str]:
    return __all__
