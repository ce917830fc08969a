"""Checksums of what the bundle of a ``.tasker`` task is made from: artifacts, and the files of tasks before it."""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from daplug_supervisor.core.tasker import bundle as pure
from daplug_supervisor.core.tasker.records import CAPABILITY_MAP, CONSTRAINTS, FSM_INDEX, PHYSICAL_MAP, Home
from daplug_supervisor.workspace.files import open_output
from daplug_supervisor.workspace.folders import entered, read_below

_LARGE: Final = 64 << 20
_MOST_FILES: Final = 5000
_BLOCK = 1 << 20
_KNOWN = {
    "capability_map": CAPABILITY_MAP,
    "physical_map": PHYSICAL_MAP,
    "fsm_index": FSM_INDEX,
    "constraints": CONSTRAINTS,
}
"""What `Home.checksums` calls them."""


def checksum(data: bytes) -> str:
    """``sha256:...``."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def of_artifacts(home: Home, name: str, problems: list[str]) -> dict[str, str]:
    """Of all that a bundle is made from. What was read as something else than is there now is a problem."""
    known = {path: home.checksums.get(key, "") for key, path in _KNOWN.items()}
    own = f"tasks/{name}.json"
    known[own] = home.tasks[name].checksum
    paths = (*pure.ARTIFACTS, own, *_machine_files(home.directory))
    sums: dict[str, str] = {}
    for path in paths:
        sums[path] = of_artifact(home.directory, path, "", problems)
        read = known.get(path)
        if read and not sums[path].startswith(f"sha256:{read}"):
            problems.append(f"{path}: it changed while it was read; try again")
    return sums


def of_artifact(directory: str, path: str, before: str, problems: list[str]) -> str:
    """Of one artifact: '' if it is not there, which is a problem if it was (`before`) and is needed."""
    if pure.below(path, directory) != path:
        problems.append(f"{path}: it is no file in {directory}")
        return ""
    try:
        data = read_below(Path(directory), path)
    except OSError as error:
        problems.append(f"{path}: it cannot be read: {error.strerror or error}")
        return ""
    found = "" if data is None else checksum(data)
    if path.endswith(".json") and found != before:
        if data is None:
            problems.append(f"{path}: it is gone")
        elif not _is_json(data):
            problems.append(f"{path}: it is no JSON any more" if before else f"{path}: it is no JSON")
    return found


def _is_json(data: bytes) -> bool:
    try:
        msgspec.json.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return True


def _machine_files(directory: str) -> tuple[str, ...]:
    """What else there is of the state machines."""
    folder = os.path.dirname(FSM_INDEX)  # noqa: PTH120 (a name, not a place)
    with suppress(OSError), entered(Path(directory), *folder.split("/")) as found:
        names = sorted(one.name for one in found.iterdir())[:_MOST_FILES]
        return tuple(
            path for name in names if name.endswith(".json") and (path := f"{folder}/{name}") != FSM_INDEX
        )
    return ()


def of_dependencies(
    wanted: tuple[pure.Dependency, ...], target: str, root: str, problems: list[str]
) -> dict[str, str]:
    """Of the files of tasks before, by their paths from the target; what must be there and is not is a problem."""
    sums: dict[str, str] = {}
    for one in wanted:
        path = pure.below(one.path, target)
        if path is None:
            problems.append(f"{one.path}: it is not in {target}")
            continue
        trouble: list[str] = []
        found = of_file(path, root or target, trouble)
        if found:
            sums[path] = found
        elif one.certain:
            problems += trouble
    return sums


def of_file(path: str, root: str, problems: list[str]) -> str:
    """Of a file that a task before has left: no link leads to it; '' with a problem if there is none."""
    whole = Path(root, path)
    try:
        top = os.path.realpath(root)
        if os.path.commonpath([os.path.realpath(whole.parent), top]) != top:
            problems.append(f"{path}: it leads out of {root} by a link")
            return ""
        status = whole.lstat()
        if stat.S_ISDIR(status.st_mode):
            return checksum(b"directory")
        if stat.S_ISLNK(status.st_mode):
            return checksum(os.fsencode(whole.readlink()))
        return _sum_of_content(whole, status.st_size)
    except (OSError, ValueError) as error:
        gone = isinstance(error, FileNotFoundError)
        why = "it is missing" if gone else f"it cannot be read: {getattr(error, 'strerror', None) or error}"
        problems.append(f"{path}, of a task before: {why}")
        return ""


def _sum_of_content(path: Path, size: int) -> str:
    """Of a file; of a large one only of its beginning and its length."""
    found = hashlib.sha256()
    with open_output(path) as file:
        left = _LARGE
        while left > 0 and (block := file.read(_BLOCK)):
            found.update(block)
            left -= len(block)
    if size > _LARGE:
        found.update(str(size).encode())
    return f"sha256:{found.hexdigest()}"
