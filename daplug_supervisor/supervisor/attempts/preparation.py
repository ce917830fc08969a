"""Getting an attempt ready: its bundle, its worktree, the files that it reads, and what is to be started."""

from __future__ import annotations

import errno
import os
from logging import getLogger
from pathlib import Path

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar
from msgspec.structs import replace

from daplug_supervisor.core.bundle import ATTEMPT_VARIABLE, Bundle, Command
from daplug_supervisor.core.environment import named
from daplug_supervisor.core.instructions.earlier import teaching
from daplug_supervisor.core.plan import assignment, pass_env
from daplug_supervisor.core.results import Outcome, OutcomeKind
from daplug_supervisor.core.state import Run, TaskState
from daplug_supervisor.errors import StateDirectoryError, SupervisorError, UsageError
from daplug_supervisor.ports import Launch
from daplug_supervisor.supervisor.attempts import lineage
from daplug_supervisor.supervisor.attempts.desk import Desk
from daplug_supervisor.supervisor.attempts.setups import with_setup
from daplug_supervisor.supervisor.attempts.telling import clear, given, prompt, variables
from daplug_supervisor.workspace import bundles, room
from daplug_supervisor.workspace.git import running as git
from daplug_supervisor.workspace.git import worktrees

log = getLogger(__name__)

_MAKERS = 8
_makers: RunVar[anyio.CapacityLimiter] = RunVar("makers of worktrees")
"""How many wait for a repository at once, in threads."""


class UnpreparedError(Exception):
    """The attempt could not be got ready; nothing was started."""

    def __init__(self, kind: OutcomeKind, detail: str) -> None:
        super().__init__(detail)
        self.outcome = Outcome(kind, detail.encode("utf-8", "backslashreplace").decode()[:300])


class NoRoomError(Exception):
    """The disk is full, and nothing was started."""


def make_bundle(desk: Desk, run: Run, task: TaskState) -> Bundle:
    """What the attempt that the task is at gets; the same after a restart."""
    attempt = task.attempt
    assert attempt is not None, "a running task has an attempt"  # noqa: S101
    spec = run.spec(task.id)
    directory = desk.directory.attempt(run.id, task.id, attempt.number)
    past = teaching(task)
    previous = past.result.outcome if past else None
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
        previous=f"{previous.kind}: {previous.detail}" if previous else "",
        options=run.plan.providers[attempt.provider].options,
    )


async def in_worktree(bundle: Bundle, run: Run) -> tuple[Bundle, str]:
    """The bundle, moved into the task's own worktree; and git's own directory for that.

    Raises:
        UnpreparedError: there can be none.
        NoRoomError: the disk is full.
    """
    found = await find_worktree(bundle, run)
    return moved(bundle, found), found.admin


def moved(bundle: Bundle, worktree: worktrees.Worktree) -> Bundle:
    """The bundle, in a worktree."""
    cwd = f"{worktree.cwd}/{bundle.spec.cwd}" if bundle.spec.cwd else worktree.cwd
    return replace(bundle, cwd=cwd, branch=worktree.branch)


async def find_worktree(bundle: Bundle, run: Run) -> worktrees.Worktree:
    """The worktree of a task, made if it is not there yet.

    What is to land begins where the run has got to; what is a part of a task that waits for it, where that has got to.

    Raises:
        UnpreparedError: there can be none.
        NoRoomError: the disk is full.
    """
    above = lineage.above(bundle, run)

    def make() -> worktrees.Worktree:
        target, owner = Path(bundle.target), worktrees.owner_of(bundle.directory)
        name, on_conflict = f"{bundle.run}-{bundle.task}", bundle.spec.on_conflict
        base, onto = lineage.beginning(bundle, above)
        lineage.own_branch(bundle, owner, name)
        found = worktrees.worktree(target, owner=owner, name=name, base=base, on_conflict=on_conflict)
        return replace(found, onto=onto)

    try:
        # They are made one at a time anyway, and the other threads have other things to do.
        return await anyio.to_thread.run_sync(make, limiter=_limiter())
    except git.ConflictError as error:
        raise UnpreparedError(OutcomeKind.CONFLICT, str(error)) from error
    except (git.NoRepositoryError, git.BaseError) as error:
        raise UnpreparedError(OutcomeKind.PLAN_ERROR, str(error)) from error
    except (git.GitError, OSError) as error:
        unless_full(error, bundle.target)
        raise UnpreparedError(OutcomeKind.CRASHED, str(error)) from error


def _limiter() -> anyio.CapacityLimiter:
    """Of this event loop."""
    try:
        return _makers.get()
    except LookupError:
        _makers.set(anyio.CapacityLimiter(_MAKERS))
        return _makers.get()


def prepare(desk: Desk, run: Run, bundle: Bundle, admin: str = "") -> Launch:
    """Write what the attempt reads, and say what is to be started. `admin`: of its worktree, as `in_worktree` says."""
    spec, provider_name = bundle.spec, bundle.assignment.provider
    provider = run.plan.providers[provider_name]
    try:
        bundle = given(desk, run, bundle)
        _write(desk, run, bundle)
    except UsageError as error:
        clear(bundle)
        raise UnpreparedError(OutcomeKind.PLAN_ERROR, str(error)) from error
    except (NoRoomError, SupervisorError):
        raise
    except OSError as error:
        unless_full(error)
        raise UnpreparedError(OutcomeKind.CONFIGURATION, f"{bundle.directory}: {error}") from error
    command = _command(desk, run, bundle)
    names = {"DAPLUG_RUN": run.id, "DAPLUG_TASK": bundle.task, ATTEMPT_VARIABLE: bundle.token}
    return Launch(
        directory=bundle.directory,
        argv=with_setup(bundle, command.argv, admin),
        cwd=command.cwd or bundle.cwd,
        env={
            **named(desk.environ, pass_env(run.plan, provider_name)),
            **provider.env,
            **command.env,
            **variables(bundle),
            **names,
        },
        stdin=command.stdin,
        deadline=None if spec.timeout is None else desk.clock.monotonic() + spec.timeout,
        grace=spec.grace,
    )


def _command(desk: Desk, run: Run, bundle: Bundle) -> Command:
    """What the worker wants to be started.

    Raises:
        UnpreparedError: it cannot say; a worker may come from anybody.
        SupervisorError: as the worker says.
    """
    try:
        command = desk.worker(run, bundle.assignment.provider).command(bundle)
        if not all(isinstance(text, str) for text in (*command.argv, *command.env, *command.env.values())):
            raise TypeError("argv and env of a command must be text")
    except UsageError as error:
        clear(bundle)
        raise UnpreparedError(OutcomeKind.PLAN_ERROR, str(error)) from error
    except SupervisorError:
        raise
    except Exception as error:
        raise UnpreparedError(OutcomeKind.CONFIGURATION, blame(bundle, error)) from error
    return command


def _write(desk: Desk, run: Run, bundle: Bundle) -> None:
    """Write the attempt's own files.

    Raises:
        UsageError: there is no prompt, or something that it names is missing.
        NoRoomError: the disk is full.
        StateDirectoryError: nothing can be written there any more.
        OSError: only this attempt's files cannot be written.
    """
    text = None if bundle.prompt_file is None else prompt(desk, run, bundle)
    try:
        if text is None:
            bundles.write_inputs(bundle)
        else:
            bundles.write(bundle, text)
    except OSError as error:
        unless_full(error)
        unless_ours(desk, f"{bundle.directory}: {error.strerror}")
        raise


def unless_ours(desk: Desk, what: str) -> None:
    """Tell what is wrong with the whole state directory from what is wrong with one attempt's.

    Raises:
        StateDirectoryError: no task is to blame; nothing may be started any more.
    """
    desk.check()
    if os.strerror(errno.EIO) in what or not desk.directory.writable():
        raise StateDirectoryError(
            f"{what}; the state directory cannot be written any more, agents go on running: mend that, then start again"
        )


def unless_full(error: Exception, place: str = "") -> None:
    """Tell a full disk from all else that may go wrong; git does not say why it could not write in a `place`.

    Raises:
        NoRoomError: there was no room.
    """
    if isinstance(error, OSError) and error.errno in room.FULL:
        raise NoRoomError(str(error)) from error
    lack = room.lack(place) if place else ""
    if lack:
        raise NoRoomError(f"{error} ({lack})") from error


def blame(bundle: Bundle, error: Exception) -> str:
    """Log a worker's own fault, and say it in a line."""
    log.error("worker %s failed on attempt %s", bundle.assignment.worker, bundle.name, exc_info=error)
    return f"worker {bundle.assignment.worker} failed: {type(error).__name__}: {error}"
