"""The bundles of a ``.tasker`` run while it goes on: seen to before every attempt."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec.structs import replace

from daplug_supervisor.core.tasker.bundle import ARTIFACTS, Integrity
from daplug_supervisor.core.tasker.records import DIRECTORY, FSM_INDEX, STATE, Home
from daplug_supervisor.formats.tasker import shapes as tasker_shapes
from daplug_supervisor.formats.tasker.home import home
from daplug_supervisor.views.text import stamp
from daplug_supervisor.workspace.folders import entered, read_below
from daplug_supervisor.workspace.tasker import bundles as task_bundles

Stamps = tuple[tuple[str, int, int, int], ...]


class TaskBundles:
    """Sees that each task of a session has a bundle that may be used.

    Args:
        target: the directory that has ``.tasker``.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._directory = target.absolute() / DIRECTORY
        self._last: tuple[Home, Stamps] | None = None

    def ready(self, task: str, now: float, root: str = "") -> Integrity:
        """As `task_bundles.ready`; `root` is where the task will work, if that is not the target.

        Raises:
            OSError: the bundle could not be written.
        """
        return task_bundles.ready(str(self._directory), task, lambda: self._load(task), stamp(now), root)

    def _load(self, task: str) -> Home:
        """What the directory says; read as a whole only if something that this task is made from has changed.

        Raises:
            PlanError: something that this task is made from cannot be used.
        """
        now = tuple(self._stamps(task))
        known = self._last
        if known is not None and self._same(known[1], now):
            with suppress(
                OSError, ValueError, msgspec.MsgspecError, RecursionError, tasker_shapes.ShapeError
            ):
                data = read_below(self._directory, STATE) or b""
                return replace(known[0], session=tasker_shapes.session(msgspec.json.decode(data)))
        found = home(self._target)
        every = (one for name in found.tasks for one in self._stamps(name))
        self._last = found, tuple(dict.fromkeys(every))
        return found

    @staticmethod
    def _same(before: Stamps, now: Stamps) -> bool:
        return set(now) <= set(before)

    def _stamps(self, task: str) -> Iterator[tuple[str, int, int, int]]:
        """What says whether files were changed since: of all that the bundle of a task is made from."""
        folder = os.path.dirname(FSM_INDEX)  # noqa: PTH120 (a name, not a place)
        names = [*ARTIFACTS, f"tasks/{task}.json", folder]
        with suppress(OSError), entered(self._directory, *folder.split("/")) as found:
            names += sorted(f"{folder}/{one.name}" for one in found.iterdir())
        for name in names:
            try:
                status = (self._directory / name).lstat()
            except OSError:
                yield name, 0, 0, 0
            else:
                yield name, status.st_ino, status.st_size, status.st_mtime_ns
