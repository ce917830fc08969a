"""The process tree that runs a task's criteria: started behind a gate, stopped, and taken back after a restart.

Who it is is durable before it starts, as for an attempt: otherwise a restart might have two at work in one place.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import anyio
import msgspec
from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.acceptance import Look
from daplug_supervisor.core.bundle import ATTEMPT_VARIABLE, Bundle
from daplug_supervisor.core.environment import logins, named
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.model import Check
from daplug_supervisor.core.results import Exit, Outcome, OutcomeKind
from daplug_supervisor.core.state import Run, TaskState
from daplug_supervisor.errors import LaunchError
from daplug_supervisor.ports import Attached, Gate, Identity, Launch
from daplug_supervisor.processes import criteria
from daplug_supervisor.supervisor.attempts import setups
from daplug_supervisor.supervisor.attempts.desk import Desk
from daplug_supervisor.supervisor.attempts.preparation import (
    NoRoomError,
    UnpreparedError,
    unless_full,
    unless_ours,
)
from daplug_supervisor.supervisor.attempts.setups import with_setup
from daplug_supervisor.workers.text import one_line
from daplug_supervisor.workspace.files import STDOUT, make_private, open_output, write_atomically

_SPEC = "criteria.json"
_LARGEST = 8 << 20
_SLACK = 60.0
"""Seconds that the shim waits longer than all criteria may take together."""

_AGAIN = 2.0
_MOST_LOST = 3
_LOST = Look(error="the process that runs the criteria was lost, again and again")


async def looks(
    desk: Desk, run: Run, task: TaskState, bundle: Bundle, held: list[Gate], admin: str = ""
) -> list[Look] | None:
    """How each criterion ended; None if they were stopped. What is lost is run again.

    `held` takes the shims that were used: they are to be released when what was found is recorded, not before. `admin`
    is git's own directory for the worktree. Where the task's parts have done the work, its set-up comes before.

    Raises:
        UnpreparedError: they cannot be run.
    """
    count, check = (
        len(bundle.spec.accept),
        None if held else task.check,
    )  # what is held was ours, and has ended
    for _ in range(_MOST_LOST):
        if check is not None:
            ended, check = await _found_again(desk, run, task, bundle, check), None
        else:
            ended = await _started(desk, run, task, bundle, held, admin)
        if (ended is None or not ended.known or ended.stopped) and _in_vain(desk, task):
            return None
        if ended is not None and _sets_up(bundle, task):
            wrong = setups.ended(bundle, ended)
            if isinstance(wrong, Outcome):
                raise UnpreparedError(wrong.kind, wrong.detail)
        if ended is not None and (ended.code == 0 or ended.stopped == "deadline"):
            return _read(directory_of(bundle, task.checks), count)
    return [_LOST] * count


def _sets_up(bundle: Bundle, task: TaskState) -> bool:
    """Whether the place was made anew for what the parts of a task have done, so that nobody has got it ready."""
    return bundle.spec.setup is not None and task.attempt is not None and task.attempt.of_children


def directory_of(bundle: Bundle, number: int) -> str:
    """Where a run of the criteria has its files."""
    return f"{bundle.directory}/accept-{number}"


def _in_vain(desk: Desk, task: TaskState) -> bool:
    """Whether nobody waits for what is found. What is on its way home is not called back: it is paid for."""
    return desk.stopping or (task.cancelling and task.status is not Status.LANDING)


async def _found_again(desk: Desk, run: Run, task: TaskState, bundle: Bundle, check: Check) -> Exit | None:
    """Wait for the end of what another supervisor, or an earlier start, began; None if that tells nothing of now."""
    attached = await desk.launcher.attach(
        Identity(check.pid, check.start, check.boot), directory_of(bundle, check.number)
    )
    if task.status is not Status.LANDING:
        return await _wait(desk, run, task, attached)
    attached.stop()  # others may have landed since: what it looks at is not what lands
    await _wait(desk, run, task, attached)
    return None


async def _started(
    desk: Desk, run: Run, task: TaskState, bundle: Bundle, held: list[Gate], admin: str
) -> Exit | None:
    """Start the tree that runs the criteria, and wait for its end; None if there is to be none."""
    launch, number = None, task.checks + 1
    while launch is None:
        try:
            launch = _launch(desk, run, bundle, number)
            if _sets_up(bundle, task):
                whole = (launch.deadline or 0.0) + bundle.spec.setup_timeout
                argv = with_setup(
                    bundle, launch.argv, admin, marks=False
                )  # what it leaves may be removed again
                launch = replace(launch, argv=argv, deadline=whole)
        except NoRoomError as error:
            await room(desk, bundle.name, error)
            if _in_vain(desk, task):
                return None
    gate = await _gate(desk, task)
    if gate is None:
        return None
    held.append(gate)
    who = gate.identity
    await desk.record(run.id, ev.VerificationStarted(task.id, number, who.pid, who.start, who.boot)).wait()
    # Also if it is in vain by now: a shim that was not let go may get other work, and would be waited for.
    return await _wait(desk, run, task, gate.open(launch))


async def _gate(desk: Desk, task: TaskState) -> Gate | None:
    about = f"criteria of {task.id}"
    try:
        while not _in_vain(desk, task):
            try:
                return desk.launcher.idle() or await desk.launcher.reserve()
            except LaunchError as error:  # too many processes, say: there may be fewer in a while
                desk.notices.tell(about, f"the {about} wait: {error}")
                await anyio.sleep(_AGAIN)
    finally:
        desk.notices.tell(about, "")
    return None


async def _wait(desk: Desk, run: Run, task: TaskState, attached: Attached) -> Exit | None:
    key = run.id, task.id
    desk.live[key] = attached
    try:
        if desk.stopping:
            attached.stop()
        elif _in_vain(desk, task):
            await desk.settle()
            attached.stop()
        return await attached.wait()
    finally:
        desk.live.pop(key, None)


def _launch(desk: Desk, run: Run, bundle: Bundle, number: int) -> Launch:
    """Write down what is to be run, and how.

    Raises:
        NoRoomError: the disk is full.
        StateDirectoryError: nothing can be written there any more.
        UnpreparedError: only this cannot be written: an agent may have put something in its place.
    """
    directory, wanted = directory_of(bundle, number), bundle.spec.accept
    told = {
        "directory": directory,
        "cwd": bundle.cwd,
        "criteria": [(one.argv, one.timeout, one.expect_output or "") for one in wanted],
        "without": logins(desk.environ, {*named(desk.environ, run.plan.pass_env), *bundle.spec.env}),
    }
    try:
        make_private(Path(directory))
        write_atomically(Path(directory) / _SPEC, msgspec.json.encode(told))
    except OSError as error:
        unless_full(error)
        unless_ours(desk, f"{directory}: {error.strerror}")
        raise UnpreparedError(OutcomeKind.CRASHED, f"{directory}: {error.strerror}") from error
    names = {
        "DAPLUG_RUN": run.id,
        "DAPLUG_TASK": bundle.task,
        ATTEMPT_VARIABLE: f"{bundle.token}-accept-{number}",
    }
    whole = sum(one.timeout for one in wanted) + _SLACK
    return Launch(
        directory=directory,
        argv=(sys.executable, "-I", "-S", criteria.__file__, f"{directory}/{_SPEC}"),
        cwd=bundle.cwd,
        env={
            **named(desk.environ, run.plan.pass_env),
            **bundle.spec.env,
            **names,
        },
        deadline=desk.clock.monotonic() + whole,
    )


def _read(directory: str, count: int) -> list[Look]:
    """What the tree has written down; what is missing is not known."""
    looks = [Look() for _ in range(count)]
    with suppress(OSError), open_output(Path(directory) / STDOUT) as file:
        for line in file.read(_LARGEST).splitlines():
            with suppress(msgspec.MsgspecError):
                found = msgspec.json.decode(line, type=_Line)
                if 0 <= found.criterion < count:
                    looks[found.criterion] = found.look
    return looks


class _Line(msgspec.Struct, frozen=True):
    criterion: int
    code: int | None = None
    seconds: float = 0.0
    late: bool = False
    printed: bool = True
    error: str = ""

    @property
    def look(self) -> Look:
        return Look(self.code, self.seconds, self.late, self.printed, one_line(self.error))


async def room(desk: Desk, name: str, error: Exception) -> None:
    """The disk is full: that is waited for."""
    about = f"room for {name}"
    desk.notices.tell(about, f"no room on the disk to look at {name}: {error}; free some space")
    try:
        await anyio.sleep(_AGAIN)
    finally:
        desk.notices.tell(about, "")
