"""A task's `setup`: what gets its directory ready before its agent begins, once, in the attempt's own process tree."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from daplug_supervisor.core.bundle import Bundle
from daplug_supervisor.core.results import Exit, Outcome, OutcomeKind
from daplug_supervisor.processes import setup
from daplug_supervisor.workers.text import ending, last_line, one_line
from daplug_supervisor.workspace.files import open_output, read_tail

MARKER = "daplug-setup"
"""Says of a worktree, or of a task without one, which set-up has succeeded there."""

_LARGEST = 64 << 10
_SHOWN = 8 << 10


def with_setup(bundle: Bundle, argv: tuple[str, ...], admin: str, *, marks: bool = True) -> tuple[str, ...]:
    """What to start: the agent, after its set-up unless that has succeeded in its directory before.

    Args:
        bundle: the attempt's.
        argv: the agent.
        admin: git's own directory for the task's worktree, which goes when that is made anew; '' without one.
        marks: whether that it has succeeded is kept in mind.
    """
    words = bundle.spec.setup
    if words is None:
        return argv
    marker = f"{admin or bundle.directory.rpartition('/')[0]}/{MARKER}"
    key = sha256("\0".join((bundle.cwd, *words)).encode("utf-8", "surrogatepass")).hexdigest()
    if _read(marker) == key.encode():
        return argv
    program = (sys.executable, "-I", "-S", setup.__file__)
    times = str(bundle.spec.setup_timeout), str(bundle.spec.grace)
    told = (bundle.directory, marker if marks else "", key, bundle.cwd, *times, str(len(words)))
    return (*program, *told, *words, *argv)


def ended(bundle: Bundle, found: Exit) -> Exit | Outcome:
    """The end of an attempt: its agent's, or what its set-up came to if that kept the agent from being started."""
    if bundle.spec.setup is None or found.code != setup.FAILED:
        return found
    told = _result(f"{bundle.directory}/{setup.RESULT}")
    why = told.get("why")
    if why == "agent":
        return replace(found, code=None, error=one_line(str(told.get("error"))))
    if told.get("ok") is not False or not isinstance(why, str):
        return found  # an agent may have the same exit code
    code = told.get("code")
    words = {
        "exit": ending(code) if isinstance(code, int) else "no exit code",
        "timeout": f"not finished after {bundle.spec.setup_timeout:g} s",
    }
    said = last_line(read_tail(Path(bundle.directory) / setup.LOG, _SHOWN))
    detail = f"setup failed: {words.get(why, why)}{f': {said}' if said else ''}"
    return Outcome(OutcomeKind.FAILED, one_line(detail))


def _result(path: str) -> dict[str, Any]:
    with suppress(ValueError, RecursionError):
        found = json.loads(_read(path))
        if isinstance(found, dict):
            return found
    return {}


def _read(path: str) -> bytes:
    with suppress(OSError), open_output(Path(path)) as file:
        return file.read(_LARGEST)
    return b""
