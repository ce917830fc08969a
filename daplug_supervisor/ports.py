"""The four plug-points.

Each has a real implementation and a twin for tests; both pass the same conformance checks
(`daplug_supervisor.testing`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol, runtime_checkable

from msgspec import Struct, field

from daplug_supervisor.core.bundle import Bundle, Command, Evidence
from daplug_supervisor.core.events import CommandAnswered, Entry, Event
from daplug_supervisor.core.health import Signs
from daplug_supervisor.core.plan import Assignment
from daplug_supervisor.core.results import Exit, Outcome


class Clock(Protocol):
    """Time, passed in so that tests can own it."""

    def now(self) -> float:
        """UTC, seconds since the epoch: for people and for what must survive a reboot.

        It is read from the machine's clock once and then goes on steadily, also while the machine sleeps: whoever
        sets the clock moves no wait.
        """
        ...

    def boot(self) -> tuple[str, float]:
        """Which boot this is ('' if that is not known), and when it began, as `now` counts.

        Of one boot two lives name different beginnings if the clock was set between them.
        """
        ...

    def ahead(self) -> float:
        """By how many seconds the machine's clock is ahead of `now`. Times that others state are of that clock."""
        ...

    def patience(self, until: float) -> float:
        """For how many seconds to wait for a time (of `now`) before looking again."""
        ...

    def monotonic(self) -> float:
        """Seconds since boot, the same for all processes of this boot: for deadlines."""
        ...


class RunMark(Struct, frozen=True):
    """A run that the journal knows: where its events begin, and whether it has finished."""

    run: str
    first_seq: int
    finished: bool


class Durable(Protocol):
    """A group of events on its way to the disk."""

    async def wait(self) -> None:
        """Wait until it is there.

        Raises:
            JournalError: it will never be; the journal takes nothing more.
        """
        ...


class Journal(Protocol):
    """The append-only log of events. One writer; nobody acts on an event before it is durable."""

    async def open(self) -> None:
        """Open or create it.

        Raises:
            JournalError: damaged, newer than this version, or not writable.
        """
        ...

    async def close(self) -> None:
        """Make durable what was appended, and let go."""
        ...

    def append(self, run: str, at: float, events: Sequence[Event]) -> tuple[list[Entry], Durable]:
        """Queue events, in order, and return them as entries with the group that they go to the disk in.

        All events that wait at the same moment become durable together, or not at all.

        Raises:
            JournalError: the journal is closed, or has failed before.
        """
        ...

    async def runs(self) -> list[RunMark]:
        """All runs, oldest first."""
        ...

    async def answer(self, command: str) -> CommandAnswered | None:
        """The durable answer to the command of this id, in whichever run; None if there is none."""
        ...

    def read(self, run: str, after: int = 0) -> AsyncIterator[Entry]:
        """The durable entries of a run with a sequence number above `after`, in order; '' for the directory's own."""
        ...


class Identity(Struct, frozen=True):
    """Which process: its pid, its start time (clock ticks since boot), and the boot that both belong to."""

    pid: int
    start: int
    boot: str


class Launch(Struct, frozen=True):
    """What a shim runs once its gate opens.

    `directory` receives output and exit record; `stdin` is a file for standard input (empty without one);
    `deadline` (monotonic seconds) is kept by the shim even when no supervisor is left; `grace` is the time in seconds
    between asking the tree to end and killing it; `output_limit` (bytes) is how much of each output stream is kept,
    half of it the beginning.
    """

    directory: str
    argv: tuple[str, ...]
    cwd: str
    env: dict[str, str] = field(default_factory=dict)
    stdin: str | None = None
    deadline: float | None = None
    grace: float = 10.0
    output_limit: int = 64 << 20


class Attached(Protocol):
    """A process tree that the supervisor watches but does not own: launched by it, or found again."""

    async def wait(self) -> Exit | None:
        """Wait for the end of the whole tree. None: the agent never ran. `Exit.known` False: it is lost."""
        ...

    def stop(self) -> None:
        """Ask the shim to end the tree: TERM, grace, KILL. Asking twice kills at once."""
        ...

    def signs(self) -> Signs | None:
        """What the tree shows of its work at this moment; None if it cannot be seen. Called in a thread."""
        ...


class Gate(Protocol):
    """A shim that waits at its start gate. It ends by itself if the supervisor dies before opening it."""

    @property
    def identity(self) -> Identity:
        """Who it is; to be journalled before `open`."""
        ...

    def open(self, launch: Launch) -> Attached:
        """Let it start `launch`."""
        ...


class Launcher(Protocol):
    """Starts process trees behind a gate, and attaches to those that live."""

    async def open(self) -> None:
        """Get ready.

        Raises:
            LaunchError: processes cannot be started.
        """
        ...

    async def close(self) -> None:
        """Let go; what runs goes on running."""
        ...

    def idle(self) -> Gate | None:
        """A shim that waits already, if there is one."""
        ...

    async def reserve(self) -> Gate:
        """A shim at its gate."""
        ...

    def release(self, gate: Gate) -> None:
        """Hand a shim back: its gate was not opened, or its attempt's end is durable in the journal."""
        ...

    async def attach(self, identity: Identity, directory: str) -> Attached:
        """Take back an attempt whose shim was journalled as `identity` and that works in `directory`."""
        ...


class Worker(Protocol):
    """Turns a bundle into a command, and evidence into an outcome. Both are pure functions."""

    output_wanted: int
    """How many bytes of the end of standard output and of standard error `outcome` wants after exit code 0."""

    def problems(self, assignments: Sequence[Assignment]) -> list[str]:
        """Why it cannot run these here, each with a remedy; empty if it can. Asked before a run starts."""
        ...

    def command(self, bundle: Bundle) -> Command:
        """What to start."""
        ...

    def outcome(self, evidence: Evidence) -> Outcome:
        """How the attempt ended. Called only if the tree ended by itself, or was ended for its silence."""
        ...


@runtime_checkable
class ReadsLogs(Protocol):
    """What a worker may have as well: files beside its output that it wants to judge an attempt by."""

    def logs(self, evidence: Evidence) -> Sequence[str]:
        """Their paths. The end of each is then in the `Evidence.logs` that `outcome` gets."""
        ...


@runtime_checkable
class KnowsAccounts(Protocol):
    """What a worker may have as well: which of its providers share the limits of one account."""

    def account(self, chosen: Assignment) -> str:
        """The account that an assignment draws on; '' if that is not known."""
        ...
