"""What an attempt gets (`Bundle`), what is started for it (`Command`), what its worker judges it by (`Evidence`)."""

from __future__ import annotations

from msgspec import Struct, field

from daplug_supervisor.core.model import Remark
from daplug_supervisor.core.plan import Assignment, Task
from daplug_supervisor.core.results import Exit

ATTEMPT_VARIABLE = "DAPLUG_SUP_ATTEMPT"
"""In the environment of everything an attempt starts: how processes that left its session are found."""


RESULT = "result.json"
"""What an attempt says of itself, in its outbox, and then in its own directory."""

QUESTION = "needs-input.md"
"""What an attempt asks a person, in its outbox, and then in its own directory."""


class Bundle(Struct, frozen=True):
    """Everything an attempt gets. All paths are absolute.

    `directory` is the attempt's own, in the state directory; `target` the directory that the run is about; `cwd`
    where the attempt works; `prompt_file` the copy of its prompt, for a task that has one; `previous` says in one
    line why the attempt before this one did not do. `inputs` are the task's, with what earlier tasks handed on in its
    place; `remarks` are what people said of attempts before it; `outbox` is a directory of its own where it works, into
    which it may write for us ('' if nothing is wanted).
    """

    run: str
    task: str
    number: int
    token: str
    directory: str
    target: str
    cwd: str
    spec: Task
    assignment: Assignment
    prompt_file: str | None = None
    branch: str | None = None
    previous: str = ""
    inputs: dict[str, str] = field(default_factory=dict)
    outbox: str = ""
    remarks: tuple[Remark, ...] = ()
    options: dict[str, object] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """``run/task#number``."""
        return f"{self.run}/{self.task}#{self.number}"

    @property
    def result_file(self) -> str:
        """Where the attempt puts its result; '' if none is wanted."""
        return f"{self.outbox}/{RESULT}" if self.outbox and self.spec.wants_result else ""


class Command(Struct, frozen=True):
    """What to start. `env` is added to what attempts get anyway.

    `stdin` is the absolute path of a file for its standard input, which is empty without one.
    """

    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    cwd: str | None = None
    stdin: str | None = None


class Evidence(Struct, frozen=True):
    """What is known when the process tree has ended. `stdout` and `stderr` are the last bytes of its output.

    `logs` are the last bytes of the files that its worker asked for (`Worker.logs`), in that order; b"" for one that
    cannot be read. `now` is when it ended (UTC, seconds, of the machine's clock).
    """

    bundle: Bundle
    exit: Exit
    stdout: bytes = b""
    stderr: bytes = b""
    logs: tuple[bytes, ...] = ()
    now: float = 0.0
