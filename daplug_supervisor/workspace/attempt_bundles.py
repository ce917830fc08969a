"""The bundles that attempts of a run were given: read again, and compared with what they were made from."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct, field

from daplug_supervisor.core.bundle import Bundle
from daplug_supervisor.core.model import Run, TaskState
from daplug_supervisor.core.tasker.bundle import Checksum, Integrity, failed
from daplug_supervisor.errors import BundleError
from daplug_supervisor.workspace.files import BUNDLE, StateDirectory
from daplug_supervisor.workspace.folders import read_whole


class AttemptBundle(Struct, frozen=True):
    """``runs/RUN/TASK/N/bundle.json``: what an attempt got. `checksums` are of the files beside it."""

    version: Literal[1]
    name: str
    bundle: Bundle
    checksums: dict[str, Checksum] = field(default_factory=dict)


class AttemptBundleRow(Struct, frozen=True):
    """The bundle of an attempt; `verdict` as in ``validate-integrity``."""

    task: str
    attempt: int
    name: str
    path: str
    verdict: str
    detail: str = ""


def path_of(directory: StateDirectory, run: Run, task: TaskState, number: int) -> Path:
    """Where the bundle of an attempt is."""
    return Path(directory.attempt(run.id, task.id, number)) / BUNDLE


def last_of(run: Run, task: TaskState) -> int:
    """The number of a task's latest attempt.

    Raises:
        BundleError: it had none.
    """
    if task.attempt is None:
        raise BundleError(
            [f"task {task.id} of run {run.id} had no attempt yet: bundles are made when one starts"]
        )
    return task.attempt.number


def read(path: Path) -> AttemptBundle:
    """A bundle, in its form.

    Raises:
        BundleError: there is none, or it is malformed; the message has the path in the document.
    """
    try:
        return msgspec.json.decode(read_whole(path), type=AttemptBundle)
    except FileNotFoundError as error:
        raise BundleError([f"{path}: there is none: only agents get one, and gc removes old ones"]) from error
    except OSError as error:
        raise BundleError([f"{path}: it cannot be read: {error.strerror or error}"]) from error
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BundleError([f"{path}: {str(error) or 'nested too deeply'}"]) from error


def integrity(directory: StateDirectory, run: Run, task: TaskState, number: int) -> Integrity:
    """Whether a bundle is what the attempt got, and what its task still says."""
    path = path_of(directory, run, task, number)
    try:
        found = read(path)
    except BundleError as error:
        return failed(task.id, *error.reasons)
    if (found.bundle.run, found.bundle.task, found.bundle.number) != (run.id, task.id, number):
        return failed(task.id, f"{path}: it is of {found.name}")
    problems, changed = list[str](), list[str]()
    for name, before in found.checksums.items():
        now = _sum_beside(path, name)
        if not now:
            problems.append(f"{name}: it is missing, or cannot be read")
        elif now != before:
            changed.append(f"{name} has changed")
    if found.bundle.spec != run.spec(task.id):
        changed.append("the plan says something else of the task now")
    if problems:
        return failed(task.id, *problems)
    return Integrity(task.id, "drift" if changed else "good", tuple(changed))


def _sum_beside(path: Path, name: str) -> str:
    """The checksum of a file beside a bundle; '' if there is none, or none that belongs there."""
    if "/" in name or name in ("", ".", ".."):
        return ""
    try:
        return f"sha256:{hashlib.sha256(read_whole(path.with_name(name))).hexdigest()}"
    except (OSError, ValueError):
        return ""


def listing(directory: StateDirectory, run: Run, most: int = 5000) -> tuple[AttemptBundleRow, ...]:
    """The bundles of a run's latest attempts that are there, in the order of the plan."""
    rows: list[AttemptBundleRow] = []
    for task in run.tasks.values():
        path = path_of(directory, run, task, task.attempt.number) if task.attempt else None
        if task.attempt is None or path is None or not path.is_file() or len(rows) >= most:
            continue
        found = integrity(directory, run, task, task.attempt.number)
        name = f"{run.id}/{task.id}#{task.attempt.number}"
        detail = "; ".join((*found.problems, *found.changed))
        rows.append(AttemptBundleRow(task.id, task.attempt.number, name, str(path), found.verdict, detail))
    return tuple(rows)
