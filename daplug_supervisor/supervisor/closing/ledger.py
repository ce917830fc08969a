"""Writing what a run's directory says of the run beside its report."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from daplug_supervisor.core.model import Run
from daplug_supervisor.core.secrets import Mask
from daplug_supervisor.views.evaluation.ledger import ledger
from daplug_supervisor.views.text import harmless_json
from daplug_supervisor.workspace.files import StateDirectory, make_private, write_atomically

PARTS: Final = ("dispatch", "tasks", "verification", "merge")
MOST_TASKS: Final = 200
"""Tasks of a run of which all this is written: of a larger one the report says it, and much sooner."""

TASK_REPORT: Final = "report.json"


def write_ledger(directory: StateDirectory, run: Run, mask: Mask) -> None:
    """Write ``plan.json``, ``dispatch.json``, ``tasks.json``, ``verification.json`` and ``merge.json`` of a run.

    Each task that had an attempt gets a ``report.json`` in its directory.

    Raises:
        OSError: something could not be written.
    """
    folder = directory.run(run.id)
    make_private(folder)
    found = ledger(run)
    write_atomically(folder / "plan.json", _document(run.plan, mask))
    for part in PARTS:
        write_atomically(folder / f"{part}.json", _document(getattr(found, part), mask))
    for row in [row for row in found.tasks if row.attempts]:
        _write_task(folder / row.task, _document(row, mask))


def _write_task(folder: Path, data: bytes) -> None:
    if folder.is_dir() and not folder.is_symlink():
        write_atomically(folder / TASK_REPORT, data)


def _document(value: object, mask: Mask) -> bytes:
    told = mask.within(msgspec.to_builtins(value))  # agents and programs say and name things as they like
    return harmless_json(msgspec.json.format(msgspec.json.encode(told), indent=2).decode()).encode() + b"\n"
