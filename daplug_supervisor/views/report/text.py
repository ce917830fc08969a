"""The report of a run for a terminal: first what needs a person, then what was done, then the rest."""

from __future__ import annotations

from collections.abc import Sequence

from daplug_supervisor.views import work as works
from daplug_supervisor.views.derived import tasks_word
from daplug_supervisor.views.evaluation.figures import Pattern
from daplug_supervisor.views.family import edited_lines, family_lines
from daplug_supervisor.views.report.claims import disagreement_lines
from daplug_supervisor.views.report.claims import sections as said_sections
from daplug_supervisor.views.report.contents import Report
from daplug_supervisor.views.report.failures import failure_lines
from daplug_supervisor.views.report.flags import Flag, flag_lines
from daplug_supervisor.views.report.landed import landing_lines, source_words
from daplug_supervisor.views.report.metrics import counts_words, number_lines
from daplug_supervisor.views.report.overlap import overlap_lines
from daplug_supervisor.views.review import said_lines
from daplug_supervisor.views.rows import AttentionRow, HaltRow
from daplug_supervisor.views.text import clean, clock, duration, listing, wrap

_MOST_PATTERNS = 8
_SENTENCE = 300
_MOST_WAITING = 20
_WAITING = 600


def report_text(full: Report, width: int = 80) -> str:
    """The report for people."""
    return "\n".join(
        _head(full, width)
        + [line for name, lines in _sections(full, width).items() if lines for line in ("", name, *lines)]
    )


def _head(full: Report, width: int) -> list[str]:
    counts = full.counts
    head = [f"Run {clean(full.run)} of plan {clean(full.plan)}: {full.state.upper()}"]
    head += wrap(f"{tasks_word(counts['total'])}: {counts_words(counts) or 'nothing to do'}", width)
    head += wrap(source_words(full.source), width) if full.source else []
    return [*head, clean(f"in {full.target}", width), _span(full)]


def _sections(full: Report, width: int) -> dict[str, list[str]]:
    return {
        "Halt": _halt_lines(full.halt, width),
        "Waits for your review": _waiting_lines(full.waiting, "review", width),
        "Asked by agents": failure_lines([row for row in full.failures if row.question], width),
        "Failures": failure_lines([row for row in full.failures if not row.question], width),
        "Delegated, and waits for a person": _waiting_lines(full.waiting, "parts", width),
        "Claimed by agents, and not so": disagreement_lines(full.disagreements, width),
        **works.sections(works.WorkLeft(full.worktrees), width, full.target),
        "Flags": flag_lines(flags_beside(full), width),
        "Said by people": said_lines(full.remarks, width),
        "Divided among parts": family_lines(full.families, width),
        "Edited while it ran": edited_lines(full.edited, width),
        "Landed": landing_lines(full.landing, width),
        "Files that several tasks have changed": overlap_lines(full.overlaps, width),
        **said_sections(full.said, width),
        "What recurs": _pattern_lines(full.patterns, width),
        "Numbers": number_lines(full, width),
        "Next": [f"  {clean(line)}" for line in full.next],
    }


def flags_beside(full: Report) -> tuple[Flag, ...]:
    """The flags without what has a place of its own: uncommitted work, and how failed attempts ended."""
    failed = {row.task for row in full.failures}
    told = ("uncommitted", "exit")
    return tuple(
        row for row in full.flags if row.kind not in told or (row.kind == "exit" and row.task not in failed)
    )


def _span(full: Report) -> str:
    end = "not ended" if full.ended_at is None else f"ended {clock(full.ended_at)}"
    return f"submitted {clock(full.started_at)}, {end}, {duration(full.durations.wall)} in all"


def _halt_lines(halt: HaltRow | None, width: int) -> list[str]:
    if halt is None:
        return []
    done = "not yet halted" if halt.halted_at is None else f"halted {clock(halt.halted_at)}"
    by = halt.requested_by.replace("_", " ")
    text = f"requested {clock(halt.requested_at)} by {by}, {done}: {halt.reason}"
    running = f"at work then: {listing(halt.running, 8)}" if halt.running else "nothing was at work then"
    return [*wrap(text, width, "  "), *wrap(running, width, "  ")]


def _waiting_lines(rows: Sequence[AttentionRow], wants: str, width: int) -> list[str]:
    found = [row for row in rows if row.wants == wants]
    lines: list[str] = []
    for row in found[:_MOST_WAITING]:
        title = f": {row.title}" if row.title and row.title != row.task else ""
        lines.append(clean(f"  {row.task}{title}", width))
        lines += wrap(clean(row.sentence, _WAITING), width, "    ")
    more = len(found) - _MOST_WAITING
    return [*lines, f"  and {more} more"] if more > 0 else lines


def pattern_words(row: Pattern) -> str:
    """What recurs, how often, and where."""
    return f"{row.what.replace('_', ' ')}: {row.count} times, in {listing(row.tasks, 5)}"


def _pattern_lines(rows: Sequence[Pattern], width: int) -> list[str]:
    lines: list[str] = []
    for row in rows[:_MOST_PATTERNS]:
        lines += wrap(clean(pattern_words(row), _SENTENCE), width, "  ")
        lines += wrap(row.advice, width, "    ")
    more = len(rows) - _MOST_PATTERNS
    return [*lines, f"  and {more} more"] if more > 0 else lines
