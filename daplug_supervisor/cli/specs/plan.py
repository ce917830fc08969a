"""From a PLAN.md to what is run: its steps are commands of ours, who works on it is said on the command line."""

from __future__ import annotations

import sys
from pathlib import Path

from msgspec.structs import replace

from daplug_supervisor.cli.specs.words import Chosen
from daplug_supervisor.core.plan import LOCAL, Plan, Provider, Retry
from daplug_supervisor.core.pulls import BEGIN_TASK, COMPLETE_TASK, Pull
from daplug_supervisor.errors import UsageError
from daplug_supervisor.formats.findings import fit_id
from daplug_supervisor.formats.imported import AS_DAPLUG, Imported
from daplug_supervisor.formats.prompts.models import Who, parse
from daplug_supervisor.formats.todos import checklist
from daplug_supervisor.formats.todos.substeps import REST
from daplug_supervisor.workspace.github import CREDENTIALS

PULL_REQUEST = "pull-request"
"""The provider of the steps that tell a pull request, and that push: they may know what `gh` logs in with."""

_RETRY = Retry(attempts=4, backoff=2.0, max_backoff=30.0)
"""A network that is gone for a moment costs no run."""

_OURS = (sys.executable, "-P", "-m", "daplug_supervisor")
"""Not by our program's name, which may be on no path; and nothing in the repository is taken for a module of ours."""


def is_checklist(chosen: Chosen) -> bool:
    """Whether a PLAN.md was chosen."""
    return chosen.is_spec or checklist.is_one(chosen.path)


def load(chosen: Chosen, here: Path, state: Path, *, provider: str | None, worktree: bool) -> Imported:
    """The plan of a PLAN.md. `state` is the state directory, `provider` who works on it.

    Raises:
        PlanError, UsageError: it cannot be used.
    """
    target = checklist.target_of(chosen.path, here)
    finalize = _finalize(chosen, state)
    number = chosen.pull.number if chosen.pull else None
    task = replace(AS_DAPLUG, worktree=worktree)
    if provider is None:
        found = checklist.read(chosen.path, target, finalize=finalize, pr=number, task=task)
    else:
        name, chosen_pool = pool(provider)
        found = checklist.read(
            chosen.path,
            target,
            finalize=finalize,
            pr=number,
            task=task,
            provider=name,
            providers={name: chosen_pool},
        )
    plan = found.plan if chosen.pull is None else _with_credentials(found.plan)
    notes = (*chosen.notes, *_told(chosen.pull), *found.notes)
    return replace(found, plan=plan, notes=notes, target=None if target.samefile(here) else target)


def _told(pull: Pull | None) -> tuple[str, ...]:
    return () if pull is None else (f"PR #{pull.number}: commits are pushed, and its labels follow the run",)


def pool(words: str) -> tuple[str, Provider]:
    """``model`` or ``model:cli``, as everywhere.

    Raises:
        UsageError: it is no model.
    """
    who = parse(words)
    name = fit_id(who.label, "model")
    if name in (LOCAL, PULL_REQUEST):
        raise UsageError(f"--provider {name}: that one runs commands; name a model, such as codex")
    who = Who("claude", "claude") if who == Who("claude") else who
    return name, Provider(model=who.model, cli=who.cli)


def _finalize(chosen: Chosen, state: Path) -> checklist.Finalize:
    name = chosen.path.resolve().parent.name
    where = f"--state-dir={state}"
    rest = (*_OURS, "finish", "commit-rest", f"--name={name}", "--json")
    report = (*_OURS, "finish", "report", where)
    if chosen.pull is None:
        return checklist.Finalize(rest=rest, report=report)
    url = chosen.pull.url
    return checklist.Finalize(
        rest=(*rest, "--push"),
        report=report,
        begin=(*_OURS, "pr", "begin", url, where),
        complete=(*_OURS, "pr", "complete", url, where),
    )


def _with_credentials(plan: Plan) -> Plan:
    """The steps that talk to GitHub know its credentials; no agent does. Whoever may not begin does not ask again."""
    steps = Provider(worker="command", parallel=1, pass_env=CREDENTIALS)
    tasks = dict(plan.tasks)
    for name in (BEGIN_TASK, REST, COMPLETE_TASK):
        retry = replace(_RETRY, attempts=1) if name == BEGIN_TASK else _RETRY
        tasks[name] = replace(tasks[name], provider=PULL_REQUEST, retry=retry)
    return replace(plan, tasks=tasks, providers={**plan.providers, PULL_REQUEST: steps})
