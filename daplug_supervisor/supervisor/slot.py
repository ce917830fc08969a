"""A slot works on one task at a time, as one linear function.

It enters at the step that the task's status names, so a first run and a restart share the code.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from logging import getLogger
from pathlib import Path
from typing import Protocol

import anyio
import anyio.to_thread
import msgspec
from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.bundle import ATTEMPT_VARIABLE, Bundle, Evidence
from daplug_supervisor.core.environment import held_back, named
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.plan import assignment, pass_env
from daplug_supervisor.core.results import RULES, Exit, Outcome, OutcomeKind, Result
from daplug_supervisor.core.retry import after_attempt
from daplug_supervisor.core.secrets import Mask
from daplug_supervisor.core.state import Run, TaskState
from daplug_supervisor.errors import LaunchError, StateDirectoryError, SupervisorError, UsageError
from daplug_supervisor.formats import prompts
from daplug_supervisor.ports import Attached, Clock, Durable, Identity, Launch, Launcher, Worker
from daplug_supervisor.supervisor.notices import Notices
from daplug_supervisor.workspace import bundles, git, room
from daplug_supervisor.workspace.files import STDERR, STDOUT, StateDirectory, read_tail

log = getLogger(__name__)

_TAIL = 64 << 10
"""Bytes of output looked at after a failure, for the lines that say why."""

_TOLD = "\n\n## Earlier attempt\n\nAn earlier attempt at this task ended without success: {}\n"
"""Added to the prompt of a second try, so that it need not find out again what the first one did."""

_TOLD_LATER = 1.0
"""Seconds after which whoever was told to end would have told us as well."""

_BACKSTOP = 5.0
"""Seconds after the grace before a stop is asked for again, which kills at once."""

_LACK_REST = 5.0
"""Seconds until a provider's next start, when an agent could not be started for want of disk or processes."""


ROOM = "room on the disk"
"""What a full disk is told of as."""

_WAITS = "it is started when there is room; free some space"

_AGAIN = 2.0
"""Seconds after which what found no room is tried again."""

_LONG_COMMIT = 10.0
"""Seconds of waiting for the disk that are not taken from an attempt's time."""

_VARIABLE = re.compile(rb"\b[A-Z][A-Z0-9_]{3,99}\b")
_MOST_MISSED = 3


class Desk(Protocol):
    """What a slot needs of its supervisor."""

    directory: StateDirectory
    clock: Clock
    launcher: Launcher
    live: dict[tuple[str, str], Attached]
    stopping: bool
    notices: Notices
    environ: Mapping[str, str]
    mask: Mask

    def check(self) -> None:
        """Check that the state directory is where it was."""
        ...

    def record(self, run: str, *events: ev.Event) -> Durable:
        """Record events of a run."""
        ...

    def worker(self, run: Run, provider: str) -> Worker:
        """The worker of a provider."""
        ...

    def forget(self, run: str) -> None:
        """Have a finished run no longer at hand."""
        ...


async def work(desk: Desk, run: Run, task: TaskState) -> None:
    """Bring a task that has a slot as far as it gets: done, waiting for another try, or given up."""
    if task.status is Status.RUNNING:
        await _attempt(desk, run, task)
    if task.status is Status.VERIFYING:
        desk.record(run.id, ev.VerificationPassed(task.id))
    if task.status is Status.LANDING:
        desk.record(run.id, ev.Landed(task.id))


async def _attempt(desk: Desk, run: Run, task: TaskState) -> None:
    """Run the attempt that the task is at, or take it back, and record how it ended."""
    bundle = make_bundle(desk, run, task)
    attempt = task.attempt
    found: Exit | None = None
    taken_back = False
    try:
        if attempt is not None and attempt.pid:
            identity = Identity(attempt.pid, attempt.start, attempt.boot)
            found = await _watch(desk, run, task, await desk.launcher.attach(identity, bundle.directory))
            taken_back = found is not None
        if found is None:
            found = await _launch(desk, run, task, bundle)
        outcome = await _outcome(desk, run, task, bundle, found, taken_back=taken_back)
    except _UnpreparedError as error:
        found, outcome = Exit(None, error=error.outcome.detail), error.outcome
    found, outcome = _masked(desk.mask, found, outcome)
    if task.cancelling and outcome.kind is not OutcomeKind.COMPLETED:
        desk.record(
            run.id, ev.TaskCancelled(task.id, task.reason)
        )  # finished and paid work is not thrown away
    elif outcome.kind is OutcomeKind.COMPLETED:
        desk.record(run.id, ev.AttemptExited(task.id, Result(outcome, found)))
    else:
        now, ahead = desk.clock.now(), desk.clock.ahead()
        desk.record(run.id, *after_attempt(run, task, Result(outcome, found), now, ahead))


def _masked(mask: Mask, found: Exit, outcome: Outcome) -> tuple[Exit, Outcome]:
    """What is journalled of an attempt, without secrets: agents print what they should not."""
    detail, claim = mask(outcome.detail), outcome.claim and mask.within(outcome.claim)
    return replace(found, error=mask(found.error)), replace(outcome, detail=detail, claim=claim)


class _UnpreparedError(Exception):
    """The attempt could not be got ready; nothing was started."""

    def __init__(self, kind: OutcomeKind, detail: str) -> None:
        super().__init__(detail)
        self.outcome = Outcome(kind, detail.encode("utf-8", "backslashreplace").decode()[:300])


def make_bundle(desk: Desk, run: Run, task: TaskState) -> Bundle:
    """What the attempt that the task is at gets; the same after a restart."""
    attempt = task.attempt
    assert attempt is not None, "a running task has an attempt"  # noqa: S101
    spec = run.spec(task.id)
    directory = desk.directory.attempt(run.id, task.id, attempt.number)
    previous = next(
        (past.result.outcome for past in reversed(task.past) if past.number < attempt.number), None
    )
    told = previous is not None and RULES[previous.kind].uses_try  # a lost or limited attempt teaches nothing
    return Bundle(
        run=run.id,
        task=task.id,
        number=attempt.number,
        token=attempt.token,
        directory=directory,
        target=run.target,
        cwd=f"{run.target}/{spec.cwd}" if spec.cwd else run.target,
        spec=spec,
        assignment=assignment(run.plan, spec, attempt.provider),
        prompt_file=None if spec.command else f"{directory}/prompt.md",
        previous=f"{previous.kind}: {previous.detail}" if previous and told else "",
        options=run.plan.providers[attempt.provider].options,
    )


async def _launch(desk: Desk, run: Run, task: TaskState, bundle: Bundle) -> Exit:
    """Start the attempt and wait for its end. A full disk is nobody's fault: it is waited for, and uses up no try."""
    about = f"room for {bundle.name}"
    try:
        while True:
            try:
                return await _start(desk, run, task, bundle)
            except _NoRoomError as error:
                desk.notices.tell(about, f"no room on the disk to start {bundle.name}: {error}; {_WAITS}")
                if task.cancelling or desk.stopping or run.halt:
                    raise _UnpreparedError(OutcomeKind.INTERRUPTED, f"not started: {error}") from error
            await anyio.sleep(_AGAIN)
    finally:
        desk.notices.tell(about, "")


class _NoRoomError(Exception):
    """The disk is full, and nothing was started."""


async def _start(desk: Desk, run: Run, task: TaskState, bundle: Bundle) -> Exit:
    """Start the attempt behind its gate and wait for its end.

    Raises:
        _NoRoomError: what it needs could not be written.
    """
    if bundle.spec.worktree:
        bundle = await _in_worktree(bundle)
    launch = _prepare(desk, run, bundle)
    try:
        gate = desk.launcher.idle() or await desk.launcher.reserve()
    except LaunchError as error:  # too many processes, say: there may be fewer in a while
        raise _UnpreparedError(OutcomeKind.OUTAGE, str(error)) from error
    launch = await _recorded(desk, run, task, launch, gate.identity)
    if task.cancelling or desk.stopping:
        found: Exit | None = Exit(None, stopped="request")
    else:
        found = await _watch(desk, run, task, gate.open(launch))
    desk.launcher.release(gate)  # its next gate opens after this end is durable: events keep their order
    if found is not None and found.error and found.lack == "disk":
        raise _NoRoomError(found.error)
    if found is not None and found.error and found.lack == "directory":
        _unless_ours(desk, found.error)
    return found or Exit(None)


async def _recorded(desk: Desk, run: Run, task: TaskState, launch: Launch, shim: Identity) -> Launch:
    """Make durable who is about to start. However long that takes (a full disk), the agent has its whole time."""
    began = desk.clock.monotonic()
    await desk.record(run.id, _spawned(task, launch, shim)).wait()
    waited = desk.clock.monotonic() - began
    if launch.deadline is not None and waited >= _LONG_COMMIT:
        launch = replace(launch, deadline=launch.deadline + waited)
        await desk.record(run.id, _spawned(task, launch, shim)).wait()
    return launch


def _spawned(task: TaskState, launch: Launch, shim: Identity) -> ev.AttemptSpawned:
    return ev.AttemptSpawned(task.id, shim.pid, shim.start, shim.boot, launch.deadline)


async def _in_worktree(bundle: Bundle) -> Bundle:
    """The bundle, moved into the task's own worktree."""
    owner, name = f"{bundle.directory.rpartition('/')[0]}", f"{bundle.run}-{bundle.task}"

    def make() -> git.Worktree:
        spec = bundle.spec
        return git.worktree(
            Path(bundle.target), owner=owner, name=name, base=spec.base, on_conflict=spec.on_conflict
        )

    try:
        found = await anyio.to_thread.run_sync(make)
    except git.ConflictError as error:
        raise _UnpreparedError(OutcomeKind.CONFLICT, str(error)) from error
    except git.NoRepositoryError as error:
        raise _UnpreparedError(OutcomeKind.PLAN_ERROR, str(error)) from error
    except (git.GitError, OSError) as error:
        _unless_full(error, bundle.target)
        raise _UnpreparedError(OutcomeKind.CRASHED, str(error)) from error
    cwd = f"{found.path}/{bundle.spec.cwd}" if bundle.spec.cwd else found.path
    return replace(bundle, cwd=cwd, branch=found.branch)


def _prepare(desk: Desk, run: Run, bundle: Bundle) -> Launch:
    """Write what the attempt reads, and say what is to be started."""
    spec, provider_name = bundle.spec, bundle.assignment.provider
    provider = run.plan.providers[provider_name]
    try:
        if bundle.prompt_file is not None:
            text = spec.instructions or prompts.read(prompts.resolve(spec.prompt or "", Path(run.target)))
            _write(desk, bundle, text + (_TOLD.format(bundle.previous) if bundle.previous else ""))
        command = desk.worker(run, provider_name).command(bundle)
        if not all(isinstance(text, str) for text in (*command.argv, *command.env, *command.env.values())):
            raise TypeError("argv and env of a command must be text")
    except UsageError as error:
        raise _UnpreparedError(OutcomeKind.PLAN_ERROR, str(error)) from error
    except (_NoRoomError, SupervisorError):
        raise
    except OSError as error:
        raise _UnpreparedError(OutcomeKind.CONFIGURATION, f"{bundle.directory}: {error}") from error
    except Exception as error:
        raise _UnpreparedError(OutcomeKind.CONFIGURATION, _blame(bundle, error)) from error
    names = {"DAPLUG_RUN": run.id, "DAPLUG_TASK": bundle.task, ATTEMPT_VARIABLE: bundle.token}
    return Launch(
        directory=bundle.directory,
        argv=command.argv,
        cwd=command.cwd or bundle.cwd,
        env={
            **named(desk.environ, pass_env(run.plan, provider_name)),
            **provider.env,
            **command.env,
            **names,
        },
        deadline=None if spec.timeout is None else desk.clock.monotonic() + spec.timeout,
        grace=spec.grace,
    )


def _write(desk: Desk, bundle: Bundle, prompt: str) -> None:
    """Write the attempt's own files.

    Raises:
        _NoRoomError: the disk is full.
        StateDirectoryError: nothing can be written there any more.
        OSError: only this attempt's files cannot be written.
    """
    try:
        bundles.write(bundle, prompt)
    except OSError as error:
        _unless_full(error)
        _unless_ours(desk, f"{bundle.directory}: {error.strerror}")
        raise


def _unless_ours(desk: Desk, what: str) -> None:
    """Tell what is wrong with the whole state directory from what is wrong with one attempt's.

    Raises:
        StateDirectoryError: no task is to blame; nothing may be started any more.
    """
    desk.check()
    if os.strerror(errno.EIO) in what or not desk.directory.writable():
        raise StateDirectoryError(
            f"{what}; the state directory cannot be written any more, agents go on running: mend that, then start again"
        )


def _unless_full(error: Exception, place: str = "") -> None:
    """Tell a full disk from all else that may go wrong; git does not say why it could not write in a `place`.

    Raises:
        _NoRoomError: there was no room.
    """
    if isinstance(error, OSError) and error.errno in room.FULL:
        raise _NoRoomError(str(error)) from error
    lack = room.lack(place) if place else ""
    if lack:
        raise _NoRoomError(f"{error} ({lack})") from error


def _blame(bundle: Bundle, error: Exception) -> str:
    log.error("worker %s failed on attempt %s", bundle.assignment.worker, bundle.name, exc_info=error)
    return f"worker {bundle.assignment.worker} failed: {type(error).__name__}: {error}"


async def _watch(desk: Desk, run: Run, task: TaskState, attached: Attached) -> Exit | None:
    """Wait for the end of a tree; at its deadline, have it stopped."""
    key = run.id, task.id
    desk.live[key] = attached
    if task.cancelling:
        attached.stop()
    try:
        deadline = task.attempt.deadline if task.attempt else None
        if deadline is None:
            return await attached.wait()
        try:
            with anyio.fail_after(max(0.0, deadline - desk.clock.monotonic())):
                return await attached.wait()
        except TimeoutError:
            attached.stop()
        patience = run.spec(task.id).grace + _BACKSTOP
        while True:  # more than twice only if the agent can stop its shim
            with anyio.move_on_after(patience):
                return _late(desk, await attached.wait())
            attached.stop()
            patience = _BACKSTOP
    finally:
        desk.live.pop(key, None)


def _late(desk: Desk, found: Exit | None) -> Exit | None:
    """At the deadline shim and supervisor both stop the tree; whoever came first, it was the deadline."""
    if found is None or not found.stopped or desk.stopping:
        return found
    return replace(found, stopped="deadline")


async def _goes_down(desk: Desk, run: Run, task: TaskState) -> bool:
    """Whether an attempt was stopped because we, a person or the machine ended all of it.

    A machine or a service that goes down tells the supervisor and the shims, in any order.
    """
    if run.halt is None and not (desk.stopping or task.cancelling):
        await anyio.sleep(_TOLD_LATER)
    return run.halt is not None or desk.stopping or task.cancelling


async def _outcome(
    desk: Desk, run: Run, task: TaskState, bundle: Bundle, found: Exit, *, taken_back: bool
) -> Outcome:
    """What the end of an attempt is read as."""
    if not found.known and not found.stopped:
        return Outcome(OutcomeKind.LOST, "its process was gone, without an exit record")
    timeout = bundle.spec.timeout
    if found.stopped and timeout is not None and (found.stopped == "deadline" or found.seconds >= timeout):
        return Outcome(OutcomeKind.TIMEOUT, f"not finished after {timeout:g} s")
    if found.stopped and not (taken_back or await _goes_down(desk, run, task)):
        return Outcome(OutcomeKind.LOST, "ended by a signal that the supervisor did not send")
    if found.stopped:
        return Outcome(OutcomeKind.INTERRUPTED, "stopped before it had finished")
    if found.error and found.lack:
        again = desk.clock.now() + _LACK_REST
        return Outcome(
            OutcomeKind.OUTAGE, f"too little room on this machine ({found.lack}): {found.error}"[:300], again
        )
    return await _judged(desk, run, bundle, found)


async def _judged(desk: Desk, run: Run, bundle: Bundle, found: Exit) -> Outcome:
    """What its worker says of an attempt that ended by itself."""
    worker = desk.worker(run, bundle.assignment.provider)
    try:
        wanted = worker.output_wanted if found.code == 0 else max(worker.output_wanted, _TAIL)
        evidence = Evidence(bundle, found, *await _output(bundle, wanted))
        # What the journal could not give back must not get there.
        outcome = msgspec.json.decode(msgspec.json.encode(worker.outcome(evidence)), type=Outcome)
    except Exception as error:  # noqa: BLE001 (a worker may come from anybody; its faults are not ours)
        return _UnpreparedError(OutcomeKind.CONFIGURATION, _blame(bundle, error)).outcome
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
