"""Verification: what the task's criteria, run by us on what the attempt left, prove. A claim proves nothing."""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec
from msgspec.structs import replace

from daplug_supervisor.core import claims
from daplug_supervisor.core import events as ev
from daplug_supervisor.core.acceptance import (
    ALWAYS,
    Look,
    Verification,
    claimed,
    finding,
    items,
    looked_at,
    outside,
    summary,
)
from daplug_supervisor.core.claims import Claim, claim_of
from daplug_supervisor.core.delegation import reviewed
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.plan import Task
from daplug_supervisor.core.results import Finding, Outcome, OutcomeKind, Result
from daplug_supervisor.core.retry import after_attempt
from daplug_supervisor.core.state import Run, TaskState
from daplug_supervisor.ports import Gate
from daplug_supervisor.processes.criteria import KEPT
from daplug_supervisor.supervisor.attempts.desk import Desk
from daplug_supervisor.supervisor.attempts.looks import directory_of, looks, room
from daplug_supervisor.supervisor.attempts.places import Place, changed, own, place_of, spared
from daplug_supervisor.supervisor.attempts.preparation import (
    NoRoomError,
    UnpreparedError,
    unless_full,
    unless_ours,
)
from daplug_supervisor.views.text import listing
from daplug_supervisor.workers.text import last_line, one_line
from daplug_supervisor.workspace.bundles import VERIFICATION
from daplug_supervisor.workspace.files import make_private, open_output, read_tail, write_atomically
from daplug_supervisor.workspace.git import running as git
from daplug_supervisor.workspace.git.fingerprint import fingerprint

_TAIL = 4 << 10
_LARGEST = 64 << 20
_SHOWN = 5


async def verify(desk: Desk, run: Run, task: TaskState) -> None:
    """Look at what an attempt that claims success has left, and record what follows from that."""
    spec = run.spec(task.id)
    lacking = _not_handed_on(spec, task)
    if lacking:
        detail = f"its parts have not handed on {listing(lacking[:_SHOWN])}: it has to do so itself"
        give_up(desk, run, task, Outcome(OutcomeKind.NO_RESULT, one_line(detail)))
        return
    if not (spec.accept or spec.wants_result or reviewed(run, task.id)):
        _passed(desk, run, task)
        return
    held: list[Gate] = []
    try:
        found = await look(desk, run, task, await found_place(desk, run, task), held)
        if found is None and task.cancelling:
            desk.record(run.id, ev.TaskCancelled(task.id, task.reason))
        elif found is not None and found.failed:
            refuse(desk, run, task, found)
        elif found is not None:
            _passed(desk, run, task, found.findings, found.flags)
    except UnpreparedError as error:
        give_up(desk, run, task, error.outcome)
    finally:
        release(desk, held)  # what was found is recorded: the next to use these comes after it


def _not_handed_on(spec: Task, task: TaskState) -> tuple[str, ...]:
    """The outputs that a task is to hand on and its parts did not; an attempt was asked for its own when it ended."""
    if task.attempt is None or not task.attempt.of_children:
        return ()
    claim = claim_of(task.last.outcome.claim if task.last else None)
    return claims.lacking(claim, spec.outputs)


def _passed(
    desk: Desk, run: Run, task: TaskState, findings: tuple[Finding, ...] = (), flags: tuple[str, ...] = ()
) -> None:
    """It holds: it may land, once a person has looked at it where the plan wants that."""
    event = ev.ReviewRequested if reviewed(run, task.id) else ev.VerificationPassed
    desk.record(run.id, event(task.id, findings, flags))


def admin_of(place: Place) -> str:
    """Git's own directory for the worktree of a place; '' without one."""
    return place.worktree.admin if place.worktree is not None else ""


def release(desk: Desk, held: list[Gate]) -> None:
    """Hand back the shims that ran criteria."""
    for gate in held:
        desk.launcher.release(gate)


async def found_place(desk: Desk, run: Run, task: TaskState) -> Place:
    """`place_of`; a full disk is waited for.

    Raises:
        UnpreparedError: where the attempt worked is no longer there.
    """
    while True:
        try:
            return await place_of(desk, run, task)
        except NoRoomError as error:
            await room(desk, f"{run.id}/{task.id}", error)


async def _seen(desk: Desk, run: Run, task: TaskState, place: Place, held: list[Gate]) -> list[Look] | None:
    """How each criterion ended, and the place as it was before; None if they were stopped."""
    if not place.bundle.spec.accept:
        return []
    loose = await anyio.to_thread.run_sync(place.loose)
    seen = await looks(desk, run, task, place.bundle, held, admin_of(place))
    if seen is not None:
        await anyio.to_thread.run_sync(place.tidy, loose)
    return seen


async def look(desk: Desk, run: Run, task: TaskState, place: Place, held: list[Gate]) -> Verification | None:
    """Run all criteria; None if that was stopped, because the task is cancelled or the supervisor ends."""
    bundle, result = place.bundle, task.last
    claim = claim_of(result.outcome.claim if result else None)
    files, tree = await changed(place), await _to_land(run, task, place, held)
    seen = await _seen(desk, run, task, place, held)
    if seen is None:
        return None
    ran = []
    for number, criterion in enumerate(bundle.spec.accept):
        output = read_tail(Path(directory_of(bundle, task.checks)) / f"{number}.log", KEPT)
        said = "" if seen[number].code is None else last_line(output)
        claims = claimed(criterion, claim.acceptance_criteria)
        one = finding(number, criterion, seen[number], output, said, claims)
        tail = desk.mask(output[-_TAIL:].decode("utf-8", "replace"))
        ran.append((replace(one, detail=desk.mask(one_line(one.detail))), tail))
    always = await anyio.to_thread.run_sync(_files_of_result, place, claim, files)
    findings = (*(one for one, _ in ran), *always)
    verification = Verification(
        findings,
        (*(tail for _, tail in ran), *("" for _ in always)),
        tuple(desk.mask(flag) for flag in _flags(place, own(place, claim, files or ()))),
        await _tree(place) if summary(findings) else tree,
        sha256(msgspec.json.encode(bundle.spec.accept)).hexdigest(),
    )
    await _keep(desk, place, verification)
    return verification


async def _to_land(run: Run, task: TaskState, place: Place, held: list[Gate]) -> str:
    """What is looked at, where that is to land as it is now; '' if nobody can tell."""
    spec = place.bundle.spec
    if place.worktree is None or not spec.accept or not (spec.land or place.above):
        return ""
    if task.check is not None and not held and task.status is not Status.LANDING:
        return ""  # another supervisor began to look at it
    return await anyio.to_thread.run_sync(place.tree, spared(run, place))


def looked_at_in(directory: str) -> str:
    """What was looked at in an attempt whose criteria hold, as `Place.tree` says; '' if nobody can tell."""
    with (
        suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError),
        open_output(Path(directory) / VERIFICATION) as file,
    ):
        return msgspec.json.decode(file.read(_LARGEST), type=Verification).tree
    return ""


def refuse(desk: Desk, run: Run, task: TaskState, found: Verification) -> None:
    """What was found is not what the plan asks for: record what follows."""
    result = task.last
    assert result is not None, "only what has ended is verified"  # noqa: S101
    detail = one_line(summary(found.findings))
    outcome = replace(result.outcome, kind=OutcomeKind.VERIFY_FAILED, detail=detail)
    give_back(desk, run, task, Result(outcome, result.exit, found.findings, found.tree, found.flags))


def give_up(desk: Desk, run: Run, task: TaskState, outcome: Outcome) -> None:
    """It came to something else than success; what its attempt said and cost stays known."""
    result = task.last
    assert result is not None, "only what has ended is verified"  # noqa: S101
    told = replace(outcome, claim=result.outcome.claim, usage=result.outcome.usage)
    give_back(desk, run, task, replace(result, outcome=told))


def give_back(desk: Desk, run: Run, task: TaskState, result: Result) -> None:
    """Record what follows a claim of success that was not one."""
    now, ahead = desk.clock.now(), desk.clock.ahead()
    desk.record(run.id, *after_attempt(run, task, result, now, ahead))


def _files_of_result(place: Place, claim: Claim, changed: tuple[str, ...] | None) -> tuple[Finding, ...]:
    """What is looked at in every task that hands in a result: whether the files that it names are as it says."""
    if not place.bundle.spec.wants_result:
        return ()
    there = (*claim.files.created, *claim.files.modified)
    lacking = [name for name in there if not _exists(place, name)]
    left = [name for name in claim.files.deleted if _exists(place, name)]
    same = [] if changed is None else [name for name in there if place.relative(name) not in changed]
    for names, words in ((lacking, "not there"), (left, "still there"), (same, "not changed, as git shows")):
        if names:
            detail = f"the result names files that are {words}: {listing(names[:_SHOWN])}"
            return (
                Finding(ALWAYS, "files of the result", detail=one_line(detail), blame="code", claimed="PASS"),
            )
    return ()


def _exists(place: Place, name: str) -> bool:
    with suppress(OSError, ValueError):
        path = Path(place.bundle.cwd, name)
        return path.exists() or path.is_symlink()
    return False


def _flags(place: Place, files: tuple[str, ...]) -> list[str]:
    """What a person should know of the work, although it may hold."""
    spec, flags = place.bundle.spec, []
    edited = looked_at(spec.accept, outside(spec.files, files) if spec.files else files)
    if edited:
        edited = place.was_there(edited)
    if edited:
        flags.append(one_line(f"it changed what its own criteria look at: {listing(edited[:_SHOWN])}"))
    beyond = outside(spec.files, files)
    if beyond:
        flags.append(one_line(f"it changed files that the plan does not give it: {listing(beyond[:_SHOWN])}"))
    return flags


async def _tree(place: Place) -> str:
    """What was looked at, in one short text; '' where nobody can tell."""

    def read() -> str:
        with suppress(git.GitError, OSError):
            return fingerprint(place.bundle.cwd, place.kept)
        return ""

    return await anyio.to_thread.run_sync(read)


async def _keep(desk: Desk, place: Place, found: Verification) -> None:
    """Write down what was found, for people and for the next attempt."""
    bundle, failed = place.bundle, len(found.failed)
    record = {
        "version": 1,
        "name": bundle.name,
        "status": found.status,
        "passed": len(found.findings) - failed,
        "failed": failed,
        "failed_items": items(bundle.spec.accept, found.findings),
        **msgspec.structs.asdict(found),
    }
    text = msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
    while True:
        try:
            make_private(Path(bundle.directory))
            write_atomically(Path(bundle.directory) / VERIFICATION, text)
        except OSError as error:
            unless_ours(desk, f"{bundle.directory}: {error.strerror}")
            try:
                unless_full(error)
            except NoRoomError as full:
                await room(desk, bundle.name, full)
                continue
        return
