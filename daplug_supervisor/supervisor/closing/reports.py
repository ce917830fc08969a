"""Writing a run's report into its directory, when it has finished or is halted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from logging import getLogger
from pathlib import Path

import msgspec

from daplug_supervisor.core.acceptance import Verification
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.secrets import Mask
from daplug_supervisor.core.state import Run
from daplug_supervisor.supervisor.closing.ledger import MOST_TASKS, write_ledger
from daplug_supervisor.views.evaluation.figures import Planning
from daplug_supervisor.views.report.contents import Report, report
from daplug_supervisor.views.report.failures import Printed
from daplug_supervisor.views.report.text import report_text
from daplug_supervisor.views.rows import NOTHING_SEEN, SeenOf
from daplug_supervisor.views.text import harmless_json
from daplug_supervisor.views.work import WorkLeft
from daplug_supervisor.workspace.bundles import VERIFICATION
from daplug_supervisor.workspace.files import (
    STDERR,
    STDOUT,
    StateDirectory,
    make_private,
    open_output,
    read_tail,
    sync_directory,
    write_atomically,
)
from daplug_supervisor.workspace.git.worktrees import owner_of

_WORK = "work.json"
_NONE_LEFT = WorkLeft()
_LARGEST = 16 << 20
_LINES = 5
_BYTES = 8192
_MOST_TASKS = 50

log = getLogger(__name__)


def write_report(
    directory: StateDirectory, run: Run, now: float, mask: Mask, left: WorkLeft = _NONE_LEFT
) -> Report:
    """Make the report of a run, write it as text, JSON and a page, and return it. `left`: what is left in worktrees.

    Raises:
        OSError: it could not be written.
    """
    folder = directory.run(run.id)
    make_private(folder)
    if left.worktrees or (folder / _WORK).exists():
        told = mask.within(msgspec.to_builtins(left))  # agents name files as they like
        write_atomically(folder / _WORK, harmless_json(msgspec.json.encode(told).decode()).encode() + b"\n")
    made = make_report(directory, run, now, mask)
    document = harmless_json(msgspec.json.encode(made).decode())
    write_atomically(folder / "report.json", document.encode() + b"\n")
    write_atomically(folder / "report.txt", report_text(made).encode("utf-8", "replace") + b"\n")
    _write_page(folder / "report.html", run, made, now)
    if len(run.tasks) <= MOST_TASKS:
        write_ledger(directory, run, mask)
    sync_directory(folder)
    return made


def _write_page(path: Path, run: Run, made: Report, now: float) -> None:
    """The report to be looked at. It is drawn of what is in the others: without it nothing is lost."""
    from daplug_supervisor.views.html.page import page  # noqa: PLC0415 (only the end of a run needs it)

    try:
        write_atomically(path, page(run, made, now).encode())
    except Exception:
        log.exception("the page %s could not be written", path)


def make_report(directory: StateDirectory, run: Run, now: float, mask: Mask, *, live: bool = True) -> Report:
    """The report of a run, with the last lines of what failed."""
    return report(
        run,
        now,
        tails=tails(directory, run, mask),
        printed=printed(directory, run, mask),
        left=work_then(directory, run),
        planning=_planning(run, mask),
        seen=seen(directory, run),
        live=live,
    )


def seen(directory: StateDirectory, run: Run) -> SeenOf:
    """Where the work is that waits for a review: in worktrees of its own, or in a directory that git knows not."""
    names = [name for name, task in run.tasks.items() if task.status is Status.REVIEWING]
    if not names:
        return NOTHING_SEEN
    from daplug_supervisor.workspace.git.changes import Where, where_of  # noqa: PLC0415 (most reports need none)

    wanted = {name for name in names if run.spec(name).worktree}
    found: dict[str, Where] = {}
    if wanted:
        of = {owner: name for owner, name in owners(directory, run).items() if name in wanted}
        found = where_of(run.target, of)
    if len(wanted) < len(names) and not _in_repository(run.target):
        found |= {name: Where(run.target, "", "") for name in names if name not in wanted}
    return found


def _in_repository(target: str) -> bool:
    """Whether a directory is in a checkout, as far as that shows without asking git."""
    places = (folder / ".git" for folder in (Path(target), *Path(target).parents))
    return any(place.is_file() or (place / "HEAD").exists() for place in places)


def _planning(run: Run, mask: Mask) -> Planning:
    """What was said of the plan before it was run, as far as a session of it knows."""
    if run.plan.origin is None:
        return Planning()
    from daplug_supervisor.supervisor.closing.execution import planning_of, session_of  # noqa: PLC0415 (slow to import)

    found = planning_of(session_of(run))
    return Planning(mask(found.verdict), mask(found.summary), tuple(map(mask, found.issues)))


def owners(directory: StateDirectory, run: Run) -> dict[str, str]:
    """Whose worktrees those of a run's tasks are (as `owner_of` says), and the tasks; empty if it has none."""
    names = [name for name, spec in run.plan.tasks.items() if spec.worktree]
    home = owner_of(f"{directory.run(run.id)}/1") if names else ""
    return {f"{home}/{name}": name for name in names}


def work_then(directory: StateDirectory, run: Run) -> WorkLeft:
    """What was left in worktrees when the run came to its end or to a halt."""
    over = run.finished_at is not None or (run.halt is not None and run.halt.halted_at is not None)
    if over:
        path = directory.run(run.id) / _WORK
        with suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError), open_output(path) as file:
            return msgspec.json.decode(file.read(_LARGEST), type=WorkLeft)
    return _NONE_LEFT


def tails(directory: StateDirectory, run: Run, mask: Mask) -> Mapping[str, Sequence[str]]:
    """For failed and stuck tasks the last lines of their last attempt's output."""
    found: dict[str, Sequence[str]] = {}
    for name, task in run.tasks.items():
        if (
            task.status in (Status.FAILED, Status.STUCK)
            and task.attempt is not None
            and len(found) < _MOST_TASKS
        ):
            found[name] = last_lines(directory, run.id, name, task.attempt.number, mask)
    return found


def printed(directory: StateDirectory, run: Run, mask: Mask) -> Printed:
    """For failed and stuck tasks the last lines of what the criteria printed that do not hold, by their places."""
    found: dict[str, dict[int, list[str]]] = {}
    for name, task in run.tasks.items():
        if task.status in (Status.FAILED, Status.STUCK) and task.past and len(found) < _MOST_TASKS:
            last = task.past[-1]
            seen = _verification(Path(directory.attempt(run.id, name, last.number)) / VERIFICATION)
            if seen is not None and seen.findings == last.result.findings:  # not of a look before that one
                pairs = enumerate(zip(seen.findings, seen.tails, strict=False))
                found[name] = {place: _lines(mask(tail)) for place, (one, tail) in pairs if not one.holds}
    return found


def _verification(path: Path) -> Verification | None:
    """What is kept of a look at an attempt's work; None if it cannot be read."""
    with (
        suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError),
        open_output(path) as file,
    ):
        return msgspec.json.decode(file.read(_LARGEST), type=Verification)
    return None


def last_lines(directory: StateDirectory, run: str, task: str, number: int, mask: Mask) -> list[str]:
    """The last lines that an attempt wrote: to standard error, or to standard output if there is none."""
    folder = Path(directory.attempt(run, task, number))
    data = read_tail(folder / STDERR, _BYTES) or read_tail(folder / STDOUT, _BYTES)
    return _lines(mask(data.decode("utf-8", "replace")))


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()][-_LINES:]
