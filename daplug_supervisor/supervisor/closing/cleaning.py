"""Cleaning up behind runs that are over: their worktrees, and the files of their attempts. The journal stays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

from msgspec import Struct, field

from daplug_supervisor.core import events as ev
from daplug_supervisor.errors import SupervisorError
from daplug_supervisor.workspace import gc
from daplug_supervisor.workspace.files import StateDirectory
from daplug_supervisor.workspace.git import running as git
from daplug_supervisor.workspace.git.registry import Record
from daplug_supervisor.workspace.git.worktrees import owner_of


class Over(Struct, frozen=True):
    """What cleaning up has to know of a run: what it is about, and when it came to its end (UTC); None: it has not.

    `waiting` says of tasks whose work comes home later what that waits for. `divided` are those that had parts and
    have not landed: what the parts have done is on their branches, and will not be done again.
    """

    target: str
    finished_at: float | None
    waiting: Mapping[str, str] = field(default_factory=dict)
    divided: frozenset[str] = frozenset()


class Wanted(Struct, frozen=True):
    """What is to be cleaned up: attempts' files of runs over for so many seconds; `save`: unmerged work, too."""

    older_than: float
    save: bool = False
    dry_run: bool = False


def over(entries: Iterable[ev.Entry]) -> Over:
    """What has to be known of a run, from what the journal has of it."""
    target, finished, waiting, divided = "", None, dict[str, str](), set[str]()
    for entry in entries:
        _note(entry.event, waiting, divided)
        if isinstance(entry.event, ev.RunSubmitted):
            target = entry.event.target
        if isinstance(entry.event, ev.RunFinished):
            finished = entry.at
        elif not isinstance(entry.event, ev.CommandAnswered):
            finished = None  # it was gone on with
    return Over(target, finished, waiting, frozenset(divided))


def _note(event: ev.Event, waiting: dict[str, str], divided: set[str]) -> None:
    """What an event means for the work of its task."""
    match event:
        case ev.Delegated():
            waiting[event.task] = "waits for its parts, which land on its branch"
            divided.add(event.task)
        case ev.ReviewRequested():
            waiting[event.task] = "waits for a person to look at its work"
        case ev.ChildrenDone() | ev.TaskReset() | ev.TaskCancelled() | ev.Approved() | ev.Rejected():
            waiting.pop(event.task, None)
        case ev.StepDone(step="merge"):  # what is done without it was to stay where it is
            divided.discard(event.task)
        case ev.TaskRemoved():
            waiting.pop(event.id, None)
            divided.discard(event.id)


def clean_up(
    directory: StateDirectory, runs: Mapping[str, Over], now: float, wanted: Wanted
) -> Iterator[gc.Item]:
    """Remove what can go, and tell of everything that was looked at. Whoever asks holds the directory's lock."""
    for target in dict.fromkeys(run.target for run in runs.values()):
        with suppress(git.NoRepositoryError, OSError):
            yield from _worktrees(directory, runs, git.repository(target).common, wanted)
    for name, run in runs.items():
        if run.finished_at is not None and now - run.finished_at >= wanted.older_than:
            yield from gc.attempts(directory.run(name), name, dry=wanted.dry_run)


def _worktrees(
    directory: StateDirectory, runs: Mapping[str, Over], common: str, wanted: Wanted
) -> Iterator[gc.Item]:
    home = owner_of(f"{directory.path}/runs/1") + "/"

    def whose(record: Record) -> tuple[str, str]:
        run, _, task = record.owner.removeprefix(home).partition("/")
        return (run, task) if record.owner.startswith(home) else ("", "")

    def kept(record: Record) -> str:
        run, task = whose(record)
        if not run:
            return f"it belongs to {record.owner.partition('/runs/')[0]}: say --state-dir"
        if run not in runs:
            return f"the journal has no run {run}"
        if task in runs[run].waiting:
            return f"task {task} {runs[run].waiting[task]}"
        if runs[run].finished_at is None:
            return f"run {run} is not finished"
        divided = task in runs[run].divided and not wanted.save
        return f"what the parts of task {task} did is on its branch only: say --save" if divided else ""

    try:
        yield from gc.worktrees(common, kept, whose, save=wanted.save, dry=wanted.dry_run)
    except (SupervisorError, OSError) as error:
        yield gc.Item("worktree", "", "", common, 0, removed=False, why=str(error))
