"""Budgets: what is left to spend, and why nothing is."""

from __future__ import annotations

from daplug_supervisor.core.model import Spent
from daplug_supervisor.core.plan import Budget


def reached(budget: Budget | None, spent: Spent) -> str:
    """Which limit of a budget has been reached, in words; '' if none has."""
    if budget is None:
        return ""
    if budget.attempts is not None and spent.attempts >= budget.attempts:
        return f"tries: {spent.attempts} of {budget.attempts}"
    if budget.tokens is not None and spent.tokens >= budget.tokens:
        return f"tokens: {spent.tokens:,} of {budget.tokens:,}"
    if budget.cost is not None and spent.cost >= budget.cost:
        return f"cost: ${spent.cost:.2f} of ${budget.cost:.2f}"
    return ""


def last_places(budget: Budget | None, spent: Spent, active: int) -> bool:
    """Whether the attempts that are at work may use up all tries that are left: none may start beside them."""
    return budget is not None and budget.attempts is not None and spent.attempts + active >= budget.attempts
