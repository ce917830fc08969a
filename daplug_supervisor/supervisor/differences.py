"""`require_diff`: whether anything is different from when the task began, found by us and not by the agent.

What the task found is written down once, before its first attempt: a later one may only have to say that the work of an
earlier one is complete.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import anyio.to_thread
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from daplug_supervisor.core.bundle import Bundle
from daplug_supervisor.core.results import Outcome, OutcomeKind
from daplug_supervisor.supervisor.preparation import UnpreparedError, unless_full
from daplug_supervisor.workspace import git
from daplug_supervisor.workspace.files import open_output, write_atomically
from daplug_supervisor.workspace.fingerprint import fingerprint

BEFORE = "before.json"
"""In the task's directory: what was there before its first attempt."""

_LARGEST = 64 << 10


class Before(Struct, frozen=True):
    """What a checkout held, and where it is."""

    place: str
    fingerprint: str


def _wanted(bundle: Bundle) -> bool:
    return bundle.spec.require_diff and bundle.prompt_file is not None


def _path(bundle: Bundle) -> Path:
    return Path(bundle.directory).parent / BEFORE


async def remember(bundle: Bundle) -> None:
    """Write down what is there before a task's first attempt.

    Raises:
        UnpreparedError: that cannot be told here.
        NoRoomError: the disk is full.
    """
    if not _wanted(bundle) or _read(_path(bundle)) is not None:
        return

    def look() -> None:
        found = Before(bundle.cwd, fingerprint(bundle.cwd))
        write_atomically(_path(bundle), msgspec.json.encode(found))

    try:
        await anyio.to_thread.run_sync(look)
    except git.NoRepositoryError as error:
        problem = "require_diff needs a git repository with a commit, to see what was changed"
        raise UnpreparedError(OutcomeKind.PLAN_ERROR, f"{bundle.cwd}: {problem}") from error
    except (git.GitError, OSError) as error:
        unless_full(error, bundle.target)
        raise UnpreparedError(OutcomeKind.CRASHED, str(error)) from error


async def doubted(bundle: Bundle, outcome: Outcome) -> Outcome:
    """The outcome, and not success if nothing is different."""
    if outcome.kind is not OutcomeKind.COMPLETED or not _wanted(bundle):
        return outcome
    before = _read(_path(bundle))
    if before is None:
        return outcome

    def changed() -> bool:
        with suppress(git.GitError, OSError):
            return fingerprint(before.place) != before.fingerprint
        return False

    if await anyio.to_thread.run_sync(changed):
        return outcome
    return replace(
        outcome, kind=OutcomeKind.UNVERIFIED, detail="the agent says it is done, and no file was changed"
    )


def _read(path: Path) -> Before | None:
    with suppress(OSError, msgspec.MsgspecError), open_output(path) as file:
        return msgspec.json.decode(file.read(_LARGEST), type=Before)
    return None
