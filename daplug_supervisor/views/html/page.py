"""The report of a run as one page that needs nothing else: no script, nothing from elsewhere."""

from __future__ import annotations

from daplug_supervisor.core.model import Run
from daplug_supervisor.views.family import nested_tasks
from daplug_supervisor.views.html.done import (
    came_home,
    cost,
    criteria,
    dependencies,
    files,
    patterns,
    said,
    task_table,
    time_line,
)
from daplug_supervisor.views.html.family import divided, remarks
from daplug_supervisor.views.html.head import head
from daplug_supervisor.views.html.markup import Safe, el, joined
from daplug_supervisor.views.html.style import STYLE
from daplug_supervisor.views.html.trouble import claims, flagged, trouble
from daplug_supervisor.views.report.contents import Report
from daplug_supervisor.views.rows import wanted
from daplug_supervisor.views.text import clock

MOST_ROWS = 2000


def page(run: Run, made: Report, now: float) -> str:
    """The page of a run; `made` is its report at the time `now`."""
    places = places_of(run)
    sections = [
        trouble(made),
        claims(made),
        flagged(made),
        remarks(made),
        came_home(made),
        time_line(run, now, places),
        dependencies(run, made, places),
        task_table(run, made, places),
        divided(made),
        criteria(made),
        files(run, made),
        *said(made),
        patterns(made),
        cost(made),
    ]
    title = f"{made.run}: {made.state}"
    return "<!DOCTYPE html>\n" + el(
        "html",
        el("head", *_meta(), el("title", title), el("style", Safe(STYLE))),
        el(
            "body",
            head(run, made),
            el("main", joined(sections, "\n")),
            el("footer", el("p", f"daplug-supervisor, {clock(now)}. All times are UTC.")),
        ),
        lang="en",
    )


def places_of(run: Run) -> dict[str, int]:
    """The tasks that are shown in the table, and where they are in the plan: those that need a person first.

    Each family is together: its parts follow a task.
    """
    families: list[list[str]] = []
    for name, depth in nested_tasks(run).items():
        if not depth:
            families.append([])
        families[-1].append(name)
    families.sort(key=lambda names: not any(wanted(run, run.tasks[name]) for name in names))
    order = [name for names in families for name in names]
    return {name: run.tasks[name].order for name in order[:MOST_ROWS]}


def _meta() -> list[Safe]:
    from base64 import b64encode  # noqa: PLC0415 (slow to import; only a page needs it)
    from hashlib import sha256  # noqa: PLC0415

    style = b64encode(sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'"
    return [
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="referrer", content="no-referrer"),
        el("meta", name="robots", content="noindex"),
    ]
