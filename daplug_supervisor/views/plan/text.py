"""What a plan will do, for people: the text of ``check``."""

from __future__ import annotations

from collections.abc import Sequence

from daplug_supervisor.views.derived import tasks_word
from daplug_supervisor.views.plan.estimate import minutes
from daplug_supervisor.views.plan.preview import Check
from daplug_supervisor.views.plan.substeps import substep_lines, substeps_head
from daplug_supervisor.views.text import clean, columns, duration, facts, listing, number, table, wrap
from daplug_supervisor.views.usage import limits_words

MOST_SHOWN = 20
_MOST_BUDGETS = 3
_NO_BARRIERS = "Stages (not barriers: a task starts when its own needs are met)"
_BARRIERS = "Stages (barriers: a stage begins when all before it are done)"


def check_text(found: Check, width: int = 80) -> str:
    """What a plan will do, for people."""
    head = f"Plan {clean(found.plan)}: {tasks_word(found.tasks)} in {number(len(found.stages), 'stage')}"
    named = {
        "widest stage": tasks_word(found.parallel),
        "longest chain": _chain(found),
        "all estimates": "" if found.total_estimate is None else duration(found.total_estimate),
        "time": _time(found),
        "tokens": _tokens(found),
        "most needed": listing(found.bottlenecks),
        "budget": "" if found.budget is None else limits_words(found.budget),
        "budgets of tasks": _task_budgets(found),
        "owners": ", ".join(f"{name} {count}" for name, count in found.owners.items()),
    }
    sections = {
        _BARRIERS if found.barrier else _NO_BARRIERS: _stage_lines(found, width),
        "Bottlenecks": _bottleneck_lines(found, width),
        "Providers": [_provider_table(found, width)],
        "Tasks": _task_lines(found, width),
        "Variables that no task gets (pass_env hands one on)": wrap(", ".join(found.held_back), width, "  "),
        "Warnings": [line for text in found.warnings for line in wrap(text, width, "  ")],
    }
    if found.sub_steps:
        sections[substeps_head(found.sub_steps)] = substep_lines(found.sub_steps, width)
    lines = [line for name, part in sections.items() if part for line in ("", *wrap(name, width), *part)]
    return "\n".join([head, *facts(named, width, "  "), *lines])


def _time(found: Check) -> str:
    """From the longest chain to what the places of the providers allow."""
    if found.resources is None or found.resources.shortest is None:
        return ""
    taken = found.resources
    words = minutes(taken.shortest, taken.longest, taken.unknown)
    return f"{words}, at most {taken.at_once} at once"


def _tokens(found: Check) -> str:
    if found.resources is None or found.resources.tokens is None:
        return ""
    unknown = found.resources.tokens_unknown
    return f"{found.resources.tokens}{f' ({tasks_word(unknown)} without estimate_tokens)' if unknown else ''}"


def _bottleneck_lines(found: Check, width: int) -> list[str]:
    words = found.resources.bottlenecks if found.resources else ()
    return [line for one in words for line in wrap(one, width, "  ")]


def _task_budgets(found: Check) -> str:
    limited = [f"{row.task} {limits_words(row.budget)}" for row in found.assignments if row.budget]
    more = len(limited) - _MOST_BUDGETS
    return "; ".join([*limited[:_MOST_BUDGETS], *([f"{more} more"] if more > 0 else [])])


def _chain(found: Check) -> str:
    path = " > ".join(found.critical_path[:MOST_SHOWN])
    more = len(found.critical_path) - MOST_SHOWN
    time = "" if found.estimate is None else f", {duration(found.estimate)}"
    return f"{path}{f' and {more} more' if more > 0 else ''}{time}"


def _stage_lines(found: Check, width: int) -> list[str]:
    lines = []
    for index, level in enumerate(found.stages[:MOST_SHOWN], 1):
        start = f"  {index:>2}  "
        lines.append(start + _fitting(level, width - len(start)))
    return [*lines, *_more(len(found.stages), "stage")]


def _fitting(names: Sequence[str], width: int) -> str:
    """As many names as fit in a line, ``and N more``."""
    text = ""
    for index, name in enumerate(names):
        longer = f"{text}, {clean(name)}" if text else clean(name)
        left = len(names) - index - 1
        if text and columns(longer) + (len(f" and {left} more") if left else 0) > width:
            return f"{text} and {left + 1} more"
        text = longer
    return text


def _more(count: int, noun: str) -> list[str]:
    return [f"  and {number(count - MOST_SHOWN, f'more {noun}')}"] if count > MOST_SHOWN else []


def _provider_table(found: Check, width: int) -> str:
    rows = [
        (
            row.name,
            row.worker,
            row.model,
            str(row.tasks),
            f"{row.at_once} (limit {row.limit}, widest stage {row.widest})",
            ", ".join(row.fallback),
        )
        for row in found.providers
    ]
    headers = ("provider", "worker", "model", "tasks", "most at once", "fallback")
    return table(rows, headers, width, indent="  ")


def _task_lines(found: Check, width: int) -> list[str]:
    rows = [
        (
            row.task,
            row.provider,
            row.model,
            "none" if row.timeout is None else duration(row.timeout),
            listing(row.needs),
            row.title,
        )
        for row in found.assignments[:MOST_SHOWN]
    ]
    headers = ("task", "provider", "model", "timeout", "needs", "title")
    return [table(rows, headers, width, indent="  "), *_more(found.tasks, "task")]
