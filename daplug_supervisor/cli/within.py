"""Whether a command is typed within an attempt, or in the worktree of a task; and where the run of that is.

An attempt knows it from its environment. Some agents' programs take that away from what they start, and people look
into worktrees: there the repository knows whose worktree it is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from daplug_supervisor.core.bundle import ATTEMPT_VARIABLE
from daplug_supervisor.workspace import outbox
from daplug_supervisor.workspace.files import NAME, open_output
from daplug_supervisor.workspace.git.registry import Place

_TOKEN = re.compile(r"[0-9a-f]{16}")
"""The mark of an attempt; criteria and hooks have longer ones."""

_LARGEST = 16 << 10


class Within(Struct, frozen=True):
    """The task that one is at.

    `outbox` is that of its attempt, '' if it takes no commands; `state` the state directory, '' if that is not known.
    `sure`: it is the attempt itself that asks, not somebody who is where it works.
    """

    run: str
    task: str
    outbox: str = ""
    state: str = ""
    sure: bool = False


def inside(environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> Within | None:
    """Where this process is; None if it is neither in an attempt nor in a worktree of ours."""
    environ = os.environ if environ is None else environ
    return _by_environment(environ) or _by_place(cwd or _here())


def state_directory() -> Path | None:
    """The state directory of where this process is, if it is not that of the working directory."""
    found = inside()
    return Path(found.state) if found is not None and found.state else None


def _here() -> Path | None:
    with suppress(OSError):
        return Path.cwd()
    return None


def _by_environment(environ: Mapping[str, str]) -> Within | None:
    run, task = environ.get("DAPLUG_RUN", ""), environ.get("DAPLUG_TASK", "")
    if not (run and task and _TOKEN.fullmatch(environ.get(ATTEMPT_VARIABLE, ""))):
        return None
    path = environ.get("DAPLUG_OUTBOX", "")
    if not path or not outbox.has_commands(path):
        return Within(run, task, sure=True)
    about = _about(path)
    mine = (about.get("run"), about.get("task")) == (run, task)
    return Within(run, task, path, about.get("state", "") if mine else "", sure=True)


def _about(path: str) -> dict[str, str]:
    with (
        suppress(OSError, ValueError, RecursionError),
        open_output(Path(path) / outbox.ABOUT) as file,
    ):
        return msgspec.json.decode(file.read(_LARGEST), type=dict[str, str])
    return {}


def _by_place(cwd: Path | None) -> Within | None:
    """By the worktree that one is in: its repository has noted whose that is."""
    for top in (cwd, *cwd.parents) if cwd is not None else ():
        link = top / ".git"
        if link.is_file():
            owner = _owner(top, link)
            if owner is None or owner.parents[1].name != "runs":
                return None
            state = owner.parents[2]
            return Within(owner.parent.name, owner.name, _only_outbox(cwd, top), str(state))
        if link.is_dir():
            return None
    return None


def _owner(top: Path, link: Path) -> Path | None:
    """The directory of the attempts that a worktree is for."""
    with suppress(OSError, ValueError):
        admin = top / link.read_text()[:_LARGEST].removeprefix("gitdir:").strip()
        common = admin / (admin / "commondir").read_text()[:_LARGEST].strip()
        record = Place(str(common), top.name, "").read()
        if record is not None and top.samefile(record.path):
            return Path(record.owner)
    return None


def _only_outbox(cwd: Path | None, top: Path) -> str:
    """The one outbox with commands between a directory and the top of its worktree; '' if there is none, or several."""
    for folder in (cwd, *cwd.parents) if cwd is not None else ():
        with suppress(OSError):
            names = os.listdir(folder / NAME / outbox.FOLDER)  # noqa: PTH208 (names)
            found = [str(folder / NAME / outbox.FOLDER / name) for name in names]
            fit = [path for path in found if outbox.has_commands(path)]
            return fit[0] if len(fit) == 1 else ""
        if folder == top:
            break
    return ""
