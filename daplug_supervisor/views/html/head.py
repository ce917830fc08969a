"""The top of a page: what the run came to, in a sentence, a bar and a few figures."""

from __future__ import annotations

from collections import Counter

from daplug_supervisor.core.model import Run
from daplug_supervisor.views.colours import SIGNS, state_classes
from daplug_supervisor.views.derived import tasks_word
from daplug_supervisor.views.evaluation.figures import Planning
from daplug_supervisor.views.html.markup import Safe, el
from daplug_supervisor.views.report.contents import Report
from daplug_supervisor.views.report.landed import source_words
from daplug_supervisor.views.report.metrics import counts_words
from daplug_supervisor.views.text import clock, duration, number
from daplug_supervisor.views.usage import known, money

_BAR = 1000.0


def head(run: Run, made: Report) -> Safe:
    """The head of the page."""
    word, kind = verdict(made)
    counts = Counter(state_classes(run).values())
    end = "not ended" if made.ended_at is None else f"ended {clock(made.ended_at)}"
    return el(
        "header",
        el("p", f"Report of a run of plan {made.plan}", class_="over"),
        el("h1", made.run),
        el("p", el("strong", word, class_=kind), ". ", _sentence(made), class_="verdict"),
        el(
            "p",
            f"Submitted {clock(made.started_at)}, {end}. In ",
            el("code", made.target),
            class_="dim small",
        ),
        *(
            [el("p", "Made of ", el("code", source_words(made.source)), class_="dim small")]
            if made.source
            else []
        ),
        *(
            [el("p", f"Planning: {_planning(made.planning)}", class_="dim small")]
            if made.planning.verdict
            else []
        ),
        _share(counts),
        key({f"{SIGNS[kind]} {counts[kind]} {kind}": kind for kind in SIGNS if counts[kind]}),
        el("dl", *(_figure(*each) for each in _figures(made)), class_="figures"),
    )


def _planning(said: Planning) -> str:
    return f"{said.verdict}. {said.summary}" if said.summary else said.verdict


def verdict(made: Report) -> tuple[str, str]:
    """What the run came to in two words, and the class that they are drawn in."""
    counts = made.counts
    if made.state == "finished":
        if counts["done"] + counts["skipped"] == counts["total"]:
            return "All done", "done"
        if made.failures:
            return "Needs a person", "failed"
        return ("Waits for a person", "stuck") if made.waiting else ("Not all done", "stuck")
    if made.halt is not None:
        return ("Halted", "stuck") if made.halt.halted_at is not None else ("Halting", "stuck")
    return ("Interrupted", "stuck") if made.state == "interrupted" else ("Under way", "running")


def _sentence(made: Report) -> str:
    return f"{tasks_word(made.counts['total'])}: {counts_words(made.counts) or 'nothing to do'}"


def _share(counts: Counter[str]) -> Safe:
    total, x, parts = counts.total(), 0.0, list[Safe]()
    for kind in SIGNS:
        width = counts[kind] / total * _BAR if total else 0.0
        if width:
            parts.append(el("rect", x=x, y=0, width=width, height=12, class_=f"part {kind}"))
        x += width
    told = ", ".join(f"{counts[kind]} {kind}" for kind in SIGNS if counts[kind])
    return el(
        "svg", el("title", told), *parts, viewBox=f"0 0 {_BAR:g} 12", preserveAspectRatio="none", class_="share",
        role="img", aria_label=told,
    )  # fmt: skip


def key(named: dict[str, str]) -> Safe:
    """What colours mean."""
    return el(
        "ul",
        *(el("li", el("i"), el("span", name), class_=kind) for name, kind in named.items()),
        class_="key",
    )


def _figures(made: Report) -> list[tuple[str, str, str]]:
    """What, the figure, and a remark."""
    rate, rounds, attempts = made.first_attempt_success_rate, made.rounds, made.attempts
    passed = sum(row.passed for row in made.criteria if row.category != "always")
    landing = made.landing
    found = [("tasks done", f"{made.counts['done']} / {made.counts['total']}", "")]
    if made.criteria_planned:
        found.append(("criteria verified", f"{passed} / {made.criteria_planned}", "run by us, not claimed"))
    if rate is not None:
        found.append(("done at first attempt", f"{rate * 100:.0f} %", "of the done tasks"))
    if rounds.total:
        remark = f"in {tasks_word(rounds.tasks)}, {rounds.helped} done in the end"
        found.append(("fix rounds", str(rounds.total), remark))
    found.append(("attempts", str(attempts.total), f"{attempts.wasted} without success"))
    found.append(("time", duration(made.durations.wall), f"{duration(made.durations.attempts)} of attempts"))
    used = made.used
    if used is not None and known(used):
        least = "at least " if used.unknown or used.without_cost or used.without_tokens else ""
        tokens = "" if used.tokens is None else f"{used.tokens:,} tokens"
        found.append(("cost", "unknown" if used.cost is None else money(used.cost), f"{least}{tokens}"))
    if landing.file_count:
        found.append(("files changed", str(landing.file_count), f"in {number(landing.commits, 'commit')}"))
    return found


def _figure(name: str, value: str, remark: str) -> Safe:
    small = [el("dd", remark, class_="small")] if remark else []
    return el("div", el("dt", name), el("dd", value), *small)
