"""Where a run stands, for people."""

from __future__ import annotations

from daplug_supervisor.core.machine import ACTIVE
from daplug_supervisor.views.derived import tasks_word
from daplug_supervisor.views.family import family_word
from daplug_supervisor.views.health import suspect_words
from daplug_supervisor.views.proven import proof_words
from daplug_supervisor.views.review import question_lines
from daplug_supervisor.views.status import RunStatus
from daplug_supervisor.views.text import clean, clock, command, duration, listing, table, wrap
from daplug_supervisor.views.usage import (
    budget_words,
    cost_word,
    known,
    tokens_word,
    used_words,
)
from daplug_supervisor.views.why import RESUME

_WAITING = ("ready", "backing_off", "blocked", "not_selected", "waiting_for_stage", "reviewing", "delegated")
_BAR = 20
_MOST_SHOWN = 20
_WITH_COMMANDS = 3
_TITLE = 60
_LONGEST = 500
_QUESTION = 12


def status_line(view: RunStatus) -> str:
    """One line: run, stage, done, running, failed, waiting."""
    return clean(f"{view.run} {view.state}: {_numbers(view)}")


def status_text(view: RunStatus, width: int = 80) -> str:
    """Where the run stands, at a glance; long lists are cut at `_MOST_SHOWN`."""
    done = int(view.progress_percent * _BAR / 100)
    head = [
        f"Run {clean(view.run)} of plan {clean(view.plan)}: {view.state.upper()}",
        *wrap(view.sentence, width),
        f"[{'#' * done}{'.' * (_BAR - done)}] {view.progress_percent:g}%",
        *wrap(_numbers(view), width),
        *wrap(_times(view), width),
        *(wrap(proof_words(view.proof), width) if view.proof else ()),
        *(wrap(f"used {used_words(view.used)}", width) if view.used else ()),
        *(wrap(f"budget {budget_words(view.budget)}", width) if view.budget else ()),
        *(line for text in _notes(view) for line in wrap(f"NOTE: {clean(text)}", width)),
    ]
    sections = {
        "At work": _running_lines(view, width),
        "Providers": _provider_lines(view, width),
        "Delegated": _delegated_lines(view, width),
        "Needs a person": _attention_lines(view, width),
        "Next": [f"  {clean(line)}" for line in view.next],
    }
    return "\n".join(
        head + [line for name, lines in sections.items() if lines for line in ("", name, *lines)]
    )


def _notes(view: RunStatus) -> list[str]:
    found = [f"{one.task}#{one.attempt} {suspect_words(one, view.at)}" for one in view.suspicious]
    more = [f"and {len(found) - _MOST_SHOWN} more like these"] if len(found) > _MOST_SHOWN else []
    return [*view.notices, *found[:_MOST_SHOWN], *more]


def _numbers(view: RunStatus) -> str:
    counts = view.counts
    waiting = counts["pending"] + counts["reviewing"] + counts["delegated"]
    at_work = sum(counts[status] for status in ACTIVE)
    parts = [
        f"{counts['done']} of {view.total} done",
        f"stage {view.stage} of {view.stages}",
        f"{at_work} at work",
    ]
    parts += [
        f"{counts[word]} {word}" for word in ("failed", "stuck", "cancelled", "skipped") if counts[word]
    ]
    inside = [f"{counts[word]} {word.replace('_', ' ')}" for word in _WAITING if counts[word]]
    parts.append(f"{waiting} waiting" + (f" ({', '.join(inside)})" if inside else ""))
    return ", ".join(parts)


def _times(view: RunStatus) -> str:
    text = f"submitted {clock(view.submitted_at)}"
    if view.starts > 1 and view.started_at is not None:
        text += f", started {view.starts} times, last {clock(view.started_at)}"
    if view.finished_at is not None:
        text += f", finished {clock(view.finished_at)}"
    return f"{text}, {duration(view.elapsed)} in all"


def _more(count: int) -> list[str]:
    return [f"  and {count - _MOST_SHOWN} more"] if count > _MOST_SHOWN else []


def _running_lines(view: RunStatus, width: int) -> list[str]:
    if not view.running:
        return []
    rows = [
        (
            row.task,
            row.status,
            f"#{row.attempt} {row.provider}",
            duration(row.elapsed),
            "" if row.deadline is None else duration(row.deadline - view.at),
            row.title,
        )
        for row in view.running[:_MOST_SHOWN]
    ]
    headers = ("task", "status", "attempt", "for", "time left", "title")
    return [table(rows, headers, width, indent="  ", keep=5), *_more(len(view.running))]


def _provider_lines(view: RunStatus, width: int) -> list[str]:
    rows = [
        (
            row.name,
            f"{row.running} of {row.limit}",
            str(row.ready),
            str(row.waiting),
            row.state.upper() if row.stopped else row.state,
            tokens_word(row.used),
            cost_word(row.used),
        )
        for row in view.providers
    ]
    headers = ("provider", "running", "ready", "backing off", "state", "tokens", "cost")
    shown = len(headers) if known(view.used) else len(headers) - 2
    lines = [table([row[:shown] for row in rows], headers[:shown], width, indent="  ", keep=5)]
    for row in view.providers:
        if row.state not in ("open", "full"):
            lines += wrap(f"{clean(row.sentence, _LONGEST)}.", width, "  ")
    return lines


def _delegated_lines(view: RunStatus, width: int) -> list[str]:
    rows = [
        (row.task, family_word(row), f"waits for {listing(row.waits_for)}" if row.waits_for else "")
        for row in view.delegated[:_MOST_SHOWN]
    ]
    lines = [table(rows, ("task", "parts done", ""), width, indent="  ", keep=2)] if rows else []
    return [*lines, *_more(len(view.delegated))]


def _attention_lines(view: RunStatus, width: int) -> list[str]:
    lines: list[str] = []
    for index, row in enumerate(view.attention[:_MOST_SHOWN]):
        title = f" ({clean(row.title, _TITLE)})" if row.title else ""
        behind = f" Blocks {tasks_word(row.blocks)}." if row.blocks else ""
        lines += [f"  {clean(row.task)}{title}"]
        lines += wrap(clean(row.sentence, _LONGEST) + behind, width, "    ")
        asked = question_lines(row.question, width, "    | ")
        lines += asked[:_QUESTION]
        if asked[_QUESTION:]:
            lines.append(f"    | ... (`{command('task', 'why', row.task)}` shows all of it)")
        if index < _WITH_COMMANDS:
            lines += [f"      {clean(line)}" for line in row.next if line != RESUME]
    if len(view.attention) > _WITH_COMMANDS:
        lines.append(f"  `{command('task', 'why', 'TASK')}` says what to type for the others")
    return [*lines, *_more(len(view.attention))]
