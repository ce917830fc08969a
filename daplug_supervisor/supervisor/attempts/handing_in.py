"""What an attempt hands in, out of its outbox and into its own directory, and what that makes of its outcome.

That is its result, and a question to a person.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import anyio.to_thread
from msgspec.structs import replace

from daplug_supervisor.core import claims
from daplug_supervisor.core.bundle import QUESTION, RESULT, Bundle
from daplug_supervisor.core.claims import Claim, ClaimError
from daplug_supervisor.core.results import Outcome, OutcomeKind
from daplug_supervisor.supervisor.attempts.taught import taught
from daplug_supervisor.workers.text import one_line
from daplug_supervisor.workspace import bundles, outbox
from daplug_supervisor.workspace.files import make_private, open_output, write_atomically

_JUDGED = frozenset({OutcomeKind.COMPLETED, OutcomeKind.FAILED})
"""Ends of which the result may say more than the exit code: whoever fails may say why, and whether to try again."""

_HAND_IN = "write it to the file that $DAPLUG_RESULT names"


_NOT_ASKED = frozenset(
    {
        OutcomeKind.RATE_LIMITED,
        OutcomeKind.QUOTA,
        OutcomeKind.OUTAGE,
        OutcomeKind.AUTH,
        OutcomeKind.CONFIGURATION,
        OutcomeKind.PLAN_ERROR,
        OutcomeKind.BUDGET,
    }
)
"""Ends that say something of others than the agent: it is tried again, and asks again."""

_MOST_QUESTION = 8 << 10
_SHOWN_QUESTION = 1000
"""Characters of a question in an outcome; all of it is in the attempt's directory."""


class _Left(NamedTuple):
    """What was in an outbox: the result, or why there is none; and the question."""

    result: Claim | str = ""
    question: str = ""


async def handed_in(bundle: Bundle, outcome: Outcome, *, session: bool = False) -> Outcome:
    """The outcome, with what the attempt has left for us; its outbox is gone after that, however it ended."""
    if not bundle.spec.wants_outbox:
        return outcome
    left = await anyio.to_thread.run_sync(_emptied, bundle, session)
    if bundle.spec.wants_result:
        outcome = _with_result(bundle, outcome, left.result)
    if not left.question or outcome.kind in _NOT_ASKED:
        return outcome
    # Also if it says that it is done: it says as well that it cannot go on.
    return replace(
        outcome, kind=OutcomeKind.NEEDS_INPUT, detail=one_line(left.question, _SHOWN_QUESTION), retry_at=None
    )


def _with_result(bundle: Bundle, outcome: Outcome, found: Claim | str) -> Outcome:
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


def _emptied(bundle: Bundle, session: bool) -> _Left:  # noqa: FBT001 (run_sync)
    """What an attempt has left. It is kept in the attempt's directory before its outbox goes."""
    path = bundles.outbox_of(bundle.directory)
    mine = gone = outbox.is_one(path, bundle.token)
    result: Claim | str = ""
    question = ""
    try:
        if bundle.spec.ask:
            question, kept = _question(bundle, path, mine=mine)
            gone = gone and kept
        if bundle.spec.wants_result:
            result, kept = _collected(bundle, path, mine=mine, session=session)
            gone = gone and kept
    finally:
        if gone:
            outbox.remove(path)
    return _Left(result, question)


def _question(bundle: Bundle, path: str, *, mine: bool) -> tuple[str, bool]:
    """What an attempt asks, '' for nothing; and whether its outbox may go."""
    try:
        data, kept = _brought(bundle, path if mine else "", QUESTION, _MOST_QUESTION)
    except OSError:  # a link, say: nobody knows what it would have asked
        return "", True
    return (data or b"")[:_MOST_QUESTION].decode("utf-8", "replace").strip(), kept


def _collected(bundle: Bundle, path: str, *, mine: bool, session: bool) -> tuple[Claim | str, bool]:
    """The result of an attempt, or why there is none; and whether its outbox may go."""
    try:
        data, kept = _brought(bundle, path if mine else "", RESULT, claims.MOST_BYTES)
    except OSError as error:
        return f"its result cannot be read: {error.strerror}; {_HAND_IN}, as an ordinary file", True
    if data is None:
        return (_taught(bundle, path) if session else None) or f"it handed in no result; {_HAND_IN}", kept
    try:
        return claims.read(data), kept
    except ClaimError as error:
        return f"its result is refused: {error}", kept


def _taught(bundle: Bundle, path: str) -> Claim | str | None:
    """As `taught`, from where the attempt worked: that is where its outbox was."""
    return taught(bundle, outbox.place(path) if bundle.spec.worktree and path else bundle.cwd)


def _brought(bundle: Bundle, path: str, name: str, most: int) -> tuple[bytes | None, bool]:
    """A file of an outbox (None if it has none), now in the attempt's directory; False: there was no room for it.

    Raises:
        OSError: there is something that is no ordinary file.
    """
    data = _taken(path, name, most) if path else None
    if data is None:
        return _kept_before(bundle, name, most), True
    return data, _kept(bundle, name, data)


def _taken(path: str, name: str, most: int) -> bytes | None:
    """What is in a file of an outbox; None if there is none.

    Raises:
        OSError: there is something that is no ordinary file.
    """
    with suppress(FileNotFoundError, NotADirectoryError):
        return outbox.take(path, most, name)
    return None


def _kept(bundle: Bundle, name: str, data: bytes) -> bool:
    """Keep a file in the attempt's directory; without room for it, it has to stay where it is."""
    with suppress(OSError):
        make_private(Path(bundle.directory))
        write_atomically(Path(bundle.directory) / name, data)
        return True
    return False


def _kept_before(bundle: Bundle, name: str, most: int) -> bytes | None:
    """What was kept before a crash; None if there is nothing.

    Raises:
        OSError: there is something that is no ordinary file.
    """
    with suppress(FileNotFoundError), open_output(Path(bundle.directory) / name) as file:
        return file.read(most + 1)
    return None
