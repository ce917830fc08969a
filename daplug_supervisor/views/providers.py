"""The providers of a run, one by one."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import asdict

from daplug_supervisor.core.model import Run
from daplug_supervisor.views.rows import ProviderRow, tally
from daplug_supervisor.views.text import clean, facts, number, wrap
from daplug_supervisor.views.usage import is_agent, used_words, uses

_LONGEST = 400


class ProviderDetail(ProviderRow, frozen=True, kw_only=True):
    """A pool and what it did. `attempts`: those that have ended; `account`: providers that share one rest together.

    `fallback`: what starts its tasks while it is closed.
    """

    worker: str
    model: str
    fallback: tuple[str, ...]
    account: str
    attempts: int


def providers(run: Run, now: float) -> list[ProviderDetail]:
    """The pools of a run, in the order of its plan."""
    rows, _ = tally(run, now, uses(run).providers)
    ended = dict.fromkeys(run.pools, 0)
    for task in run.tasks.values():
        for past in task.past:
            if past.provider in ended:
                ended[past.provider] += 1
    return [
        ProviderDetail(
            **asdict(row),
            worker=run.plan.providers[row.name].worker,
            model=run.plan.providers[row.name].model or row.name,
            fallback=run.plan.providers[row.name].fallback,
            account=run.plan.providers[row.name].account or "",
            attempts=ended[row.name],
        )
        for row in rows
    ]


def providers_text(run: Run, rows: Sequence[ProviderDetail], width: int = 80) -> str:
    """The same for people."""
    blocks = ["\n".join([*_head(row, width), *facts(_named(run, row), width, "  ")]) for row in rows]
    return "\n\n".join(blocks) if blocks else "No providers."


def _head(row: ProviderDetail, width: int) -> list[str]:
    return wrap(f"{clean(row.sentence, _LONGEST)}.", width)


def _named(run: Run, row: ProviderDetail) -> dict[str, str]:
    used = used_words(row.used, parts=True) if row.used else ""
    return {
        "tasks": f"{row.running} of {row.limit} running, {row.ready} ready, {row.waiting} backing off",
        "worker": f"{row.worker}, model {row.model}" if is_agent(run, row.name) else row.worker,
        "fallback": ", ".join(row.fallback),
        "account": row.account,
        "ended": number(row.attempts, "attempt"),
        "used": used,
    }
