"""Where a run stands: what a person looks at first."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from msgspec import Struct

from daplug_supervisor.core.health import Suspect
from daplug_supervisor.core.machine import ACTIVE, SATISFIED, Status
from daplug_supervisor.core.model import Halt, Pool, Run
from daplug_supervisor.views.derived import run_state, tasks_word
from daplug_supervisor.views.family import Family, families, family_word
from daplug_supervisor.views.health import still_suspicious, suspect_words
from daplug_supervisor.views.proven import RunProof, proof_words, run_proof
from daplug_supervisor.views.review import question_lines
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
from daplug_supervisor.views.text import clean, clock, command, duration, listing, table, when, wrap
from daplug_supervisor.views.usage import (
    BudgetRow,
    Used,
    budget_row,
    budget_words,
    cost_word,
    known,
    tokens_word,
    used_words,
    uses,
)
from daplug_supervisor.views.why import NOTHING_TO_DO, RESUME, go_on, resume_provider

MOST_SHOWN = 20
_BAR = 20
_WITH_COMMANDS = 3
_TITLE = 60
_LONGEST = 500
_QUESTION = 12
_CLOSED = ("stopped", "paused", "resting", "probing")
_WAITING = ("ready", "backing_off", "blocked", "not_selected", "waiting_for_stage", "reviewing", "delegated")
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
        sentence=_sentence(run, state, providers, counts, attention, now),
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
    return _waiting(run, providers, counts, now)


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


def _waiting(run: Run, providers: tuple[ProviderRow, ...], counts: dict[str, int], now: float) -> str:
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
    return f"Nothing is at work: {'; '.join(parts) or 'the supervisor is about to decide'}.{patience}"


# --- text ---------------------------------------------------------------------------------------------------


def status_line(view: RunStatus) -> str:
    """One line: run, stage, done, running, failed, waiting."""
    return clean(f"{view.run} {view.state}: {_numbers(view)}")


def status_text(view: RunStatus, width: int = 80) -> str:
    """Where the run stands, at a glance; long lists are cut at `MOST_SHOWN`."""
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
    more = [f"and {len(found) - MOST_SHOWN} more like these"] if len(found) > MOST_SHOWN else []
    return [*view.notices, *found[:MOST_SHOWN], *more]


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
    return [f"  and {count - MOST_SHOWN} more"] if count > MOST_SHOWN else []


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
        for row in view.running[:MOST_SHOWN]
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
        for row in view.delegated[:MOST_SHOWN]
    ]
    lines = [table(rows, ("task", "parts done", ""), width, indent="  ", keep=2)] if rows else []
    return [*lines, *_more(len(view.delegated))]


def _attention_lines(view: RunStatus, width: int) -> list[str]:
    lines: list[str] = []
    for index, row in enumerate(view.attention[:MOST_SHOWN]):
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
