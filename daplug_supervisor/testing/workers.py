"""What every worker must satisfy, for its author's tests to call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from daplug_supervisor.core.bundle import Command, Evidence
from daplug_supervisor.core.results import Exit, Outcome, OutcomeKind
from daplug_supervisor.testing.expect import Contract

if TYPE_CHECKING:
    from daplug_supervisor.core.bundle import Bundle
    from daplug_supervisor.ports import Worker

_expect = Contract("worker").expect

LONGEST_DETAIL = 1000

HOSTILE_OUTPUT: tuple[bytes, ...] = (
    b"",
    b"\n",
    b"\xff\xfe\x00",
    b"null",
    b"[]",
    b"{",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"\x1b[2J\x1b]0;title\x07 cleared your screen",
    "\u202eright to left\u2028a line apart\u0085another".encode(),
    b"x" * 1_000_000,
    b"{\n" * 10_000,
    b'{"error": "\\ud800 a lone surrogate\\nand \\u0000"}',
    b'{"error": {"not": ["a", "text"]}}',
    b'{"error": ' + b"9" * 400 + b"}",
    b'{"prompts": 3}',
    b'{"prompts": []}',
    b'{"prompts": [null]}',
    b'{"prompts": [{"execution": {"final_status": ["completed"], "iterations": 1}}]}',
    b'{"prompts": [{"execution": {"final_status": "\\u001b[31m", "iterations": [{"exit_code": 1e400}]}}]}',
    b'{"prompts": [{"execution": {"final_status": "completed", "iterations": [{"exit_code": '
    + b"9" * 30
    + b"}]}}]}",
)
"""Output that has no meaning, or a dangerous one, for whoever reads it."""

EXITS: tuple[Exit, ...] = (
    *(Exit(code) for code in (0, 1, 2, 127, 255, -1, -9, -15, -99_999, None)),
    Exit(None, error="program not found: \x1b[31mred\nand a second line"),
)
"""Every way in which a process tree can end."""


def check_worker(worker: Worker, command_bundle: Bundle) -> None:
    """Check that `worker` keeps the contract of `ports.Worker`, with a bundle that it has a command for.

    Raises:
        AssertionError: it does not; the message says where.
    """
    wanted: object = worker.output_wanted
    _expect(isinstance(wanted, int) and wanted >= 0, f"output_wanted is a number of bytes, not {wanted!r}")
    _check_problems(worker.problems([command_bundle.assignment]), "problems([assignment])")
    _check_problems(worker.problems([]), "problems([])")
    _check_command(worker, command_bundle)
    for exit_ in EXITS:
        for output in HOSTILE_OUTPUT:
            _check_outcome(worker, Evidence(command_bundle, exit_, stdout=output, stderr=output))


def _check_problems(problems: object, what: str) -> None:
    _expect(
        isinstance(problems, list) and all(isinstance(problem, str) for problem in problems),
        f"{what} is a list of texts, not {problems!r}",
    )


def _check_command(worker: Worker, bundle: Bundle) -> None:
    command = worker.command(bundle)
    _expect(isinstance(command, Command), f"command(bundle) is a Command, not {command!r}")
    _expect(command == worker.command(bundle), "command(bundle) is the same each time for the same bundle")
    _expect(bool(command.argv) and bool(command.argv[0]), "argv begins with a program")
    texts: tuple[object, ...] = command.argv
    for text in texts:
        _expect(isinstance(text, str) and "\0" not in text, f"argv holds texts without NUL, not {text!r}")
    pairs: tuple[tuple[object, object], ...] = tuple(command.env.items())
    for name, value in pairs:
        fit = isinstance(name, str) and bool(name) and not {"=", "\0"} & set(name)
        _expect(fit, f"env has names that can be set, not {name!r}")
        _expect(isinstance(value, str) and "\0" not in value, f"env holds texts without NUL, not {value!r}")
    _expect(
        command.cwd is None or command.cwd.startswith("/"),
        f"cwd is None or an absolute path, not {command.cwd!r}",
    )


def _check_outcome(worker: Worker, evidence: Evidence) -> None:
    exit_ = evidence.exit
    case = f"with code {exit_.code}, error {exit_.error!r} and output {evidence.stdout[:60]!r}"
    try:
        outcome = worker.outcome(evidence)
    except Exception as error:
        raise AssertionError(f"outcome(evidence) raises {type(error).__name__} {case}") from error
    _expect(isinstance(outcome, Outcome), f"outcome(evidence) is an Outcome, not {outcome!r}, {case}")
    _expect(outcome == worker.outcome(evidence), f"outcome(evidence) is the same each time {case}")
    failed = exit_.code is None or exit_.code < 0
    _expect(
        not (failed and outcome.kind is OutcomeKind.COMPLETED),
        f"what was killed, lost or never started is not completed {case}",
    )
    detail: object = outcome.detail
    fit = isinstance(detail, str) and detail.isprintable() and len(detail) <= LONGEST_DETAIL
    _expect(
        fit, f"detail is one line, at most {LONGEST_DETAIL} printable characters, not {detail!r:.200}, {case}"
    )
    try:
        kept = msgspec.json.decode(msgspec.json.encode(outcome), type=Outcome)
    except Exception as error:
        raise AssertionError(
            f"a worker's contract: the outcome can be written as JSON {case}; {error}"
        ) from error
    _expect(kept == outcome, f"the outcome is the same after it was written as JSON and read back {case}")
