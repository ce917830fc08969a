"""What attempts cost, and what of a budget is spent. What no CLI reports is unknown, which is not nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from daplug_supervisor.core.budget import reached
from daplug_supervisor.core.model import Past, Run, Spent, TaskState
from daplug_supervisor.core.plan import Budget
from daplug_supervisor.core.results import Usage
from daplug_supervisor.views.text import number

_COMMAND = "command"
_CENT = 0.01
_MOST = 5


class Used(Struct, frozen=True):
    """What ended attempts of agents cost, as their CLIs report it; null: none of them reports it.

    `tokens`: `input`, of which `cached` were cheaper, and `output`, of which `reasoning` were not shown; `cost`: US
    dollars. Of the `attempts`, `without_tokens` and `without_cost` report none, and `unknown` neither.
    """

    attempts: int
    unknown: int
    without_tokens: int
    without_cost: int
    tokens: int | None
    input: int | None
    cached: int | None
    output: int | None
    reasoning: int | None
    cost: float | None


class BudgetRow(Struct, frozen=True):
    """A budget: `tokens`, `cost` (US dollars) and `attempts` (tries) that may be spent, null for no limit.

    `spent_...`: what is spent of each as far as it is known; `at_least`: some attempts did not report it.
    `reached`: which limit has been reached, empty if none has.
    """

    tokens: int | None
    cost: float | None
    attempts: int | None
    spent_tokens: int
    spent_cost: float
    spent_attempts: int
    at_least: bool
    reached: str


class Uses(Struct, frozen=True):
    """What a run used: in all (None: no agent has ended), by provider, and by task."""

    all: Used | None
    providers: dict[str, Used]
    tasks: dict[str, Used]


def uses(run: Run) -> Uses:
    """What the ended attempts of a run used."""
    every: list[Usage | None] = []
    providers: dict[str, list[Usage | None]] = {}
    tasks: dict[str, list[Usage | None]] = {}
    for task in run.tasks.values():
        for past in _by_agents(run, task):
            usage = past.result.outcome.usage
            every.append(usage)
            providers.setdefault(past.provider, []).append(usage)
            tasks.setdefault(task.id, []).append(usage)
    return Uses(
        total(every),
        {name: found for name, its in providers.items() if (found := total(its))},
        {name: found for name, its in tasks.items() if (found := total(its))},
    )


def used_by(run: Run, task: TaskState) -> Used | None:
    """What the attempts of one task used; None if no agent has ended."""
    return total([past.result.outcome.usage for past in _by_agents(run, task)])


def used_of(run: Run, past: Past) -> Used | None:
    """What one ended attempt used; None if no agent was started in it."""
    return total([past.result.outcome.usage]) if _is_counted(run, past) else None


def is_agent(run: Run, provider: str) -> bool:
    """Whether a provider runs agents: plain commands cost nothing."""
    spec = run.plan.providers.get(provider)
    return spec is None or spec.worker != _COMMAND


def _by_agents(run: Run, task: TaskState) -> Iterator[Past]:
    """The ended attempts in which an agent was started."""
    for past in task.past:
        if _is_counted(run, past):
            yield past


def _is_counted(run: Run, past: Past) -> bool:
    return is_agent(run, past.provider) and not (past.result.exit.error or past.of_children)


def total(usages: Iterable[Usage | None]) -> Used | None:
    """The sum of what attempts report; None if there are none."""
    found = [usage or Usage() for usage in usages]
    if not found:
        return None

    def some(values: Iterable[int | None]) -> int | None:
        given = [value for value in values if value is not None]
        return sum(given) if given else None

    costs = [usage.cost for usage in found if usage.cost is not None]
    return Used(
        attempts=len(found),
        unknown=sum(usage.tokens is None and usage.cost is None for usage in found),
        without_tokens=sum(usage.tokens is None for usage in found),
        without_cost=sum(usage.cost is None for usage in found),
        tokens=some(usage.tokens for usage in found),
        input=some(usage.input for usage in found),
        cached=some(usage.cached for usage in found),
        output=some(usage.output for usage in found),
        reasoning=some(usage.reasoning for usage in found),
        cost=sum(costs) if costs else None,
    )


def plus(one: Used | None, other: Used | None) -> Used | None:
    """Both together; None if there is neither."""
    if one is None or other is None:
        return one or other

    def both(name: str) -> Any:
        values = [value for used in (one, other) if (value := getattr(used, name)) is not None]
        return sum(values) if values else None

    return Used(*map(both, Used.__struct_fields__))


def budget_row(budget: Budget | None, spent: Spent, used: Used | None) -> BudgetRow | None:
    """A budget and what is spent of it; None if there is none."""
    if budget is None:
        return None
    lacks_tokens = budget.tokens is not None and used is not None and used.without_tokens > 0
    lacks_cost = budget.cost is not None and used is not None and used.without_cost > 0
    return BudgetRow(
        budget.tokens,
        budget.cost,
        budget.attempts,
        spent.tokens,
        spent.cost,
        spent.attempts,
        lacks_tokens or lacks_cost,
        reached(budget, spent),
    )


# --- words --------------------------------------------------------------------------------------------------


def known(used: Used | None) -> bool:
    """Whether anything was reported."""
    return used is not None and used.unknown < used.attempts


def money(cost: float) -> str:
    """``$0.43``; with more digits below a cent."""
    return f"${cost:.4f}" if 0 < cost < _CENT else f"${cost:,.2f}"


def used_words(used: Used, *, parts: bool = False) -> str:
    """``12,345 tokens, $0.43 (2 of 5 attempts report nothing)``. `parts`: also what the tokens consist of."""
    if not known(used):
        none = (
            "the attempt does not report"
            if used.attempts == 1
            else f"none of {used.attempts} attempts reports"
        )
        return f"unknown ({none} it)"
    tokens = "tokens unknown" if used.tokens is None else f"{used.tokens:,} tokens"
    if parts and used.tokens is not None:
        tokens += f" ({_parts(used)})"
    cost = "cost unknown" if used.cost is None else money(used.cost)
    lacks = [f"{used.unknown} of {number(used.attempts, 'attempt')} report nothing"] if used.unknown else []
    for name, value, count in (
        ("tokens", used.tokens, used.without_tokens - used.unknown),
        ("cost", used.cost, used.without_cost - used.unknown),
    ):
        if value is not None and count:
            lacks.append(f"{count} of {number(used.attempts, 'attempt')} report no {name}")
    remark = f" ({', '.join(lacks)})" if lacks else ""
    return f"{tokens}, {cost}{remark}"


def _parts(used: Used) -> str:
    parts = {
        "in": used.input,
        "of it cached": used.cached,
        "out": used.output,
        "of it reasoning": used.reasoning,
    }
    return ", ".join(f"{count:,} {name}" for name, count in parts.items() if count is not None)


def tokens_word(used: Used | None) -> str:
    """For a column: ``12,345``, ``12,345+`` if some attempts report none, ``unknown``; '' without an agent."""
    if used is None:
        return ""
    return "unknown" if used.tokens is None else f"{used.tokens:,}{'+' if used.without_tokens else ''}"


def cost_word(used: Used | None) -> str:
    """As `tokens_word`."""
    if used is None:
        return ""
    return "unknown" if used.cost is None else f"{money(used.cost)}{'+' if used.without_cost else ''}"


def most_used(tasks: Mapping[str, Used]) -> list[tuple[str, str]]:
    """The tasks that used most tokens or, where those are unknown, money; with what they used."""
    told = [name for name, used in tasks.items() if known(used)]
    told.sort(key=lambda name: (-(tasks[name].tokens or 0), -(tasks[name].cost or 0.0)))
    return [(name, _briefly(tasks[name])) for name in told[:_MOST]]


def _briefly(used: Used) -> str:
    """What is known of it."""
    tokens = "" if used.tokens is None else f"{used.tokens:,} tokens"
    return ", ".join(filter(None, (tokens, "" if used.cost is None else money(used.cost))))


def _tries(count: int) -> str:
    return "1 try" if count == 1 else f"{count} tries"


def limits_words(budget: Budget) -> str:
    """``5 tries, 100,000 tokens, $5.00``: what a budget allows."""
    tries = "" if budget.attempts is None else _tries(budget.attempts)
    tokens = "" if budget.tokens is None else f"{budget.tokens:,} tokens"
    return ", ".join(filter(None, (tries, tokens, "" if budget.cost is None else money(budget.cost))))


def budget_words(row: BudgetRow) -> str:
    """``2 of 5 tries, at least 12,345 of 100,000 tokens``."""
    least = "at least " if row.at_least else ""
    parts = [f"{row.spent_attempts} of {_tries(row.attempts)}"] if row.attempts is not None else []
    if row.tokens is not None:
        parts.append(f"{least}{row.spent_tokens:,} of {row.tokens:,} tokens")
    if row.cost is not None:
        parts.append(f"{least}{money(row.spent_cost)} of {money(row.cost)}")
    return ", ".join(parts) + (": SPENT" if row.reached else "")
