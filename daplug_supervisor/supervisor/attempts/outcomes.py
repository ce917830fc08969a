"""What the end of an attempt is read as, and what of that is journalled."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec
from msgspec.structs import replace

from daplug_supervisor.core.bundle import Bundle, Evidence
from daplug_supervisor.core.environment import held_back
from daplug_supervisor.core.plan import pass_env
from daplug_supervisor.core.results import Exit, Outcome, OutcomeKind
from daplug_supervisor.core.secrets import Mask
from daplug_supervisor.core.state import Run, TaskState
from daplug_supervisor.ports import ReadsLogs
from daplug_supervisor.supervisor.attempts import differences, setups
from daplug_supervisor.supervisor.attempts.desk import Desk
from daplug_supervisor.supervisor.attempts.handing_in import handed_in
from daplug_supervisor.supervisor.attempts.preparation import UnpreparedError, blame
from daplug_supervisor.views.text import duration
from daplug_supervisor.workers.text import last_line
from daplug_supervisor.workspace.files import STDERR, STDOUT, read_tail
from daplug_supervisor.workspace.tasker import home as tasker_home

_TAIL = 64 << 10
"""Bytes of output looked at after a failure, for the lines that say why."""

_TOLD_LATER = 1.0
"""Seconds after which whoever was told to end would have told us as well."""

_LACK_REST = 5.0
"""Seconds until a provider's next start, when an agent could not be started for want of disk or processes."""

_VARIABLE = re.compile(rb"\b[A-Z][A-Z0-9_]{3,99}\b")
_MOST_MISSED = 3

_NOT_ITS_FAULT = frozenset(
    {OutcomeKind.RATE_LIMITED, OutcomeKind.QUOTA, OutcomeKind.OUTAGE, OutcomeKind.AUTH}
)
"""What the output of a CLI that hangs may say of its provider: some wait for the network, or a limit, for ever."""

_MOST_LOGS = 8
"""Files beside its output that are read for an attempt."""


async def outcome_of(
    desk: Desk, run: Run, task: TaskState, bundle: Bundle, found: Exit, *, taken_back: bool
) -> Outcome:
    """What the end of an attempt is read as, and what it hands in."""
    ended = await _ended(desk, run, task, bundle, found, taken_back=taken_back)
    return await handed_in(bundle, ended, session=tasker_home.is_kept(run))


async def _ended(
    desk: Desk, run: Run, task: TaskState, bundle: Bundle, found: Exit, *, taken_back: bool
) -> Outcome:
    if not found.known and not found.stopped:
        return Outcome(OutcomeKind.LOST, "its process was gone, without an exit record")
    if found.stopped == "silence":
        return await _silent(desk, run, bundle, found)
    if found.stopped:
        return await _stopped(desk, run, task, found, taken_back=taken_back)
    if found.error and found.lack:
        again = desk.clock.now() + _LACK_REST
        return Outcome(
            OutcomeKind.OUTAGE, f"too little room on this machine ({found.lack}): {found.error}"[:300], again
        )
    end = setups.ended(bundle, found)
    if isinstance(end, Outcome):
        return end
    return await differences.doubted(bundle, await _judged(desk, run, bundle, end))


async def _stopped(desk: Desk, run: Run, task: TaskState, found: Exit, *, taken_back: bool) -> Outcome:
    """An attempt that was made to end."""
    timeout = run.spec(task.id).timeout
    if timeout is not None and (found.stopped == "deadline" or found.seconds >= timeout):
        return Outcome(OutcomeKind.TIMEOUT, f"not finished after {timeout:g} s")
    if not (taken_back or await _goes_down(desk, run, task)):
        return Outcome(OutcomeKind.LOST, "ended by a signal that the supervisor did not send")
    return Outcome(OutcomeKind.INTERRUPTED, "stopped before it had finished")


async def _silent(desk: Desk, run: Run, bundle: Bundle, found: Exit) -> Outcome:
    """An attempt that hung. If its output says that its provider did, it is the provider's fault, and costs no try."""
    read = await _judged(desk, run, bundle, found)
    limit, estimate = bundle.spec.idle_timeout, bundle.spec.estimate or 0.0
    long = (
        f"for {duration(limit)}"
        if limit
        else f"lately, after more than twice its estimate of {duration(estimate)}"
    )
    silence = f"no output, no changed file and no processor time {long}"
    if read.kind in _NOT_ITS_FAULT:
        return replace(read, detail=f"{read.detail}; {silence}")
    last = [last_line(output) for output in await _output(bundle, _TAIL)]
    said = next((line for line in last if line), "")
    return Outcome(OutcomeKind.SILENT, f"{silence}; last line: {said}" if said else silence, usage=read.usage)


async def _goes_down(desk: Desk, run: Run, task: TaskState) -> bool:
    """Whether an attempt was stopped because we, a person or the machine ended all of it.

    A machine or a service that goes down tells the supervisor and the shims, in any order.
    """
    if run.halt is None and not (desk.stopping or task.cancelling or task.delegating):
        await anyio.sleep(_TOLD_LATER)
    return run.halt is not None or desk.stopping or task.cancelling or task.delegating


async def _judged(desk: Desk, run: Run, bundle: Bundle, found: Exit) -> Outcome:
    """What its worker says of an attempt that ended by itself, or was silent."""
    worker = desk.worker(run, bundle.assignment.provider)
    try:
        wanted = worker.output_wanted if found.code == 0 else max(worker.output_wanted, _TAIL)
        now = desk.clock.now() + desk.clock.ahead()
        evidence = Evidence(bundle, found, *await _output(bundle, wanted), now=now)
        if isinstance(worker, ReadsLogs):
            evidence = replace(evidence, logs=await _logs(worker.logs(evidence)))
        # What the journal could not give back must not get there.
        outcome = msgspec.json.decode(msgspec.json.encode(worker.outcome(evidence)), type=Outcome)
    except Exception as error:  # noqa: BLE001 (a worker may come from anybody; its faults are not ours)
        return UnpreparedError(OutcomeKind.CONFIGURATION, blame(bundle, error)).outcome
    if outcome.kind is OutcomeKind.COMPLETED:
        return outcome
    missed = _missed(desk, run, evidence)
    return replace(outcome, detail=f"{outcome.detail}{missed}") if missed else outcome


def _missed(desk: Desk, run: Run, evidence: Evidence) -> str:
    """Words about a variable that was not handed on, if the output of a failed attempt names one."""
    said = b" ".join((evidence.stderr[-_TAIL:], evidence.stdout[-_TAIL:]))
    words = {word.decode() for word in _VARIABLE.findall(said)}
    patterns = pass_env(run.plan, evidence.bundle.assignment.provider)
    missed = held_back(words & desk.environ.keys(), patterns)[:_MOST_MISSED]
    return f" (not handed on: {', '.join(missed)}; see pass_env)" if missed else ""


async def _output(bundle: Bundle, wanted: int) -> tuple[bytes, bytes]:
    if not wanted:
        return b"", b""
    out, err = (Path(bundle.directory) / name for name in (STDOUT, STDERR))
    return await anyio.to_thread.run_sync(
        lambda: (read_tail(out, wanted), read_tail(err, min(wanted, _TAIL)))
    )


async def _logs(paths: Sequence[str]) -> tuple[bytes, ...]:
    named = tuple(paths)[:_MOST_LOGS]
    return await anyio.to_thread.run_sync(lambda: tuple(read_tail(Path(path), _TAIL) for path in named))


def masked(mask: Mask, found: Exit, outcome: Outcome) -> tuple[Exit, Outcome]:
    """What is journalled of an attempt, without secrets: agents print what they should not."""
    detail, claim = mask(outcome.detail), outcome.claim and mask.within(outcome.claim)
    return replace(found, error=mask(found.error)), replace(outcome, detail=detail, claim=claim)
