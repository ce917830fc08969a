"""The journal as a log: one line an event, with level, agent and a sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.results import Result
from daplug_supervisor.views.derived import outcome_words, tasks_word
from daplug_supervisor.views.text import clean, clock, duration, listing, number, stamp

Level = Literal["info", "warning", "error"]

SUPERVISOR = "supervisor"


class LogLine(Struct, frozen=True):
    """An event for people. `at` is UTC seconds, `time` the same as text; `agent` a provider or supervisor."""

    seq: int
    at: float
    time: str
    level: Level
    run: str
    agent: str
    event: str
    task: str
    message: str


def log_line(entry: ev.Entry, agent: str = "") -> LogLine:
    """One event as a log line. `agent`: who is at the task, if the caller knows and the event does not."""
    event = entry.event
    level, words = _MESSAGES[type(event)]
    if isinstance(event, ev.CommandAnswered) and not event.applied:
        level = "warning"
    if isinstance(event, ev.HookRan | ev.Notified) and not event.detail:
        level = "info"
    who = event.provider if isinstance(event, _OF_PROVIDERS) else agent or SUPERVISOR
    return LogLine(
        entry.seq, entry.at, stamp(entry.at), level, entry.run, who, event.kind, entry.task, words(event)
    )


def log_text(entry: ev.Entry, agent: str = "", width: int | None = None) -> str:
    """One event as a line: ``2026-11-21 01:22:03Z  info     codex       build: Attempt 1 began.``."""
    line = log_line(entry, agent)
    about = f"{line.task}: " if line.task else ""
    return clean(f"{clock(line.at)}  {line.level:<7}  {line.agent:<10}  {about}{line.message}", width)


_OF_PROVIDERS = (
    ev.AttemptStarted,
    ev.ProviderRested,
    ev.ProviderStopped,
    ev.ProviderPaused,
    ev.ProviderResumed,
)


def _why(text: str) -> str:
    return f": {text}{'' if text.endswith(('.', '!', '?')) else '.'}" if text else "."


def _by(name: str) -> str:
    return f" by {name}" if name else ""


def _below(parent: str | None) -> str:
    return f" as a part of {parent}" if parent else ""


def _ended(result: Result) -> str:
    return f"after {duration(result.exit.seconds)} ({outcome_words(result)})"


def _retry(event: ev.RetryScheduled) -> str:
    time = f" not before {clock(event.not_before)}" if event.not_before else " as soon as there is a slot"
    other = f", by provider {event.provider}" if event.provider else ""
    free = "" if event.uses_try else "; it uses no try"
    return f"The attempt did not succeed {_ended(event.result)}; tried again{time}{other}{free}."


def _answered(event: ev.CommandAnswered) -> str:
    return f"Command {event.verb} was {'applied' if event.applied else 'refused'}{_why(event.message)}"


def _repaired(event: ev.JournalRepaired) -> str:
    lost = sum(last - first + 1 for first, last in event.lost)
    return (
        f"The damaged journal was repaired: {number(lost, 'event')} lost, {len(event.dropped)} left out; "
        f"the damaged files are in {event.kept}."
    )


def _started(event: ev.RunStarted) -> str:
    only = f", only {listing(event.only)}" if event.only else ""
    most = f", at most {tasks_word(event.parallel)} at once" if event.parallel else ""
    return f"The run was started{only}{most}."


def _submitted(event: ev.RunSubmitted) -> str:
    source = f" from {event.source}" if event.source else ""
    count = tasks_word(len(event.plan.tasks))
    return f"Plan {event.plan.name}{source} was submitted: {count} for {event.target}."


def _spawned(event: ev.AttemptSpawned) -> str:
    return f"Process {event.pid} holds the attempt at its start gate."


def _stuck(event: ev.TaskStuck) -> str:
    return f"Stuck {_ended(event.result)}{_why(event.remedy)}"


def _changed(event: ev.TaskChanged) -> str:
    return f"Task {event.id} was changed{_why(event.summary)}"


def _delegated(event: ev.Delegated) -> str:
    kept = f"; its unfinished work is kept under {event.kept}" if event.kept else ""
    return f"Delegated: waits for its parts, and needs no slot{kept}."


def _notified(event: ev.Notified) -> str:
    failed = f", but that did not work: {event.detail}" if event.detail else ""
    return f"A person was told of {event.key} ({event.trouble.replace('_', ' ')}){failed}."


def _paused(event: ev.ProviderPaused) -> str:
    until = "a person resumes it" if event.until is None else clock(event.until)
    return f"The provider is paused until {until}{_why(event.reason)}"


Words = Callable[[Any], str]

_MESSAGES: dict[type[ev.Event], tuple[Level, Words]] = {
    ev.SupervisorStarted: (
        "info",
        lambda e: f"Supervisor {e.release} took the state directory, process {e.pid}.",
    ),
    ev.SupervisorStopped: (
        "info",
        lambda e: (
            f"The supervisor let go of the state directory; {number(e.running, 'attempt')} still at work."
        ),
    ),
    ev.CommandAnswered: ("info", _answered),
    ev.JournalRepaired: ("error", _repaired),
    ev.RunSubmitted: ("info", _submitted),
    ev.PlanChanged: ("info", lambda e: f"The plan was changed{_why('; '.join(e.summary))}"),
    ev.TaskAdded: ("info", lambda e: f"Task {e.id} was added{_below(e.spec.parent)}."),
    ev.TaskChanged: ("info", _changed),
    ev.TaskRemoved: ("warning", lambda e: f"Task {e.id} was removed{_why(e.reason)}"),
    ev.RunStarted: ("info", _started),
    ev.HaltRequested: ("warning", lambda e: f"Halt requested by {e.by.replace('_', ' ')}{_why(e.reason)}"),
    ev.Halted: ("warning", lambda _: "The run is halted: nothing is at work any more."),
    ev.Resumed: ("info", lambda e: f"The run was resumed{_by(e.by)}."),
    ev.ProviderRested: ("warning", lambda e: f"The provider rests until {clock(e.until)}{_why(e.reason)}"),
    ev.ProviderStopped: (
        "error",
        lambda e: f"The provider is stopped until a person resumes it{_why(e.reason)}",
    ),
    ev.ProviderPaused: ("warning", _paused),
    ev.ProviderResumed: ("info", lambda _: "The provider takes tasks again."),
    ev.RunFinished: ("info", lambda _: "The run is finished: nothing more can happen by itself."),
    ev.AttemptStarted: ("info", lambda e: f"Attempt {e.number} began."),
    ev.AttemptSpawned: ("info", _spawned),
    ev.HookRan: (
        "warning",
        lambda e: f"Hook {e.hook}{f' of {e.of}' if e.of else ''}: {e.detail or 'succeeded'}.",
    ),
    ev.Notified: ("warning", _notified),
    ev.AttemptExited: (
        "info",
        lambda e: f"The attempt ended {_ended(e.result)} and claims success, which is to be verified.",
    ),
    ev.VerificationStarted: ("info", lambda e: f"Process {e.pid} runs the criteria."),
    ev.VerificationPassed: ("info", lambda _: "Verified."),
    ev.StepDone: ("info", lambda e: f"Landing: {e.step} done{_why(e.detail)}"),
    ev.Landed: ("info", lambda _: "Done: the work is where the next task finds it."),
    ev.RetryScheduled: ("warning", _retry),
    ev.TaskFailed: ("error", lambda e: f"Failed {_ended(e.result)}."),
    ev.TaskStuck: ("error", _stuck),
    ev.CancelRequested: ("info", lambda e: f"To be stopped and cancelled{_why(e.reason)}"),
    ev.TaskCancelled: ("warning", lambda e: f"Cancelled{_why(e.reason)}"),
    ev.TaskSkipped: ("info", lambda e: f"Skipped, dependents go on without it{_why(e.reason)}"),
    ev.TaskReset: ("info", lambda e: f"Begins again with its tries counted anew{_why(e.reason)}"),
    ev.TaskAdopted: ("info", lambda e: f"Was done already{_why(e.reason)}"),
    ev.DelegationRequested: ("info", lambda _: "Hands its work to its parts: its agent is ended."),
    ev.Delegated: ("info", _delegated),
    ev.ChildrenDone: ("info", lambda _: "All its parts are done: what they came to is looked at."),
    ev.ReviewRequested: ("warning", lambda _: "Verified; waits for a person to review it."),
    ev.Approved: ("info", lambda e: f"Approved{_by(e.by)}{_why(e.remark)}"),
    ev.Rejected: ("warning", lambda e: f"Rejected{_by(e.by)}{_why(e.remark)}"),
    ev.TaskAnswered: ("info", lambda e: f"Answered{_by(e.by)}{_why(e.answer)}"),
}
"""Level and sentence of every kind; a test holds it against `events.KINDS`."""
