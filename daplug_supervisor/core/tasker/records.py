"""What the files of a ``.tasker`` directory say: the session, its tasks, and what its artifacts know of them.

`formats.tasker.home` reads them, `workspace` writes what changes while a run goes on. Names are those of the files.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from msgspec import Struct, field

from daplug_supervisor.core.claims import ErrorCategory

DIRECTORY: Final = ".tasker"
STATE: Final = "state.json"
STOP: Final = "STOP"
LOG: Final = "logs/activity.log"
FOLDERS: Final = ("artifacts", "inputs", "tasks", "reports", "bundles", "logs")
"""What is in such a directory, beside `STATE` and `STOP`."""

CAPABILITY_MAP: Final = "artifacts/capability-map.json"
PHYSICAL_MAP: Final = "artifacts/physical-map.json"
FSM_INDEX: Final = "artifacts/fsm/index.json"
SPEC: Final = "inputs/spec.md"
CONSTRAINTS: Final = "inputs/constraints.md"

VERSION: Final = "1.0"
"""Of bundles and results."""

Word = Literal["pending", "ready", "running", "complete", "failed", "blocked", "skipped"]
"""A task's status, in the words of `STATE`."""

OVER: Final = frozenset({"complete", "skipped"})
"""Statuses with which a task is no longer waited for."""


def result_name(task: str) -> str:
    """What the result of a task is called, in ``bundles``."""
    return f"{task}-result.json"


class FileWork(Struct, frozen=True, omit_defaults=True):
    """A file that a task may change. `path` is from the target directory, and stays in it."""

    path: str
    action: Literal["create", "modify", "delete"] = "modify"
    purpose: str = ""
    layer: str = ""
    behaviors: tuple[str, ...] = ()


class TaskCriterion(Struct, frozen=True, omit_defaults=True):
    """What has to hold, in words, and the line for the shell that shows it ('' if only a person can tell)."""

    criterion: str
    verification: str = ""


class Behavior(Struct, frozen=True, omit_defaults=True):
    """What the system is to do, of the capability map; `capability` and `domain` name what it is part of."""

    id: str
    name: str = ""
    type: str = ""
    description: str = ""
    capability: str = ""
    capability_id: str = ""
    domain: str = ""


class Guard(Struct, frozen=True, omit_defaults=True):
    """What must hold for a transition, and the invariant that asks for it."""

    condition: str = ""
    invariant_id: str = ""


class Transition(Struct, frozen=True, omit_defaults=True):
    """A transition of a state machine."""

    id: str
    from_state: str = ""
    to_state: str = ""
    trigger: str = ""
    guards: tuple[Guard, ...] = ()
    is_failure_path: bool = False


class Machine(Struct, frozen=True, omit_defaults=True):
    """A state machine of the specification. `states` are names by id. `level` is such as ``steel_thread``."""

    id: str
    name: str = ""
    level: str = ""
    states: dict[str, str] = field(default_factory=dict)
    transitions: tuple[Transition, ...] = ()


class Covered(Struct, frozen=True, omit_defaults=True):
    """Which parts of the state machines a task brings about, by id."""

    transitions_covered: tuple[str, ...] = ()
    guards_enforced: tuple[str, ...] = ()
    states_reached: tuple[str, ...] = ()


class TaskFile(Struct, frozen=True, omit_defaults=True):
    """A task, as ``tasks/T001.json`` has it. `needs` are the tasks that come before it, `external` what else must be.

    `context` and `constraints` are kept as they are. `checksum` is of its file.
    """

    id: str
    name: str = ""
    phase: int = 1
    wave: int = 0
    task_type: str = ""
    behaviors: tuple[str, ...] = ()
    files: tuple[FileWork, ...] = ()
    needs: tuple[str, ...] = ()
    external: tuple[str, ...] = ()
    acceptance_criteria: tuple[TaskCriterion, ...] = ()
    context: dict[str, Any] = field(default_factory=dict)
    constraints: dict[str, Any] = field(default_factory=dict)
    state_machine: Covered | None = None
    checksum: str = ""


class SessionTask(Struct, frozen=True, omit_defaults=True):
    """What the session knows of a task."""

    id: str
    name: str = ""
    status: Word = "pending"
    phase: int = 1
    attempts: int = 0
    depends_on: tuple[str, ...] = ()
    files_created: tuple[str, ...] = ()
    files_modified: tuple[str, ...] = ()


class Session(Struct, frozen=True, omit_defaults=True):
    """``state.json``, as far as it is understood. `artifacts` are kept as they are."""

    target_dir: str = ""
    phase: str = ""
    tasks: dict[str, SessionTask] = field(default_factory=dict)
    artifacts: dict[str, Any] = field(default_factory=dict)


class Home(Struct, frozen=True):
    """All of a ``.tasker`` directory. `directory` and `target` are absolute.

    `behaviors` are by id; `layers` says of a file (path from the target) which layer it belongs to, `constraints` is
    the text of ``inputs/constraints.md``. `checksums` are of the artifacts that are there: ``capability_map``,
    ``physical_map``, ``fsm_index``, ``constraints``. `notes` are what a person should know.
    """

    directory: str
    target: str
    session: Session
    tasks: dict[str, TaskFile]
    behaviors: dict[str, Behavior] = field(default_factory=dict)
    layers: dict[str, str] = field(default_factory=dict)
    machines: dict[str, Machine] = field(default_factory=dict)
    constraints: str = ""
    has_spec: bool = False
    checksums: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def status(self, task: str) -> Word:
        """What the session says of a task."""
        known = self.session.tasks.get(task)
        return "pending" if known is None else known.status

    def behaviors_of(self, task: TaskFile) -> tuple[Behavior, ...]:
        """What a task is to bring about; of one that the capability map does not have, only the id is known."""
        return tuple(self.behaviors.get(name, Behavior(name)) for name in task.behaviors)

    def layer_of(self, work: FileWork) -> str:
        """The layer of a file: what the task says, else what the physical map says."""
        return work.layer or self.layers.get(work.path, "")

    def transitions_of(self, task: TaskFile) -> tuple[Transition, ...]:
        """The transitions that a task covers, as far as the state machines have them."""
        wanted = task.state_machine.transitions_covered if task.state_machine else ()
        known = {one.id: one for machine in self.machines.values() for one in machine.transitions}
        return tuple(known[name] for name in wanted if name in known)


class ResultFiles(Struct, frozen=True):
    """Files that a task made and changed, from the target directory."""

    created: tuple[str, ...] = ()
    modified: tuple[str, ...] = ()


class ResultCriterion(Struct, frozen=True, omit_defaults=True):
    """What we found when we ran a criterion, and `claimed`: what the attempt said of it."""

    name: str
    status: Literal["PASS", "FAIL", "SKIP"]
    evidence: str = ""
    command: str = ""
    exit_code: int | None = None
    claimed: str = ""


class ResultVerification(Struct, frozen=True):
    """Our finding, and what it rests on."""

    verdict: Literal["PASS", "FAIL"]
    criteria: tuple[ResultCriterion, ...] = ()


class ResultError(Struct, frozen=True):
    """Why a task failed."""

    category: ErrorCategory
    message: str
    retryable: bool


class ResultGit(Struct, frozen=True):
    """The commit that holds a task's work."""

    committed: bool
    commit_sha: str
    commit_message: str = ""


class TaskResult(Struct, frozen=True, omit_defaults=True):
    """``bundles/T001-result.json``, as this program writes it. Times are ISO 8601, UTC."""

    version: Literal["1.0"]
    task_id: str
    name: str
    status: Literal["success", "failed"]
    started_at: str
    completed_at: str
    files: ResultFiles
    verification: ResultVerification
    duration_seconds: float = 0.0
    error: ResultError | None = None
    git: ResultGit | None = None
    notes: str = ""
    attempt: str = ""
