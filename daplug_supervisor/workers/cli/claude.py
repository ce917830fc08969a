"""claude (Claude Code): ``claude --print --output-format=stream-json``, the prompt on standard input."""

from __future__ import annotations

import re
from collections.abc import Iterable

from daplug_supervisor.core.results import OutcomeKind, Usage
from daplug_supervisor.workers.cli.events import MOST_FAULTS, count, fault, inner, money, text, total, usage
from daplug_supervisor.workers.cli.kinds import Cli, Event, Fault, Reading, Request

_MOST_DENIED = 10
_LIMITED = re.compile(
    r"Claude AI usage limit reached\|\d{10,13}|You.ve hit your [a-z -]{0,20}limit .{0,3}resets .{1,60}"
)


def flags(request: Request) -> list[str]:
    """In the mode ``acceptEdits`` agents write files; other tools need an entry in claude's settings, or ``args``."""
    # Without --verbose this format is refused.
    found = ["--print", "--output-format=stream-json", "--verbose", "--permission-mode=acceptEdits"]
    if request.model:
        found.append(f"--model={request.model}")
    if request.effort:
        found.append(f"--effort={request.effort}")
    return found


def read(events: Iterable[Event]) -> Reading:
    """The ``result`` comes last. It can say ``success`` of an error, and of a task whose tools were denied."""
    result: Event = {}
    limit: Event = {}
    faults: list[Fault] = []
    for event in events:
        kind = text(event, "type")
        if kind == "result":
            result = event
        elif kind == "rate_limit_event" and inner(event, "rate_limit_info").get("status") == "rejected":
            limit = inner(event, "rate_limit_info")
            faults.append(fault("usage limit reached", limit))
        elif kind == "system" and event.get("subtype") == "api_retry":
            faults.append(fault(f"API Error: {event.get('error_status')} {event.get('error')}", event))
        elif kind == "user":
            faults = []  # a tool has answered: it goes on
    if not result:
        return Reading(faults=tuple(faults[-MOST_FAULTS:]))
    words, subtype = text(result, "result"), text(result, "subtype")
    # Some versions call a limit a success; nothing else is said then.
    limited = _LIMITED.fullmatch(words) is not None
    failed = result.get("is_error") is not False or subtype != "success" or limited
    if failed:
        shown = {key: result[key] for key in ("subtype", "api_error_status", "errors") if result.get(key)}
        # Its words name the time to the minute, this to the second.
        shown |= {"rate_limit_info": limit} if limit else {}
        faults.append(fault(words or subtype, shown))
    return Reading(
        done=not failed,
        text="" if failed else words,
        usage=_usage(result),
        faults=tuple(faults[-MOST_FAULTS:]) if failed else (),
        denied=_denied(result.get("permission_denials")),
        stopped=subtype if subtype.startswith("error_max_") else "",
        stopped_as=OutcomeKind.MAX_ITERATIONS,
    )


def _usage(result: Event) -> Usage | None:
    """By model, where it says so: its sum leaves out what was asked without streaming."""
    models: list[Event] = [one for one in inner(result, "modelUsage").values() if isinstance(one, dict)]
    keys = ("inputTokens", "cacheCreationInputTokens", "cacheReadInputTokens", "outputTokens")
    if not models:
        models = [inner(result, "usage")]
        keys = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
    new, written, cached, output = (total(count(one, key) for one in models) for key in keys)
    cost = money(result, "total_cost_usd")
    return usage(Usage(input=total((new, written, cached)), cached=cached, output=output, cost=cost))


def _denied(found: object) -> tuple[str, ...]:
    entries = found if isinstance(found, list) else []
    names = [text(entry, "tool_name") or "a tool" for entry in entries if isinstance(entry, dict)]
    return tuple(dict.fromkeys(names))[:_MOST_DENIED]


def account(model: str) -> str:
    """All models of Anthropic share the limits of one login."""
    del model
    return "claude:anthropic"


CLAUDE = Cli(
    name="claude",
    npm="@anthropic-ai/claude-code",
    flags=flags,
    read=read,
    account=account,
    aliases={"--dangerously-skip-permissions": "--permission-mode"},
    refused=frozenset(
        {"-c", "--continue", "-r", "--resume", "-w", "--worktree", "--bg", "--background", "--input-format"}
    ),
    efforts=frozenset({"low", "medium", "high", "xhigh"}),
)
