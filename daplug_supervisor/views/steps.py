"""What to type to get on: with a run, a provider, a task, or with what holds a task back."""

from __future__ import annotations

from daplug_supervisor.core.machine import ACTIVE, Status
from daplug_supervisor.core.model import Run, TaskState
from daplug_supervisor.core.results import RETRYABLE
from daplug_supervisor.views.derived import DEAD, blockers, is_dead_end
from daplug_supervisor.views.review import Seen, asks, look
from daplug_supervisor.views.text import command

RESUME = command("resume")
WAITING_FOR_TASKS = ("blocked", "waiting_for_stage", "delegated")
"""States in which a task waits for others."""

_PLAN_ENDINGS = (".yaml", ".yml", ".json")


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
    """The commands that get on with a task that only a person can get on with."""
    last = task.last
    hopeless = task.status is Status.FAILED and last is not None and last.outcome.kind not in RETRYABLE
    force = ("--force",) if hopeless else ()
    logs, retry = command("task", "logs", task.id), command("task", "retry", task.id, *force)
    skip = command("task", "skip", task.id, "--reason", "...")
    if asks(task):
        return (command("task", "answer", task.id, "your answer"), logs, skip)
    return (logs, retry, skip) if task.status in (Status.FAILED, Status.STUCK) else (retry, skip)


def judge(task: str) -> tuple[str, ...]:
    """What accepts the work of a task that is being reviewed, and what has it done again."""
    reject = command("task", "reject", task, "--remark", "what is to be different")
    return (command("task", "approve", task), reject)


def steps(
    run: Run, task: TaskState, state: str, seen: Seen | None, *, live: bool, stop_file: bool
) -> tuple[str, ...]:
    """What to type, in order. `state`: one of `derived.STATES`; `seen`: what is in the task's worktree."""
    held = stop_file or run.halt is not None or (not live and run.finished_at is None)
    if state in WAITING_FOR_TASKS:
        return _unblock(run, task, held=held)
    if task.status in DEAD:
        return (*repairs(task), *_again(run, held=held or not live))
    if task.status is Status.REVIEWING:
        return (*look(run, task, seen), *judge(task.id), *_again(run, held=held or not live))
    if task.status in ACTIVE:
        return (command("task", "logs", task.id), *_again(run, held=not live))
    if state in ("pool_stopped", "pool_paused"):
        return (resume_provider(task.provider),)
    return _again(run, held=state in ("halted", "waiting_for_supervisor")) or _anew(run, state)


def _anew(run: Run, state: str) -> tuple[str, ...]:
    """What starts a task that the latest start did not ask for; `resume` would ask for the same ones again."""
    return (command("run", run.source),) if state == "not_selected" and run.source else ()


def _again(run: Run, *, held: bool) -> tuple[str, ...]:
    return (go_on(run),) if held else ()


def _unblock(run: Run, task: TaskState, *, held: bool) -> tuple[str, ...]:
    """What gets on with what a blocked or delegated task waits for; of several that are dead, the first."""
    found = blockers(run, task.id)
    dead = [task.id] if is_dead_end(task) else found.dead
    if dead:
        others = [command("task", "why", name) for name in dead[1:2] if task.status is Status.DELEGATED]
        again = _again(run, held=held or run.finished_at is not None)
        return (*repairs(run.tasks[dead[0]]), *others, *again)
    idle = [name for name in found.open if run.tasks[name].status not in ACTIVE]
    looks = (command("task", "why", idle[0]),) if idle else ()
    return (*looks, *_again(run, held=held))
