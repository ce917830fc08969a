"""What ``run-prompt --json`` prints: the run in the shape of executor.py's document."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from daplug_supervisor.core.state import Run
from daplug_supervisor.views import daplug
from daplug_supervisor.views.derived import run_state
from daplug_supervisor.workspace.files import BUNDLE, STDOUT, StateDirectory, read_tail

_MOST = 4 << 20


class _Spec(Struct):
    cwd: str | None = None


class _Bundle(Struct):
    cwd: str
    spec: _Spec
    branch: str | None = None


class _Record(Struct):
    bundle: _Bundle


def document(directory: StateDirectory, run: Run) -> daplug.PromptsRun:
    """The document of a run that has ended or stands."""
    places = {
        name: _place(Path(directory.attempt(run.id, name, task.attempt.number)))
        for name, task in run.tasks.items()
        if task.attempt is not None
    }
    report = directory.run(run.id) / "report.json"
    return daplug.document(run, run_state(run, live=True), str(report), places)


def _place(attempt: Path) -> daplug.Place:
    """Where an attempt worked, as its bundle says."""
    output = str(attempt / STDOUT)
    try:
        bundle = msgspec.json.decode(read_tail(attempt / BUNDLE, _MOST), type=_Record).bundle
    except (ValueError, RecursionError):
        return daplug.Place(output=output)
    if not bundle.branch:
        return daplug.Place(output=output)
    worktree = bundle.cwd.removesuffix(f"/{bundle.spec.cwd}" if bundle.spec.cwd else "")
    return daplug.Place(worktree, bundle.branch, output)
