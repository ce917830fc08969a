"""What an attempt hands in: its result, out of its outbox and into its own directory, and what that makes of it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import anyio.to_thread
from msgspec.structs import replace

from daplug_supervisor.core import claims
from daplug_supervisor.core.bundle import RESULT, Bundle
from daplug_supervisor.core.claims import Claim, ClaimError
from daplug_supervisor.core.results import Outcome, OutcomeKind
from daplug_supervisor.supervisor.taught import taught
from daplug_supervisor.workers.text import one_line
from daplug_supervisor.workspace import bundles, outbox
from daplug_supervisor.workspace.files import make_private, open_output, write_atomically

_JUDGED = frozenset({OutcomeKind.COMPLETED, OutcomeKind.FAILED})
"""Ends of which the result may say more than the exit code: whoever fails may say why, and whether to try again."""

_HAND_IN = "write it to the file that $DAPLUG_RESULT names"


async def handed_in(bundle: Bundle, outcome: Outcome, *, session: bool = False) -> Outcome:
    """The outcome, with what the attempt's result says; its outbox is gone after that, however it ended."""
    if not bundle.spec.wants_result:
        return outcome
    found = await anyio.to_thread.run_sync(_collected, bundle, session)
    if isinstance(found, Claim):
        return _judged(bundle, replace(outcome, claim=claims.kept(found, outcome.claim)), found)
    if outcome.kind is OutcomeKind.COMPLETED:
        return replace(outcome, kind=OutcomeKind.NO_RESULT, detail=one_line(found))
    return outcome


def _judged(bundle: Bundle, outcome: Outcome, claim: Claim) -> Outcome:
    if outcome.kind not in _JUDGED:
        return outcome
    if claim.status == "failed":
        error = claim.error or claims.ClaimedError()
        kind = OutcomeKind.FAILED if error.retryable else OutcomeKind.BLOCKED
        said = error.message or claim.notes or "it does not say why"
        return replace(
            outcome, kind=kind, detail=one_line(f"its result says that it failed ({error.category}): {said}")
        )
    lacking = claims.lacking(claim, bundle.spec.outputs)
    if outcome.kind is OutcomeKind.COMPLETED and lacking:
        detail = f"its result has no {', '.join(f'outputs.{name}' for name in lacking)}; {_HAND_IN}"
        return replace(outcome, kind=OutcomeKind.NO_RESULT, detail=one_line(detail))
    return outcome


def _collected(bundle: Bundle, session: bool) -> Claim | str:  # noqa: FBT001 (run_sync)
    """The result of an attempt, or why there is none. It is kept in the attempt's directory before its outbox goes."""
    path = bundles.outbox_of(bundle.directory)
    mine = outbox.is_one(path, bundle.token)
    try:
        data = _taken(path) if mine else None
        if data is not None:
            mine = _kept(bundle, data)
        else:
            data = _kept_before(bundle)
    except OSError as error:
        return f"its result cannot be read: {error.strerror}; {_HAND_IN}, as an ordinary file"
    finally:
        if mine:
            outbox.remove(path)
    if data is None:
        return (_taught(bundle, path) if session else None) or f"it handed in no result; {_HAND_IN}"
    try:
        return claims.read(data)
    except ClaimError as error:
        return f"its result is refused: {error}"


def _taught(bundle: Bundle, path: str) -> Claim | str | None:
    """As `taught`, from where the attempt worked: that is where its outbox was."""
    return taught(bundle, outbox.place(path) if bundle.spec.worktree and path else bundle.cwd)


def _taken(path: str) -> bytes | None:
    """What is in an outbox; None if it has no result.

    Raises:
        OSError: there is something that is no ordinary file.
    """
    with suppress(FileNotFoundError, NotADirectoryError):
        return outbox.take(path, claims.MOST_BYTES)
    return None


def _kept(bundle: Bundle, data: bytes) -> bool:
    """Keep a result in the attempt's directory; without room for it, it has to stay where it is."""
    with suppress(OSError):
        make_private(Path(bundle.directory))
        write_atomically(Path(bundle.directory) / RESULT, data)
        return True
    return False


def _kept_before(bundle: Bundle) -> bytes | None:
    """What was kept before a crash; None if there is nothing.

    Raises:
        OSError: there is something that is no ordinary file.
    """
    with suppress(FileNotFoundError), open_output(Path(bundle.directory) / RESULT) as file:
        return file.read(claims.MOST_BYTES + 1)
    return None
