"""The worker `command`: runs a program as it is; exit code 0 is success."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daplug_supervisor.core.bundle import Bundle, Command, Evidence
from daplug_supervisor.core.results import Outcome, OutcomeKind
from daplug_supervisor.errors import UsageError
from daplug_supervisor.workers.text import ending, how, last_line, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daplug_supervisor.core.plan import Assignment
    from daplug_supervisor.workers.settings import Settings


class CommandWorker:
    """Runs the task's `command`, without a shell."""

    output_wanted = 0

    def __init__(self, settings: Settings) -> None:
        del settings  # it needs none: everything is in the task

    def problems(self, assignments: Sequence[Assignment]) -> list[str]:
        """None: a program that is missing is a fault of its task, and found when it is started."""
        del assignments
        return []

    def command(self, bundle: Bundle) -> Command:
        """The task's own command, in its directory.

        Raises:
            UsageError: the task has none.
        """
        if not bundle.spec.command:
            raise UsageError(f"task {bundle.task}: its worker runs commands, and it has no command")
        return Command(argv=bundle.spec.command, env=dict(bundle.spec.env), cwd=bundle.cwd)

    def outcome(self, evidence: Evidence) -> Outcome:
        """What the exit code says."""
        code = evidence.exit.code
        if evidence.exit.error:
            return Outcome(OutcomeKind.PLAN_ERROR, one_line(evidence.exit.error))
        if code is None:
            return Outcome(OutcomeKind.LOST, "there is no exit record")
        if code == 0:
            return Outcome(OutcomeKind.COMPLETED)
        if code < 0 or evidence.exit.lack:
            return Outcome(OutcomeKind.CRASHED, how(evidence.exit))
        said = last_line(evidence.stderr) or last_line(evidence.stdout)
        return Outcome(OutcomeKind.FAILED, one_line(f"{ending(code)}: {said}" if said else ending(code)))
