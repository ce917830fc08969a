"""``--dry-run``: what a change to a run would affect, as text and as JSON."""

from __future__ import annotations

from msgspec import Struct

from daplug_supervisor.core.surgery.affected import Affected
from daplug_supervisor.views.text import clean, wrap


class Preview(Struct, frozen=True):
    """A command that was not carried out: what would be said, and what it would affect in which run."""

    verb: str
    run: str
    message: str
    affected: Affected
    dry_run: bool = True


def affected_text(found: Preview, width: int) -> str:
    """One line for each thing that would be different."""
    lines = [f"Nothing was changed. This would be: {clean(found.message)}"]
    what = found.affected
    for word, names in (
        ("added", what.added),
        ("removed", what.removed),
        ("new provider", what.providers),
        ("could start", what.ready),
        ("blocked", what.blocked),
    ):
        if names:
            lines += _line(word, ", ".join(names), width)
    for change in what.changed:
        lines += _line("changed", f"{change.task}: {change.what}", width)
    for move in what.statuses:
        lines += _line("status", f"{move.task}: {move.before} -> {move.after}", width)
    for wait in what.waits:
        before = f" (before: for {', '.join(wait.before)})" if wait.before else ""
        lines += _line("waits", f"{wait.task} for {', '.join(wait.after)}{before}", width)
    return "\n".join(lines)


def _line(word: str, text: str, width: int) -> list[str]:
    first, *rest = wrap(clean(text), width - _INDENT) or [""]
    return [f"  {word:<12} {first}", *(f"{'':<{_INDENT}}{line}" for line in rest)]


_INDENT = 15
