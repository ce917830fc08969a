"""What a person is to be told of a run: which episodes of trouble are on, and which of them nobody was told of yet.

An episode has a key that follows from the journal alone, so that it is the same in every life of a supervisor. That a
person was told is recorded after it was done: if a crash comes in between it is told once more, and nothing is missed.
"""

from __future__ import annotations

import shlex
from collections.abc import Container, Iterable, Iterator, Mapping

from msgspec import Struct

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.machine import SATISFIED, Status
from daplug_supervisor.core.model import Pool, Run, TaskState
from daplug_supervisor.core.plan import Trouble
from daplug_supervisor.core.queues import sharing
from daplug_supervisor.core.results import LIMITS, RETRYABLE, OutcomeKind

_HOUR, _DAY = 3600.0, 86400.0

_GIVEN_UP = frozenset({Status.FAILED, Status.STUCK})

_REVIEW = "review"

_PLAN_ENDINGS = (".yaml", ".yml", ".json")

SOONEST, LATEST = 1.0, 60.0
"""Seconds in which what happens is gathered into one message: more and more, as long as there is no end of it."""


class Episode(Struct, frozen=True, omit_defaults=True):
    """One trouble, from its beginning to its end. `sentence` may quote agents; `next` are commands to type.

    `task` or `provider` is what it is about (neither: the run), `part` the part that the task waits for. `until`: when
    it is over by itself (UTC, seconds).
    """

    trouble: Trouble
    key: str
    sentence: str
    task: str = ""
    provider: str = ""
    part: str = ""
    next: tuple[str, ...] = ()
    until: float | None = None


class Escalation(Struct, frozen=True):
    """A task that only a person can get on with: what it blocks is `blocked`.

    `escalation` says whether somebody was told of it.
    """

    status: str
    blocking_subtask: str
    failure_reason: str
    escalation: str


# --- which are on ------------------------------------------------------------------------------------------------


def of_task(run: Run, name: str) -> Iterator[Episode]:
    """The episodes of a task that are on: it was given up, waits for review, or for a part that was cancelled."""
    task = run.tasks[name]
    if task.status in _GIVEN_UP:
        yield Episode("needs_person", _key(task), _given_up(run, task), name, next=_repairs(run, task))
    elif task.status is Status.REVIEWING:
        steps = (_command(run, "approve", name), _command(run, "reject", name, "--remark", "..."))
        sentence = _sentence(f"Task {name} is proven, and waits for your review", _behind(run, task))
        yield Episode("needs_person", f"{_key(task)}/{_REVIEW}", sentence, name, next=steps)
    elif task.status is Status.DELEGATED:
        for part in task.children:
            yield from of_part(run, part)


def of_part(run: Run, name: str) -> Iterator[Episode]:
    """The episode of a task that waits for this part of it, which was cancelled."""
    part, parent = run.tasks[name], _waiting(run, name)
    if part.status is Status.CANCELLED and parent is not None:
        yield _of_part(run, parent, part)


def of_provider(run: Run, name: str) -> Iterator[Episode]:
    """The episode of a provider that takes nothing before a person has seen to it."""
    pool = run.pools.get(name)
    if pool is None or not pool.stopped:
        return
    key = f"needs_person/pool:{name}/{pool.troubled_at:.3f}"
    sentence = _sentence(
        f"Provider {name} is stopped: {pool.reason}", "log in, or mend its set-up, then resume it"
    )
    steps = (_typed("provider", "resume", name, "--run", run.id),)
    yield Episode("needs_person", key, sentence, provider=name, next=steps)


def of_limit(run: Run, name: str, now: float) -> Iterator[Episode]:
    """The episode of an account that rests because of how the latest attempt at a task ended.

    Rests in a row are one episode; but who was told of an hour wants to know that it is a week.
    """
    past = run.tasks[name].past
    if not past or past[-1].result.outcome.kind not in LIMITS or past[-1].provider not in run.pools:
        return
    pool = run.pools[past[-1].provider]
    if pool.rest_until <= now:
        return
    shared = sharing(run, pool.name)
    since = max(one.troubled_at for one in shared)
    lasts = pool.rest_until - since
    scale = "days" if lasts >= _DAY else "hours" if lasts >= _HOUR else "minutes"
    key = f"limited/{pool.account or f'pool:{pool.name}'}/{since:.3f}/{scale}"
    sentence = _sentence(f"{_resting(pool, shared)} for a limit: {pool.reason}", "it goes on by itself")
    yield Episode("limited", key, sentence, provider=pool.name, until=pool.rest_until)


def ending(run: Run, *, halted: bool) -> Episode:
    """What is told of a run that is about to be over or halted; as often as that happens."""
    if not halted:
        trouble: Trouble = "finished"
        sentence, steps = f"The run has finished: {_counts(run, 'blocked')}.", [_typed("report", run.id)]
    else:
        by_budget = run.halt is not None and run.halt.by == "budget"
        trouble = "over_budget" if by_budget and "over_budget" in run.plan.notify.on else "halted"
        why = run.halt.reason if run.halt else ""
        sentence = _sentence(
            f"The run is halted: {why}" if why else "The run is halted", _counts(run, "waiting")
        )
        rerun = by_budget and run.source.endswith(_PLAN_ENDINGS)
        steps = [_typed("report", run.id), _typed(*(("run", run.source) if rerun else ("resume", run.id)))]
    times = 1 + sum(key.startswith(f"{trouble}/") for key in run.notified)
    return Episode(trouble, f"{trouble}/{times}", sentence, next=tuple(steps))


# --- which are new -----------------------------------------------------------------------------------------------


def began(run: Run, event: ev.Event, now: float) -> Iterator[Episode]:
    """The episodes that an event may have begun; those that are over already are left out."""
    if isinstance(event, ev.ProviderStopped):
        yield from of_provider(run, event.provider)
    if not isinstance(event, ev.TaskEvent) or event.task not in run.tasks:
        return
    if isinstance(event, ev.TaskStuck | ev.TaskFailed | ev.ReviewRequested | ev.Delegated):
        yield from of_task(run, event.task)
    elif isinstance(event, ev.TaskCancelled):
        yield from of_part(run, event.task)
    if isinstance(event, ev.RetryScheduled | ev.TaskStuck):
        yield from of_limit(run, event.task, now)


def standing(run: Run, now: float) -> Iterator[Episode]:
    """All episodes that are on, for a supervisor that begins with the run."""
    for name in run.pools:
        yield from of_provider(run, name)
    for name in run.tasks:
        yield from of_task(run, name)
        yield from of_limit(run, name, now)


def news(run: Run, episodes: Iterable[Episode]) -> dict[str, Episode]:
    """Those by key that a person wants to know, and was not told yet."""
    return {
        one.key: one for one in episodes if one.trouble in run.plan.notify.on and one.key not in run.notified
    }


def still(run: Run, episode: Episode, now: float) -> bool:
    """Whether it is on at this moment, and not told."""
    if episode.key in run.notified:
        return False
    if episode.until is not None:
        return episode.until > now
    if episode.task:
        name, found = (episode.part, of_part) if episode.part else (episode.task, of_task)
        return name in run.tasks and any(one.key == episode.key for one in found(run, name))
    return any(one.key == episode.key for one in of_provider(run, episode.provider))


def without(told: Mapping[str, ev.Notified], gone: Container[str]) -> dict[str, ev.Notified]:
    """What was told, without what was told of tasks that are gone: others may get their ids, and be in trouble."""
    return {key: one for key, one in told.items() if not any(name in gone for name in _tasks_of(key))}


def gap(before: float, since: float) -> float:
    """For how many seconds to gather what happens, after a message that was gathered for `before`, `since` ago."""
    return min(LATEST, 2 * before) if since < 2 * before else SOONEST


def escalations(run: Run) -> Iterator[Escalation]:
    """The tasks that only a person can get on with, in plan order."""
    for name, task in run.tasks.items():
        if task.status not in _GIVEN_UP:
            continue
        told = run.notified.get(_key(task))
        waits = "waits for a person: see task why, and notify in the plan"
        said = waits if told is None or told.detail else "a person was told, and is to decide"
        yield Escalation("blocked", name, _reason(task), said)


# --- words -------------------------------------------------------------------------------------------------------


def _key(task: TaskState) -> str:
    return f"needs_person/{task.id}/{task.attempt.number if task.attempt else 0}"


def _tasks_of(key: str) -> tuple[str, ...]:
    """The tasks that a key names: those of runs, accounts and providers name none."""
    trouble, name, *more = key.split("/")
    if trouble != "needs_person" or name.startswith("pool:"):
        return ()
    return (name, more[0]) if len(more) > 1 and more[1] != _REVIEW else (name,)


def _of_part(run: Run, task: TaskState, part: TaskState) -> Episode:
    number = part.attempt.number if part.attempt else 0
    why = f": {part.reason}" if part.reason else ""
    what = f"Task {task.id} waits for its part {part.id}, which was cancelled{why}"
    sentence = _sentence(what, _behind(run, task))
    steps = (_command(run, "retry", part.id), _command(run, "skip", part.id, "--reason", "..."))
    key = f"needs_person/{task.id}/{part.id}/{number}"
    return Episode("needs_person", key, sentence, task.id, part=part.id, next=steps)


def _given_up(run: Run, task: TaskState) -> str:
    parent = _waiting(run, task.id)
    whole = f"{parent.id}, of which it is a part, waits for it" if parent else ""
    if _asks(task):
        return _sentence(f"Task {task.id} asks: {task.reason}", _behind(run, task), whole)
    return _sentence(f"Task {task.id} {_reason(task)}", task.remedy, _behind(run, task), whole)


def _waiting(run: Run, name: str) -> TaskState | None:
    """The task that waits for this part of it, if there is one."""
    parent = run.spec(name).parent
    found = None if parent is None else run.tasks[parent]
    return found if found and found.status is Status.DELEGATED else None


def _reason(task: TaskState) -> str:
    verb = "is stuck" if task.status is Status.STUCK else "failed"
    tries = f" after {task.tries} {'try' if task.tries == 1 else 'tries'}" if task.tries else ""
    return f"{verb}{tries}: {task.reason}" if task.reason else f"{verb}{tries}"


def _behind(run: Run, task: TaskState) -> str:
    """How many tasks need it at once."""
    count = sum(run.tasks[name].status not in SATISFIED for name in run.after[task.id])
    return f"{count} {'task needs' if count == 1 else 'tasks need'} it" if count else ""


def _sentence(*parts: str) -> str:
    """What is said, as one sentence; what agents say may end as it likes."""
    said = "; ".join(part.rstrip(" .;") for part in parts if part)
    return said if said.endswith(("?", "!")) else f"{said}."


def _asks(task: TaskState) -> bool:
    return task.last is not None and task.last.outcome.kind is OutcomeKind.NEEDS_INPUT


def _repairs(run: Run, task: TaskState) -> tuple[str, ...]:
    if _asks(task):
        return (_command(run, "why", task.id), _command(run, "answer", task.id, "..."))
    last = task.last
    hopeless = task.status is Status.FAILED and last is not None and last.outcome.kind not in RETRYABLE
    force = ("--force",) if hopeless else ()
    return (
        _command(run, "logs", task.id),
        _command(run, "retry", task.id, *force),
        _command(run, "skip", task.id, "--reason", "..."),
    )


def _resting(pool: Pool, shared: list[Pool]) -> str:
    if len(shared) == 1:
        return f"Provider {pool.name} rests"
    return f"Account {pool.account} (providers {', '.join(one.name for one in shared)}) rests"


def _counts(run: Run, pending: str) -> str:
    """``5 of 7 tasks done, 1 failed, 1 blocked``."""
    done, total = run.counts[Status.DONE], len(run.tasks)
    if done == total:
        return f"{'the task is' if total == 1 else f'all {total} tasks are'} done"
    left = {status: count for status, count in run.counts.items() if count and status is not Status.DONE}
    waits = left.pop(Status.PENDING, 0)
    others = [f"{count} {status}" for status, count in left.items()] + (
        [f"{waits} {pending}"] if waits else []
    )
    return ", ".join((f"{done} of {total} {'task' if total == 1 else 'tasks'} done", *others))


def _command(run: Run, verb: str, task: str, *more: str) -> str:
    return _typed("task", verb, task, *more, "--run", run.id)


def _typed(*words: str) -> str:
    return shlex.join(("daplug-supervise", *words))
