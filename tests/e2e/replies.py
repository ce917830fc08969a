"""What the mock model wants to say to a request: a tool call, or a last word."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

FILE = re.compile(r"Write the file ([a-z0-9-]+\.txt)")
"""How a prompt tells the model which file its tool call is to write."""

_MARKER = re.compile(r"<verification>[A-Za-z0-9._-]+</verification>")
RESULT = "the result"
"""The name, in a turn, of the file that the prompt calls `$DAPLUG_RESULT`."""

OUTBOX = "the outbox"
"""What the name of a file begins with, in a turn, that is written into what the prompt calls the outbox."""

AS_TOLD, TYPED = "as told", "typed"
"""Names, each with a number behind it, of what a turn types into a shell: the command of that number that the prompt
shows, with the text in the place of its example; or the text, behind what the prompt calls our program."""

_OUTBOX = re.compile(r"/[A-Za-z0-9_./-]{1,3000}/outbox/[0-9a-f]{1,64}(?=/)")
_SHOWN = re.compile(r"(?<=\\n)([^\\`]{1,4000}) (task (?:create|update) [^\\]{1,600})(?=\\n)")
_EXAMPLE = re.compile(r"'What to do[^']*'")
LINE = "written by a tool call"
DONE = "The mock model is done."


class Call(NamedTuple):
    """A tool call."""

    tool: str
    arguments: Any


class Work(NamedTuple):
    """A file that a tool call writes. `more`: added to what is there. `shown`: how a shell names it."""

    file: str
    folder: str
    text: str
    more: bool = False
    shown: str = ""


class Line(NamedTuple):
    """What a tool call types into a shell."""

    text: str


Turn = Mapping[str, str]
"""What the tool calls of a conversation write, one after another: names and texts."""

Said = Call | str
"""A tool call, or a last word."""


def file_of(text: str) -> str:
    """The file that a request is about; '' for requests that a CLI makes for itself."""
    found = FILE.search(text)
    return found[1] if found else ""


def last_word(text: str) -> str:
    """What ends a task: with the marker that a request wants, if it wants one."""
    wanted = _MARKER.search(text)
    return f"{DONE}\n{wanted[0]}" if wanted else DONE


def done_by(name: str, text: str, folder: str, raw: str) -> Work | Line:
    """What a tool call of a turn does."""
    if name.startswith((AS_TOLD, TYPED)):
        return _typed(name, text, raw)
    file = "result.json" if name == RESULT else name.removeprefix(f"{OUTBOX}/")
    found = _OUTBOX.search(raw)
    if file == name or found is None:
        return Work(name, folder, text)
    shown = '"$DAPLUG_RESULT"' if name == RESULT else f'"$DAPLUG_OUTBOX"/{file}'
    return Work(file, found[0], text, shown=shown)


def _typed(name: str, text: str, raw: str) -> Line:
    shown: list[tuple[str, str]] = list(dict.fromkeys(_SHOWN.findall(raw)))
    program = shown[0][0] if shown else f"{shlex.quote(sys.executable)} -m daplug_supervisor"
    if name.startswith(TYPED):
        return Line(f"{program} {text}")
    words = shown[int(name.removeprefix(AS_TOLD)) - 1][1]
    return Line(f"{program} {_EXAMPLE.sub(lambda _: shlex.quote(text), words)}")


def call(tools: list[str], does: Work | Line, *, sleep: bool = False) -> Call | None:
    """A call of the first tool that fits, out of those that the CLI offers."""
    line = "sleep 297" if sleep else _line(does)
    shells = _shells(line)
    writers = _writers(does) if isinstance(does, Work) and not sleep else {}
    every = writers | shells
    return next((Call(name, every[name]) for name in every if name in tools), None)


def _line(does: Work | Line) -> str:
    if isinstance(does, Line):
        return does.text
    return f"printf %s {shlex.quote(does.text)} {'>>' if does.more else '>'} {does.shown or does.file}"


def _writers(work: Work) -> dict[str, Any]:
    path = f"{work.folder}/{work.file}" if work.folder else work.file
    given = {"file_path": path, "content": work.text}
    return {"Write": given, "write_file": given}


def _shells(line: str) -> dict[str, Any]:
    code = f"const r = await tools.exec_command({{cmd: {json.dumps(line)}, yield_time_ms: 30000}});"
    return {
        "exec_command": {"cmd": line, "yield_time_ms": 30000},
        "functions.exec": f"{code} text(JSON.stringify(r));",
        "exec": f"{code} text(JSON.stringify(r));",  # in older versions
        "shell_command": {"command": line, "timeout_ms": 300000},
        "shell": {"command": ["bash", "-lc", line], "timeout_ms": 300000},
        "bash": {"command": line, "description": "mock", "timeout": 300000},
        "Bash": {"command": line, "description": "mock", "timeout": 300000},
        "run_shell_command": {"command": line, "description": "mock", "is_background": False},
    }


def folder_of(text: str) -> str:
    """The directory that a CLI says it works in."""
    found = re.search(r"working directory:? *`?(/[^\s`\\\"<]+)", text, re.IGNORECASE)
    return found[1] if found else ""
