"""Where a run stands: what a person looks at first."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from msgspec import Struct

from daplug_supervisor.core.health import Suspect
from daplug_supervisor.core.machine import SATISFIED, Status
from daplug_supervisor.core.model import Halt, Pool, Run
from daplug_supervisor.views.derived import run_state, tasks_word
from daplug_supervisor.views.family import Family, families
from daplug_supervisor.views.health import still_suspicious
from daplug_supervisor.views.proven import RunProof, run_proof
from daplug_supervisor.views.rows import (
    NOTHING_SEEN,
    AttentionRow,
    HaltRow,
    ProviderRow,
    RunningRow,
    SeenOf,
    attention_rows,
    halt_row,
    running_rows,
    stage,
    tally,
    updates,
)
from daplug_supervisor.views.text import command, listing, when
from daplug_supervisor.views.usage import (
    BudgetRow,
    Used,
    budget_row,
    uses,
)
from daplug_supervisor.views.why import NOTHING_TO_DO, RESUME, go_on, resume_provider

_CLOSED = ("stopped", "paused", "resting", "probing")
_ENDINGS = (
    "done",
    "failed",
    "stuck",
    "cancelled",
    "skipped",
    "blocked",
    "not_selected",
    "waiting_for_stage",
    "reviewing",
    "delegated",
)


_ASKED = {
    "review": ("waits for your review", "wait for your review"),
    "answer": ("asks you something", "ask you something"),
    "parts": (
        "is delegated and cannot go on without you",
        "are delegated and cannot go on without you",
    ),
}
_DECIDING = {
    "review": command("task", "approve"),
    "answer": command("task", "answer"),
    "parts": command("task", "retry"),
}


class RunStatus(Struct, frozen=True):
    """Where a run stands. Times are UTC seconds, `elapsed` is seconds since it was submitted.

    `at`: the time that this describes. `state`: running, waiting, halting, halted, finished, or interrupted
    (unfinished, and no supervisor drives it). `counts` has every status, and what `pending` consists of:
    ready, backing_off, blocked, not_selected, waiting_for_stage. `stage` is the first of `stages` with a task that
    has not ended. `next` holds commands to type. `notices`: what lasts and a person should know, a full disk for
    example. `suspicious`: what runs and shows no sign of work, or takes too long.
    `used`: what agents cost so far (null: none has ended); `budget`: the run's. `proof`: how much of it is proven
    (null: nothing is looked at). `needs_person`: how many tasks wait for a person, those of `attention`;
    `delegated`: the tasks that wait for their parts.
    """

    run: str
    plan: str
    at: float
    state: str
    live: bool
    sentence: str
    next: tuple[str, ...]
    total: int
    counts: dict[str, int]
    progress_percent: float
    stage: int
    stages: int
    providers: tuple[ProviderRow, ...]
    running: tuple[RunningRow, ...]
    attention: tuple[AttentionRow, ...]
    halt: HaltRow | None
    submitted_at: float
    started_at: float | None
    starts: int
    finished_at: float | None
    elapsed: float
    last_update: float
    notices: tuple[str, ...] = ()
    suspicious: tuple[Suspect, ...] = ()
    used: Used | None = None
    budget: BudgetRow | None = None
    proof: RunProof | None = None
    needs_person: int = 0
    delegated: tuple[Family, ...] = ()


def status(
    run: Run,
    now: float,
    live: bool,  # noqa: FBT001  reads well
    notices: Sequence[str] = (),
    suspects: Sequence[Suspect] = (),
    seen: SeenOf = NOTHING_SEEN,
) -> RunStatus:
    """Where `run` stands at `now`. `live`: a supervisor drives it. `notices`: what else a person should know.

    `suspects`: what the supervisor found suspicious last; `seen`: what is in the worktrees that are to be reviewed.
    """
    used = uses(run)
    providers, counts = tally(run, now, used.providers)
    state = run_state(run, live=live)
    at_stage, stage_count = stage(run)
    total = len(run.tasks)
    satisfied = sum(run.counts[each] for each in SATISFIED)
    ended = run.finished_at or (run.halt.halted_at if run.halt else None)
    attention = attention_rows(run, now, live=live, seen=seen)
    divided = families(run, used.tasks) if run.counts[Status.DELEGATED] else ()
    return RunStatus(
        run=run.id,
        plan=run.plan.name,
        at=now,
        state=state,
        live=live,
        sentence=_sentence(run, state, providers, counts, attention, now, noted=bool(notices)),
        next=_next(run, state, attention),
        total=total,
        counts=counts,
        progress_percent=satisfied * 1000 // total / 10 if total else 100.0,
        stage=at_stage,
        stages=stage_count,
        providers=providers,
        running=running_rows(run, now),
        attention=attention,
        halt=halt_row(run),
        submitted_at=run.submitted_at,
        started_at=run.started_at if run.starts else None,
        starts=run.starts,
        finished_at=run.finished_at,
        elapsed=max(0.0, (now if ended is None else ended) - run.submitted_at),
        last_update=max(updates(run)),
        notices=tuple(notices),
        suspicious=still_suspicious(run, suspects),
        used=used.all,
        budget=budget_row(run.plan.budget, run.spent, used.all),
        proof=run_proof(run),
        needs_person=len(attention),
        delegated=tuple(row for row in divided if row.status == Status.DELEGATED.value),
    )


def _next(run: Run, state: str, attention: tuple[AttentionRow, ...]) -> tuple[str, ...]:
    if state in ("halting", "halted", "interrupted") or not run.starts:
        return (go_on(run),)
    if state == "finished":
        return (*(attention[0].next if attention else ()), command("report"))
    return tuple(resume_provider(pool.name) for pool in run.pools.values() if _needs_a_person(pool))


def _needs_a_person(pool: Pool) -> bool:
    return pool.stopped or pool.paused_until == inf


# --- the sentence -------------------------------------------------------------------------------------------


def _sentence(
    run: Run,
    state: str,
    providers: tuple[ProviderRow, ...],
    counts: dict[str, int],
    attention: tuple[AttentionRow, ...],
    now: float,
    *,
    noted: bool,
) -> str:
    if state == "finished":
        return _finished(counts, attention)
    if state in ("halting", "halted") and run.halt is not None:
        return _halting(run.halt, run.active, now)
    if state == "interrupted":
        left = f"; {tasks_word(run.active)} had a slot when last heard of" if run.active else ""
        return f"The run is not finished, and no supervisor drives it{left}."
    if state == "running":
        return f"{tasks_word(run.active)} at work{_closed(providers)}."
    if not run.starts:
        return "The run has not been started."
    return _waiting(run, providers, counts, now, noted=noted)


def _closed(providers: tuple[ProviderRow, ...]) -> str:
    words = ""
    for state in ("stopped", "paused", "resting"):
        names = [row.name for row in providers if row.state == state]
        words += f"; {state}: provider {listing(names)}" if names else ""
    return words


def _finished(counts: dict[str, int], attention: tuple[AttentionRow, ...]) -> str:
    parts = [f"{counts[word]} {word.replace('_', ' ')}" for word in _ENDINGS if counts[word]]
    if all(not counts[word] for word in _ENDINGS if word not in ("done", "skipped")):
        return "All tasks are done." if not counts["skipped"] else f"All tasks are {listing(parts)}."
    head = f"Nothing more can happen by itself: {listing(parts, len(parts))}."
    asked = [words for wants in _ASKED if (words := _asked(wants, attention))]
    return f"{head} {'; '.join(asked)}; then `{RESUME}`." if asked else head


def _asked(wants: str, attention: tuple[AttentionRow, ...]) -> str:
    """``1 waits for your review: `daplug-supervise task approve api```, and so on; '' if none does."""
    rows = [row for row in attention if row.wants == wants]
    if not rows:
        return ""
    one, many = _ASKED[wants]
    decides = next((line for line in rows[0].next if line.startswith(_DECIDING[wants])), rows[0].next[0])
    return f"{len(rows)} {one if len(rows) == 1 else many}: `{decides}`"


def _halting(halt: Halt, active: int, now: float) -> str:
    by = halt.by.replace("_", " ")
    if halt.halted_at is not None:
        return f"Halted by {by} {when(halt.halted_at, now)}: {halt.reason}."
    since = when(halt.requested_at, now)
    return f"Halt requested by {by} {since}: {halt.reason}; {tasks_word(active)} still at work."


def _waiting(
    run: Run, providers: tuple[ProviderRow, ...], counts: dict[str, int], now: float, *, noted: bool
) -> str:
    closed = [row for row in providers if row.state in _CLOSED and run.pools[row.name].busy]
    parts = [f"provider {row.sentence}" for row in closed]
    later = [task.not_before for task in run.tasks.values() if task.not_before > now]
    if later:
        parts.append(f"{tasks_word(len(later))} backing off, tried again {when(min(later), now)}")
    if counts["reviewing"]:
        parts.append(f"{tasks_word(counts['reviewing'])} waiting for a person's review")
    if counts["delegated"]:
        parts.append(f"{tasks_word(counts['delegated'])} delegated")
    patience = f" {NOTHING_TO_DO}." if closed and all(row.state == "resting" for row in closed) else ""
    unknown = "see NOTE" if noted else "the supervisor is about to decide"
    return f"Nothing is at work: {'; '.join(parts) or unknown}.{patience}"


# --- text ---------------------------------------------------------------------------------------------------
