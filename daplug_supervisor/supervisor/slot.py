"""A slot works on one task at a time, as one linear function.

It enters at the step that the task's status names, so a first run and a restart share the code.
"""

from __future__ import annotations

from logging import getLogger
from pathlib import Path
from typing import Protocol

import anyio
import anyio.to_thread
from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.bundle import ATTEMPT_VARIABLE, Bundle, Evidence
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.plan import assignment
from daplug_supervisor.core.results import RULES, Exit, Outcome, OutcomeKind, Result
from daplug_supervisor.core.retry import after_attempt
from daplug_supervisor.core.state import Run, TaskState
from daplug_supervisor.errors import UsageError
from daplug_supervisor.formats import prompts
from daplug_supervisor.ports import Attached, Clock, Durable, Identity, Launch, Launcher, Worker
from daplug_supervisor.workspace import bundles, git
from daplug_supervisor.workspace.files import STDERR, STDOUT, StateDirectory, read_tail

log = getLogger(__name__)

_TAIL = 64 << 10
"""Bytes of output looked at after a failure, for the lines that say why."""

_TOLD = "\n\n## Earlier attempt\n\nAn earlier attempt at this task ended without success: {}\n"
"""Added to the prompt of a second try, so that it need not find out again what the first one did."""

_BACKSTOP = 5.0
"""Seconds after the grace before a stop is asked for again, which kills at once."""


class Desk(Protocol):
    """What a slot needs of its supervisor."""

    directory: StateDirectory
    clock: Clock
    launcher: Launcher
    live: dict[tuple[str, str], Attached]
    stopping: bool

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
    try:
        if attempt is not None and attempt.pid:
            identity = Identity(attempt.pid, attempt.start, attempt.boot)
            found = await _watch(desk, run, task, await desk.launcher.attach(identity, bundle.directory))
        if found is None:
            found = await _launch(desk, run, task, bundle)
        outcome = await _outcome(desk, run, bundle, found)
    except _UnpreparedError as error:
        found, outcome = Exit(None, error=error.outcome.detail), error.outcome
    if task.cancelling and outcome.kind is not OutcomeKind.COMPLETED:
        desk.record(
            run.id, ev.TaskCancelled(task.id, task.reason)
        )  # finished and paid work is not thrown away
    elif outcome.kind is OutcomeKind.COMPLETED:
        desk.record(run.id, ev.AttemptExited(task.id, Result(outcome, found)))
    else:
        desk.record(run.id, *after_attempt(run, task, Result(outcome, found), desk.clock.now()))


class _UnpreparedError(Exception):
    """The attempt could not be got ready; nothing was started."""

    def __init__(self, kind: OutcomeKind, detail: str) -> None:
        super().__init__(detail)
        self.outcome = Outcome(kind, detail[:300])


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
    """Start the attempt behind its gate and wait for its end."""
    if bundle.spec.worktree:
        bundle = await _in_worktree(bundle)
    launch = _prepare(desk, run, bundle)
    gate = desk.launcher.idle() or await desk.launcher.reserve()
    identity = gate.identity
    spawned = ev.AttemptSpawned(task.id, identity.pid, identity.start, identity.boot, launch.deadline)
    await desk.record(run.id, spawned).wait()
    if task.cancelling or desk.stopping:
        found: Exit | None = Exit(None, stopped="request")
    else:
        found = await _watch(desk, run, task, gate.open(launch))
    desk.launcher.release(gate)  # its next gate opens after this end is durable: events keep their order
    return found or Exit(None)


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
        raise _UnpreparedError(OutcomeKind.CRASHED, str(error)) from error
    cwd = f"{found.path}/{bundle.spec.cwd}" if bundle.spec.cwd else found.path
    return replace(bundle, cwd=cwd, branch=found.branch)


def _prepare(desk: Desk, run: Run, bundle: Bundle) -> Launch:
    """Write what the attempt reads, and say what is to be started."""
    spec, provider = bundle.spec, run.plan.providers[bundle.assignment.provider]
    try:
        if bundle.prompt_file is not None:
            text = spec.instructions or prompts.read(prompts.resolve(spec.prompt or "", Path(run.target)))
            bundles.write(bundle, text + (_TOLD.format(bundle.previous) if bundle.previous else ""))
        command = desk.worker(run, bundle.assignment.provider).command(bundle)
        if not all(isinstance(text, str) for text in (*command.argv, *command.env, *command.env.values())):
            raise TypeError("argv and env of a command must be text")
    except UsageError as error:
        raise _UnpreparedError(OutcomeKind.PLAN_ERROR, str(error)) from error
    except OSError as error:
        raise _UnpreparedError(OutcomeKind.CONFIGURATION, f"{bundle.directory}: {error}") from error
    except Exception as error:
        raise _UnpreparedError(OutcomeKind.CONFIGURATION, _blame(bundle, error)) from error
    names = {"DAPLUG_RUN": run.id, "DAPLUG_TASK": bundle.task, ATTEMPT_VARIABLE: bundle.token}
    return Launch(
        directory=bundle.directory,
        argv=command.argv,
        cwd=command.cwd or bundle.cwd,
        env={**provider.env, **command.env, **names},
        deadline=None if spec.timeout is None else desk.clock.monotonic() + spec.timeout,
        grace=spec.grace,
    )


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
        with anyio.move_on_after(run.spec(task.id).grace + _BACKSTOP):
            return _late(desk, await attached.wait())
        attached.stop()
        return _late(desk, await attached.wait())
    finally:
        desk.live.pop(key, None)


def _late(desk: Desk, found: Exit | None) -> Exit | None:
    """At the deadline shim and supervisor both stop the tree; whoever came first, it was the deadline."""
    if found is None or not found.stopped or desk.stopping:
        return found
    return replace(found, stopped="deadline")


async def _outcome(desk: Desk, run: Run, bundle: Bundle, found: Exit) -> Outcome:
    """What the end of an attempt is read as."""
    if not found.known and not found.stopped:
        return Outcome(OutcomeKind.LOST, "its process was gone, without an exit record")
    timeout = bundle.spec.timeout
    if found.stopped and timeout is not None and (found.stopped == "deadline" or found.seconds >= timeout):
        return Outcome(OutcomeKind.TIMEOUT, f"not finished after {timeout:g} s")
    if found.stopped:
        return Outcome(OutcomeKind.INTERRUPTED, "stopped before it had finished")
    worker = desk.worker(run, bundle.assignment.provider)
    try:
        wanted = worker.output_wanted if found.code == 0 else max(worker.output_wanted, _TAIL)
        evidence = Evidence(bundle, found, *await _output(bundle, wanted))
        return worker.outcome(evidence)
    except Exception as error:  # noqa: BLE001 (a worker may come from anybody; its faults are not ours)
        return Outcome(OutcomeKind.CONFIGURATION, _blame(bundle, error)[:300])


async def _output(bundle: Bundle, wanted: int) -> tuple[bytes, bytes]:
    if not wanted:
        return b"", b""
    out, err = (Path(bundle.directory) / name for name in (STDOUT, STDERR))
    return await anyio.to_thread.run_sync(
        lambda: (read_tail(out, wanted), read_tail(err, min(wanted, _TAIL)))
    )
