"""The middle parts of the screen: what is at work, and what needs a person."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.model import TaskState
from daplug_supervisor.views.derived import deadline_of, run_state
from daplug_supervisor.views.health import still_suspicious, suspect_words
from daplug_supervisor.views.live.head import Said, Shown
from daplug_supervisor.views.live.lines import (
    BAD,
    QUIET,
    WARN,
    WORK,
    Line,
    brief,
    fit,
    joined,
    padded,
    piece,
    size,
)
from daplug_supervisor.views.live.words import described
from daplug_supervisor.views.steps import go_on, resume_provider
from daplug_supervisor.views.text import PROGRAM, command
from daplug_supervisor.views.waits import pool_state
from daplug_supervisor.views.why import why

WIDE = 110
"""Columns from which on a screen counts as wide."""

_QUIET_FOR = 60.0
"""Seconds without output after which it is worth a colour."""

_NUMBER = 8


class _Columns(NamedTuple):
    task: int
    provider: int


def at_work(shown: Shown, width: int, most: int) -> tuple[str, list[Line]]:
    """A line for each of the first `most` tasks with a slot: by whom, for how long, what it said last.

    Before them what the columns are, to be put behind a heading.
    """
    names = shown.digest.work[:most]
    tasks = [shown.run.tasks[name] for name in names]
    longest = max((len(task.id) + 3 for task in tasks), default=0)
    columns = _Columns(min(max(13, longest), max(13, width // 4)), 12 if width >= WIDE else 8)
    suspects = {
        one.task: suspect_words(one, shown.now) for one in still_suspicious(shown.run, shown.suspects)
    }
    count = f"({len(shown.digest.work)})"
    before = sum(columns) + 1 - len("at work")
    heads = "".join(f"{name:>{_NUMBER}}" for name in ("for", "left", "silent"))
    return f"{count:<{before}}{heads}  last line", [
        fit(_working(shown, task, columns, suspects.get(task.id, "")), width) for task in tasks
    ]


def _working(shown: Shown, task: TaskState, columns: _Columns, suspicious: str) -> Line:
    attempt = task.attempt
    number = f"#{attempt.number}" if attempt and attempt.number > 1 else ""
    deadline = deadline_of(shown.run, task)
    left = "" if deadline is None else brief(deadline - shown.now)
    told = shown.said.get(task.id, Said())
    silent = 0.0 if told.at is None else shown.now - told.at
    words, style = (told.line, "") if told.line else ("no output yet", QUIET)
    if task.status is not Status.RUNNING:
        words, style = _step(task), WORK
    elif suspicious:
        words, style = suspicious, WARN
    return (
        (" ", ""),
        padded(f"{task.id}{number}", columns.task, WORK),
        (" ", ""),
        padded(attempt.provider if attempt else "", columns.provider),
        padded(brief(shown.now - task.changed_at), _NUMBER, right=True),
        padded(left, _NUMBER, QUIET, right=True),
        padded(
            "" if told.at is None else brief(silent),
            _NUMBER,
            WARN if silent > _QUIET_FOR else QUIET,
            right=True,
        ),
        ("  ", ""),
        piece(words, style),
    )


def _step(task: TaskState) -> str:
    if task.status is Status.VERIFYING:
        return "verifying what it claims"
    return f"landing: {', '.join(task.steps)} done" if task.steps else "landing"


# --- people -------------------------------------------------------------------------------------------------


def person(shown: Shown, width: int, most: int) -> list[list[Line]]:
    """What needs a person, at most so many, each with what to type: two lines, or one where there is room."""
    found: list[list[Line]] = []
    run = shown.run
    state = run_state(run, live=shown.live)
    if state in ("halted", "interrupted"):
        found.append(_asked((piece(f" ! the run is {state}", WARN),), (go_on(run),), width))
    for pool in run.pools.values():
        if pool.stopped or pool.paused_until == inf:
            words = f" ! provider {pool.name} is {pool_state(pool, shown.now)}"
            found.append(_asked((piece(words, WARN),), (resume_provider(pool.name),), width))
    for name in shown.digest.person[: max(0, most - len(found))]:
        sign, word, detail, style = described(
            run, run.tasks[name], shown.now, live=shown.live, behind=shown.digest.behind.get(name, "")
        )
        what: Line = (
            (f" {sign} ", style),
            piece(name, style),
            piece(f"  {word}{': ' if style == BAD else ' '}{detail}"),
        )
        found.append(_asked(what, _commands(shown, name), width))
    return found[:most]


def person_count(shown: Shown) -> int:
    """How many things need a person."""
    halted = run_state(shown.run, live=shown.live) in ("halted", "interrupted")
    closed = sum(pool.stopped or pool.paused_until == inf for pool in shown.run.pools.values())
    return len(shown.digest.person) + closed + halted


def _commands(shown: Shown, name: str) -> tuple[str, ...]:
    """What to type about a task. What only shows something is a key away; that the run is to go on is said once."""
    found = why(shown.run, name, shown.now, live=shown.live, stop_file=shown.stop_file)
    looks = tuple(command("task", verb, name) for verb in ("logs", "show", "why", "attach"))
    return tuple(
        line
        for line in found.next
        if line.startswith(PROGRAM) and not line.startswith(looks) and line != go_on(shown.run)
    )


def _asked(what: Line, commands: Sequence[str], width: int) -> list[Line]:
    """What it is, and whole commands as far as there is room: half a one cannot be typed."""
    typed = [piece(line, WORK) for line in commands]
    if width >= WIDE and typed and size(typed[:1]) + 4 <= width // 2:
        room = width - size(typed[:1]) - 2
        short = fit(what, room)
        return [(*short, (" " * (room - size(short) + 2), ""), typed[0])]
    below: list[Line] = []
    left = width - 4
    for one in typed:
        if not below or size((one,)) + 4 <= left:
            below.append((one,))
            left -= size((one,)) + 4
    return [fit(what, width), *([fit((("    ", ""), *joined(below, "  or  ")), width)] if below else [])]
