"""What was done in a run: what came home, how it was proven, when, in which order, by whom, and for how much."""

from __future__ import annotations

from collections.abc import Sequence

from daplug_supervisor.core.model import Run
from daplug_supervisor.core.queues import waits
from daplug_supervisor.views.colours import ENDS, SIGNS, state_classes
from daplug_supervisor.views.evaluation.figures import EvaluatedTask
from daplug_supervisor.views.evaluation.text import status_words
from daplug_supervisor.views.family import nested_tasks
from daplug_supervisor.views.html.dag import dag, drawable
from daplug_supervisor.views.html.head import key
from daplug_supervisor.views.html.markup import Safe, el, joined
from daplug_supervisor.views.html.timeline import ends_of, timeline
from daplug_supervisor.views.html.trouble import commands, listed, named, section
from daplug_supervisor.views.proven import SHORT
from daplug_supervisor.views.report.contents import Report
from daplug_supervisor.views.report.landed import LandedTask, homes_of
from daplug_supervisor.views.report.metrics import rounds_words
from daplug_supervisor.views.report.overlap import Matrix, matrix
from daplug_supervisor.views.report.text import pattern_words
from daplug_supervisor.views.text import clean, duration, listing, number
from daplug_supervisor.views.usage import cost_word, known, tokens_word
from daplug_supervisor.views.work import files_words

_FILES = 200
_DEEPEST = 5
_NAME = 18


def table(
    headers: Sequence[str], rows: Sequence[Sequence[object]], caption: str, *, numbers: int = 0
) -> Safe:
    """A table; its last `numbers` columns hold numbers, its first names the row."""
    first = len(headers) - numbers

    def kind(at: int) -> str | None:
        return "n" if at >= first else None

    head = el("tr", *(el("th", name, scope="col", class_=kind(at)) for at, name in enumerate(headers)))
    body = [
        el(
            "tr",
            el("th", row[0], scope="row"),
            *(el("td", one, class_=kind(at)) for at, one in enumerate(row[1:], 1)),
        )
        for row in rows
    ]
    return el("table", el("caption", caption), el("thead", head), el("tbody", *body), class_="slim")


def wide(title: str, *parts: object) -> Safe:
    """What may be wider than the screen, and is then moved by itself."""
    return el("div", *parts, class_="wide", role="region", aria_label=title, tabindex=0)


def came_home(made: Report) -> Safe:
    """The branch and the commands to look at it."""
    found = made.landing
    if not (found.review or found.branch):
        return Safe("")
    homes = len(homes_of(found))
    where = [" on branch ", el("code", found.branch)] if found.branch else []
    told = el("p", f"{number(found.commits, 'commit')} of {number(homes, 'task')}", *where, ".")
    return section("Landed", told, commands(found.review))


def criteria(made: Report) -> Safe:
    """What was found, by category."""
    if not made.criteria:
        return Safe("")
    rows = [(row.category, row.total, row.passed, row.failed) for row in made.criteria]
    proof = made.proof
    told = (
        f"Tasks with all their criteria proven: {proof.all}; with some: {proof.some}; with none: {proof.none}; "
        f"not looked at: {proof.unchecked}."
    )
    shown = table(("category", "looked at", "hold", "fail"), rows, "As they were found last.", numbers=3)
    went_back = [el("p", f"Fix rounds: {rounds_words(made.rounds)}.")] if made.rounds.total else []
    return section("Criteria", shown, el("p", told, class_="small dim"), *went_back)


def time_line(run: Run, now: float, places: dict[str, int]) -> Safe:
    """The attempts over time."""
    drawn = timeline(run, now, places)
    counts = ends_of(run, now)
    shown = {f"{counts[end]} {words}": end for end, words in ENDS.items() if counts[end]}
    if not drawn:
        return Safe("")
    rests = el("p", "Shaded: the provider was given nothing after a limit or an outage.", class_="small dim")
    return section(
        "Attempts by provider", key(shown), wide("Timeline", drawn), rests if counts["limit"] else ""
    )


def dependencies(run: Run, made: Report, places: dict[str, int]) -> Safe:
    """The plan, by what came of it."""
    drawn, kinds = dag(run, places), set(state_classes(run).values())
    told = (
        "Each task stands to the right of what it waits for; dashed and red where that keeps it from starting. "
        "Needs that follow from others are not drawn."
        + (" Dotted: from the parts of a task to that task." if made.families else "")
        if drawable(waits(run.plan))
        else "Too many to draw each: a bar for each stage."
    )
    shown = key({f"{sign} {kind}": kind for kind, sign in SIGNS.items() if kind in kinds})
    if not drawn:
        return Safe("")
    return section("Dependencies", shown, wide("Dependencies", drawn), el("p", told, class_="small dim"))


# --- tasks --------------------------------------------------------------------------------------------------


def task_table(run: Run, made: Report, places: dict[str, int]) -> Safe:
    """A row for each task, those that need a person first."""
    if not places:
        return Safe("")
    by_id, homes = {row.task: row for row in made.tasks}, {row.task: row for row in made.landing.tasks}
    classes, costs, depths = state_classes(run), known(made.used), nested_tasks(run)
    marks = {row.task: row.what for row in made.edited}
    names = [
        "task",
        "state",
        "provider",
        "attempts",
        "rounds",
        "criteria",
        "time",
        *(["cost"] if costs else []),
    ]
    head = [el("th", name, scope="col", class_="n" if at > 2 else None) for at, name in enumerate(names)]  # noqa: PLR2004
    rows = [
        _task(
            run,
            by_id[name],
            homes.get(name),
            classes[name],
            place,
            (depths[name], marks.get(name, "")),
            costs,
        )
        for name, place in places.items()
    ]
    left = len(run.tasks) - len(places)
    more = f" {number(left, 'more task')} in report.json." if left else ""
    shown = el(
        "table",
        el("caption", f"Criteria: how many hold of those looked at.{more}"),
        el("thead", el("tr", *head, el("th", "commit", scope="col"))),
        el("tbody", joined(rows, "\n")),
        class_="tasks",
    )
    return section("Tasks", wide("Tasks", shown))


def _task(
    run: Run,
    row: EvaluatedTask,
    home: LandedTask | None,
    kind: str,
    place: int,
    family: tuple[int, str],
    costs: bool,  # noqa: FBT001  of the whole table
) -> Safe:
    depth, mark = family
    looked = row.passed + row.failed
    numbers = {
        "attempts": str(row.attempts or ""),
        "rounds": str(row.rounds or ""),
        "criteria": f"{row.passed}/{looked}" if looked else "",
        "time": duration(row.seconds) if row.seconds else "",
        **({"cost": cost_word(row.used)} if costs else {}),
    }
    commit = home.commit[:SHORT] if home else ""
    files = [el("span", f" {number(home.files, 'file')}", class_="dim small")] if home and home.files else []
    return el(
        "tr",
        el(
            "th",
            named(row.task),
            f" {row.title}" if row.title != row.task else "",
            *([el("span", f" {mark}", class_="dim small", title=f"{mark} while it ran")] if mark else []),
            scope="row",
            class_=f"in{min(depth, _DEEPEST)}" if depth else None,
        ),
        el("td", f"{SIGNS[kind]} {kind if row.status == 'pending' else status_words(row)}", class_=kind),
        el("td", run.tasks[row.task].provider),
        *(el("td", value, class_="n", data_l=name) for name, value in numbers.items()),
        el("td", *([el("code", commit)] if commit else []), *files),
        id=f"t{place}",
    )


# --- files, words, money ------------------------------------------------------------------------------------


def files(run: Run, made: Report) -> Safe:
    """What was changed, and where tasks touched the same files."""
    parts = list[Safe]()
    found, beside = made.landing, matrix(run, made.overlaps)
    if made.overlaps:
        rows = (
            joined(
                [
                    listing(row.tasks, 8),
                    ": ",
                    el("code", files_words(row.files, row.count)),
                    _beside(row.side_by_side),
                ]
            )
            for row in made.overlaps
        )
        parts += [el("h3", "Changed by several tasks"), listed(rows, 20), _matrix(beside)]
    if found.files:
        shown = el("pre", joined(found.files[:_FILES], "\n"))
        more = found.file_count - len(found.files[:_FILES])
        rest = [el("p", f"and {more} more, in report.json", class_="dim")] if more else []
        parts.append(el("details", el("summary", f"All {number(found.file_count, 'file')}"), shown, *rest))
    return section("Files", *parts)


def _beside(names: Sequence[str]) -> Safe:
    return el("strong", f" side by side: {listing(names, 4)}") if names else Safe("")


def _matrix(found: Matrix) -> Safe:
    """How many files each two tasks share that ran side by side."""
    if not found.tasks:
        return Safe("")
    names = [clean(name, _NAME) for name in found.tasks]
    head = el("tr", el("td"), *(el("th", name, scope="col") for name in names[:-1]))
    rows = []
    for at, name in enumerate(names[1:], 1):
        cells = [
            el("td", found.counts.get((to, at), ""), class_="beside" if (to, at) in found.beside else None)
            for to in range(at)
        ]
        rows.append(el("tr", el("th", name, scope="row"), *cells))
    more = f" {number(found.more, 'more task')} not shown." if found.more else ""
    told = el(
        "caption",
        f"How many files each two share; bold: they were at work at the same time.{more}",
    )
    return wide(
        "Files that tasks share", el("table", told, el("thead", head), el("tbody", *rows), class_="cross")
    )


def said(made: Report) -> list[Safe]:
    """What agents said beside their work."""
    titles = {
        "checkout_warnings": "Changed outside their worktrees meanwhile, as daplug saw it",
        "issues": "Issues that agents found",
        "learnings": "Learnings",
        "decisions": "Decisions",
        "next_steps": "Next steps that agents suggest",
    }
    found = []
    for name, title in titles.items():
        lines = [(row.task, one) for row in made.said for one in getattr(row, name)]
        found.append(section(title, listed(joined([named(task), " ", one]) for task, one in lines)))
    return found


def patterns(made: Report) -> Safe:
    """What went wrong more than once."""
    return section(
        "What recurs",
        listed(
            (
                joined([pattern_words(row), el("br"), el("span", row.advice, class_="dim small")])
                for row in made.patterns
            ),
            20,
        ),
    )


def cost(made: Report) -> Safe:
    """What each provider did, and what that cost."""
    rows = [
        (
            use.name,
            use.attempts,
            use.completed,
            duration(use.seconds),
            tokens_word(use.used),
            cost_word(use.used),
        )
        for use in made.providers
        if use.attempts
    ]
    if not rows:
        return Safe("")
    headers = ("provider", "attempts", "done", "time", "tokens", "cost")
    return section(
        "Providers",
        wide("Providers", table(headers, rows, "Ended attempts, as their CLIs report them.", numbers=5)),
    )
