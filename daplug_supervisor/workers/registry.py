"""Finds a worker by its name: those of this package, and those that other packages bring along.

A package makes a worker known with an entry point in the group ``daplug_supervisor.workers``; see
``docs/howto/workers.md``.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from daplug_supervisor.errors import SupervisorError, UsageError
from daplug_supervisor.ports import Worker
from daplug_supervisor.workers.settings import Settings
from daplug_supervisor.workers.text import one_line

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint, EntryPoints

GROUP = "daplug_supervisor.workers"
BUILT_IN = ("cli", "command", "executor")


def load(name: str, settings: Settings) -> Worker:
    """The worker called `name`, made with `settings`.

    The built-in names cannot be taken over by another package.

    Raises:
        UsageError: there is no such worker, or its package is broken; the message says which.
    """
    # Entry points are not scanned for the built-in names: that reads every installed package's metadata.
    if name == "command":
        from daplug_supervisor.workers.command import CommandWorker  # noqa: PLC0415

        return CommandWorker(settings)
    if name == "executor":
        from daplug_supervisor.workers.executor import ExecutorWorker  # noqa: PLC0415

        return ExecutorWorker(settings)
    if name == "cli":
        from daplug_supervisor.workers.cli.worker import CliWorker  # noqa: PLC0415

        return CliWorker(settings)
    return _from_entry_point(_find(name), settings)


def entry_points(*, group: str) -> EntryPoints:
    """What other packages bring along. Imported late: it is slow, and the built-in workers do without it."""
    from importlib import metadata  # noqa: PLC0415

    return metadata.entry_points(group=group)


def known() -> list[str]:
    """The names of all workers, sorted."""
    return sorted({*BUILT_IN, *entry_points(group=GROUP).names})


def _find(name: str) -> EntryPoint:
    # The same distribution can be listed twice when it is on the path twice: that is no conflict.
    found = {point.value: point for point in entry_points(group=GROUP) if point.name == name}
    if len(found) > 1:
        owners = ", ".join(sorted(_origin(point) for point in found.values()))
        raise UsageError(f"the worker {name!r} is brought along by more than one package: {owners}")
    if not found:
        names = known()
        nearest = get_close_matches(name, names, n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        raise UsageError(f"there is no worker {name!r}{hint or '.'} Known workers: {', '.join(names)}")
    return next(iter(found.values()))


def _origin(point: EntryPoint) -> str:
    dist = point.dist.name if point.dist else "an unknown distribution"
    return f"{dist} ({point.value})"


def _from_entry_point(point: EntryPoint, settings: Settings) -> Worker:
    blame = f"the worker {point.name!r} of {_origin(point)}"
    try:
        worker = point.load()(settings)
    except SupervisorError:
        raise
    except Exception as error:
        reason = one_line(f"{type(error).__name__}: {error}")
        raise UsageError(f"{blame} cannot be loaded: {reason}") from error
    missing = [
        member for member in ("problems", "command", "outcome") if not callable(getattr(worker, member, None))
    ]
    if not isinstance(getattr(worker, "output_wanted", None), int):
        missing.append("output_wanted")
    if missing:
        raise UsageError(f"{blame} is not a worker: it has no {', '.join(missing)}")
    checked: Worker = worker
    return checked
