"""The evaluation of a run as text."""

from __future__ import annotations

from collections.abc import Sequence

from daplug_supervisor.views.derived import tasks_word
from daplug_supervisor.views.evaluation.figures import (
    ALWAYS,
    EvaluatedTask,
    Evaluation,
    EvaluationMetrics,
    Pattern,
    Planning,
)
from daplug_supervisor.views.text import clean, duration, facts, listing, table, wrap
from daplug_supervisor.views.usage import cost_word, known, money, tokens_word, used_words

_MOST_SHOWN = 20
_SENTENCE = 300
_RECURS = {
    "criterion": "the criterion {} fails",
    "category": "{} criteria fail",
    "outcome": "attempts end as {}",
}
"""How to say what recurs; what is not here says it itself."""


def evaluation_text(full: Evaluation, width: int = 80) -> str:
    """The evaluation for people."""
    sections = {
        "Planning": _planning_lines(full.planning, width),
        "Numbers": _number_lines(full, width),
        "Tasks": _task_lines(full, width),
        "Why tasks failed": _failure_lines(full, width),
        "What recurs": _pattern_lines(full.patterns, width),
    }
    head = clean(f"Evaluation of run {full.run} of plan {full.plan}", width)
    return "\n".join(
        [head, *(line for name, lines in sections.items() if lines for line in ("", name, *lines))]
    )


def metrics_text(numbers: EvaluationMetrics, width: int = 80) -> str:
    """The numbers for people."""
    return "\n".join(_number_lines(numbers, width))


def _planning_lines(planning: Planning, width: int) -> list[str]:
    if not planning.verdict:
        return []
    issues = [clean(f"  - {one}", width) for one in planning.issues[:_MOST_SHOWN]]
    said = f": {planning.summary}" if planning.summary else ""
    return [*wrap(f"{planning.verdict}{said}", width, "  "), *issues]


def _number_lines(numbers: EvaluationMetrics, width: int) -> list[str]:
    rate, rounds, proof = numbers.first_attempt_success_rate, numbers.rounds, numbers.proof
    words = [f"{count} {word.replace('_', ' ')}" for word, count in numbers.counts.items() if count]
    went_back = f"{rounds.total} in {tasks_word(rounds.tasks)}, of which {rounds.helped} are done"
    looked = f"{proof.all} all proven, {proof.some} in part, {proof.none} not at all, {proof.unchecked} not looked at"
    lines = {
        "tasks": ", ".join(words),
        "planning": numbers.planning.verdict or "not known",
        "done at first attempt": "no task was done by an attempt" if rate is None else f"{rate * 100:.0f}%",
        "rounds of mending": went_back if rounds.total else "none",
        **{_criteria(row.category): f"{row.passed} of {row.total} hold" for row in numbers.criteria},
        "proof": looked,
        "claims": f"{proof.overstated} called passed that fail" if proof.overstated else "",
        "used": used_words(numbers.used, parts=True) if numbers.used else "",
        "used by a done task": _mean(numbers),
    }
    return facts(lines, width, "  ")


def _criteria(category: str) -> str:
    return "looked at in every task" if category == ALWAYS else f"{category} criteria"


def _mean(numbers: EvaluationMetrics) -> str:
    """What a done task cost, all attempts of the run taken together; '' if nothing is known."""
    used, done = numbers.used, numbers.counts["done"]
    if used is None or not known(used) or not done:
        return ""
    tokens = "" if used.tokens is None else f"{used.tokens // done:,} tokens"
    cost = "" if used.cost is None else money(used.cost / done)
    least = "at least " if used.unknown or used.without_tokens or used.without_cost else ""
    return least + ", ".join(filter(None, (tokens, cost)))


def _task_lines(full: Evaluation, width: int) -> list[str]:
    if not full.tasks:
        return []
    shown = full.tasks[:_MOST_SHOWN]
    rows = [
        (
            row.task,
            status_words(row),
            str(row.attempts),
            str(row.rounds),
            f"{row.passed}/{row.passed + row.failed}",
            duration(row.seconds),
            tokens_word(row.used),
            cost_word(row.used),
            row.title,
        )
        for row in shown
    ]
    headers = ("TASK", "STATUS", "TRIES", "ROUNDS", "HOLD", "TIME", "TOKENS", "COST", "TITLE")
    return [*table(rows, headers, width, indent="  ", keep=8).splitlines(), *_more(full.tasks)]


def status_words(row: EvaluatedTask) -> str:
    """The status; of a delegated task with how many of its parts are done."""
    done = row.progress
    return f"{row.status} ({done.done}/{done.total})" if done and row.status == "delegated" else row.status


def _failure_lines(full: Evaluation, width: int) -> list[str]:
    lines: list[str] = []
    for group in full.failures:
        kind = ", ".join(filter(None, (group.kind.replace("_", " "), group.category))) or "not known why"
        behind = f", {tasks_word(group.blocks)} behind" if group.blocks else ""
        remedy = f": {group.remedy}" if group.remedy else ""
        lines += wrap(f"{tasks_word(group.count)} ({kind}){behind}{remedy}", width, "  ")
        for one in group.tasks[:_MOST_SHOWN]:
            lines += wrap(clean(f"{one.task}: {one.detail or one.status}", _SENTENCE), width, "    ")
        more = group.count - min(len(group.tasks), _MOST_SHOWN)
        lines += [f"    and {more} more"] if more else []
    return lines


def _pattern_lines(rows: Sequence[Pattern], width: int) -> list[str]:
    lines: list[str] = []
    for row in rows[:_MOST_SHOWN]:
        what = _RECURS.get(row.kind, "{}").format(row.what.replace("_", " "))
        said = f"{what}: {row.count} times, in {listing(row.tasks, 5)}"
        lines += wrap(clean(said, _SENTENCE), width, "  ")
        lines += wrap(row.advice, width, "    ")
    return [*lines, *_more(rows)]


def _more(rows: Sequence[object]) -> list[str]:
    more = len(rows) - _MOST_SHOWN
    return [f"  and {more} more"] if more > 0 else []
