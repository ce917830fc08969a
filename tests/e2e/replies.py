"""What the mock model wants to say to a request: a tool call, or a last word."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

FILE = re.compile(r"Write the file ([a-z0-9-]+\.txt)")
"""How a prompt tells the model which file its tool call is to write."""

_MARKER = re.compile(r"<verification>[A-Za-z0-9._-]+</verification>")
RESULT = "the result"
"""The name, in a turn, of the file that the prompt calls `$DAPLUG_RESULT`."""

_RESULT = re.compile(r"/[A-Za-z0-9_./-]{1,3000}/outbox/[0-9a-f]{1,64}/result\.json")
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


def placed(name: str, text: str, folder: str, raw: str) -> Work:
    """The work of a turn: `RESULT` is where the prompt wants the result."""
    if name != RESULT:
        return Work(name, folder, text)
    found = _RESULT.search(raw)
    path = found[0] if found else name
    return Work(path.rpartition("/")[2], path.rpartition("/")[0], text, shown='"$DAPLUG_RESULT"')


def call(tools: list[str], work: Work, *, sleep: bool = False) -> Call | None:
    """A call of the first tool that fits, out of those that the CLI offers."""
    where = work.shown or work.file
    line = (
        "sleep 297" if sleep else f"printf %s {shlex.quote(work.text)} {'>>' if work.more else '>'} {where}"
    )
    code = f"const r = await tools.exec_command({{cmd: {json.dumps(line)}, yield_time_ms: 30000}});"
    shells = {
        "exec_command": {"cmd": line, "yield_time_ms": 30000},
        "functions.exec": f"{code} text(JSON.stringify(r));",
        "exec": f"{code} text(JSON.stringify(r));",  # in older versions
        "shell_command": {"command": line, "timeout_ms": 300000},
        "shell": {"command": ["bash", "-lc", line], "timeout_ms": 300000},
        "bash": {"command": line, "description": "mock", "timeout": 300000},
        "Bash": {"command": line, "description": "mock", "timeout": 300000},
        "run_shell_command": {"command": line, "description": "mock", "is_background": False},
    }
    path = f"{work.folder}/{work.file}" if work.folder else work.file
    writers = {
        "Write": {"file_path": path, "content": work.text},
        "write_file": {"file_path": path, "content": work.text},
    }
    every = shells if sleep else writers | shells
    return next((Call(name, every[name]) for name in every if name in tools), None)


def folder_of(text: str) -> str:
    """The directory that a CLI says it works in."""
    found = re.search(r"working directory:? *`?(/[^\s`\\\"<]+)", text, re.IGNORECASE)
    return found[1] if found else ""
