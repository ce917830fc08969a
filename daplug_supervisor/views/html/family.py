"""What people and agents made of a plan while it ran: tasks that were divided, edits, remarks."""

from __future__ import annotations

from daplug_supervisor.views.family import edited_by_kind, family_word, used_apart
from daplug_supervisor.views.html.done import table, wide
from daplug_supervisor.views.html.markup import Safe, el, joined
from daplug_supervisor.views.html.trouble import listed, named, section
from daplug_supervisor.views.report.contents import Report
from daplug_supervisor.views.review import said_words
from daplug_supervisor.views.text import listing, number
from daplug_supervisor.views.usage import cost_word

_FAMILIES = 100
_PARTS = 8


def divided(made: Report) -> Safe:
    """Tasks that divided their work, with what they and their parts used; and what was edited while it ran."""
    costs = any(used_apart(row) for row in made.families)
    rows = [
        (
            joined([named(row.task), f" {row.title}" if row.title != row.task else ""]),
            family_word(row),
            listing([part.task for part in row.parts], _PARTS),
            *((cost_word(row.used), cost_word(row.parts_used)) if costs else ()),
        )
        for row in made.families[:_FAMILIES]
    ]
    headers = ("task", "state", "parts", *(("itself", "its parts") if costs else ()))
    more = len(made.families) - len(rows)
    caption = "Itself: its own attempts. Its parts: all attempts at them, and at theirs." if costs else ""
    shown = table(
        headers,
        rows,
        caption + (f" {number(more, 'more task')} not shown." if more else ""),
        numbers=2 * costs,
    )
    edits = [joined([f"{what}: ", names]) for what, names in edited_by_kind(made.edited)]
    return section(
        "Divided and edited",
        wide("Divided", shown) if rows else "",
        *([el("h3", "Edited while it ran"), listed(edits)] if edits else []),
    )


def remarks(made: Report) -> Safe:
    """What people said, the latest first."""
    lines = (joined([named(row.task), f" {said_words(row)}"]) for row in reversed(made.remarks))
    return section("Said by people", listed(lines))
