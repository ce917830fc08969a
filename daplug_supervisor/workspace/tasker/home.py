"""Keeps a ``.tasker`` directory up to date while a run goes on: its state, its results, its log.

All of it is made from what the journal says, and may be made again: after a crash the same is written, or nothing.
Agents can write there as well, so no link is followed, and what cannot be used is left as it is and told.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any, Final

import msgspec

from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.model import Run, TaskState
from daplug_supervisor.core.tasker.records import (
    DIRECTORY,
    FOLDERS,
    LOG,
    STATE,
    STOP,
    ResultFiles,
    result_name,
)
from daplug_supervisor.workspace.files import write_atomically
from daplug_supervisor.workspace.folders import entered, read_whole
from daplug_supervisor.workspace.git import running as git
from daplug_supervisor.workspace.room import FULL
from daplug_supervisor.workspace.tasker.result import Ours, iso, result
from daplug_supervisor.workspace.tasker.state import log_line, updated

_BUNDLES: Final = "bundles"
_MOST_FILES: Final = 5000
_SEEN: Final = 256 << 10
"""Bytes of the end of a log in which a line is looked for that may be there already."""

_UNKNOWN = "it is left as it is; mend it, and it is brought up to date with the next task"
_lock = Lock()


def is_kept(run: Run) -> bool:
    """Whether a run is of a ``.tasker`` directory."""
    return run.plan.origin is not None and run.plan.origin.format == "tasker"


def stop_requested(run: Run) -> bool:
    """Whether there is a STOP file in it."""
    return is_kept(run) and os.path.lexists(f"{run.target}/{DIRECTORY}/{STOP}")


def clear_stop(run: Run) -> None:
    """Remove its STOP file, if there is one."""
    if is_kept(run):
        with suppress(OSError), entered(Path(run.target), DIRECTORY) as home:
            (home / STOP).unlink(missing_ok=True)


def begin(run: Run, task: TaskState, cwd: str = "") -> str:
    """An attempt is about to start: make what it expects to be there, and take away what an earlier one has left.

    That may be in the target, or where it works (`cwd`).

    Returns why something could not be done, '' if all is well.

    Raises:
        OSError: the disk is full.
    """
    for place in dict.fromkeys((run.target, cwd or run.target)):
        with suppress(OSError), entered(Path(place), DIRECTORY, _BUNDLES) as folder:
            (folder / result_name(task.id)).unlink(missing_ok=True)
    ours = Ours(run, task)
    said = log_line(ours.began, "INFO", "spawn", f"{ours.attempt}: {ours.spec.title}")
    return _told(_folders(run), saved(run), _logged(run, said))


def saved(run: Run) -> str:
    """Bring ``state.json`` up to date. Returns why that could not be done, '' if it was.

    Raises:
        OSError: the disk is full.
    """
    return _saved(run, None, "")


def _saved(run: Run, landing: Ours | None, commit: str) -> str:
    with _lock:
        try:
            with entered(Path(run.target), DIRECTORY) as home:
                return _save(home / STATE, run, landing, commit)
        except OSError as error:
            return _unless_full(f"{DIRECTORY}/{STATE}", error)


def ended(run: Run, task: TaskState, *, landing: bool = False, commit: str = "", message: str = "") -> str:
    """A task has come to its end, or its work is proven and is being brought home (`landing`).

    Writes its result, with the `commit` and its `message` when there is one, brings the state up to date, and logs it.
    Returns why something could not be done, '' if all is well.

    Raises:
        OSError: the disk is full.
    """
    if task.status is Status.SKIPPED:  # what its attempts have left says how they ended
        told = log_line(
            task.changed_at, "INFO", "skip", f"{run.id}/{task.id}: {task.reason or 'by a person'}"
        )
        return _told(saved(run), _logged(run, told))
    ours = Ours(run, task, landing=landing, shown=_shown(run, commit or task.commit))
    found = result(ours, commit or task.commit, message)
    data = msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n"
    name = f"{_BUNDLES}/{result_name(task.id)}"
    wrong = ""
    try:
        with entered(Path(run.target), DIRECTORY, _BUNDLES, make=True) as folder:
            _replace(folder / result_name(task.id), data)
    except OSError as error:
        wrong = _unless_full(f"{DIRECTORY}/{name}", error)
    if found.error is None:
        line = log_line(ours.ended, "INFO", "task-result", f"{ours.attempt}: success")
    else:
        why = f"{ours.attempt}: failed ({found.error.category}): {found.error.message}"
        line = log_line(ours.ended, "ERROR", "task-result", why)
    return _told(wrong, _saved(run, ours if landing else None, commit), _logged(run, line))


def _shown(run: Run, commit: str) -> ResultFiles | None:
    """What a commit has made and changed, from the target; None if there is none that can be looked at."""
    words = ("show", "--format=", "--name-status", "--no-renames", "-z", "--relative", commit)
    try:
        parts = git.run(run.target, *words).strip("\0\n").split("\0") if commit else []
    except (git.GitError, OSError):
        return None
    rows = list(zip(parts[::2], parts[1::2], strict=False))[:_MOST_FILES]
    made = tuple(name for kind, name in rows if kind.strip() == "A" and name.isprintable())
    changed = tuple(name for kind, name in rows if kind.strip() in {"M", "T"} and name.isprintable())
    return ResultFiles(made, changed) if rows else None


def log(run: Run, at: float, level: str, event: str, message: str) -> str:
    """Add a line to the activity log, unless it is there. `level` is INFO, WARN or ERROR.

    Returns why that could not be done, '' if it was.

    Raises:
        OSError: the disk is full.
    """
    return _logged(run, log_line(at, level, event, message))


# --- files ----------------------------------------------------------------------------------------------------


def _folders(run: Run) -> str:
    """Make the folders that are missing. Nobody else does."""
    for name in FOLDERS:
        try:
            with entered(Path(run.target), DIRECTORY, name, make=True):
                pass
        except OSError as error:
            return _unless_full(f"{DIRECTORY}/{name}", error)
    return ""


def _save(path: Path, run: Run, landing: Ours | None, commit: str) -> str:
    """Replace the state by the present one, if that is another."""
    shown = f"{DIRECTORY}/{STATE}"
    data = read_whole(path)
    try:
        before: Any = msgspec.json.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return f"{shown} is no JSON: {_UNKNOWN}"
    if not isinstance(before, dict):
        return f"{shown} is no JSON object: {_UNKNOWN}"
    after = updated(before, run, landing, commit)
    if after != before:
        after["updated_at"] = iso(run.last_at)
        _replace(path, msgspec.json.format(msgspec.json.encode(after), indent=2) + b"\n")
    return ""


def _replace(path: Path, data: bytes) -> None:
    """Write a file whole; one that was there keeps its permissions."""
    try:
        status = path.lstat()
        mode = stat.S_IMODE(status.st_mode) if stat.S_ISREG(status.st_mode) else None
        if stat.S_ISDIR(status.st_mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    except FileNotFoundError:
        mode = None
    write_atomically(path, data)
    if mode is not None:
        path.chmod(mode)


def _logged(run: Run, line: str) -> str:
    folder, _, name = LOG.partition("/")
    data = line.encode("utf-8", "backslashreplace")
    try:
        with entered(Path(run.target), DIRECTORY, folder, make=True) as logs:
            _append(logs / name, data)
    except OSError as error:
        return _unless_full(f"{DIRECTORY}/{LOG}", error)
    return ""


def _append(path: Path, line: bytes) -> None:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o644)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not an ordinary file")
        seen = os.pread(descriptor, _SEEN, max(0, status.st_size - _SEEN))
        if line in seen:
            return
        os.write(descriptor, line if not seen or seen.endswith(b"\n") else b"\n" + line)
    finally:
        os.close(descriptor)


def _unless_full(what: str, error: OSError) -> str:
    """Why something could not be written.

    Raises:
        OSError: the disk is full, which passes.
    """
    if error.errno in FULL:
        raise error
    reason = "a link is not followed" if error.errno == errno.ELOOP else error.strerror or str(error)
    return f"{what} cannot be used: {reason}"


def _told(*reasons: str) -> str:
    return "; ".join(dict.fromkeys(reason for reason in reasons if reason))
