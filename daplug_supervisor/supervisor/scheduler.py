"""The scheduler: asks what to do next, and has the slots of each provider do it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from logging import getLogger

import anyio
import anyio.abc
import anyio.to_thread

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.decide import (
    Complete,
    ConfirmHalt,
    Decision,
    Finish,
    RequestHalt,
    Start,
    decide,
    wake_at,
)
from daplug_supervisor.core.delegation import children_done
from daplug_supervisor.core.machine import ACTIVE
from daplug_supervisor.core.state import Run, TaskState
from daplug_supervisor.errors import SupervisorError
from daplug_supervisor.supervisor.attempts.desk import Desk
from daplug_supervisor.supervisor.attempts.slot import work
from daplug_supervisor.supervisor.closing.hooks import after_run, after_task
from daplug_supervisor.supervisor.closing.reports import make_report, owners, write_report
from daplug_supervisor.supervisor.handle import Confirm, RunHandle
from daplug_supervisor.supervisor.notifying.episodes import Notifier
from daplug_supervisor.views.work import WorkLeft, work_left
from daplug_supervisor.workspace import room
from daplug_supervisor.workspace.git.changes import Work, work_of
from daplug_supervisor.workspace.tasker import home as tasker_home

log = getLogger(__name__)

Idle = list[asyncio.Future[str | None]]
"""The slots of a provider in a run that wait for their next task (None: there will be none)."""

_LOOK = 0.5
"""Seconds between looks at a disk that is full."""

_ROOM = "room on the disk"
"""What a full disk is told of as."""

_LOOKS = 10.0
"""Seconds that a look into all worktrees of a run may take."""

_KEPT = 16
"""Finished runs that stay at hand, so that a person can still say something about them."""


class Scheduler:
    """Decides for all runs at hand, and keeps their slots.

    Args:
        desk: what slots work with.
        handles: the runs, by id; whoever adds one wakes the scheduler. Those long finished are taken out.
        token: makes a name for an attempt that is unique in the world.
        notifier: tells people of the end of runs.
    """

    def __init__(
        self, desk: Desk, handles: dict[str, RunHandle], token: Callable[[], str], notifier: Notifier
    ) -> None:
        self._desk = desk
        self._handles = handles
        self._token = token
        self._notifier = notifier
        self._wake = asyncio.Event()
        self._tasks: anyio.abc.TaskGroup | None = None
        self._idle: dict[tuple[str, str], Idle] = defaultdict(list)
        self._at_work: set[tuple[str, str]] = set()
        self._again: set[tuple[str, str]] = set()
        self._finished: dict[str, None] = {}
        self._ending: set[str] = set()

    def wake(self) -> None:
        """Something has changed."""
        self._wake.set()

    def start(self, tasks: anyio.abc.TaskGroup) -> None:
        """Begin, with the scheduler and all slots in a task group."""
        self._tasks = tasks
        tasks.start_soon(self._run, name="scheduler")

    async def _run(self) -> None:
        """Decide, carry out, wait for a change or for the time of the next decision; for ever."""
        while True:
            self._wake = asyncio.Event()
            times = []
            for handle in list(self._handles.values()):
                before = self._desk.clock.now()  # what comes due while it decides must not be missed
                if await self._decide(handle):
                    times.append(self._desk.clock.now() + _LOOK)
                time = wake_at(handle.state, before)
                if time is not None:
                    times.append(time)
            if not times:
                await self._wake.wait()
                continue
            with anyio.move_on_after(self._desk.clock.patience(min(times))):
                await self._wake.wait()

    async def _decide(self, handle: RunHandle) -> bool:
        """Carry out what is to be done now. True: something would start, if there was room on the disk."""
        run = handle.state
        while (decision := decide(run, self._desk.clock.now())) is not None:
            if isinstance(decision, Start):
                self._desk.check()
                if self._desk.directory.stop_requested() or tasker_home.stop_requested(run):
                    self._desk.record(
                        run.id, ev.HaltRequested("the STOP file is there", "stop_file", run.at_work)
                    )
                elif not self._has_room():
                    return True
                elif handle.confirm is not None:
                    await self._ask(handle, decision, handle.confirm)
                else:
                    self._start(handle, decision)
            elif isinstance(decision, Complete):
                task = run.tasks[decision.task]
                self._desk.record(run.id, children_done(run, task, self._token()))
                self.give_slot(handle, task.id)
            elif isinstance(decision, RequestHalt):
                self._desk.record(run.id, ev.HaltRequested(decision.reason, decision.by, run.at_work))
            elif not self._over(handle, decision):
                break
        return False

    def _has_room(self) -> bool:
        found = room.notice(str(self._desk.directory.path))
        self._desk.notices.tell(_ROOM, found)
        return not found

    async def _ask(self, handle: RunHandle, decision: Start, confirm: Confirm) -> None:
        """Start a task if a person agrees. What happened while that was asked counts first."""
        run = handle.state
        agreed = await confirm(run, decision.task)
        if decide(run, self._desk.clock.now()) != decision:
            return
        if agreed:
            self._start(handle, decision)
        else:
            self._desk.record(run.id, ev.HaltRequested("not confirmed", "caller", run.at_work))

    def _start(self, handle: RunHandle, decision: Start) -> None:
        run = handle.state
        task = run.tasks[decision.task]
        number = task.attempt.number + 1 if task.attempt else 1
        self._desk.record(run.id, ev.AttemptStarted(task.id, number, self._token(), decision.provider))
        self.give_slot(handle, task.id)

    def staff(self, handle: RunHandle) -> None:
        """Give every task that was at work when its supervisor went away its slot back."""
        run = handle.state
        for task in run.tasks.values():
            if task.status in ACTIVE and (run.id, task.id) not in self._at_work:
                self.give_slot(handle, task.id)

    def give_slot(self, handle: RunHandle, task: str) -> None:
        """Have a slot of the task's provider work on it. There are never more than its provider allows at once."""
        run = handle.state
        if (run.id, task) in self._at_work:  # its slot tidies up after the attempt before, and goes on then
            self._again.add((run.id, task))
            return
        self._at_work.add((run.id, task))
        attempt = run.tasks[task].attempt
        idle = self._idle[run.id, attempt.provider if attempt else ""]
        while idle:
            slot = idle.pop()
            if not slot.done():
                slot.set_result(task)
                return
        assert self._tasks is not None, "slots exist only while the scheduler runs"  # noqa: S101
        self._tasks.start_soon(self._slot, run, idle, task, name=f"slot {run.id}")

    async def _slot(self, run: Run, idle: Idle, task: str) -> None:
        """Work on one task after another."""
        loop = asyncio.get_running_loop()
        while True:
            ended = await self._worked(run, task)
            await after_task(self._desk, run, ended)
            following: asyncio.Future[str | None] = loop.create_future()
            idle.append(following)
            given = await following
            if given is None:
                return
            task = given

    async def _worked(self, run: Run, task: str) -> TaskState:
        """Work on a task, also if a person has it tried again at once; it may have been removed by the end."""
        key = run.id, task
        try:
            while True:
                state = run.tasks[task]
                await work(self._desk, run, state)
                if key not in self._again:
                    return state
                self._again.discard(key)
        finally:
            self._at_work.discard(key)

    def _over(self, handle: RunHandle, decision: Decision) -> bool:
        """The run has come to an end or to a halt. False: there is something to do before that is said."""
        run = handle.state
        of, hooks = owners(self._desk.directory, run), run.plan.hooks
        told = self._notifier.wanted(run)
        if self._tasks is None or not (of or hooks.post_task or hooks.post_run or run.plan.origin or told):
            self._say(handle, decision, WorkLeft())
            return True
        if run.id not in self._ending:
            self._ending.add(run.id)
            self._tasks.start_soon(self._look, handle, of, name=f"end of {run.id}")
        return False

    async def _look(self, handle: RunHandle, of: dict[str, str]) -> None:
        """Do what comes before a run that is over is said to be: hooks, looks, messages; beside all else."""
        run = handle.state
        try:
            found = await self._looked(run, of)
            await self._tell(run)
        finally:
            self._ending.discard(run.id)
        decision = decide(run, self._desk.clock.now())
        if isinstance(decision, ConfirmHalt | Finish):
            self._say(handle, decision, work_left(run, found))
        self.wake()  # else it goes on: somebody has said so meanwhile

    async def _looked(self, run: Run, of: dict[str, str]) -> dict[str, Work]:
        """Run the hooks of a run, and look into its worktrees."""
        try:
            await after_run(self._desk, run)
            return await anyio.to_thread.run_sync(work_of, run.target, of, _LOOKS, abandon_on_cancel=True)
        except SupervisorError:
            raise
        except Exception:  # a report without it is better than none
            log.exception("the worktrees of run %s could not be looked at", run.id)
            return {}

    async def _tell(self, run: Run) -> None:
        """Tell people of the end that a run has come to; of another one, if that changes meanwhile."""
        told: type[Decision] | None = None
        while (
            isinstance(end := decide(run, self._desk.clock.now()), ConfirmHalt | Finish)
            and type(end) is not told
        ):
            told = type(end)
            await self._notifier.last(run, halted=isinstance(end, ConfirmHalt))

    def _say(self, handle: RunHandle, decision: Decision, left: WorkLeft) -> None:
        """Record that a run is over or halted, and write its report."""
        run = handle.state
        assert isinstance(decision, ConfirmHalt | Finish), "all decisions are handled"  # noqa: S101
        self._desk.record(run.id, ev.Halted() if isinstance(decision, ConfirmHalt) else ev.RunFinished())
        self._report(handle, left)
        if isinstance(decision, Finish):
            self._forget_older(run.id)

    def _report(self, handle: RunHandle, left: WorkLeft) -> None:
        run, now = handle.state, self._desk.clock.now()
        try:
            made = write_report(self._desk.directory, run, now, self._desk.mask, left)
        except OSError as error:  # a full disk, say: what the run came to is in the journal all the same
            log.error("the report of run %s could not be written: %s", run.id, error)  # noqa: TRY400
            made = make_report(self._desk.directory, run, now, self._desk.mask)
        handle.end(made)

    def _forget_older(self, run: str) -> None:
        """A supervisor may live for years: of finished runs it keeps the last ones at hand, the journal keeps all."""
        self._finished.pop(run, None)
        self._finished[run] = None
        for old in list(self._finished)[:-_KEPT]:
            del self._finished[old]
            handle = self._handles.get(old)
            if handle is None or handle.state.finished_at is None:
                continue  # it goes on: it was reopened
            del self._handles[old]
            self._desk.forget(old)
            for key in [key for key in self._idle if key[0] == old]:
                for slot in self._idle.pop(key):
                    if not slot.done():
                        slot.set_result(None)
