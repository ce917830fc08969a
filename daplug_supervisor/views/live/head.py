"""The upper parts of the screen: how the run stands, and its providers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from daplug_supervisor.core.health import Suspect
from daplug_supervisor.core.machine import SATISFIED, Status
from daplug_supervisor.core.model import Pool, Run
from daplug_supervisor.views.derived import run_state
from daplug_supervisor.views.live.digest import Digest
from daplug_supervisor.views.live.lines import (
    BAD,
    GOOD,
    QUIET,
    STRONG,
    WARN,
    WORK,
    Line,
    bar,
    brief,
    fit,
    joined,
    padded,
    piece,
    size,
)
from daplug_supervisor.views.steps import go_on
from daplug_supervisor.views.text import command, when
from daplug_supervisor.views.usage import budget_row, budget_words, money
from daplug_supervisor.views.waits import pool_state, pool_words

_STATES = {"running": WORK, "finished": GOOD, "waiting": QUIET}
_BAR = 24
_LEAST_BAR = 6
_NAME = 24
_PLACES = 8
_READY = 10
_KILO, _MEGA = 1_000, 1_000_000


class Said(Struct, frozen=True):
    """What an attempt printed last: when that was (UTC, None: nothing yet), and its last line."""

    at: float | None = None
    line: str = ""


class Shown(Struct, frozen=True):
    """All that a screen is made of. `said` is by task; `notices` and `others` are further lines for the head.

    `stop_file`: there is one. `suspects`: what the supervisor found suspicious last.
    """

    run: Run
    now: float
    live: bool
    digest: Digest
    said: Mapping[str, Said] = {}
    notices: Sequence[str] = ()
    others: Sequence[str] = ()
    suspects: Sequence[Suspect] = ()
    stop_file: bool = False


# --- head ---------------------------------------------------------------------------------------------------


def head(shown: Shown, width: int) -> list[Line]:
    """Where the run stands: what it is, how far, what it cost, and what a person should know of it."""
    run, state = shown.run, run_state(shown.run, live=shown.live)
    total = len(run.tasks)
    done = sum(run.counts[each] for each in SATISFIED)
    part = done / total if total else 1.0
    name: Line = (piece(run.id, STRONG), ("  ", ""), (state.upper(), _STATES.get(state, BAD)))
    numbers = joined([((f"{int(part * 100)}%", ""),), *_numbers(run, done, total)])
    free = width - size(name) - size(numbers) - 4
    drawn = bar(part, min(_BAR, free)) if free >= _LEAST_BAR else ()
    lines = [fit(joined([name, drawn, numbers]), width), fit(_spent(shown), width)]
    lines += [fit((piece(text, WARN),), width) for text in (*_halts(shown, state), *shown.notices)]
    return [*lines, *(fit((piece(text, QUIET),), width) for text in shown.others)]


def _numbers(run: Run, done: int, total: int) -> list[Line]:
    failed = run.counts[Status.FAILED] + run.counts[Status.CANCELLED]
    stuck = run.counts[Status.STUCK]
    waiting = sum(run.counts[each] for each in (Status.PENDING, Status.DELEGATED, Status.REVIEWING))
    return [
        ((f"{done}/{total} done", GOOD),),
        ((f"{run.active} at work", WORK if run.active else QUIET),),
        ((f"{failed} failed", BAD if failed else QUIET),),
        ((f"{stuck} stuck", BAD),) if stuck else (),
        ((f"{waiting} waiting", ""),),
    ]


def _spent(shown: Shown) -> Line:
    run = shown.run
    ended = run.finished_at or (run.halt.halted_at if run.halt else None)
    since = max(0.0, (shown.now if ended is None else ended) - run.submitted_at)
    parts: list[Line] = [((brief(since), STRONG),), *_costs(run)]
    if shown.digest.left is not None and shown.live and ended is None:
        still = max(0.0, shown.digest.left - (shown.now - shown.digest.at))
        parts.append(((f"about {brief(still)} left", ""),))
    return joined(parts, " · ")


def _costs(run: Run) -> list[Line]:
    """What was spent; what the budget limits is said with its limit."""
    spent, row = run.spent, budget_row(run.plan.budget, run.spent, None)
    more = "+" if spent.unknown else ""
    parts: list[Line] = []
    if spent.cost and (row is None or row.cost is None):
        parts.append(((f"{money(spent.cost)}{more}", ""),))
    if spent.tokens and (row is None or row.tokens is None):
        parts.append(((f"{tokens(spent.tokens)}{more} tokens", ""),))
    if spent.unknown and not (spent.cost or spent.tokens):
        parts.append((("cost unknown", QUIET),))
    if row is not None:
        words = budget_words(replace(row, at_least=spent.unknown > 0))
        parts.append(((f"budget {words}", BAD if row.reached else ""),))
    return parts


def tokens(count: int) -> str:
    """``950``, ``12.3k``, ``1.2M``."""
    if count < _KILO:
        return str(count)
    return f"{count / _KILO:.1f}k" if count < _MEGA else f"{count / _MEGA:.1f}M"


def _halts(shown: Shown, state: str) -> list[str]:
    run = shown.run
    if state == "finished":
        decide = [f"Decide what needs a person, then type {go_on(run)}"] if shown.digest.person else []
        return [f"Nothing more happens by itself. {command('report')} says what was done.", *decide]
    if run.halt is not None:
        by, at = run.halt.by.replace("_", " "), when(run.halt.requested_at, shown.now)
        return [f"Halted by {by} {at}: {run.halt.reason}"]
    if shown.stop_file:
        return ["There is a STOP file: nothing is started."]
    return [] if shown.live else ["No supervisor drives this run."]


# --- providers ----------------------------------------------------------------------------------------------


def providers(shown: Shown, width: int) -> list[Line]:
    """A line for each provider; those that take nothing at the moment, and those at work, come first."""
    run, now = shown.run, shown.now
    order = {"stopped": 0, "paused": 1, "resting": 2, "probing": 3}
    pools = sorted(
        run.pools.values(),
        key=lambda pool: (order.get(pool_state(pool, now), 4), not (pool.running or pool.busy)),
    )
    room = min(_NAME, max((size((piece(pool.name),)) for pool in pools), default=0))
    longest = min(_PLACES, max((pool.limit for pool in pools), default=0))
    return [fit(_provider(shown, pool, room, longest), width) for pool in pools]


def _provider(shown: Shown, pool: Pool, room: int, longest: int) -> Line:
    run, state = shown.run, pool_state(pool, shown.now)
    at_work = f"{pool.running}/{pool.limit}"
    ready = shown.digest.ready.get(pool.name, 0)
    places = min(_PLACES, pool.limit)
    styles = {"stopped": BAD, "paused": WARN, "resting": WARN, "probing": WARN}
    style = styles.get(state, "")
    words = "" if state in ("open", "full") else pool_words(run, pool, shown.now)
    return joined(
        [
            ((" ", ""), padded(pool.name, room, style)),
            (padded(at_work, 5, right=True),),
            (*bar(pool.running / pool.limit, places, WORK), (" " * (longest - places), "")),
            (padded(f"{ready} ready", _READY, "" if ready else QUIET, right=True),),
            (piece(words, style),) if words else ((state, QUIET),),
        ]
    )
