"""The supervisor: one event loop, a scheduler, and slots for every provider."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
import anyio.abc

from daplug_supervisor import __version__
from daplug_supervisor.core import events as ev
from daplug_supervisor.core.commands import Command
from daplug_supervisor.core.environment import handed_on
from daplug_supervisor.core.health import Rules
from daplug_supervisor.core.machine import SATISFIED
from daplug_supervisor.core.plan import Plan
from daplug_supervisor.core.secrets import Mask
from daplug_supervisor.core.state import Run, State
from daplug_supervisor.core.surgery.edits import with_edits
from daplug_supervisor.errors import (
    JournalError,
    NotPossibleError,
    StateDirectoryError,
    UsageError,
)
from daplug_supervisor.journal.sqlite import ROOM, TURN, SqliteJournal
from daplug_supervisor.ports import Attached, Clock, Durable, Journal, Launcher, RunMark, Worker
from daplug_supervisor.processes.launch import ShimLauncher
from daplug_supervisor.processes.tree import boot_id
from daplug_supervisor.supervisor import recovery, submission
from daplug_supervisor.supervisor.admission import Admission
from daplug_supervisor.supervisor.clock import SystemClock
from daplug_supervisor.supervisor.commands.inbox import remove, take, waiting, watch
from daplug_supervisor.supervisor.commands.orders import Orders, answered_before
from daplug_supervisor.supervisor.commands.outboxes import Outboxes
from daplug_supervisor.supervisor.groups import one_of
from daplug_supervisor.supervisor.handle import Confirm, RunHandle
from daplug_supervisor.supervisor.monitoring.health import HealthCheck
from daplug_supervisor.supervisor.monitoring.orchestrations import Monitor
from daplug_supervisor.supervisor.notifying.episodes import Notifier
from daplug_supervisor.supervisor.notifying.notices import Notices
from daplug_supervisor.supervisor.recorder import Recorder
from daplug_supervisor.supervisor.scheduler import Scheduler
from daplug_supervisor.workspace.files import NAME, StateDirectory
from daplug_supervisor.workspace.lock import Lock
from daplug_supervisor.workspace.tasker import home as tasker_home

_LEAVE = 5.0
"""Seconds that the journal waits for what it cannot do now once the supervisor is to end."""

_WAITS = {
    ROOM: ("the disk is full", "free some space"),
    TURN: ("another process keeps it locked", "end that process"),
}
"""What the journal may wait for, and what to do about it."""


class Supervisor:
    """Runs plans durably. Use it as an async context manager; one supervisor holds a state directory at a time.

    Leaving the context, in whatever way, leaves running agents running: the next supervisor takes them back. The
    same goes for cancelling the task that entered it. No signal handlers, no logging set-up, no global state.

    Args:
        state_dir: where everything durable is kept; ``.daplug`` in the working directory unless given.
        executor: where daplug's executor.py is, if not in one of the usual places.
        environ: the environment: workers look for things in it, and attempts get of it what is on the list
            (`core.environment`) and what their plan names in `pass_env`; `os.environ` unless given.
        workers: workers by name, in place of those found by entry point.
        launcher, journal, clock, token: the plug-points, for tests.
        health: how often running agents are looked at, and when one is told of as suspicious.
        inbox: take commands from other processes, and tell them in files how things stand; False in virtual time, where
            there are no files to watch.

    Raises:
        BusyError: another supervisor holds the state directory.
        StateDirectoryError: it cannot be used.
        JournalError: its journal is damaged or newer.
    """

    def __init__(  # noqa: PLR0913 (the plug-points, by keyword only)
        self,
        state_dir: Path | str | None = None,
        *,
        executor: str | None = None,
        environ: Mapping[str, str] | None = None,
        workers: Mapping[str, Worker] | None = None,
        launcher: Launcher | None = None,
        journal: Journal | None = None,
        clock: Clock | None = None,
        token: Callable[[], str] | None = None,
        health: Rules | None = None,
        inbox: bool = True,
    ) -> None:
        self.directory = StateDirectory(Path(state_dir) if state_dir is not None else Path.cwd() / NAME)
        self.clock: Clock = clock or SystemClock()
        self.environ: Mapping[str, str] = os.environ if environ is None else environ
        self.mask = Mask.of(self.environ)
        self.launcher: Launcher = launcher or ShimLauncher(handed_on(self.environ))
        self.live: dict[tuple[str, str], Attached] = {}
        self.stopping = False
        self._queues: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.notices = Notices(self.clock)
        rules = health or Rules()
        self.health = HealthCheck(self.directory, self.clock, self.notices, rules)
        self._monitor = Monitor(
            directory=self.directory, clock=self.clock, mask=self.mask, health=self.health, rules=rules,
            ours=lambda: self._lock is not None and self._lock.holds(),
        )  # fmt: skip
        self._ending: float | None = None
        self._journal: Journal = journal or SqliteJournal(self.directory.journal, tell=self._hear)
        self.outboxes = Outboxes(self, self._journal)
        self._admission = Admission(workers or {}, executor, self.environ)
        self._inbox = inbox
        self._handles: dict[str, RunHandle] = {}
        self._notifier = Notifier(self)
        name = token or (lambda: os.urandom(8).hex())
        self._scheduler = Scheduler(self, self._handles, name, self._notifier)
        self._marks: list[RunMark] = []
        self._lock: Lock | None = None
        self._recorder: Recorder | None = None
        self._tasks: anyio.abc.TaskGroup | None = None

    # --- entering and leaving

    async def __aenter__(self) -> Self:
        _need_asyncio()
        if self._recorder is not None:
            raise UsageError("this supervisor was entered before: make a new one")
        self.directory.create()
        self._lock = self.directory.lock()
        try:
            await self._journal.open()
            if self._inbox:
                self._monitor.open()
            state, self._marks = await recovery.load(self._journal, self._hear_of)
            self._recorder = Recorder(self._journal, state, self.clock, self._scheduler.wake)
            self._recorder.listeners.append(self._notifier.hear)
            if self._inbox:
                self._monitor.begin(state, self._marks)
                self._recorder.listeners.append(self._monitor.offer)
                self.health.looked = self._monitor.note
            await self.launcher.open()
            if self._inbox and waiting(self.directory):
                remove(self.directory, await recovery.answered(self._journal, state, self._marks))
            self.record("", ev.SupervisorStarted(os.getpid(), boot_id(), __version__))
            if self._inbox:
                await take(self)  # what was said while nobody listened counts before anything starts
        except BaseException:
            await self._release()
            raise
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._recorder.publish, name="publisher")
        self._scheduler.start(self._tasks)
        self._tasks.start_soon(self.health.run, name="health")
        if self._inbox:
            self._tasks.start_soon(watch, self, name="inbox")
            self._tasks.start_soon(self._monitor.run, self._journal, list(self._marks), name="monitor")
            self._tasks.start_soon(self.outboxes.watch, name="outboxes")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        del kind, trace
        assert self._tasks is not None, "left only after it was entered"  # noqa: S101
        cause = error or await self._take_leave()
        try:
            self._tasks.cancel_scope.cancel()
            await self._tasks.__aexit__(
                type(cause) if cause else None, cause, cause.__traceback__ if cause else None
            )
        except BaseExceptionGroup as group:
            found = one_of(group, cause)
            if isinstance(found, JournalError):
                self.check()  # gone with all else, perhaps
            if found is not error:
                raise found from None
        finally:
            await self._release()
        return None

    async def _take_leave(self) -> BaseException | None:
        """Record that the supervisor lets go; returns what went wrong with that, for the task group to hear of."""
        self._end_soon()
        try:
            self.record("", ev.SupervisorStopped(len(self.live)))
            await self._recorder_now().settle()
            if self._inbox:
                await self._recorder_now().handed_out()
                await self._monitor.flush()
        except BaseException as error:  # noqa: BLE001 (raised by the task group, which must be left in any case)
            return error
        return None

    async def _release(self) -> None:
        for handle in self._handles.values():
            handle.leave()
        try:
            await self.launcher.close()
        finally:
            try:
                await self._journal.close()
            finally:
                if self._lock is not None:
                    self._lock.release()

    # --- runs

    async def submit(
        self,
        plan: Plan,
        *,
        target: Path | str | None = None,
        source: str = "",
        fresh: bool = False,
        only: Sequence[str] = (),
        parallel: int | None = None,
        confirm: Confirm | None = None,
    ) -> RunHandle:
        """Run a plan, or go on with its latest run: unfinished, or finished with something that failed.

        What is done stays done; what failed is tried again. A run in which all is done is not gone on with.

        Args:
            plan: what to do; if it was edited since, the edits apply to what has not started.
            target: the directory that the run is about; the state directory's parent unless given.
            source: where the plan came from, for people.
            fresh: begin a new run in any case.
            only: run only these tasks now.
            parallel: at most so many attempts at once, over all providers.
            confirm: asked before each start.

        Raises:
            UsageError: a worker cannot run here, `only` names unknown tasks, or the run is about another directory.
            HaltedError: the run was halted by a person; `resume` lifts that.
        """
        where = str(Path(target).absolute() if target is not None else self.directory.path.parent)
        if parallel is not None and parallel < 1:
            raise UsageError(f"parallel is {parallel}: at least one attempt must be allowed")
        run = None if fresh else submission.unfinished(self.state, plan)
        if run is None and not fresh:
            run = await self._failed_before(plan)
            run = submission.unfinished(self.state, plan) or run  # submitted meanwhile by somebody else
        submission.refuse_halted(self.directory, run)
        submission.refuse_elsewhere(run, where)
        if run is not None:
            plan = with_edits(run, plan)
        unknown = [name for name in only if name not in plan.tasks]
        if unknown:
            raise UsageError(f"the plan has no task {', '.join(unknown)}")
        plan = self._admission.with_accounts(plan, where)
        self._admission.check(plan, where, source)
        if run is None:
            name = submission.new_id(plan, self._marks)
            self.record(name, ev.RunSubmitted(plan, where, source))
            self._marks.append(RunMark(name, self.state.seq, finished=False))
            run = self.state.runs[name]
            return self._drive(run, only, parallel, confirm)
        again = submission.tried_again(run, plan)
        edit = submission.edited(run, plan, again)  # before anything is recorded: it may be refused
        if again:
            self.record(run.id, *again)
        if edit.plan != run.plan:
            self.record(run.id, ev.PlanChanged(edit.plan, edit.summary))
        handle = self._drive(run, only, parallel, confirm)
        handle.edits = edit.summary
        return handle

    async def _failed_before(self, plan: Plan) -> Run | None:
        """The latest run of the plan, if it has finished with something not done: what was paid for is kept."""
        mark = next((mark for mark in reversed(self._marks) if submission.is_of(mark, plan)), None)
        if mark is None:
            return None
        run = await self.load(mark.run)
        return None if all(task.status in SATISFIED for task in run.tasks.values()) else run

    async def resume(self, run: str | None = None, *, parallel: int | None = None) -> list[RunHandle]:
        """Lift halts and go on with unfinished runs: the one named, or all. Removes the STOP file.

        Raises:
            NotPossibleError: there is no such unfinished run.
        """
        self.directory.stop_file.unlink(missing_ok=True)
        if run is not None and run not in self.state.runs:
            raise NotPossibleError(f"there is no unfinished run {run!r}")
        found = [one for one in self.state.runs.values() if run in (None, one.id) and one.finished_at is None]
        if not found and self._marks:
            tasker_home.clear_stop(await self.load(self._marks[-1].run))
        for one in found:
            self._admission.check_workers(one.plan, one.target)
            tasker_home.clear_stop(one)
            self.record(one.id, ev.Resumed("command"))
        return [self._drive(one, sorted(one.only), parallel or one.parallel, None) for one in found]

    def _drive(
        self, run: Run, only: Sequence[str], parallel: int | None, confirm: Confirm | None
    ) -> RunHandle:
        """Begin or go on with a run; tasks that were at work get their slots back first."""
        handle = self._handles.get(run.id)
        if handle is None:
            handle = self._handles[run.id] = RunHandle(run, self._recorder_now(), self.clock)
        handle.begin()
        self.stopping, self._ending = False, None
        handle.confirm = confirm
        self.record(run.id, ev.RunStarted(tuple(only), parallel, *self.clock.boot()))
        self._scheduler.staff(handle)
        if self._tasks is not None:
            self._notifier.begin(run, self._tasks)
        return handle

    async def command(self, command: Command) -> ev.CommandAnswered:
        """Carry out what a person says, once for each id, and return the answer, durable.

        Raises:
            NotPossibleError: it cannot be done now; nothing was changed.
        """
        recorder = self._recorder_now()
        answer = await answered_before(self._journal, command)
        if answer is None and any(command.id in run.answered for run in self.state.runs.values()):
            await recorder.settle()  # its answer is on its way to the journal still
            answer = await answered_before(self._journal, command)
        if answer is not None:
            return answer
        before = self._being_ended()
        orders = Orders(self.state, recorder.now, self._admission, self._handles.__contains__)
        answer = orders.carry_out(command, recorder.record)
        found = [self.live[key] for key in self._being_ended() - before]
        if found and self._tasks is not None:
            self._tasks.start_soon(self._stop_when_durable, found, name=f"{command.verb} {command.task}")
        for handle in self._handles.values():
            run = handle.state
            if run.finished_at is None and run.halt is None:
                handle.begin()  # resumed, or a task of it is to be tried again
                self.stopping, self._ending = False, None
            if run.finished_at is None and not (run.halt is not None and run.halt.now):
                # What was being verified when all was stopped, or is approved now.
                self._scheduler.staff(handle)
        await self._recorder_now().settle()
        return answer

    def _being_ended(self) -> set[tuple[str, str]]:
        """The attempts whose agents are to be ended: their tasks are cancelled, or delegated."""
        tasks = {key: self.state.runs[key[0]].tasks[key[1]] for key in self.live}
        return {key for key, task in tasks.items() if task.cancelling or task.delegating}

    async def _stop_when_durable(self, found: list[Attached]) -> None:
        """Stop agents whose end was just decided on and recorded, also if whoever asked for it no longer waits."""
        await self.settle()
        for attached in found:
            attached.stop()

    async def load(self, run: str) -> Run:
        """The state of any run, also a finished one.

        Raises:
            NotPossibleError: there is none of that id.
        """
        found = self.state.runs.get(run)
        mark = next((mark for mark in self._marks if mark.run == run), None)
        if found is None and mark is not None:
            await self._recorder_now().settle()
            # Aside, for that takes a while: others may ask meanwhile, and whoever asked may go before it is whole.
            loaded = await recovery.load_run(self._journal, State(), mark, self._hear_of)
            found = self.state.runs.setdefault(run, loaded)
        if found is None:
            raise NotPossibleError(f"there is no run {run!r} here")
        return found

    def halt(self, reason: str, by: ev.HaltedBy = "caller", *, now: bool = False) -> None:
        """Start nothing more in any run; what runs may finish. `now`: it is being stopped, and not waited for."""
        self._end_soon()
        for handle in self._handles.values():
            run = handle.state
            halting = run.halt is not None and not (now and run.halt.halted_at is None and not run.halt.now)
            if not halting and run.finished_at is None:
                self.record(run.id, ev.HaltRequested(reason, by, run.at_work, now))

    def stop(self) -> None:
        """Halt every run and have its agents stopped now; attempts are journalled as interrupted, and cost no try."""
        self.halt("stopped", now=True)  # or the interrupted attempts would be tried again at once
        self.stopping = True
        for attached in list(self.live.values()):
            attached.stop()

    @property
    def state(self) -> State:
        """The runs at hand. To be read only."""
        return self._recorder_now().state

    @property
    def marks(self) -> list[RunMark]:
        """All runs that the journal knows, oldest first."""
        return list(self._marks)

    def check(self) -> None:
        """Check that the state directory is where it was; if not, nothing may be started any more.

        Raises:
            StateDirectoryError: it was renamed (agents work on, to be taken back there) or removed (they are stopped:
                nobody could ever take them back).
        """
        if self._lock is None or self._lock.holds():
            return
        path = self.directory.path
        if self._lock.removed():
            self.stop()
            raise StateDirectoryError(f"{path} was removed while it was in use; running agents are stopped")
        raise StateDirectoryError(
            f"{path} was renamed while it was in use; agents work on: go on where it is now, with --state-dir"
        )

    # --- what slots need (`desk.Desk`)

    def record(self, run: str, *events: ev.Event) -> Durable:
        """See `Recorder.record`."""
        return self._recorder_now().record(run, *events)

    async def settle(self) -> None:
        """Wait until all that was recorded is durable: `desk.Desk`."""
        await self._recorder_now().settle()

    def worker(self, run: Run, provider: str) -> Worker:
        """The worker of a provider of a run."""
        return self._admission.worker(run.plan.providers[provider].worker, run.target)

    def queue(self, name: str) -> asyncio.Lock:
        """One lock for each name: `desk.Desk`."""
        return self._queues[name]

    def forget(self, run: str) -> None:
        """Have a finished run no longer at hand; `load` reads it from the journal again."""
        del self.state.runs[run]
        self._monitor.forget(run)
        self._notifier.forget(run)
        for name in (run, f"hooks of {run}"):
            self._queues.pop(name, None)

    # --- inside

    def _hear_of(self, entry: ev.Entry) -> None:
        if self._inbox:
            self._monitor.hear(entry)

    def _end_soon(self) -> None:
        """Somebody wants us to end: from now on the journal waits only so long."""
        if self._ending is None:
            self._ending = self.clock.monotonic()

    def _hear(self, about: str, text: str) -> None:
        """The journal tells something, again and again while it waits for room, or for its turn.

        Raises:
            JournalError: it has waited long enough.
        """
        self.notices.tell(about, text)
        if text and about in _WAITS and self._ending is not None:
            since = max(self._ending, self.notices.since(about))
            if self.clock.monotonic() - since > _LEAVE:
                why, remedy = _WAITS[about]
                raise JournalError(
                    f"{self.directory.journal}: {why}, and what happened last could not be written; "
                    f"agents go on running, and leave their ends in their records: {remedy}, then run the same "
                    "command again"
                )

    def _recorder_now(self) -> Recorder:
        if self._recorder is None:
            raise UsageError("the supervisor is not entered: use 'async with Supervisor(...)'")
        return self._recorder


def _need_asyncio() -> None:
    """Refuse other event loops before anything is touched.

    Raises:
        UsageError: no asyncio loop is running.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise UsageError(
            "the supervisor needs asyncio: enter it under asyncio.run or anyio.run, not under trio"
        ) from None
