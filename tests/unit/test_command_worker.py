import pytest

from daplug_supervisor.core.bundle import Bundle, Command, Evidence
from daplug_supervisor.core.plan import Assignment, Task
from daplug_supervisor.core.results import Exit, Outcome, OutcomeKind
from daplug_supervisor.errors import UsageError
from daplug_supervisor.testing import check_worker
from daplug_supervisor.workers.command import CommandWorker
from daplug_supervisor.workers.settings import Settings
from daplug_supervisor.workers.text import LIMIT, ending, how, last_line, one_line

WORKER = CommandWorker(Settings(target="/repo"))


def bundle(**task: object) -> Bundle:
    return Bundle(
        run="r",
        task="notes",
        number=1,
        token="secret",
        directory="/state/r/notes/1",
        target="/repo",
        cwd="/repo/sub",
        spec=Task(**task),  # type: ignore[arg-type]
        assignment=Assignment("local", "command", "local", None, None),
    )


def outcome(exit_: Exit, stdout: bytes = b"", stderr: bytes = b"") -> Outcome:
    return WORKER.outcome(Evidence(bundle(command=("true",)), exit_, stdout, stderr))


def test_runs_the_command_as_it_is_in_its_directory() -> None:
    made = WORKER.command(bundle(command=("sh", "-c", "echo $A > 'x y'"), env={"A": "1"}))
    assert made == Command(("sh", "-c", "echo $A > 'x y'"), {"A": "1"}, "/repo/sub")


def test_a_task_without_a_command_is_refused() -> None:
    with pytest.raises(UsageError, match=r"task notes: .* no command"):
        WORKER.command(bundle(prompt="1"))


def test_keeps_the_contract() -> None:
    assert WORKER.problems([]) == []
    assert WORKER.output_wanted == 0
    check_worker(WORKER, bundle(command=("true",)))


@pytest.mark.parametrize(
    ("exit_", "stdout", "stderr", "kind", "detail"),
    [
        (Exit(0), b"", b"", OutcomeKind.COMPLETED, ""),
        (Exit(0), b"out", b"warning", OutcomeKind.COMPLETED, ""),
        (Exit(1), b"", b"", OutcomeKind.FAILED, "exit code 1"),
        (Exit(3), b"out\n", b"", OutcomeKind.FAILED, "exit code 3: out"),
        (Exit(3), b"out\n", b"first\nlast\n\n  \n", OutcomeKind.FAILED, "exit code 3: last"),
        (Exit(3), b"out\n", b" \n", OutcomeKind.FAILED, "exit code 3: out"),
        (Exit(2), b"", b"\x1b[31mred\xff", OutcomeKind.FAILED, "exit code 2: red\ufffd"),
        (Exit(-9), b"out\n", b"err", OutcomeKind.CRASHED, "killed by SIGKILL"),
        (Exit(-15), b"", b"", OutcomeKind.CRASHED, "killed by SIGTERM"),
        (Exit(-200), b"", b"", OutcomeKind.CRASHED, "killed by signal 200"),
        (Exit(None), b"", b"", OutcomeKind.LOST, "there is no exit record"),
        (
            Exit(None, error="no such program:\nnosuch"),
            b"",
            b"",
            OutcomeKind.PLAN_ERROR,
            "no such program: nosuch",
        ),
        (Exit(127, error="no such directory"), b"", b"", OutcomeKind.PLAN_ERROR, "no such directory"),
    ],
)
def test_outcome(exit_: Exit, stdout: bytes, stderr: bytes, kind: OutcomeKind, detail: str) -> None:
    assert outcome(exit_, stdout, stderr) == Outcome(kind, detail)


@pytest.mark.parametrize("code", [-9, 137])
def test_that_it_was_the_memory_is_said(code: int) -> None:
    found = Exit(code, max_rss=3 << 30, lack="memory")
    assert outcome(found, b"", b"Killed") == Outcome(
        OutcomeKind.CRASHED, "killed: out of memory (3072 MiB were in use)"
    )
    assert how(Exit(None)) == "no exit code"
    assert how(Exit(code)) == ending(code)


def test_a_long_last_line_is_cut() -> None:
    detail = outcome(Exit(1), stderr=b"x" * 10_000_000).detail
    assert len(detail) == LIMIT
    assert detail.endswith("…")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("  a \t b\r\n c ", "a b c"),
        ("\n" * 100_000 + "late", "late"),
        ("bell\x07 nul\x00", r"bell\x07 nul\x00"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\ud800", r"\ud800"),
        ("Zürich 東京", "Zürich 東京"),
    ],
)
def test_one_line(text: str, line: str) -> None:
    assert one_line(text) == line


def test_last_line_and_ending() -> None:
    assert last_line(b"") == ""
    assert last_line(b"10 %\r20 %\r") == "20 %"
    assert ending(0) == "exit code 0"
    assert ending(-2) == "killed by SIGINT"


# The conformance check catches a worker that does not keep the contract


class Liar(CommandWorker):
    """A worker of which each test breaks one thing."""

    def __init__(self, **broken: object) -> None:
        super().__init__(Settings(target="/repo"))
        for name, value in broken.items():
            setattr(self, name, value if name == "output_wanted" else lambda *_, value=value: made(value))


def made(value: object) -> object:
    if isinstance(value, Exception):
        raise value
    return value() if callable(value) else value


COUNTER = iter(range(10**9))
DONE = Outcome(OutcomeKind.COMPLETED)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"output_wanted": -1}, "output_wanted is a number of bytes, not -1"),
        ({"output_wanted": None}, "output_wanted is a number of bytes, not None"),
        ({"problems": ("text",)}, r"problems\(\[assignment\]\) is a list of texts"),
        ({"problems": [3]}, r"problems\(\[assignment\]\) is a list of texts"),
        ({"command": ("true",)}, "is a Command"),
        ({"command": lambda: Command((str(next(COUNTER)),))}, "is the same each time for the same bundle"),
        ({"command": Command(())}, "argv begins with a program"),
        ({"command": Command(("",))}, "argv begins with a program"),
        ({"command": Command(("a", "\0"))}, "argv holds texts without NUL"),
        ({"command": Command(("a", 3))}, "argv holds texts without NUL"),  # type: ignore[arg-type]
        ({"command": Command(("a",), {"A=B": "c"})}, "env has names that can be set"),
        ({"command": Command(("a",), {"": "c"})}, "env has names that can be set"),
        ({"command": Command(("a",), {"A": "\0"})}, "env holds texts without NUL"),
        ({"command": Command(("a",), {"A": 3})}, "env holds texts without NUL"),  # type: ignore[dict-item]
        ({"command": Command(("a",), cwd="sub")}, "cwd is None or an absolute path"),
        ({"outcome": ValueError("no")}, r"outcome\(evidence\) raises ValueError with code 0"),
        ({"outcome": "completed"}, "is an Outcome, not 'completed'"),
        (
            {"outcome": lambda: Outcome(OutcomeKind.LOST, str(next(COUNTER)))},
            "is the same each time with code",
        ),
        ({"outcome": DONE}, "killed, lost or never started is not completed with code -1"),
        ({"outcome": Outcome(OutcomeKind.LOST, "two\nlines")}, "detail is one line"),
        ({"outcome": Outcome(OutcomeKind.LOST, "x" * 1001)}, "at most 1000 printable characters"),
        ({"outcome": Outcome(OutcomeKind.LOST, None)}, "detail is one line"),  # type: ignore[arg-type]
        ({"outcome": Outcome(OutcomeKind.LOST, claim={"a": object()})}, "can be written as JSON"),
        ({"outcome": Outcome(OutcomeKind.LOST, claim={"a": (1,)})}, "the same after it was written as JSON"),
    ],
)
def test_the_conformance_check_catches(broken: dict[str, object], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_worker(Liar(**broken), bundle(command=("true",)))
