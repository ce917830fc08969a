"""Why a task does not run (or that it does), in one sentence, with the commands that get on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from daplug_supervisor.core.health import Suspect
from daplug_supervisor.core.lookup import find_task
from daplug_supervisor.core.machine import ACTIVE
from daplug_supervisor.core.model import Run, TaskState
from daplug_supervisor.core.queues import lane_of
from daplug_supervisor.core.results import RULES
from daplug_supervisor.core.stages import holding
from daplug_supervisor.views.derived import (
    attempt_word,
    blockers,
    deadline_of,
    outcome_words,
    starter,
    state_of,
    tries_word,
)
from daplug_supervisor.views.family import dead_word, delegated_name, delegated_words, named_with_state
from daplug_supervisor.views.health import still_suspicious, suspect_words
from daplug_supervisor.views.proven import SHORT, criteria_word, criterion_rows, rounds_word
from daplug_supervisor.views.review import (
    Seen,
    asks,
    asks_words,
    place_words,
    question,
    question_lines,
    review_words,
)
from daplug_supervisor.views.steps import RESUME, WAITING_FOR_TASKS, go_on, repairs, resume_provider, steps
from daplug_supervisor.views.text import at_clock, clean, command, duration, listing, number, when, wrap
from daplug_supervisor.views.waits import fallback_words, pool_words, remedy

__all__ = [
    "NOTHING_TO_DO", "RESUME", "SENTENCES", "Why", "go_on", "repairs", "resume_provider", "why", "why_text",
]  # fmt: skip

NOTHING_TO_DO = "Nothing to do: it goes on by itself, and the wait uses up no try"


class Why(Struct, frozen=True):
    """Why a task is where it is. `state` is one of `derived.STATES`; `next`: commands to type, in order.

    `question`: what its agent asks a person, as it was written; '' if it asks nothing.
    """

    task: str
    status: str
    state: str
    sentence: str
    next: tuple[str, ...] = ()
    question: str = ""


def why(
    run: Run,
    task_id: str,
    now: float,
    *,
    live: bool,
    stop_file: bool = False,
    suspects: Sequence[Suspect] = (),
    seen: Seen | None = None,
    lack: str = "",
) -> Why:
    """Why this task is not running, or since when it is. `live`: whether a supervisor drives the run.

    `suspects`: what the supervisor found suspicious last; `seen`: what is in the task's worktree; `lack`: what there
    is too little of for anything to be started, '' if there is room.

    Raises:
        NotPossibleError: the run has no such task.
    """
    task = find_task(run, task_id)
    state = state_of(run, task, now, live=live, stop_file=stop_file)
    sentence = SENTENCES[state](run, task, now)
    if state == "ready" and lack:
        sentence = (
            f"Ready, but nothing is started, because {lack}; it starts when there is room: free some space."
        )
    place = place_words(run, task, seen) if state == "reviewing" else ""
    if place:
        sentence = f"{sentence.removesuffix('.')}; {place}."
    suspect = next((one for one in still_suspicious(run, suspects) if one.task == task_id), None)
    if suspect is not None:
        sentence = f"{sentence.removesuffix('.')}; it {suspect_words(suspect, now)}."
    if task.status in ACTIVE and not live:
        sentence = f"{sentence.removesuffix('.')}; no supervisor watches it at the moment."
    if state in WAITING_FOR_TASKS and run.finished_at is None:
        held = (
            "the run is halted" if stop_file or run.halt else "" if live else "no supervisor drives the run"
        )
        sentence = f"{sentence.removesuffix('.')}; {held}." if held else sentence
    to_type = steps(run, task, state, seen, live=live, stop_file=stop_file)
    if suspect is not None and live:
        to_type = (*to_type, command("task", "cancel", task.id))
    return Why(task.id, task.status.value, state, sentence, to_type, question(task))


def why_text(found: Why, width: int = 80) -> str:
    """The sentence, below it what is asked, if that is longer, and what to type."""
    lines = wrap(f"{found.task}: {found.sentence}", width)
    asked = question_lines(found.question, width, "  | ")
    return "\n".join([*lines, *asked, *(f"  {clean(line)}" for line in found.next)])


# --- sentences ----------------------------------------------------------------------------------------------


def _ago(task: TaskState, now: float) -> str:
    return when(task.changed_at, now)


def _outcome(task: TaskState) -> str:
    return f" ({outcome_words(task.last)})" if task.last else ""


def _because(task: TaskState, verb: str) -> str:
    return f"{verb}: {task.reason}" if task.reason else verb


def _tried(run: Run, task: TaskState) -> str:
    rounds = rounds_word(task.fixes, run.spec(task.id).fix_rounds)
    tried = f"tried {tries_word(run, task)}" if task.tries or not rounds else ""
    return f"{', '.join(filter(None, (tried, rounds)))}{_outcome(task)}"


def _at_work(verb: str) -> Callable[[Run, TaskState, float], str]:
    def sentence(run: Run, task: TaskState, now: float) -> str:
        attempt = task.attempt
        assert attempt is not None, "a task at work has an attempt"  # noqa: S101
        since = f"for {duration(now - task.changed_at)}, since {at_clock(task.changed_at, now)}"
        text = f"{verb} attempt {attempt_word(run, task, attempt)} by provider {attempt.provider} {since}"
        if task.cancelling:
            return f"{text}; it is being stopped because it was cancelled."
        if task.delegating:
            parts = number(len(task.children), "part")
            return f"{text}; its agent is being ended, because it hands its work to its {parts}."
        deadline = deadline_of(run, task)
        return f"{text}; its time is over {when(deadline, now)}." if deadline else f"{text}."

    return sentence


def _blocked(run: Run, task: TaskState, now: float) -> str:
    found = blockers(run, task.id)
    if not found.dead:
        needs = listing([named_with_state(run, name, now) for name in found.needs])
        behind = [name for name in found.open if name not in found.needs]
        return f"Waits for {needs}{f'; first comes {listing(behind)}' if behind else ''}."
    dead = listing([dead_word(run.tasks[name]) for name in found.dead])
    if set(found.needs) == set(found.dead):
        return f"Blocked by {dead}."
    first = listing([delegated_name(run.tasks[name]) for name in found.needs])
    return f"Blocked by {dead}; it needs {first} first."


def _waits_for_stage(run: Run, task: TaskState, now: float) -> str:
    """With barriers: which tasks of which stage hold it back, though its own needs are met."""
    stage, left = holding(run, task)
    found, count = blockers(run, task.id), len(run.stages)
    if found.dead:
        dead = listing([dead_word(run.tasks[name]) for name in found.dead])
        return f"Blocked by {dead}: with stages: barrier, stage {task.stage + 1} of {count} waits for all before it."
    names = listing([named_with_state(run, name, now) for name in left])
    barrier = f"stage {stage + 1} of {count}, and with stages: barrier all of that comes first"
    return f"Waits for {number(len(left), 'task')} of {barrier}: {names}."


def _backing_off(run: Run, task: TaskState, now: float) -> str:
    return f"Backing off: {_tried(run, task)}; tries again {when(task.not_before, now)}."


def _pool(run: Run, task: TaskState, now: float) -> str:
    pool = run.pools[task.provider]
    others = fallback_words(run, pool, lane_of(run, task), now) if pool.closed(now) else ""
    return f"provider {pool.name} {pool_words(run, pool, now)}{others}"


def _resting(run: Run, task: TaskState, now: float) -> str:
    return f"Ready, but {_pool(run, task, now)}. {NOTHING_TO_DO}."


def _pool_closed(run: Run, task: TaskState, now: float) -> str:
    return f"Ready, but {_pool(run, task, now)}."


def _pool_full(run: Run, task: TaskState, now: float) -> str:
    if starter(run, task, now) is None:
        return f"Ready, but {_pool(run, task, now)}."
    if run.parallel is not None and run.active >= run.parallel:
        return f"Ready, but the run is full ({run.active} of {run.parallel} running)."
    left = run.plan.budget.attempts if run.plan.budget else 0
    return (
        f"Ready, but what is at work may use up the run's budget "
        f"({run.spent.attempts} of {left} tries spent, {run.active} at work)."
    )


def _ready(run: Run, task: TaskState, now: float) -> str:
    name = starter(run, task, now)
    pool = run.pools[task.provider]
    instead = "" if name == pool.name else f", because provider {pool.name} {pool_words(run, pool, now)}"
    back = (
        f"; what was found in its work goes with it ({rounds_word(task.fixes, run.spec(task.id).fix_rounds)})"
        if task.fixes
        else ""
    )
    told = "; what a person said of it goes with it" if task.remarks else ""
    return f"Ready: provider {name} starts it next{instead}{back}{told}."


def _halted(run: Run, _task: TaskState, now: float) -> str:
    halt = run.halt
    if halt is None:
        return "Halted: there is a STOP file, so nothing is started."
    stopped = [pool for pool in run.pools.values() if pool.stopped] if halt.by == "provider" else []
    mend = f"; {remedy(run, stopped[0])}" if stopped else ""
    return f"Halted by {halt.by.replace('_', ' ')} {when(halt.requested_at, now)}: {halt.reason}{mend}."


def _waiting(run: Run, task: TaskState, now: float) -> str:
    begun = "no supervisor drives the run" if run.starts else "the run has not been started"
    if task.not_before > now:
        return f"Backing off until {at_clock(task.not_before, now)}, {_tried(run, task)}; {begun}."
    pool = run.pools[task.provider]
    closed = f"; and provider {pool.name} {pool_words(run, pool, now)}" if pool.closed(now) else ""
    return f"Ready, but {begun}{closed}."


def _not_selected(run: Run, _task: TaskState, _now: float) -> str:
    return f"Not selected: the latest start asked only for {listing(sorted(run.only))}."


def _done(run: Run, task: TaskState, now: float) -> str:
    if not task.past:
        return _because(task, f"Was done already {_ago(task, now)}") + "."
    last = task.past[-1]
    spent = duration(last.result.exit.seconds)
    proven = f"; criteria: {criteria_word(criterion_rows(run, task))}" if run.spec(task.id).accept else ""
    commit = f"; commit {task.commit[:SHORT]}" if task.commit else ""
    done = f"Done {_ago(task, now)}, by provider {last.provider} in {spent} (attempt {last.number})"
    return f"{done}{proven}{commit}."


def _failed(run: Run, task: TaskState, now: float) -> str:
    remedy = RULES[task.last.outcome.kind].remedy if task.last else ""
    return f"Failed {_ago(task, now)}, {_tried(run, task)}{f': {remedy}' if remedy else ''}."


def _stuck(run: Run, task: TaskState, now: float) -> str:
    if asks(task):
        return asks_words(task, now)
    remedy = task.remedy or "a person must decide"
    return f"Stuck since {at_clock(task.changed_at, now)}, {_tried(run, task)}: {remedy}."


def _cancelled(_run: Run, task: TaskState, now: float) -> str:
    return _because(task, f"Cancelled {_ago(task, now)}") + "; its dependents stay blocked."


def _skipped(_run: Run, task: TaskState, now: float) -> str:
    return _because(task, f"Skipped {_ago(task, now)}") + "; its dependents go on without it."


SENTENCES: dict[str, Callable[[Run, TaskState, float], str]] = {
    "blocked": _blocked,
    "not_selected": _not_selected,
    "waiting_for_stage": _waits_for_stage,
    "halted": _halted,
    "waiting_for_supervisor": _waiting,
    "pool_stopped": _pool_closed,
    "pool_paused": _pool_closed,
    "resting": _resting,
    "backing_off": _backing_off,
    "pool_full": _pool_full,
    "ready": _ready,
    "running": _at_work("Running"),
    "verifying": _at_work("Verifying"),
    "landing": _at_work("Landing"),
    "reviewing": review_words,
    "delegated": delegated_words,
    "done": _done,
    "failed": _failed,
    "stuck": _stuck,
    "cancelled": _cancelled,
    "skipped": _skipped,
}
"""One sentence a state."""
