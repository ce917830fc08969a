"""A worker that hands each prompt to a script: ``SCRIPT PROMPT-FILE``; exit code 75 means "not now"."""

from collections.abc import Sequence

from daplug_supervisor import Settings
from daplug_supervisor.core.bundle import Bundle, Command, Evidence
from daplug_supervisor.core.plan import Assignment
from daplug_supervisor.core.results import Outcome, OutcomeKind
from daplug_supervisor.workers.text import ending, last_line, one_line

NOT_NOW = 75


class ScriptWorker:
    """Runs the program that the provider's option `script` names."""

    output_wanted = 0  # nothing is read from the output of a success

    def __init__(self, settings: Settings) -> None:
        self.script = settings.environ.get("AGENT_SCRIPT", "agent.sh")

    def problems(self, assignments: Sequence[Assignment]) -> list[str]:
        """What to mend before a run can start."""
        return [
            f"provider {a.provider}: this worker has no models; remove `cli`" for a in assignments if a.cli
        ]

    def command(self, bundle: Bundle) -> Command:
        """The script, with the prompt's file."""
        script = str(bundle.options.get("script", self.script))
        return Command((script, bundle.prompt_file or "/dev/null"), env=dict(bundle.spec.env), cwd=bundle.cwd)

    def outcome(self, evidence: Evidence) -> Outcome:
        """What the exit code says."""
        code, error = evidence.exit.code, evidence.exit.error
        if code is None:
            return Outcome(OutcomeKind.CONFIGURATION if error else OutcomeKind.LOST, one_line(error))
        if code == 0:
            return Outcome(OutcomeKind.COMPLETED)
        kind = OutcomeKind.RATE_LIMITED if code == NOT_NOW else OutcomeKind.FAILED
        return Outcome(kind, one_line(f"{ending(code)}: {last_line(evidence.stderr)}"))
