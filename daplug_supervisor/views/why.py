"""Why a task does not run (or that it does), in one sentence, with the commands that get on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from daplug_supervisor.core.health import Suspect
from daplug_supervisor.core.lookup import find_task
from daplug_supervisor.core.machine import ACTIVE, Status
from daplug_supervisor.core.model import Run, TaskState
from daplug_supervisor.core.queues import lane_of
from daplug_supervisor.core.results import RETRYABLE, RULES
from daplug_supervisor.views.derived import (
    DEAD,
    attempt_word,
    blockers,
    deadline_of,
    outcome_words,
    starter,
    state_of,
    tries_word,
)
from daplug_supervisor.views.health import still_suspicious, suspect_words
from daplug_supervisor.views.proven import SHORT, criteria_word, criterion_rows, rounds_word
from daplug_supervisor.views.text import at_clock, clean, command, duration, listing, when, wrap
from daplug_supervisor.views.waits import fallback_words, pool_words, remedy

RESUME = command("resume")
_PLAN_ENDINGS = (".yaml", ".yml", ".json")
NOTHING_TO_DO = "Nothing to do: it goes on by itself, and the wait uses up no try"


class Why(Struct, frozen=True):
    """Why a task is where it is. `state` is one of `derived.STATES`; `next`: commands to type, in order."""

    task: str
    status: str
    state: str
    sentence: str
    next: tuple[str, ...] = ()


def why(
    run: Run,
    task_id: str,
    now: float,
    *,
    live: bool,
    stop_file: bool = False,
    suspects: Sequence[Suspect] = (),
) -> Why:
    """Why this task is not running, or since when it is. `live`: whether a supervisor drives the run.

    `suspects`: what the supervisor found suspicious last.

    Raises:
        NotPossibleError: the run has no such task.
    """
    task = find_task(run, task_id)
    state = state_of(run, task, now, live=live, stop_file=stop_file)
    sentence = SENTENCES[state](run, task, now)
    suspect = next((one for one in still_suspicious(run, suspects) if one.task == task_id), None)
    if suspect is not None:
        sentence = f"{sentence.removesuffix('.')}; it {suspect_words(suspect, now)}."
    if task.status in ACTIVE and not live:
        sentence = f"{sentence.removesuffix('.')}; no supervisor watches it at the moment."
    if state == "blocked" and run.finished_at is None:
        held = (
            "the run is halted" if stop_file or run.halt else "" if live else "no supervisor drives the run"
        )
        sentence = f"{sentence.removesuffix('.')}; {held}." if held else sentence
    steps = _next(run, task, state, live=live, stop_file=stop_file)
    if suspect is not None and live:
        steps = (*steps, command("task", "cancel", task.id))
    return Why(task.id, task.status.value, state, sentence, steps)


def why_text(found: Why, width: int = 80) -> str:
    """The sentence, and below it what to type."""
    lines = wrap(f"{found.task}: {found.sentence}", width)
    return "\n".join([*lines, *(f"  {clean(line)}" for line in found.next)])


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
        deadline = deadline_of(run, task)
        return f"{text}; its time is over {when(deadline, now)}." if deadline else f"{text}."

    return sentence


def _blocked(run: Run, task: TaskState, now: float) -> str:
    found = blockers(run, task.id)
    if not found.dead:
        needs = listing([f"{name} ({_word(run, name, now)})" for name in found.needs])
        behind = [name for name in found.open if name not in found.needs]
        return f"Waits for {needs}{f'; first comes {listing(behind)}' if behind else ''}."
    dead = listing([f"{run.tasks[name].status} task {name}" for name in found.dead])
    if set(found.needs) == set(found.dead):
        return f"Blocked by {dead}."
    return f"Blocked by {dead}; it needs {listing(found.needs)} first."


def _word(run: Run, name: str, now: float) -> str:
    return state_of(run, run.tasks[name], now).replace("_", " ")


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
    return f"Ready: provider {name} starts it next{instead}{back}."


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


def _reviewing(run: Run, task: TaskState, now: float) -> str:
    return (
        f"Waits for a person's review since {at_clock(task.changed_at, now)}, tried {tries_word(run, task)}."
    )


def _delegated(_run: Run, task: TaskState, now: float) -> str:
    return f"Delegated {_ago(task, now)}: it waits for its children and needs no slot."


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
    remedy = task.remedy or "a person must decide"
    return f"Stuck since {at_clock(task.changed_at, now)}, {_tried(run, task)}: {remedy}."


def _cancelled(_run: Run, task: TaskState, now: float) -> str:
    return _because(task, f"Cancelled {_ago(task, now)}") + "; its dependents stay blocked."


def _skipped(_run: Run, task: TaskState, now: float) -> str:
    return _because(task, f"Skipped {_ago(task, now)}") + "; its dependents go on without it."


SENTENCES: dict[str, Callable[[Run, TaskState, float], str]] = {
    "blocked": _blocked,
    "not_selected": _not_selected,
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
    "reviewing": _reviewing,
    "delegated": _delegated,
    "done": _done,
    "failed": _failed,
    "stuck": _stuck,
    "cancelled": _cancelled,
    "skipped": _skipped,
}
"""One sentence a state."""


# --- what to type -------------------------------------------------------------------------------------------


def resume_provider(name: str) -> str:
    """What lets a provider take tasks again that is paused or stopped."""
    return command("provider", "resume", name)


def go_on(run: Run) -> str:
    """What goes on with a halted run: of one whose budget is spent, running the plan that was edited."""
    if run.halt is not None and run.halt.by == "budget" and run.source.endswith(_PLAN_ENDINGS):
        return command("run", run.source)
    if run.halt is not None and run.halt.by == "budget" and run.source == "run-prompt":
        return command("run-prompt", "...", "--budget", "...")
    return RESUME


def repairs(task: TaskState) -> tuple[str, ...]:
    """The commands that get on with a failed, stuck or cancelled task."""
    last = task.last
    hopeless = task.status is Status.FAILED and last is not None and last.outcome.kind not in RETRYABLE
    force = ("--force",) if hopeless else ()
    retry = command("task", "retry", task.id, *force)
    if task.status is Status.CANCELLED:
        return (retry,)
    return (command("task", "logs", task.id), retry, command("task", "skip", task.id, "--reason", "..."))


def _next(run: Run, task: TaskState, state: str, *, live: bool, stop_file: bool) -> tuple[str, ...]:
    held = stop_file or run.halt is not None or (not live and run.finished_at is None)
    if state == "blocked":
        return _unblock(run, task, held=held)
    if task.status in DEAD:
        return (*repairs(task), *_again(run, held=held or not live))
    if task.status is Status.REVIEWING:
        return (command("task", "approve", task.id), command("task", "reject", task.id, "--reason", "..."))
    if task.status in ACTIVE:
        return (command("task", "logs", task.id), *_again(run, held=not live))
    if state in ("pool_stopped", "pool_paused"):
        return (resume_provider(task.provider),)
    return _again(run, held=state in ("halted", "not_selected", "waiting_for_supervisor"))


def _again(run: Run, *, held: bool) -> tuple[str, ...]:
    return (go_on(run),) if held else ()


def _unblock(run: Run, task: TaskState, *, held: bool) -> tuple[str, ...]:
    found = blockers(run, task.id)
    if found.dead:
        return (*repairs(run.tasks[found.dead[0]]), *_again(run, held=held or run.finished_at is not None))
    idle = [name for name in found.open if run.tasks[name].status not in ACTIVE]
    looks = (command("task", "why", idle[0]),) if idle else ()
    return (*looks, *_again(run, held=held))
