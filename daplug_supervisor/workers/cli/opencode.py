"""opencode: ``opencode run --format=json``, the prompt on standard input."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

from daplug_supervisor.core.results import Usage
from daplug_supervisor.workers.cli.events import (
    MOST_FAULTS,
    added,
    count,
    fault,
    inner,
    money,
    text,
    total,
    usage,
)
from daplug_supervisor.workers.cli.kinds import Cli, Event, Fault, Reading, Request

_REJECTED = "rejected permission"
_MOST_DENIED = 10


def flags(request: Request) -> list[str]:
    """What agents may do is in opencode's own settings; what it would have to ask for, it rejects."""
    found = ["--format=json"]
    if request.model:
        found.append(f"--model={request.model}")
    if request.effort:
        found.append(f"--variant={request.effort}")
    return found


def read(events: Iterable[Event]) -> Reading:
    """A ``step_finish`` for the reason ``stop`` ends well, unless an ``error`` follows. Usage is told step by step."""
    done, words, reason = False, "", ""
    faults: list[Fault] = []
    spent: list[Usage] = []
    denied: dict[str, None] = {}
    for event in events:
        kind, part = text(event, "type"), inner(event, "part")
        if kind == "error":
            done = False
            faults.append(_fault(inner(event, "error")))
        elif kind == "step_start":
            done, reason = False, ""
        elif kind == "step_finish":
            reason = text(part, "reason")
            done, faults = reason == "stop", []
            spent.append(_step(part))
        elif kind == "text":
            words = text(part, "text")
        elif kind == "tool_use" and _REJECTED in text(inner(part, "state"), "error"):
            denied[text(part, "tool") or "a tool"] = None
    return Reading(
        done=done,
        text=words,
        usage=usage(reduce(added, spent)) if spent else None,
        faults=tuple(faults[-MOST_FAULTS:]),
        denied=tuple(denied)[:_MOST_DENIED],
        stopped=""
        if done or faults or reason in {"", "tool-calls"}
        else f"its last step ended for {reason!r}",
    )


def _fault(found: Event) -> Fault:
    data = inner(found, "data")
    said, status = text(data, "message") or text(found, "name"), data.get("statusCode")
    return fault(f"{said} (HTTP {status})" if type(status) is int else said, found)


def _step(part: Event) -> Usage:
    tokens, cache = inner(part, "tokens"), inner(part, "tokens", "cache")
    cached = count(cache, "read")
    return Usage(
        input=total((count(tokens, "input"), cached, count(cache, "write"))),
        cached=cached,
        output=total((count(tokens, "output"), count(tokens, "reasoning"))),
        reasoning=count(tokens, "reasoning"),
        cost=money(part, "cost"),
    )


def account(model: str) -> str:
    """One of many providers, named before the slash. That of opencode's own default is not known here."""
    provider, slash, _ = model.partition("/")
    return f"opencode:{provider}" if slash else ""


OPENCODE = Cli(
    name="opencode",
    npm="opencode-ai",
    head=("run",),
    flags=flags,
    read=read,
    account=account,
    aliases={"-m": "--model"},
    refused=frozenset(
        {"-c", "--continue", "-s", "--session", "-i", "--interactive", "--attach", "--dir", "--command"}
    ),
    efforts=frozenset({"low", "medium", "high", "xhigh"}),
)
