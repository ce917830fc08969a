"""The bundles of a ``.tasker`` directory on the disk: made, looked at, compared with what they were made from."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from daplug_supervisor.core import claims
from daplug_supervisor.core.plan import ID_PATTERN
from daplug_supervisor.core.tasker import bundle as pure
from daplug_supervisor.core.tasker.bundle import BundleSums, Integrity, TaskBundle, failed
from daplug_supervisor.core.tasker.records import (
    Home,
    TaskResult,
)
from daplug_supervisor.errors import BundleError, PlanError, SupervisorError
from daplug_supervisor.workspace.files import open_output, write_atomically
from daplug_supervisor.workspace.folders import entered, read_below
from daplug_supervisor.workspace.tasker import checksums as sums_of

MOST_LISTED: Final = 5000

_ID = re.compile(ID_PATTERN)


class BundleRow(Struct, frozen=True):
    """A bundle that is there. `created` is when it was made; `verdict` as in `validate-integrity`."""

    task: str
    name: str
    created: str
    path: str
    verdict: str
    detail: str = ""


class ResultInfo(Struct, frozen=True):
    """What a result says, in short: `passed` of `criteria` hold. What an attempt says of itself is no proof of it."""

    path: str
    task: str
    name: str
    status: str
    verdict: str
    criteria: int
    passed: int
    created: tuple[str, ...]
    modified: tuple[str, ...]
    category: str = ""
    message: str = ""
    retryable: bool | None = None
    notes: str = ""


def path_of(directory: str, task: str) -> Path:
    """Where the bundle of a task is."""
    return Path(directory, pure.place(task))


def generate(home: Home, name: str, created: str, root: str = "") -> TaskBundle:
    """Make and write the bundle of a task. `created` is the time, `root` where the files of tasks before are.

    Raises:
        BundleError: something that it is made from is missing, or cannot be used.
        OSError: it could not be written.
    """
    task = home.tasks.get(_checked(name))
    if task is None:
        raise BundleError([f"tasks/{name}.json: there is no such task"])
    problems = list(pure.lost(home, task))
    artifacts = sums_of.of_artifacts(home, name, problems)
    files = sums_of.of_dependencies(pure.dependencies(home, task), home.target, root, problems)
    if problems:
        raise BundleError(problems)
    sums = BundleSums(artifacts, files)
    bundle = pure.make(home, task, tuple(files), sums, created)
    sealed = replace(bundle, checksums=replace(sums, bundle=sums_of.checksum(pure.unsealed(bundle))))
    with entered(Path(home.directory), pure.FOLDER, make=True) as folder:
        data = msgspec.json.format(msgspec.json.encode(sealed), indent=2) + b"\n"
        write_atomically(folder / f"{name}{pure.BUNDLE_END}", data)
    return sealed


def read(directory: str, name: str) -> TaskBundle:
    """The bundle of a task, in its form.

    Raises:
        BundleError: there is none, or it is malformed; the message has the path in the document.
    """
    shown = pure.place(_checked(name))
    try:
        data = read_below(Path(directory), shown)
    except OSError as error:
        raise BundleError([f"{shown}: it cannot be read: {error.strerror or error}"]) from error
    if data is None:
        raise BundleError([f"{shown}: there is no such bundle (make it with: bundle generate {name})"])
    try:
        found = msgspec.json.decode(data, type=TaskBundle)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BundleError([f"{shown}: {str(error) or 'nested too deeply'}"]) from error
    if found.task_id != name:
        raise BundleError([f"{shown}: it is of task {found.task_id!r}, not {name!r} - at `$.task_id`"])
    return found


def integrity(directory: str, name: str, root: str = "") -> Integrity:
    """Whether the bundle of a task is still what it was made from. `root`: where the files of tasks before are."""
    try:
        bundle = read(directory, name)
    except BundleError as error:
        return failed(name, *error.reasons)
    problems: list[str] = []
    now = {
        path: sums_of.of_artifact(directory, path, before, problems)
        for path, before in bundle.checksums.artifacts.items()
    }
    where = root or bundle.target_dir
    files = {path: sums_of.of_file(path, where, problems) for path in bundle.dependencies.files}
    if problems:
        return failed(name, *problems)
    changed = [
        *pure.changes(bundle.checksums.artifacts, now),
        *pure.changes(bundle.checksums.dependencies, files),
    ]
    if bundle.checksums.bundle != sums_of.checksum(pure.unsealed(bundle)):
        changed.append(f"{pure.place(name)} was edited")
    here = os.path.dirname(os.path.abspath(directory))  # noqa: PTH100, PTH120 (a link is somebody's choice)
    if os.path.realpath(bundle.target_dir) != os.path.realpath(here):
        changed.append(f"the directory is now {here}")
    return Integrity(name, "drift" if changed else "good", tuple(changed))


def ready(directory: str, name: str, load: Callable[[], Home], created: str, root: str = "") -> Integrity:
    """See that a task has a bundle that may be used: made if there is none, made anew if it has drifted.

    `load` reads the directory; it is called only if something has to be made.

    Raises:
        OSError: the bundle could not be written.
    """
    try:
        read(directory, name)
        found = integrity(directory, name, root)
    except BundleError as error:
        missing = not os.path.lexists(path_of(directory, _safe(name)))
        found = Integrity(name, "good") if missing else Integrity(name, "drift", error.reasons)
        return _made(load, found, created, root)
    return _made(load, found, created, root) if found.verdict == "drift" else found


def _made(load: Callable[[], Home], found: Integrity, created: str, root: str) -> Integrity:
    try:
        generate(load(), found.task, created, root)
    except BundleError as error:
        return failed(found.task, *error.reasons)
    except PlanError as error:
        return failed(found.task, *map(str, error.problems))
    except SupervisorError as error:  # there is no session any more
        return failed(found.task, str(error))
    return replace(found, regenerated=found.verdict == "drift")


def listing(directory: str) -> tuple[BundleRow, ...]:
    """The bundles that there are, by the names of their tasks."""
    rows = []
    for name in _names(directory, pure.BUNDLE_END):
        found = integrity(directory, name)
        detail = "; ".join((*found.problems, *found.changed))
        try:
            bundle = read(directory, name)
        except BundleError:
            rows.append(BundleRow(name, "", "", str(path_of(directory, name)), found.verdict, detail))
            continue
        rows.append(
            BundleRow(
                name,
                bundle.name,
                bundle.bundle_created_at,
                str(path_of(directory, name)),
                found.verdict,
                detail,
            )
        )
    return tuple(rows)


def clean(directory: str) -> tuple[str, ...]:
    """Remove all bundles, and say of which tasks; results stay.

    Raises:
        OSError: one could not be removed.
    """
    names = _names(directory, pure.BUNDLE_END)
    if names:
        with entered(Path(directory), pure.FOLDER) as folder:
            for name in names:
                (folder / f"{name}{pure.BUNDLE_END}").unlink(missing_ok=True)
    return names


def result_info(path: Path) -> ResultInfo:
    """What a result says: that of a ``.tasker`` task, or what an attempt has handed in.

    Raises:
        BundleError: it is no result; the message has the path in the document.
    """
    try:
        with open_output(path) as file:
            data = file.read(claims.MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise BundleError(
            [f"{path}: it cannot be read: {getattr(error, 'strerror', None) or error}"]
        ) from error
    try:
        if b'"task_id"' not in data:
            return _of_claim(path, claims.read(data))
        return _of_result(path, msgspec.json.decode(data, type=TaskResult))
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BundleError([f"{path}: it is no result: {str(error) or 'nested too deeply'}"]) from error


def _of_result(path: Path, found: TaskResult) -> ResultInfo:
    verdict, rows = found.verification.verdict, found.verification.criteria
    passed = sum(one.status == "PASS" for one in rows)
    return _info(path, (found.task_id, found.name), verdict, (len(rows), passed), found)


def _of_claim(path: Path, found: claims.Claim) -> ResultInfo:
    rows = found.acceptance_criteria
    passed = sum(one.status == "PASS" for one in rows)
    return _info(path, ("", ""), "claimed only", (len(rows), passed), found)


def _info(
    path: Path,
    task: tuple[str, str],
    verdict: str,
    criteria: tuple[int, int],
    found: TaskResult | claims.Claim,
) -> ResultInfo:
    error = found.error
    return ResultInfo(
        str(path),
        *task,
        found.status,
        verdict,
        *criteria,
        found.files.created,
        found.files.modified,
        error.category if error else "",
        error.message if error else "",
        error.retryable if error else None,
        found.notes,
    )


def _names(directory: str, end: str) -> tuple[str, ...]:
    with suppress(FileNotFoundError), entered(Path(directory), pure.FOLDER) as folder:
        names = (one.name.removesuffix(end) for one in folder.iterdir() if one.name.endswith(end))
        return tuple(sorted(name for name in names if _ID.match(name)))[:MOST_LISTED]
    return ()


def _safe(name: str) -> str:
    return name if _ID.match(name) else "-"


def _checked(name: str) -> str:
    if not _ID.match(name):
        raise BundleError([f"{name!r} is no id of a task"])
    return name
