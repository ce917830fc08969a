"""A task in a few words: a sign, its state, why it is so."""

from __future__ import annotations

from collections.abc import Callable

from daplug_supervisor.core.machine import ACTIVE, Status
from daplug_supervisor.core.model import Run, TaskState
from daplug_supervisor.core.queues import unmet
from daplug_supervisor.views.colours import SIGNS
from daplug_supervisor.views.derived import outcome_words, state_of, status_word
from daplug_supervisor.views.live.lines import BAD, GOOD, QUIET, WARN, WORK, brief
from daplug_supervisor.views.text import at_clock, listing
from daplug_supervisor.views.waits import closed_until

Described = tuple[str, str, str, str]
"""A sign, the state, a detail that may be empty, and the style."""

_FEW = 2


def described(run: Run, task: TaskState, now: float, *, live: bool, behind: str = "") -> Described:
    """A task in a few words. `behind`: what a person has to decide before it can go on."""
    status = task.status
    if status is Status.PENDING:
        return _waiting(run, task, now, live=live, behind=behind)
    if status in ACTIVE:
        return _at_work(task, now)
    if status is Status.DELEGATED:
        return _delegated(run, task, behind)
    detail, style = _ENDED.get(status, (_reason_of, WARN))
    return SIGNS[status.value], _WORDS.get(status, status.value), detail(task, now), style


def _reason_of(task: TaskState, _now: float) -> str:
    return task.reason


def _took(task: TaskState, _now: float) -> str:
    return f"in {brief(task.past[-1].result.exit.seconds)}" if task.past else "before the run"


def _since(task: TaskState, now: float) -> str:
    return f"for a person, since {brief(now - task.changed_at)}"


def _at_work(task: TaskState, now: float) -> Described:
    attempt = task.attempt
    who = f"#{attempt.number} {attempt.provider}" if attempt else ""
    more = ", being stopped" if task.cancelling else ", delegating" if task.delegating else ""
    return SIGNS["running"], task.status.value, f"for {brief(now - task.changed_at)}, {who}{more}", WORK


def _delegated(run: Run, task: TaskState, behind: str) -> Described:
    if behind:
        return SIGNS["delegated"], status_word(task), _needs(run, task, behind), WARN
    return SIGNS["delegated"], status_word(task), "" if task.open else "its parts are done", WORK


def _needs(run: Run, task: TaskState, behind: str) -> str:
    if behind == task.id:
        return "its parts were removed: needs a person"
    return f"{behind} is {run.tasks[behind].status}: needs a person"


def _trouble(task: TaskState, _now: float) -> str:
    said = outcome_words(task.last) if task.last else task.reason
    if task.status is Status.STUCK and task.remedy:
        return f"{said}; {task.remedy}" if said else task.remedy
    return said


_ENDED: dict[Status, tuple[Callable[[TaskState, float], str], str]] = {
    Status.REVIEWING: (_since, WARN),
    Status.DONE: (_took, GOOD),
    Status.FAILED: (_trouble, BAD),
    Status.STUCK: (_trouble, BAD),
}
"""What is said of tasks that nobody works on, and its style."""

_WORDS = {Status.REVIEWING: "review"}


def _waiting(run: Run, task: TaskState, now: float, *, live: bool, behind: str) -> Described:
    """Why a pending task does not run yet."""
    state = state_of(run, task, now, live=live)
    if behind:
        return SIGNS["blocked"], "blocked", f"by {status_word(run.tasks[behind])} {behind}", WARN
    if state == "blocked":
        needs = unmet(run, task.id)
        return SIGNS["waiting"], "waits", f"for {listing(needs, _FEW)}" if needs else "", QUIET
    if state == "backing_off":
        return SIGNS["waiting"], "waits", f"tried again in {brief(task.not_before - now)}", QUIET
    return SIGNS["waiting"], "ready" if state == "ready" else "waits", _reason(run, task, state, now), QUIET


def _reason(run: Run, task: TaskState, state: str, now: float) -> str:
    pool = run.pools[task.provider]
    until = closed_until(pool, now)
    opens = f" until {at_clock(until, now)}" if until else ""
    return {
        "not_selected": "not selected",
        "halted": "the run is halted",
        "waiting_for_supervisor": "no supervisor",
        "pool_stopped": f"{pool.name} is stopped",
        "pool_paused": f"{pool.name} is paused{opens}",
        "resting": f"{pool.name} rests{opens}",
        "pool_full": f"for a place ({pool.name})",
    }.get(state, "")
