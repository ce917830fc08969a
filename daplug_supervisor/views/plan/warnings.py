"""What a person should know of a plan before it runs, though it is valid."""

from __future__ import annotations

from collections.abc import Iterator

from daplug_supervisor.core.plan import LOCAL, Plan, Provider, assignment
from daplug_supervisor.views.text import listing
from daplug_supervisor.workers.executor import GIVE_LEAVE, NO_LEAVE, without_leave

_NO_COST = ("codex", "gpt", "gemini")


def warnings(plan: Plan) -> Iterator[str]:
    """A sentence each."""
    endless = [name for name, spec in plan.tasks.items() if spec.command is None and spec.timeout is None]
    if endless:
        yield f"no timeout: {listing(endless)}; an agent that hangs keeps its slot until a person looks"
    guessed = [name for name, spec in plan.tasks.items() if spec.estimate is None]
    if len(guessed) == len(plan.tasks):
        yield "no task has an estimate: the critical path counts tasks, not time"
    elif guessed:
        yield f"no estimate: {listing(guessed)}; the critical path counts them as one second"
    used = {spec.provider for spec in plan.tasks.values()}
    reserve = {name for provider in plan.providers.values() for name in provider.fallback}
    for name, provider in plan.providers.items():
        for other in provider.fallback:
            if other not in plan.providers:
                yield f"provider {name}: its fallback {other} is not a provider of this plan"
            elif provider.account and provider.account == plan.providers[other].account:
                yield f"provider {name}: its fallback {other} has the same account, and rests with it"
        if name not in used | reserve and name != LOCAL:
            yield f"provider {name} is not used"
    yield from _uncounted(plan)
    yield from _without_leave(plan)


def _without_leave(plan: Plan) -> Iterator[str]:
    """Tasks of which only the agent's word would be known."""
    found = []
    for name, spec in plan.tasks.items():
        provider = plan.providers[spec.provider or ""]
        chosen = assignment(plan, spec, spec.provider or "")
        doubtful = provider.worker == "executor" and spec.command is None and not spec.require_diff
        if doubtful and without_leave(chosen.model, chosen.cli, spec, provider.options):
            found.append(name)
    if found:
        remedy = GIVE_LEAVE if plan.origin is None else "name another model with --provider"
        yield f"{listing(found)}: {NO_LEAVE}; {remedy}"


def _uncounted(plan: Plan) -> Iterator[str]:
    """Budgets that cannot hold, because nobody reports what is spent."""
    budgets = [(plan.budget, frozenset(plan.providers))]
    for spec in plan.tasks.values():
        name = spec.provider or ""
        budgets.append((spec.budget, frozenset({name, *plan.providers[name].fallback})))
    for field in ("tokens", "cost"):
        limited = {name for budget, names in budgets if budget and getattr(budget, field) for name in names}
        blind = [
            name
            for name, provider in plan.providers.items()
            if name in limited & _blind(provider, name, field)
        ]
        if blind:
            what = "tokens" if field == "tokens" else "what it costs"
            yield (
                f"budget in {field}: {listing(blind)} may not report {what}, so it cannot hold there; "
                "a budget in attempts always holds"
            )


def _blind(provider: Provider, name: str, field: str) -> set[str]:
    """The provider's name, if its CLI is not known to report tokens or cost; of other packages' workers nothing is."""
    who = provider.cli or provider.model or name
    if provider.worker == "executor":
        return set() if who == "opencode" else {name}
    costless = provider.worker == "cli" and field == "cost" and who.startswith(_NO_COST)
    return {name} if costless else set()
