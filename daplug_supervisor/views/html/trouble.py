"""What of a run needs a person: failures with what to type, claims that are not so, flags."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from daplug_supervisor.views.derived import tasks_word
from daplug_supervisor.views.html.markup import Safe, el, joined
from daplug_supervisor.views.report.claims import Disagreement, attempts_words, claimed_words, together
from daplug_supervisor.views.report.contents import Report
from daplug_supervisor.views.report.failures import FailedCriterion, Failure
from daplug_supervisor.views.report.flags import Flag
from daplug_supervisor.views.report.landed import hook_words
from daplug_supervisor.views.report.text import flags_beside
from daplug_supervisor.views.rows import AttentionRow, HaltRow
from daplug_supervisor.views.text import clock, listing, number
from daplug_supervisor.views.work import uncommitted_words

MOST_CASES = 50
MOST_LINES = 100
_OPEN = 10
_CRITERIA = 8
_SENTENCE = 600


def commands(lines: Iterable[str]) -> Safe:
    """Lines to be typed."""
    found = [el("code", line) for line in lines]
    return el("pre", *found, class_="type") if found else Safe("")


def listed(found: Iterable[object], most: int = MOST_LINES) -> Safe:
    """A list, cut at its end."""
    lines = list(found)
    more = [el("li", f"and {len(lines) - most} more", class_="dim")] if len(lines) > most else []
    return el("ul", *(el("li", one) for one in lines[:most]), *more, class_="plain") if lines else Safe("")


def section(title: str, *parts: object) -> Safe:
    """A part of the page; nothing if it is empty."""
    content = joined(parts)
    return el("section", el("h2", title), content) if content else Safe("")


def named(task: str) -> Safe:
    """A task's id."""
    return el("span", task, class_="id")


def trouble(made: Report) -> Safe:
    """What waits for a person, with the commands."""
    asked = [row for row in made.failures if row.question]
    others = [row for row in made.failures if not row.question]
    cases = [_waiting(row) for row in made.waiting[:MOST_CASES]]
    cases += [_case(row) for row in [*asked, *others][:MOST_CASES]]
    if len(cases) > _OPEN:
        rest = el("summary", f"{tasks_word(len(cases) - _OPEN)} more")
        cases[_OPEN:] = [el("details", rest, *cases[_OPEN:])]
    more = max(0, len(made.failures) - MOST_CASES) + max(0, len(made.waiting) - MOST_CASES)
    if more > 0:
        cases.append(el("p", f"And {tasks_word(more)} more: see the table of tasks.", class_="dim"))
    hooks = [hook_words(row) for row in made.landing.hooks]
    parts = [_halt(made.halt), *cases]
    if hooks:
        parts += [el("h3", "Hooks that failed"), listed(hooks)]
    left = [row for row in made.worktrees if row.uncommitted]
    if left:
        rows = (joined([named(row.task), f" ({row.status}): ", uncommitted_words(row)]) for row in left)
        parts += [el("h3", "Uncommitted work in worktrees"), listed(rows)]
    if not joined(parts):
        return section("Needs a person", el("p", "Nothing does.", class_="dim"))
    goes_on = [el("h3", "Then"), commands(made.next[-1:])] if made.next and made.state != "running" else []
    return section("Needs a person", *parts, *goes_on)


def _halt(halt: HaltRow | None) -> Safe:
    if halt is None:
        return Safe("")
    done = "not yet halted" if halt.halted_at is None else f"halted {clock(halt.halted_at)}"
    by = halt.requested_by.replace("_", " ")
    running = f"At work then: {listing(halt.running, 8)}." if halt.running else "Nothing was at work then."
    return el(
        "div",
        el("h3", el("span", "halt", class_="pill stuck"), " ", halt.reason),
        el("p", f"Requested {clock(halt.requested_at)} by {by}, {done}. {running}"),
        class_="case stuck",
    )


def _waiting(row: AttentionRow) -> Safe:
    """Work that is to be reviewed, or a delegated task with parts that cannot go on."""
    behind = f" Blocks {tasks_word(row.blocks)}." if row.blocks else ""
    word = "review" if row.wants == "review" else row.status
    title = f" {row.title}" if row.title != row.task else ""
    return el(
        "div",
        el("h3", el("span", word, class_=f"pill {row.status}"), " ", named(row.task), title),
        el("p", row.sentence[:_SENTENCE] + behind),
        commands(row.next),
        class_=f"case {row.status}",
    )


def _case(row: Failure) -> Safe:
    behind = f" Blocks {tasks_word(row.blocks)}." if row.blocks else ""
    word = "question" if row.question else row.status
    if row.question:
        told = [el("p", f"{behind} Its agent asks:".strip()), el("blockquote", _paragraphs(row.question))]
    else:
        told = [el("p", _words(row) + behind)]
    parts = [
        el("h3", el("span", word, class_=f"pill {row.status}"), " ", named(row.task), f" {row.title}"),
        *told,
        listed(map(_criterion, row.criteria), _CRITERIA),
        _output("What the criteria printed", [line for one in row.criteria for line in one.tail]),
        _output("The end of its output", row.tail),
        commands(row.next),
    ]
    return el("div", *parts, class_=f"case {row.status}")


def _paragraphs(text: str) -> Safe:
    """Each line of a text on its own."""
    return joined([el("div", line) if line.strip() else el("br") for line in text.splitlines()])


def _words(row: Failure) -> str:
    """Why it failed; what is said of its criteria is not said twice."""
    if not row.criteria:
        return row.sentence[:_SENTENCE]
    rounds = f" and {number(row.rounds, 'fix round')}" if row.rounds else ""
    failed = (
        "1 criterion does not hold" if len(row.criteria) == 1 else f"{len(row.criteria)} criteria do not hold"
    )
    remedy = f": {row.remedy}" if row.remedy else ""
    return f"After {number(row.attempts, 'attempt')}{rounds} {failed}{remedy}."


def _criterion(one: FailedCriterion) -> Safe:
    said = el("strong", f" The agent says {one.claimed}.") if one.claimed else ""
    where = {"environment": " (the place, not the work)", "code": "", "unknown": ""}.get(one.blame, "")
    return joined([el("code", one.label), f": {one.detail}{where}.", said])


def _output(title: str, lines: Iterable[str]) -> Safe:
    found = list(lines)
    if not found:
        return Safe("")
    return el("details", el("summary", title), el("pre", joined(found, "\n")))


def claims(made: Report) -> Safe:
    """Where agents claim one thing and we found another."""
    rows = made.disagreements
    if not rows:
        return Safe("")
    told = el(
        "p", f"{number(len(rows), 'attempt')} said one thing; we looked, and found another.", class_="dim"
    )
    return section("Claimed by agents, and not so", told, listed(map(_disagreement, together(rows))))


def _disagreement(rows: Sequence[Disagreement]) -> Safe:
    row = rows[-1]
    passed = [one.label for one in row.criteria if one.claimed == "PASS"]
    said = el("strong", f" It calls passed: {listing(passed)}.") if passed else ""
    return joined([named(row.task), f" {attempts_words(rows)}: {claimed_words(row)}.", said])


def flagged(made: Report) -> Safe:
    """What a person should know of tasks, though it decides nothing."""
    by_task: dict[str, list[Flag]] = {}
    for row in flags_beside(made):
        by_task.setdefault(row.task, []).append(row)
    lines = (
        joined([named(task), ": ", "; ".join(row.text for row in rows)]) for task, rows in by_task.items()
    )
    return section("Flags", listed(lines))
