"""`require_diff`: whether anything is different from when the task began, found by us and not by the agent.

What the task found is written down once, before its first attempt: a later one may only have to say that the work of an
earlier one is complete.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import anyio.to_thread
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from daplug_supervisor.core.bundle import Bundle
from daplug_supervisor.core.results import Outcome, OutcomeKind
from daplug_supervisor.supervisor.attempts.preparation import UnpreparedError, unless_full
from daplug_supervisor.workspace.files import make_private, open_output, write_atomically
from daplug_supervisor.workspace.git import marks, rollback
from daplug_supervisor.workspace.git import running as git
from daplug_supervisor.workspace.git.fingerprint import fingerprint

BEFORE = "before.json"
"""In the task's directory: what was there before its first attempt."""

MARKS = "marks.json"
"""Beside it: all files of a shared checkout, byte by byte."""

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
    wanted = _wanted(bundle) and _read(_path(bundle)) is None
    marked = _to_be_marked(bundle) and _marks(bundle) is None
    if not (wanted or marked):
        return

    def look() -> None:
        make_private(_path(bundle).parent)
        if wanted:
            found = Before(bundle.cwd, fingerprint(bundle.cwd))
            write_atomically(_path(bundle), msgspec.json.encode(found))
        if marked:
            with suppress(git.GitError):  # no repository: nobody can tell then
                made = marks.marks(bundle.target, f"{bundle.run}-{bundle.task}")
                write_atomically(_path(bundle).with_name(MARKS), msgspec.json.encode(made))

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


def _to_be_marked(bundle: Bundle) -> bool:
    """Whether anybody will want to know what a task has changed in a checkout that others use as well."""
    spec = bundle.spec
    is_part = spec.parent is not None
    return not spec.worktree and bool(spec.wants_result or spec.rollback or spec.commit or is_part)


def _marks(bundle: Bundle) -> marks.Marks | None:
    path = _path(bundle).with_name(MARKS)
    with suppress(OSError, msgspec.MsgspecError), open_output(path) as file:
        return msgspec.json.decode(file.read(_LARGEST), type=marks.Marks)
    return None


def since_marked(bundle: Bundle) -> tuple[str, ...] | None:
    """The files of a shared checkout that are different from when the task began; None if nobody can tell.

    Raises:
        GitError, OSError: git does not tell.
    """
    found = _marks(bundle)
    return None if found is None else marks.differences(bundle.target, found)


def put_back(bundle: Bundle, own: Callable[[tuple[str, ...]], tuple[str, ...]]) -> str:
    """Put the files of a failed task back as they were when it began; in words what was done, '' for nothing.

    Everything is saved first. `own` picks those of the changed files that are the task's.

    Raises:
        GitError, OSError: it could not be done; it may be tried again.
    """
    found = _marks(bundle)
    if found is None:
        return ""
    files = own(marks.differences(bundle.target, found))
    done = rollback.roll_back(bundle.target, found, files, f"{bundle.run}-{bundle.task}") if files else None
    release(bundle)
    if done is None or not done.ref:
        return ""
    return f"put back {len(done.deleted) + len(done.restored)} files; what they were is saved in {done.ref}"


def release(bundle: Bundle) -> None:
    """Nobody will want to know any more what a task has changed.

    Raises:
        GitError, OSError: it could not be let go.
    """
    found = _marks(bundle)
    if found is not None:
        marks.forget(bundle.target, found)
        _path(bundle).with_name(MARKS).unlink(missing_ok=True)


def _read(path: Path) -> Before | None:
    with suppress(OSError, msgspec.MsgspecError), open_output(path) as file:
        return msgspec.json.decode(file.read(_LARGEST), type=Before)
    return None
