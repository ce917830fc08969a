"""What a damaged journal's intact events mean: which runs can go on, and what a person has to decide.

The rule is that no paid work is done twice. A task of which events were lost may have been started since, so it does
not simply start again: it is stuck, unless its attempt's own directory settles how it ended. A run that may have lost
events is halted: what a person told it meanwhile (skip, cancel, halt) may be lost too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from msgspec import Struct, convert, field
from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.machine import ACTIVE, Status
from daplug_supervisor.core.plan import Id, Plan, Provider, Task
from daplug_supervisor.core.results import Exit, Outcome, OutcomeKind, Result
from daplug_supervisor.core.state import Run, State, TaskState, apply
from daplug_supervisor.errors import IllegalTransitionError, JournalError
from daplug_supervisor.journal.reader import entry_of
from daplug_supervisor.journal.salvage import Salvaged, content_of
from daplug_supervisor.ports import Identity
from daplug_supervisor.processes import tree
from daplug_supervisor.processes.ends import read_record
from daplug_supervisor.supervisor.repair import traces
from daplug_supervisor.views.text import command
from daplug_supervisor.workspace.files import StateDirectory

REASON = "the journal was damaged"
LOST_PROVIDER = "lost"
_LOST_PLAN = "The journal was damaged, and what this task was to do was lost with it."
_ENDED = frozenset({Status.FAILED, Status.STUCK, Status.CANCELLED, Status.SKIPPED})
_LEFT_ALONE = frozenset({Status.DONE, Status.VERIFYING, Status.LANDING, Status.DELEGATED, Status.REVIEWING})
"""Statuses in which nothing is started; but all of them except done may have sent the task back to its agent."""


class Loss(Struct, frozen=True):
    """Something that a repair cannot bring back, and what to do about it."""

    about: str
    message: str
    remedy: str = ""


class Mended(Struct):
    """The events of the new journal, what they fold to, and what was lost."""

    entries: list[ev.Entry] = field(default_factory=list)
    state: State = field(default_factory=State)
    dropped: list[ev.Entry] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)


def mend(directory: StateDirectory, salvaged: Salvaged, path: Path, now: float) -> Mended:
    """Make a journal of what was salvaged. Only reads.

    Raises:
        JournalError: a newer version wrote some of it.
    """
    return _Mender(directory, salvaged, path, now).mend()


class _Mender:
    def __init__(self, directory: StateDirectory, salvaged: Salvaged, path: Path, now: float) -> None:
        self.directory, self.salvaged, self.path, self.now = directory, salvaged, path, now
        self.made = Mended()
        self.state = self.made.state
        self.seen: dict[tuple[str, str], int] = {}
        """The last event that fitted, of each task, and of each run under the task ''."""
        self.dropped: set[tuple[str, str]] = set()
        self.first: dict[str, int] = {}
        self.revived: dict[str, bool] = {}
        """Runs whose beginning was lost, and whether their plan was too."""
        self.next = salvaged.last + 1

    def mend(self) -> Mended:
        entries = list(self._entries())
        for entry in entries:
            self._take(entry, entries)
        for first, last in self.salvaged.lost:
            events = f"event {first}" if first == last else f"events {first} to {last}"
            self._lose("events", f"{events} could not be read")
        if not self.salvaged.end_known:
            self._lose("events", "nothing says how far the journal went: more may be missing at its end")
        if not self.salvaged.complete or self.made.dropped:
            self._list_dropped()
            for run in list(self.state.runs.values()):
                self._settle(run)
            self._revive_the_rest()
        return self.made

    # --- events

    def _entries(self) -> Iterator[ev.Entry]:
        for row in self.salvaged.rows:
            try:
                yield entry_of(content_of(row), self.path)
            except JournalError as error:
                if "is damaged" not in str(error):
                    raise
                self._lose("events", f"event {row[0]} is not an event")

    def _take(self, entry: ev.Entry, entries: list[ev.Entry]) -> None:
        if entry.run and entry.run not in self.state.runs and not isinstance(entry.event, ev.RunSubmitted):
            self._revive(entry, entries)
        if self._apply(entry):
            self.made.entries.append(entry)
            self.seen[entry.run, entry.task] = entry.seq
            self.seen[entry.run, ""] = entry.seq
            self.first.setdefault(entry.run, entry.seq)
        else:
            self.made.dropped.append(entry)
            self.dropped.add((entry.run, entry.task))

    def _apply(self, entry: ev.Entry) -> bool:
        try:
            apply(self.state, entry)
        except IllegalTransitionError:
            return False
        return True

    def _record(self, run: str, *events: ev.Event) -> None:
        for event in events:
            entry = ev.Entry(self.next, run, self.now, event)
            apply(self.state, entry)
            self.made.entries.append(entry)
            self.next += 1

    def _lose(self, about: str, message: str, remedy: str = "") -> None:
        self.made.losses.append(Loss(about, message, remedy))

    def _list_dropped(self) -> None:
        for entry in self.made.dropped:
            what = f"{entry.run}/{entry.task}" if entry.task else entry.run
            self._lose("events", f"event {entry.seq} ({entry.event.kind}, {what}) no longer fits: left out")

    # --- runs whose plan was lost

    def _revive(self, entry: ev.Entry, entries: list[ev.Entry]) -> None:
        """Put a plan of what is known of a run into the place of the lost one, so that its tasks stay known."""
        free = [last for _, last in self.salvaged.lost if last < entry.seq]
        taken = {one.seq for one in self.made.entries}
        place = next((number for number in sorted(free, reverse=True) if number not in taken), None)
        if place is None:
            return
        mine = [one for one in entries if one.run == entry.run]
        later = next((one.event.plan for one in mine if isinstance(one.event, ev.PlanChanged)), None)
        plan = later or self._plan_of(entry.run, mine)
        if plan is None:
            return
        made = ev.Entry(place, entry.run, entry.at, ev.RunSubmitted(plan, str(self.directory.path.parent)))
        if self._apply(made):
            self.made.entries.append(made)
            self.made.entries.sort(key=lambda one: one.seq)
            self._say_revived(entry.run, plan_lost=later is None)

    def _plan_of(self, run: str, entries: Iterable[ev.Entry]) -> Plan | None:
        """A plan of the tasks and providers that events and directories tell of."""
        events = [entry.event for entry in entries]
        tasks = {event.task for event in events if isinstance(event, ev.TaskEvent)}
        tasks |= set(traces.tasks(self.directory, run))
        providers = {LOST_PROVIDER: Provider()}
        providers |= {
            name: Provider()
            for event in events
            for name in [getattr(event, "provider", None)]
            if isinstance(name, str)
        }
        name, _, number = run.rpartition("-")
        plan = {
            "name": name if number.isdecimal() else run,
            "tasks": {task: _lost_task() for task in sorted(tasks)},
            "providers": providers,
        }
        try:
            return convert(plan, Plan, from_attributes=True)
        except ValueError:  # a name that no plan could have had
            return None

    def _say_revived(self, run: str, *, plan_lost: bool) -> None:
        self.revived[run] = plan_lost
        folder = self.directory.run(run)
        if plan_lost:
            self._lose(
                "run",
                f"{run}: its plan was lost, so it cannot go on; its attempts are in {folder}",
                "begin a new run of the plan with --fresh, without the tasks that are done",
            )
        else:
            self._lose("run", f"{run}: its beginning was lost; taken from a later event: its plan")

    def _revive_the_rest(self) -> None:
        """Runs of which only the attempts' directories are left: their number is not given to another run."""
        with suppress(OSError):
            for folder in sorted((self.directory.path / "runs").iterdir()):
                if folder.name in self.state.runs or not traces.tasks(self.directory, folder.name):
                    continue
                plan = self._plan_of(folder.name, ())
                if plan is not None:
                    self._record(folder.name, ev.RunSubmitted(plan, str(self.directory.path.parent)))
                    self._say_revived(folder.name, plan_lost=True)
                    self._settle(self.state.runs[folder.name])

    # --- what may have happened since

    def _settle(self, run: Run) -> None:
        """Keep from starting what may have been started, and halt the run if it may have lost anything."""
        finished = run.finished_at is not None
        may = self._may_have_lost(run.id)
        strangers = [name for name in traces.tasks(self.directory, run.id) if name not in run.tasks]
        if not (may or strangers or run.id in self.revived):
            return
        for name in strangers:
            self._adopt(run, name)
        stuck = [task for task in list(run.tasks.values()) if self._settle_task(run, task)]
        if finished and not stuck and not strangers:
            return
        if run.halt is not None and run.halt.by not in ("command", "stop_file"):
            self._record(run.id, ev.Resumed("repair"))
        if run.halt is None:
            self._record(run.id, ev.HaltRequested(REASON, "command", run.at_work))
        if not run.active and run.halt is not None and run.halt.halted_at is None:
            self._record(run.id, ev.Halted())
        self._lose(
            "run",
            f"{run.id} may have lost events: it is halted",
            f"look at it, then: {command('resume', run.id)}",
        )

    def _may_have_lost(self, run: str, task: str = "") -> bool:
        """Whether events of a run, or of one of its tasks since its last known event, may be among the lost ones."""
        if not self.salvaged.end_known or (run, task) in self.dropped:
            return True
        if not task and any(one == run for one, _ in self.dropped):
            return True
        since = self.seen.get((run, task), 0) if task else self.first.get(run, 0)
        return any(last > since for _, last in self.salvaged.lost)

    def _adopt(self, run: Run, name: str) -> None:
        """A task that has attempts, and that the plan as far as it is known has not."""
        try:
            convert(name, Id)
            if LOST_PROVIDER not in run.plan.providers:
                new = replace(run.plan, providers={**run.plan.providers, LOST_PROVIDER: Provider()})
                self._record(run.id, ev.PlanChanged(new, (f"provider {LOST_PROVIDER}: {REASON}",)))
            self._record(run.id, ev.TaskAdded(name, _lost_task()))
        except (ValueError, IllegalTransitionError):
            self._lose("task", f"{run.id}/{name} is in no plan; see {self.directory.run(run.id) / name}")

    def _settle_task(self, run: Run, task: TaskState) -> bool:
        """Whether it had to be kept from starting."""
        known = task.attempt.number if task.attempt is not None else 0
        ran = traces.last(self.directory, run.id, task.id)
        plan_lost = self.revived.get(run.id, False) or task.provider == LOST_PROVIDER
        if task.status is Status.DONE or (task.status in _LEFT_ALONE and ran <= known):
            return False
        if not (ran > known or plan_lost or self._may_have_lost(run.id, task.id)):
            return False
        if ran <= known:
            started = task.status is Status.RUNNING or (run.id, task.id) in self.dropped or plan_lost
            if task.status in _ENDED or not started or (not plan_lost and self._is_settled(run, task)):
                return False
        self._make_stuck(run, task, known, ran)
        return True

    def _is_settled(self, run: Run, task: TaskState) -> bool:
        """Whether the attempt that the journal has at work lives, or has ended well: then it is taken back as ever."""
        attempt = task.attempt
        if task.status is not Status.RUNNING or attempt is None or not attempt.pid:
            return False
        if tree.lives(Identity(attempt.pid, attempt.start, attempt.boot)):
            return True
        found = read_record(self.directory.attempt(run.id, task.id, attempt.number))
        return isinstance(found, Exit) and found.code == 0 and not found.stopped

    def _make_stuck(self, run: Run, task: TaskState, known: int, ran: int) -> None:
        """Bring a task to where only a person brings it further, its last attempt known by its number."""
        again = ran > known
        lost = Result(Outcome(OutcomeKind.LOST, REASON), Exit(None))
        number = known if task.status is Status.RUNNING and not again else max(known + 1, ran)
        folder = self.directory.attempt(run.id, task.id, number)
        if again and task.status in ACTIVE:
            self._record(run.id, ev.RetryScheduled(task.id, lost, uses_try=False))
        elif again and task.status is Status.REVIEWING:
            self._record(run.id, ev.Rejected(task.id, REASON))
        elif again and task.status is not Status.PENDING:
            self._record(run.id, ev.TaskReset(task.id, REASON))
        if task.status is Status.PENDING:
            token, provider = traces.named(folder)
            provider = provider if provider in run.pools else task.provider
            self._record(run.id, ev.AttemptStarted(task.id, number, token or f"lost-{self.next}", provider))
        skip, retry = (command("task", verb, task.id, "--run", run.id) for verb in ("skip", "retry"))
        remedy = f"look into {folder}: if its work is done, {skip}; if not, {retry}"
        pid = traces.shim(folder)
        if pid:
            remedy = f"process {pid} may still be at work on it: wait for its end, or end it; then {remedy}"
        self._record(run.id, ev.TaskStuck(task.id, lost, remedy))
        self._lose(
            "task", f"{run.id}/{task.id}#{number} was started, and how it ended is not known: stuck", remedy
        )


def _lost_task() -> Task:
    return Task(instructions=_LOST_PLAN, provider=LOST_PROVIDER)


__all__ = ["Loss", "Mended", "mend"]
