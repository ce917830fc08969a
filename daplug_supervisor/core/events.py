"""Events: the journalled facts. State is their fold (`core.state`); which may follow which is in `core.machine`.

A kind's name and fields are a file format: a released kind keeps its meaning; a changed one gets a new `version`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec
from msgspec import Struct

from daplug_supervisor.core.plan import Plan, Provider, Task, Trouble
from daplug_supervisor.core.results import Finding, Outcome, OutcomeKind, Result

HaltedBy = Literal["stop_file", "command", "signal", "failure", "timeout", "provider", "caller", "budget"]


Step = Literal["context", "checkbox", "commit", "merge"]
"""What bringing verified work home is made of, in this order; each may be done twice, and is then done once."""


UNREADABLE = "unknown"
"""The verb in the answer to what was no command."""


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


class Event(Struct, frozen=True, omit_defaults=True, tag_field="kind", tag=_snake):
    """Base of all events."""

    version: ClassVar[int] = 1

    @property
    def kind(self) -> str:
        """The name under which the journal keeps it."""
        return str(self.__struct_config__.tag)


class TaskEvent(Event, frozen=True):
    """An event of one task; all of them move the state machine."""

    task: str


# --- of the state directory -------------------------------------------------------------------------------------


class SupervisorStarted(Event, frozen=True):
    """A supervisor took the state directory."""

    pid: int
    boot: str
    release: str


class SupervisorStopped(Event, frozen=True):
    """A supervisor let go of the state directory in good order; `running` attempts live on."""

    running: int = 0


class CommandAnswered(Event, frozen=True):
    """A command from the inbox was applied, or refused with a reason. `id` is the command's own."""

    id: str
    verb: str
    applied: bool
    message: str = ""

    def answers(self, command: str) -> bool:
        """Whether this is the answer to the command of that id. What could not be read was no command."""
        return self.id == command and self.verb != UNREADABLE


class JournalRepaired(Event, frozen=True):
    """The journal was damaged, and was made anew of what could be read of it.

    `kept` is where the damaged files are; `lost` are the first and last numbers of what could not be read;
    `dropped` are the numbers of what could be read but no longer fitted.
    """

    kept: str
    lost: tuple[tuple[int, int], ...] = ()
    dropped: tuple[int, ...] = ()


# --- of a run ---------------------------------------------------------------------------------------------------


class RunSubmitted(Event, frozen=True):
    """A plan was taken on. `source` is the file it came from, as text for people."""

    plan: Plan
    target: str
    source: str = ""


class PlanChanged(Event, frozen=True):
    """The plan was edited between two starts: what has not started follows the new one."""

    plan: Plan
    summary: tuple[str, ...] = ()


class TaskAdded(Event, frozen=True):
    """A task was added to a run, and its `provider` if the plan had none of that name."""

    id: str
    spec: Task
    provider: Provider | None = None


class TaskChanged(Event, frozen=True):
    """A task that has no slot was given another form; what it has done already stays. `summary` says what is new."""

    id: str
    spec: Task
    summary: str = ""
    provider: Provider | None = None


class TaskRemoved(Event, frozen=True):
    """A task that has no slot was taken out of a run; its children go on without it."""

    id: str
    reason: str = ""


class RunStarted(Event, frozen=True):
    """A supervisor began, or went on with, driving the run. `only` and `parallel` hold until the next start.

    `booted` is when the machine was started (UTC, seconds), reckoned with the clock that this supervisor's events
    are timed by: within one `boot` it differs between two starts by as much as the clock was set.
    """

    only: tuple[str, ...] = ()
    parallel: int | None = None
    boot: str = ""
    booted: float = 0.0


class HaltRequested(Event, frozen=True):
    """No new starts; what runs may finish. `now`: what runs is stopped, and what is being verified waits as it is."""

    reason: str
    by: HaltedBy
    running: tuple[str, ...] = ()
    now: bool = False


class Halted(Event, frozen=True):
    """The last running attempt has ended after a halt was requested."""


class Resumed(Event, frozen=True):
    """The halt was lifted."""

    by: str = ""


class ProviderRested(Event, frozen=True):
    """A pool takes nothing until `until` (UTC, seconds since the epoch)."""

    provider: str
    until: float
    reason: str = ""


class ProviderStopped(Event, frozen=True):
    """A pool takes nothing until a person resumes it."""

    provider: str
    reason: str


class ProviderPaused(Event, frozen=True):
    """A person wants a pool to take nothing until `until` (UTC, seconds) or until it is resumed, also over restarts."""

    provider: str
    until: float | None = None
    reason: str = ""


class ProviderResumed(Event, frozen=True):
    """A stopped, resting or paused pool takes tasks again."""

    provider: str


class HookRan(Event, frozen=True):
    """A command of the user's was run after a task (`of`), or after the run; `detail` says what went wrong with it."""

    hook: Literal["post_task", "post_run"]
    of: str = ""
    code: int | None = None
    detail: str = ""


class Notified(Event, frozen=True):
    """A person was told of something, once for each episode; `key` names the episode, `detail` what did not work."""

    trouble: Trouble
    key: str
    detail: str = ""


class RunFinished(Event, frozen=True):
    """Nothing more can happen in this run by itself."""


# --- of a task --------------------------------------------------------------------------------------------------


class AttemptStarted(TaskEvent, frozen=True):
    """A try was decided on. `token` is unique in the world: it names the attempt where others share a namespace."""

    number: int
    token: str
    provider: str


class AttemptSpawned(TaskEvent, frozen=True):
    """A shim holds the attempt at its start gate: durable before the gate opens.

    `deadline` is on the machine's monotonic clock (seconds since boot), None for no timeout.
    """

    pid: int
    start: int
    boot: str
    deadline: float | None = None


class AttemptExited(TaskEvent, frozen=True):
    """The attempt ended and claims success; the claim is to be verified."""

    result: Result


class VerificationStarted(TaskEvent, frozen=True):
    """A shim is about to run the task's criteria: durable before it does. `number` counts these of one attempt."""

    number: int
    pid: int
    start: int
    boot: str


class VerificationPassed(TaskEvent, frozen=True):
    """All that the plan asks as proof was found true by us: what was found, and what a person should know of it."""

    findings: tuple[Finding, ...] = ()
    flags: tuple[str, ...] = ()


class StepDone(TaskEvent, frozen=True):
    """A step of bringing the work home is done; `detail` is the commit, or why there was nothing to do."""

    step: Step
    detail: str = ""


class Landed(TaskEvent, frozen=True):
    """The work is where the next task finds it: in a `commit` ('' if there is none), with these `files` changed."""

    commit: str = ""
    files: tuple[str, ...] = ()


class RetryScheduled(TaskEvent, frozen=True):
    """The attempt did not succeed; the task is tried again, not before `not_before` (UTC, seconds).

    `last_fix`: the rounds of mending are used up, and this is the one attempt that follows them.
    """

    result: Result
    not_before: float = 0.0
    uses_try: bool = True
    provider: str | None = None
    last_fix: bool = False


class TaskFailed(TaskEvent, frozen=True):
    """All tries are used up, or another one could not help."""

    result: Result


class TaskStuck(TaskEvent, frozen=True):
    """A person must decide; `remedy` says what about."""

    result: Result
    remedy: str = ""


class CancelRequested(TaskEvent, frozen=True):
    """A running task is to be stopped and cancelled."""

    reason: str = ""


class TaskCancelled(TaskEvent, frozen=True):
    """It will not be done; dependents stay blocked."""

    reason: str = ""


class TaskSkipped(TaskEvent, frozen=True):
    """Go on without it: dependents are satisfied."""

    reason: str = ""


class TaskReset(TaskEvent, frozen=True):
    """Begin again: the tries are counted anew."""

    reason: str = ""


class TaskAdopted(TaskEvent, frozen=True):
    """It was already done when the run began."""

    reason: str = ""


class DelegationRequested(TaskEvent, frozen=True):
    """A running task hands its work to its children: its agent is to be ended, and its slot freed."""


class Delegated(TaskEvent, frozen=True):
    """The task waits for its children and needs no slot.

    `result` is how its attempt ended (None: it had no slot). `kept` is the ref under which its unfinished work is,
    `reason` says where the rest of that is, if there is any.
    """

    result: Result | None = None
    kept: str = ""
    reason: str = ""


class ChildrenDone(TaskEvent, frozen=True):
    """All children of a delegated task are done: what they came to is looked at, as that of an attempt is.

    `number`, `token` and `provider` are as in `AttemptStarted`; `result` says of all of them what one says of itself.
    """

    number: int
    token: str
    provider: str
    result: Result


class ReviewRequested(TaskEvent, frozen=True):
    """All that the plan asks as proof was found true, and now a person looks at the work before it lands."""

    findings: tuple[Finding, ...] = ()
    flags: tuple[str, ...] = ()


class Approved(TaskEvent, frozen=True):
    """A person accepts the work."""

    by: str = ""
    remark: str = ""


class Rejected(TaskEvent, frozen=True):
    """A person wants it done again; the remark reaches the next attempt."""

    remark: str
    by: str = ""


class TaskAnswered(TaskEvent, frozen=True):
    """A person answers what the agent of a stuck task asked; the answer reaches the next attempt."""

    answer: str
    by: str = ""


AnyEvent = (
    SupervisorStarted
    | SupervisorStopped
    | CommandAnswered
    | JournalRepaired
    | RunSubmitted
    | PlanChanged
    | TaskAdded
    | TaskChanged
    | TaskRemoved
    | RunStarted
    | HaltRequested
    | Halted
    | Resumed
    | ProviderRested
    | ProviderStopped
    | ProviderPaused
    | ProviderResumed
    | HookRan
    | Notified
    | RunFinished
    | AttemptStarted
    | AttemptSpawned
    | AttemptExited
    | VerificationStarted
    | VerificationPassed
    | StepDone
    | Landed
    | RetryScheduled
    | TaskFailed
    | TaskStuck
    | CancelRequested
    | TaskCancelled
    | TaskSkipped
    | TaskReset
    | TaskAdopted
    | DelegationRequested
    | Delegated
    | ChildrenDone
    | ReviewRequested
    | Approved
    | Rejected
    | TaskAnswered
)

KINDS: dict[str, type[Event]] = {
    str(kind.__struct_config__.tag): kind for kind in AnyEvent.__args__ if issubclass(kind, Event)
}


MARKS: tuple[type[Event], ...] = (
    RunSubmitted, RunStarted, RunFinished, PlanChanged, TaskAdded, TaskChanged, TaskRemoved, TaskReset, TaskSkipped,
    TaskAdopted, Delegated, ChildrenDone, Approved, Rejected, TaskAnswered,
)  # fmt: skip
"""What begins, ends or reopens a run: a run whose latest mark is not RunFinished is unfinished.

The journal has an index of these, in this order: another one is another schema version.
"""


class Entry(Struct, frozen=True):
    """An event in the journal: its place, its run ('' for the state directory itself), when (UTC, seconds)."""

    seq: int
    run: str
    at: float
    event: Any

    @property
    def task(self) -> str:
        """The task that the event is about, or ''."""
        return getattr(self.event, "task", "")


_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(AnyEvent)


def encode(event: Event) -> bytes:
    """The event as JSON, with its kind."""
    return _encoder.encode(event)


def decode(data: bytes | str) -> Event:
    """The event of a JSON text.

    Raises:
        msgspec.DecodeError: the text is not JSON.
        msgspec.ValidationError: it is not an event of this version.
    """
    return _decoder.decode(data)


__all__ = ["KINDS", "AnyEvent", "Entry", "Event", "Outcome", "OutcomeKind", "TaskEvent", "decode", "encode"]
