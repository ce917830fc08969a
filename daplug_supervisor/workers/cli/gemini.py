"""gemini (Gemini CLI): ``gemini --output-format=stream-json``, the prompt on standard input."""

from __future__ import annotations

import re
from collections.abc import Iterable

from daplug_supervisor.core.results import OutcomeKind, Usage
from daplug_supervisor.workers.cli.events import MOST_FAULTS, count, fault, inner, text, total, usage
from daplug_supervisor.workers.cli.kinds import Cli, Event, Fault, Reading, Request

_LONGEST_TEXT = 64 << 10
_ENDS = {"Maximum session turns exceeded": OutcomeKind.MAX_ITERATIONS, "Loop detected": OutcomeKind.STALLED}
_DENIED = re.compile(r"denied by policy|requires user confirmation")
_MOST_DENIED = 10


def flags(request: Request) -> list[str]:
    """Without ``yolo`` nobody would be there to be asked, and tools such as the shell are denied."""
    found = ["--output-format=stream-json", "--approval-mode=yolo", "--skip-trust"]
    if request.model:
        found.append(f"--model={request.model}")
    if request.sandbox:
        found.append("--sandbox")
    return found


def read(events: Iterable[Event]) -> Reading:
    """The ``result`` comes last, with a status. Told to end, gemini exits with 0, and without one."""
    result: Event = {}
    words, stopped = "", ""
    faults: list[Fault] = []
    tools: dict[str, str] = {}
    denied: dict[str, None] = {}
    for event in events:
        kind = text(event, "type")
        if kind == "result":
            result = event
        elif kind == "error":
            faults.append(fault(text(event, "message"), event))
            stopped = next((end for end in _ENDS if end in text(event, "message")), stopped)
        elif kind == "message" and event.get("role") == "assistant":
            # What one turn says comes in pieces.
            words = (words + text(event, "content"))[-_LONGEST_TEXT:]
        elif kind == "tool_use":
            words = ""
            tools[text(event, "tool_id")] = text(event, "tool_name")
        elif kind == "tool_result" and _DENIED.search(text(inner(event, "error"), "message")):
            denied[tools.get(text(event, "tool_id")) or "a tool"] = None
    # Out of turns it still says success.
    done = result.get("status") == "success" and not stopped
    if result.get("status") == "error":
        faults.append(fault(text(inner(result, "error"), "message"), result.get("error")))
    return Reading(
        done=done,
        text=words,
        usage=_usage(inner(result, "stats")),
        faults=() if done else tuple(faults[-MOST_FAULTS:]),
        denied=tuple(denied)[:_MOST_DENIED],
        stopped=stopped,
        stopped_as=_ENDS.get(stopped, OutcomeKind.NO_RESULT),
    )


def _usage(stats: Event) -> Usage | None:
    sent, answered, together = (
        count(stats, key) for key in ("input_tokens", "output_tokens", "total_tokens")
    )
    # Its output leaves out what was thought, its total does not.
    thought = None
    if sent is not None and answered is not None and together is not None:
        thought = max(0, together - sent - answered)
    output = answered if thought is None else total((answered, thought))
    return usage(Usage(input=sent, cached=count(stats, "cached"), output=output, reasoning=thought))


def account(model: str) -> str:
    """All models of Google share the limits of one login."""
    del model
    return "gemini:google"


GEMINI = Cli(
    name="gemini",
    npm="@google/gemini-cli",
    flags=flags,
    read=read,
    account=account,
    aliases={"-m": "--model", "-y": "--approval-mode", "--yolo": "--approval-mode", "-s": "--sandbox"},
    refused=frozenset(
        {"-p", "--prompt", "-i", "--prompt-interactive", "-r", "--resume", "-w", "--worktree", "--acp"}
    ),
    sandbox=True,
)
