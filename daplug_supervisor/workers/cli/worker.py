"""The worker `cli`: runs a prompt with codex, opencode, gemini or claude, as their own programs, without daplug."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from daplug_supervisor.core.bundle import Bundle, Command, Evidence
from daplug_supervisor.errors import UsageError
from daplug_supervisor.workers import zones
from daplug_supervisor.workers.cli import committing, verdict
from daplug_supervisor.workers.cli.flags import extra, joined
from daplug_supervisor.workers.cli.kinds import Request
from daplug_supervisor.workers.cli.models import CLIS, Choice, choose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daplug_supervisor.core.plan import Assignment
    from daplug_supervisor.core.results import Outcome
    from daplug_supervisor.workers.settings import Settings


class CliWorker:
    """Runs prompts through the provider's own CLI, which is looked up on the PATH of the attempt."""

    # What a CLI says of its end comes last. opencode tells its usage step by step, between what its tools print.
    output_wanted = 4 << 20

    def __init__(self, settings: Settings) -> None:
        self._path = settings.environ.get("PATH", os.defpath)
        self._zone = settings.environ.get("TZ")

    def problems(self, assignments: Sequence[Assignment]) -> list[str]:
        """Models that no CLI here runs, and CLIs that are not installed."""
        found: dict[str, None] = {}
        for each in assignments:
            choice = choose(each)
            if choice.problem:
                found[f"provider {each.provider}: {choice.problem}"] = None
            elif shutil.which(choice.cli, path=self._path) is None:
                found[missing(choice.cli)] = None
        return list(found)

    def command(self, bundle: Bundle) -> Command:
        """One run of the CLI in the task's directory, the prompt on its standard input.

        Raises:
            UsageError: the task has no prompt, or its provider's model or options do not fit a CLI.
        """
        choice = choose(bundle.assignment)
        if choice.problem:
            raise UsageError(f"provider {bundle.assignment.provider}: {choice.problem}")
        if bundle.prompt_file is None:
            raise UsageError(f"task {bundle.task}: its worker runs prompts, and it has none")
        cli = CLIS[choice.cli]
        if bundle.spec.sandbox and not cli.sandbox:
            raise UsageError(f"task {bundle.task}: {cli.name} has no sandbox of its own; remove `sandbox`")
        flags = joined(cli.flags(_request(choice, bundle)), extra(bundle.options, cli), cli)
        return Command(
            argv=(cli.name, *cli.head, *flags, *cli.tail),
            env=dict(bundle.spec.env),
            cwd=bundle.cwd,
            stdin=bundle.prompt_file,
        )

    def outcome(self, evidence: Evidence) -> Outcome:
        """What the CLI's events and exit code say."""
        choice = choose(evidence.bundle.assignment)
        zone = zones.local(evidence.bundle.spec.env.get("TZ") or self._zone)
        return verdict.read(CLIS.get(choice.cli), evidence, zone)

    def account(self, chosen: Assignment) -> str:
        """The CLI and the provider behind it: what shares a login, and its limits."""
        choice = choose(chosen)
        return "" if choice.problem else CLIS[choice.cli].account(choice.model)


def missing(cli: str) -> str:
    """That a CLI is not installed, and how to get it."""
    return f"the CLI {cli} is not installed; get it with: npm install -g {CLIS[cli].npm}"


def _request(choice: Choice, bundle: Bundle) -> Request:
    return Request(choice.model, choice.effort, bundle.spec.sandbox, committing.places(bundle))
