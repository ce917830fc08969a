"""What is written of an execution when it is over: its evaluation, the coverage of state machines, its archive."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from daplug_supervisor.core.model import Run
from daplug_supervisor.core.plan import ID_PATTERN
from daplug_supervisor.core.secrets import Mask
from daplug_supervisor.core.tasker.records import DIRECTORY, FSM_INDEX, OVER, STATE, Covered
from daplug_supervisor.errors import PlanError, UsageError
from daplug_supervisor.formats.tasker.home import home
from daplug_supervisor.views.derived import run_state
from daplug_supervisor.views.evaluation.figures import Evaluation, Planning, evaluate
from daplug_supervisor.views.evaluation.fsm_coverage import FsmCoverage, Rule, coverage
from daplug_supervisor.views.evaluation.ledger import ledger
from daplug_supervisor.views.evaluation.text import evaluation_text
from daplug_supervisor.views.text import harmless_json
from daplug_supervisor.workspace import archive
from daplug_supervisor.workspace.archive import About, Manifest, Piece
from daplug_supervisor.workspace.files import StateDirectory, write_atomically
from daplug_supervisor.workspace.folders import entered, read_below

EVALUATION: Final = "evaluation-report"
COVERAGE: Final = "fsm-coverage.execute.json"
_WIDTH = 100
_PARTS = ("bundles", "logs", "reports")
_MOST_ISSUES = 100
_LONGEST = 2000
_NO_PLANNING = Planning()


class _Rules(Struct, frozen=True):
    spec_slug: str = ""
    invariants: tuple[Rule, ...] = ()


def session_of(run: Run) -> Path | None:
    """The ``.tasker`` directory that a run is of; None if it is of none."""
    origin = run.plan.origin
    return Path(run.target, DIRECTORY) if origin is not None and origin.format == "tasker" else None


def planning_of(session: Path | None) -> Planning:
    """What was said of a plan before it was run, as far as its session knows."""
    if session is None:
        return _NO_PLANNING
    found: Any = {}
    with suppress(OSError, msgspec.MsgspecError, ValueError, RecursionError):
        found = msgspec.json.decode(read_below(session, STATE) or b"{}")
    said = _part(_part(found, "artifacts"), "task_validation")
    issues = said.get("issues")
    return Planning(
        str(said.get("verdict") or "")[:_LONGEST],
        str(said.get("summary") or "")[:_LONGEST],
        tuple(map(_issue, issues[:_MOST_ISSUES])) if isinstance(issues, list) else (),
    )


def _part(value: Any, name: str) -> dict[str, Any]:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def _issue(issue: object) -> str:
    if isinstance(issue, dict):
        said = issue.get("message") or issue.get("issue") or issue.get("description")
        return str(said or issue)[:_LONGEST]
    return str(issue)[:_LONGEST]


def evaluation_of(run: Run) -> Evaluation:
    """The evaluation of a run, with what its session says of its planning."""
    return evaluate(run, planning_of(session_of(run)))


def coverage_of(run: Run) -> FsmCoverage | None:
    """What a run has proven of its session's state machines; None if it has none.

    Raises:
        PlanError: the session cannot be read.
    """
    session = session_of(run)
    if session is None:
        return None
    found = home(session.parent)
    if not found.machines:
        return None
    rules = _Rules()
    with suppress(OSError, msgspec.MsgspecError, ValueError, RecursionError):
        rules = msgspec.json.decode(read_below(session, FSM_INDEX) or b"{}", type=_Rules)
    said: dict[str, Covered] = {
        name: task.state_machine for name, task in found.tasks.items() if task.state_machine is not None
    }
    before = {
        name: f"{STATE} says that it is complete"
        for name in found.tasks
        if name not in run.tasks and found.status(name) in OVER - {"skipped"}
    }
    return coverage(run, tuple(found.machines.values()), rules.invariants, said, rules.spec_slug, before)


def write_execution(run: Run, mask: Mask) -> list[str]:
    """Write what users of ``.tasker`` look for there at the end of a run; return what could not be written, and why.

    That is ``reports/evaluation-report.txt`` and ``.json``, and ``artifacts/fsm-coverage.execute.json``.
    """
    session = session_of(run)
    if session is None:
        return []
    found = evaluation_of(run)
    text = mask(evaluation_text(found, _WIDTH)).encode("utf-8", "replace") + b"\n"
    parts = [("reports", f"{EVALUATION}.txt", text), ("reports", f"{EVALUATION}.json", document(found, mask))]
    problems = []
    try:
        proven = coverage_of(run)
    except (PlanError, UsageError) as error:
        problems.append(f"{COVERAGE}: {error}")
    else:
        parts += [("artifacts", COVERAGE, document(proven, mask))] if proven is not None else []
    for folder, name, data in parts:
        try:
            with entered(session, folder, make=True) as at:
                write_atomically(at / name, data)
        except OSError as error:
            problems.append(f"{folder}/{name}: {error.strerror or error}")
    return problems


def document(value: object, mask: Mask) -> bytes:
    """Something as an indented JSON document without secrets, and without what a terminal would obey."""
    told = mask.within(msgspec.to_builtins(value))
    return harmless_json(msgspec.json.format(msgspec.json.encode(told), indent=2).decode()).encode() + b"\n"


# --- the archive --------------------------------------------------------------------------------------------


def archive_base(directory: StateDirectory, session: Path | None) -> Path:
    """Where archives are: beside what users of ``.tasker`` look at, else in the state directory."""
    return (session or directory.path) / archive.NAME


def archive_run(directory: StateDirectory, run: Run, now: float, mask: Mask, project: str = "") -> Manifest:
    """Archive an execution: bundles, results, findings, logs, reports, and its state as it is now.

    Raises:
        BundleError: the project's name cannot be used, or there is no room.
        OSError: it could not be written.
    """
    session = session_of(run)
    roots = {"state": directory.path, **({"tasker": session} if session else {})}
    made = {
        "plan.json": document(run.plan, mask),
        ("run.json" if session else "state.json"): document(ledger(run), mask),
        f"reports/{EVALUATION}.run.json": document(evaluation_of(run), mask),
    }
    about = About(
        project or project_of(run), run.id, run_state(run, live=directory.holder() is not None), run.target
    )
    return archive.make(
        archive_base(directory, session), about, pieces(directory, run, session), roots, made, now
    )


def project_of(run: Run) -> str:
    """What to call the project of a run: the name of its directory."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(run.target).name).strip("-._")[:64]
    return name if re.match(ID_PATTERN, name) else run.plan.name


def pieces(directory: StateDirectory, run: Run, session: Path | None) -> Iterator[Piece]:
    """What belongs into the archive of a run."""
    for path in archive.files_below(directory.run(run.id)):
        yield Piece("state", f"runs/{run.id}/{path}", f"{_part_of(path)}/{run.id}/{path}")
    if directory.log.is_file():
        yield Piece("state", directory.log.name, f"logs/{directory.log.name}")
    if session is None:
        return
    for part in _PARTS:
        for path in archive.files_below(session / part):
            yield Piece("tasker", f"{part}/{path}", f"{part}/{path}")
    for source, path in ((STATE, STATE), (f"artifacts/{COVERAGE}", f"reports/{COVERAGE}")):
        if (session / source).is_file():
            yield Piece("tasker", source, path)


def _part_of(path: str) -> str:
    """Which part of an archive a file of a run's directory belongs to."""
    if "/" not in path or path.count("/") == 1:
        return "reports"
    name = path.rpartition("/")[2]
    return "logs" if name.endswith(".log") else "bundles"
