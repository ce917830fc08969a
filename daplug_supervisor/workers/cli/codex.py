"""codex: ``codex exec --json``, the prompt on standard input."""

from __future__ import annotations

from collections.abc import Iterable

from daplug_supervisor.core.results import Usage
from daplug_supervisor.workers.cli.events import MOST_FAULTS, count, fault, inner, text, usage
from daplug_supervisor.workers.cli.kinds import Cli, Event, Fault, Reading, Request


def flags(request: Request) -> list[str]:
    """Agents work in codex's own sandbox: they write only in their directory, and are asked nothing."""
    found = ["--json", "--color=never", "--skip-git-repo-check", "--sandbox=workspace-write"]
    if request.model:
        found.append(f"--model={request.model}")
    if request.effort:
        found.append(f'--config=model_reasoning_effort="{request.effort}"')
    if request.sandbox == "dev":
        found.append("--config=sandbox_workspace_write.network_access=true")
    if request.sandbox != "strict":
        found += [f"--add-dir={place}" for place in request.also_writable]
    return found


def read(events: Iterable[Event]) -> Reading:
    """``turn.completed`` ends well, ``turn.failed`` does not; an ``error`` may have been got over."""
    done, words, spent = False, "", None
    faults: list[Fault] = []
    for event in events:
        kind = text(event, "type")
        if kind == "turn.started":
            done = False
        elif kind == "turn.completed":
            done, spent, faults = True, _usage(inner(event, "usage")), []
        elif kind == "turn.failed":
            done = False
            faults.append(fault(text(inner(event, "error"), "message"), event.get("error")))
        elif kind == "error":
            faults.append(fault(text(event, "message"), event))
        elif kind.startswith("item."):
            faults = []  # it goes on: what was wrong has been got over
            if kind == "item.completed" and inner(event, "item").get("type") == "agent_message":
                words = text(inner(event, "item"), "text")
    return Reading(done, words, spent, tuple(faults[-MOST_FAULTS:]))


def _usage(found: Event) -> Usage | None:
    return usage(
        Usage(
            input=count(found, "input_tokens"),
            cached=count(found, "cached_input_tokens"),
            output=count(found, "output_tokens"),
            reasoning=count(found, "reasoning_output_tokens"),
        )
    )


def account(model: str) -> str:
    """All models of OpenAI share the limits of one login."""
    del model
    return "codex:openai"


CODEX = Cli(
    name="codex",
    npm="@openai/codex",
    head=("exec",),
    flags=flags,
    tail=("-",),
    read=read,
    account=account,
    aliases={
        "-m": "--model",
        "-s": "--sandbox",
        "--full-auto": "--sandbox",
        "--approve-for-me": "--sandbox",
        "--dangerously-bypass-approvals-and-sandbox": "--sandbox",
        "--yolo": "--sandbox",
    },
    refused=frozenset({"-o", "--output-last-message", "--worktree", "-C", "--cd"}),
    efforts=frozenset({"low", "medium", "high", "xhigh"}),
    sandbox=True,
)
