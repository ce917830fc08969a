"""The worker `executor`: runs a daplug prompt through daplug's executor.py, in its foreground loop.

That mode is the only one that waits for the agent and says how it ended. The executor names its state and
logs by prompt number and time, in the home directory, for all repositories together; so each attempt gets a
number and a time stamp of its own, which are both its id.
"""

from __future__ import annotations

import re
import sys
from hashlib import sha256
from typing import TYPE_CHECKING

from msgspec.structs import replace

from daplug_supervisor.core.bundle import ATTEMPT_VARIABLE, Bundle, Command, Evidence
from daplug_supervisor.core.results import OutcomeKind
from daplug_supervisor.errors import UsageError
from daplug_supervisor.workers import executor_output, locate, zones
from daplug_supervisor.workers.registered import Registered

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from daplug_supervisor.core.plan import Assignment, Task
    from daplug_supervisor.core.results import Outcome
    from daplug_supervisor.workers.settings import Settings

SANDBOX_OPTIONS = ("sandbox_type", "sandbox_workspace", "sandbox_net")
"""What a provider's `options` may say of daplug's sandbox, beside `dangerously_bypass_permissions`."""

NO_LEAVE = "daplug gives claude no leave to write files here, and it says that it is done all the same"
GIVE_LEAVE = "say `sandbox: true`, or `worker: cli` for its provider, or `require_diff: true` to have us look"
_CLAUDE_CLIS = frozenset({"claude", "cc", "claudecode"})
_CLAUDE_MODELS = frozenset({"claude", "fable"})

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_TASK_LENGTH = 43


class ExecutorWorker:
    """Runs prompts through daplug's executor.py, which is found once, when the worker is made."""

    # The JSON document holds the prompt's text; what the executor says of the run comes last, and is found alone too.
    # More would be the supervisor's memory, times the attempts that end at the same moment.
    output_wanted = 4 << 20

    def __init__(self, settings: Settings) -> None:
        self._executor = ""
        self._missing = ""
        try:
            self._executor = str(locate.find(settings))
        except UsageError as error:
            self._missing = str(error)
        self._zone = settings.environ.get("TZ")
        self._registered = Registered(self._executor)

    def problems(self, assignments: Sequence[Assignment]) -> list[str]:
        """What is missing here, and models that the executor would hand back to Claude instead of running."""
        found = [self._missing] if self._missing else []
        found += [
            f"provider {provider}: the model 'claude' runs only inside a Claude session; "
            "add `cli: claude`, or choose a model such as cc-sonnet or cc-opus"
            for provider in sorted(
                {each.provider for each in assignments if each.model == "claude" and not each.cli}
            )
        ]
        return found

    def command(self, bundle: Bundle) -> Command:
        """One run of the executor, in the directory that the run is about.

        Raises:
            UsageError: there is no executor (`problems` says so beforehand), or the task has no prompt.
        """
        if self._missing:
            raise UsageError(self._missing)
        if bundle.prompt_file is None:
            raise UsageError(f"task {bundle.task}: its worker runs prompts, and it has none")
        attempt = attempt_id(bundle)
        options = [
            *(
                "--prompt-file",
                bundle.prompt_file,
                "--prompt-number",
                attempt,
                "--execution-timestamp",
                attempt,
            ),
            *_agent(bundle),
            *_place(bundle),
            *_loop(bundle),
            *_sandbox(bundle),
        ]
        return Command(
            argv=(sys.executable, self._executor, *options),
            env={**bundle.spec.env, ATTEMPT_VARIABLE: attempt},
            cwd=bundle.target,
        )

    def outcome(self, evidence: Evidence) -> Outcome:
        """What the executor's exit code and JSON document say. An agent that may not write is not believed."""
        bundle = evidence.bundle
        found = executor_output.read(evidence, zones.local(bundle.spec.env.get("TZ") or self._zone))
        chosen, spec = bundle.assignment, bundle.spec
        if found.kind is not OutcomeKind.COMPLETED or spec.require_diff:
            return found
        if not without_leave(chosen.model, chosen.cli, spec, bundle.options):
            return found
        return replace(found, kind=OutcomeKind.UNVERIFIED, detail=f"{NO_LEAVE}: {GIVE_LEAVE}")

    def logs(self, evidence: Evidence) -> Sequence[str]:
        """The logs of the loop's iterations: only there it says why a CLI failed."""
        return executor_output.logs(evidence)

    def account(self, chosen: Assignment) -> str:
        """The CLI that daplug runs this model with, and the provider behind the model."""
        return self._registered.account(chosen)


def without_leave(model: str, cli: str | None, spec: Task, options: Mapping[str, object]) -> bool:
    """Whether daplug starts claude in a mode that denies it every tool that writes; it says "done" all the same."""
    claude = cli in _CLAUDE_CLIS if cli else model.startswith("cc-") or model in _CLAUDE_MODELS
    return claude and not spec.sandbox and not options.get("dangerously_bypass_permissions")


def attempt_id(bundle: Bundle) -> str:
    """A name for the attempt that is unique in the world and fit for file names: at most 60 characters."""
    # The token itself is not shown: the completion marker is made of it.
    task = _UNSAFE.sub("_", bundle.task)[:_TASK_LENGTH]
    return f"{task}-{_digest('attempt', bundle)}"


def completion_marker(bundle: Bundle) -> str:
    """What the agent must print to say that it is done: the plan's marker, or one that nothing can quote."""
    return bundle.spec.loop.completion_marker or f"DONE-{_digest('marker', bundle)}"


def _digest(purpose: str, bundle: Bundle) -> str:
    return sha256(f"{purpose}\0{bundle.name}\0{bundle.token}".encode()).hexdigest()[:16]


def _agent(bundle: Bundle) -> list[str]:
    chosen = bundle.assignment
    # In one word with its name, a value is never taken for an option, whatever it begins with.
    options = [f"--model={chosen.model}"]
    if chosen.cli:
        options.append(f"--cli={chosen.cli}")
    if chosen.variant:
        options.append(f"--variant={chosen.variant}")
    return options


def _place(bundle: Bundle) -> list[str]:
    options = ["--cwd", bundle.cwd]
    # With --worktree-path and the model claude, the executor edits ~/.claude/settings.json, and two at once
    # lose entries that are the user's own.
    if bundle.branch and bundle.assignment.model != "claude":
        options += ["--worktree-path", bundle.cwd, "--branch-name", bundle.branch]
        options += ["--original-repo-root", bundle.target]
    return options


def _loop(bundle: Bundle) -> list[str]:
    options = [
        "--run",
        "--loop",
        "--loop-foreground",
        "--max-iterations",
        str(bundle.spec.loop.max_iterations),
    ]
    options.append(f"--completion-marker={completion_marker(bundle)}")
    if bundle.spec.require_diff:
        options.append("--require-diff")
    return options


def _sandbox(bundle: Bundle) -> list[str]:
    wanted = bundle.spec.sandbox
    options = []
    if bundle.options.get("dangerously_bypass_permissions") is True:
        options.append("--dangerously-bypass-permissions")
    if not wanted:
        return options
    options.append("--sandbox")
    if wanted is not True:
        options += ["--sandbox-profile", wanted]
    for name in SANDBOX_OPTIONS:
        value = bundle.options.get(name)
        if isinstance(value, str):
            options.append(f"--{name.replace('_', '-')}={value}")
    return options
