"""Going on with the run of a PLAN.md: whether the file agrees with the journal, and what is said in the end."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import anyio.to_thread
import msgspec

from daplug_supervisor.cli.output import mask, print_harmless, width
from daplug_supervisor.core import boxes
from daplug_supervisor.core.machine import SATISFIED, Status
from daplug_supervisor.core.model import Run
from daplug_supervisor.core.plan import Plan
from daplug_supervisor.core.pulls import BEGIN_TASK, Who, pull_of
from daplug_supervisor.errors import UsageError
from daplug_supervisor.formats.todos import ticks
from daplug_supervisor.formats.todos.checklist import MOST_BYTES
from daplug_supervisor.formats.todos.folder import FolderError, read_file
from daplug_supervisor.formats.todos.substeps import REPORT, REST
from daplug_supervisor.supervisor import submission
from daplug_supervisor.supervisor.supervisor import Supervisor
from daplug_supervisor.views.checklist_report import Rest, checklist_report, checklist_text, stands_text
from daplug_supervisor.views.text import command
from daplug_supervisor.workspace import github
from daplug_supervisor.workspace.files import STDOUT, StateDirectory, open_output

_KEY = 12
_MOST_OUTPUT = 8 << 20
_BY_PERSON = ("command", "stop_file")


def is_of_checklist(run: Run) -> bool:
    """Whether a run is one of a PLAN.md."""
    return run.plan.origin is not None and run.plan.origin.format == "checklist"


def who(run: Run) -> Who:
    """A run, told from others of its name elsewhere by when it was submitted."""
    return Who(run.id, sha256(f"{run.id} {run.submitted_at!r}".encode()).hexdigest()[:_KEY])


def place(folder: Path) -> str:
    """Where a run is, for people: the machine, and the directory from the home directory."""
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 (Path.home raises for whoever has none)
    path = f"~/{folder.relative_to(home)}" if folder.is_relative_to(home) else str(folder)
    return f"{socket.gethostname()}:{path.removesuffix('/.')}"


async def before(supervisor: Supervisor, plan: Plan) -> Plan:
    """Look at the run that a PLAN.md goes on with, if there is one; the plan to submit.

    Raises:
        UsageError: the file and the journal do not agree.
        PullRequestError: its pull request is not to be worked on now.
    """
    run = submission.unfinished(supervisor.state, plan)
    mark = next((one for one in reversed(supervisor.marks) if submission.is_of(one, plan)), None)
    if run is None and mark is not None:
        run = await supervisor.load(mark.run)
    over = run is None or all(task.status in SATISFIED for task in run.tasks.values())
    if run is None or over or not is_of_checklist(run) or _is_held(supervisor, run):
        return plan
    found = agree(supervisor, run)
    await begin_again(run)
    return boxes.going_on(run, plan, found)


async def resumed(supervisor: Supervisor, name: str | None) -> None:
    """As `before`, for what `resume` goes on with.

    Raises:
        UsageError, PullRequestError: as said there.
    """
    for run in list(supervisor.state.runs.values()):
        if name in (None, run.id) and run.finished_at is None and is_of_checklist(run):
            agree(supervisor, run)
            await begin_again(run)


def _is_held(supervisor: Supervisor, run: Run) -> bool:
    """Whether a person holds it: nothing is recorded of such a run."""
    return supervisor.directory.stop_requested() or (run.halt is not None and run.halt.by in _BY_PERSON)


def agree(supervisor: Supervisor, run: Run) -> Mapping[str, bool]:
    """The boxes of a run's PLAN.md. What is ticked there, and not done by the run, is taken as done; that is said.

    Raises:
        UsageError: the run has done what is not ticked.
    """
    state, path = boxes_of(run)
    found = boxes.disagreements(run, state)
    lines = [boxes.words(one, path, run.id) for one in found]
    if any(not one.ticked for one in found):
        ways = (
            "nothing was started or changed; tick what is done (### [x]), or have it done again: "
            f"{command('run', run.source or path, '--fresh')}"
        )
        raise UsageError("\n".join([f"{path} and the journal do not agree", *lines, ways]))
    print_harmless("\n".join(f"note: {line}" for line in lines))
    for event in (event for one in found for event in boxes.taking(one)):
        supervisor.record(run.id, event)
    return state


def boxes_of(run: Run) -> tuple[dict[str, bool], str]:
    """The boxes of a run's PLAN.md, by number, and its path from the target.

    Raises:
        UsageError: it cannot be read.
    """
    path = run.plan.origin.path if run.plan.origin else ""
    try:
        return ticks.state_of(ticks.decode(read_file(Path(run.target) / path, MOST_BYTES))), path
    except FolderError as error:
        raise UsageError(f"run {run.id} is kept in {path}: {error}") from error


async def begin_again(run: Run) -> None:
    """Have the pull request of a run know that it goes on, if it had begun, and TODOs are left.

    Raises:
        PullRequestError: it is blocked, or another run works for it.
        GithubError: it cannot be told.
    """
    begun, pull = run.tasks.get(BEGIN_TASK), pull_of(run.plan)
    if begun is None or begun.status is not Status.DONE or not pull:
        return
    left = (task for name, task in run.tasks.items() if name.startswith(boxes.PREFIX))
    if all(task.status in SATISFIED for task in left):
        return  # it may be completed at this very moment
    folder = Path(run.target)
    await anyio.to_thread.run_sync(lambda: github.begin(pull, who(run), place(folder), folder))


def left_files(directory: StateDirectory, run: Run) -> tuple[str, ...]:
    """What was committed in the end, because no TODO did; as the step that did it says."""
    task = run.tasks.get(REST)
    if task is None or task.attempt is None or task.status is not Status.DONE:
        return ()
    output = Path(directory.attempt(run.id, REST, task.attempt.number)) / STDOUT
    with suppress(OSError, msgspec.MsgspecError), open_output(output) as file:
        return msgspec.json.decode(file.read(_MOST_OUTPUT), type=Rest).files
    return ()


def in_the_end(directory: StateDirectory, run: Run) -> str:
    """What is said after the report of a run: the report of its PLAN.md, or how to go on with it. Empty for others."""
    if not is_of_checklist(run):
        return ""
    report = run.tasks.get(REPORT)
    if report is None or report.status is not Status.DONE:
        return mask()(stands_text(run, width()))
    try:
        found, _ = boxes_of(run)
    except UsageError:
        found = {}
    return mask()(checklist_text(checklist_report(run, found, left_files(directory, run)), width()))
