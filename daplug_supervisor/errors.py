"""Every error that this package raises on purpose, as one tree.

::

    SupervisorError           exit 1
    ├── UsageError            exit 2   the command line or the API was held wrong
    │   ├── PlanError         exit 2   the plan has problems, each with file, line, column, field, remedy
    │   └── NotPossibleError  exit 2   a command that the state of the task or run does not allow
    ├── StateDirectoryError   exit 2   the state directory is missing or cannot be used
    ├── HaltedError           exit 3   the run was halted by a person, and `resume` was not said
    ├── PullRequestError      exit 3   a pull request is closed, blocked, or another run works for it
    ├── BusyError             exit 4   another supervisor holds the state directory
    ├── JournalError          exit 5   the journal is damaged, newer, or cannot be written
    ├── LaunchError           exit 1   processes cannot be started on this machine
    ├── NotPlannedError       exit 1   a .tasker directory has no session, or no tasks yet
    └── BundleError           exit 1   a bundle, a result or an archive may not be used

Agents that fail are not errors: they are values (`core.results.Outcome`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

EXIT_DONE = 0
EXIT_NOT_ALL_DONE = 1
EXIT_USAGE = 2
EXIT_HALTED = 3
EXIT_BUSY = 4
EXIT_JOURNAL = 5
EXIT_RUN_TIMEOUT = 124
EXIT_HUP = 129
EXIT_INT = 130
EXIT_QUIT = 131
EXIT_TERM = 143


class SupervisorError(Exception):
    """Base of all errors raised on purpose. `exit_code` is what the command line exits with."""

    exit_code: ClassVar[int] = EXIT_NOT_ALL_DONE
    code: ClassVar[str] = "error"


class UsageError(SupervisorError):
    """The command line or the API was held wrong; the message says what to do instead."""

    exit_code = EXIT_USAGE
    code = "usage"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a plan.

    `line` and `column` count from 1; 0 means that the position is not known. `field` is a dotted path such as
    ``tasks.build.timeout``.
    """

    message: str
    remedy: str = ""
    file: str = ""
    line: int = 0
    column: int = 0
    field: str = ""

    def __str__(self) -> str:
        position = f":{self.line}:{self.column}" if self.line else ""
        place = f"{self.file}{position}: " if self.file else ""
        where = f"{self.field}: " if self.field else ""
        remedy = f" ({self.remedy})" if self.remedy else ""
        return f"{place}{where}{self.message}{remedy}"


class PlanError(UsageError):
    """A plan cannot be used. `problems` lists everything that was found wrong, in file order."""

    code = "plan"

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(map(str, problems)))


class NotPossibleError(UsageError):
    """The task or run is not in a state that allows this; nothing was changed."""

    code = "not_possible"


class NotPlannedError(SupervisorError):
    """There is no plan to run yet; the message says where it was looked for."""

    code = "not_planned"


class StateDirectoryError(SupervisorError):
    """The state directory is missing, not writable, or belongs to somebody else."""

    exit_code = EXIT_USAGE
    code = "state_directory"


class HaltedError(SupervisorError):
    """The run was halted by a person: only `resume` goes on with it."""

    exit_code = EXIT_HALTED
    code = "halted"


class PullRequestError(SupervisorError):
    """A pull request is closed, blocked, or another run works for it; the message says what to do."""

    exit_code = EXIT_HALTED
    code = "pull_request"


class BusyError(SupervisorError):
    """Another supervisor holds the state directory; the message says which process."""

    exit_code = EXIT_BUSY
    code = "busy"


class JournalError(SupervisorError):
    """The journal is damaged, was written by a newer version, or cannot be written."""

    exit_code = EXIT_JOURNAL
    code = "journal"


class LaunchError(SupervisorError):
    """Processes cannot be started on this machine."""

    code = "launch"


class BundleError(SupervisorError):
    """A bundle, a result or an archive may not be used. `reasons` says why, one line each."""

    code = "bundle"

    def __init__(self, reasons: Iterable[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("\n".join(self.reasons))


class IllegalTransitionError(SupervisorError):
    """An event does not fit the status of its task; nothing was changed. A fault of ours, or a damaged journal."""

    exit_code = EXIT_JOURNAL
    code = "illegal_transition"
