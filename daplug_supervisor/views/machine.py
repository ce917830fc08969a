"""The state machine, the rules and the events as Markdown and Mermaid: the documents are made from these."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from inspect import getdoc

from daplug_supervisor.core.events import KINDS, Event, TaskEvent
from daplug_supervisor.core.machine import AFTER_CRASH, TRANSITIONS, Status
from daplug_supervisor.core.results import RULES


def _markdown(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = (headers, ["---"] * len(headers), *rows)
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in lines)


def _kind(event: type[Event]) -> str:
    return str(event.__struct_config__.tag)


def _by_target(status: Status) -> dict[Status, list[str]]:
    found: dict[Status, list[str]] = {}
    for event, target in TRANSITIONS[status].items():
        found.setdefault(target, []).append(_kind(event))
    return found


def transitions_table() -> str:
    """Status, which event leads where, and what a restarted supervisor does about it."""
    rows = []
    for status in TRANSITIONS:
        steps = [
            f"{', '.join(f'`{kind}`' for kind in kinds)} → {target}"
            for target, kinds in _by_target(status).items()
        ]
        rows.append((f"**{status}**", "; ".join(steps) or "(none)", AFTER_CRASH[status]))
    return _markdown(("status", "event → next status", "after a crash"), rows)


def transitions_mermaid() -> str:
    """The state machine as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {Status.PENDING}"]
    for status in TRANSITIONS:
        targets = _by_target(status)
        lines += [f"    {status} --> {target}: {', '.join(kinds)}" for target, kinds in targets.items()]
        if not targets:
            lines.append(f"    {status} --> [*]")
    return "\n".join(lines)


def rules_table() -> str:
    """What each kind of outcome is worth."""
    rows = [
        (f"`{kind}`", "yes" if rule.uses_try else "no", rule.follow, rule.remedy)
        for kind, rule in RULES.items()
    ]
    return _markdown(("outcome", "uses a try", "what follows", "what a person can do"), rows)


def events_table() -> str:
    """Every event of the journal: of what, its fields, what it says."""
    rows = []
    for name, kind in KINDS.items():
        summary = (getdoc(kind) or "").partition("\n\n")[0].replace("\n", " ")
        about = "task" if issubclass(kind, TaskEvent) else "run or state directory"
        fields = ", ".join(f"`{field}`" for field in kind.__struct_fields__)
        rows.append((f"`{name}`", str(kind.version), about, fields, summary))
    return _markdown(("kind", "version", "about", "fields", "what it says"), rows)
