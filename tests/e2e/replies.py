"""What the mock model wants to say to a request: a tool call, or a last word."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

FILE = re.compile(r"Write the file ([a-z0-9-]+\.txt)")
"""How a prompt tells the model which file its tool call is to write."""

_MARKER = re.compile(r"<verification>[A-Za-z0-9._-]+</verification>")
LINE = "written by a tool call"
DONE = "The mock model is done."


class Call(NamedTuple):
    """A tool call."""

    tool: str
    arguments: Any


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


def call(tools: list[str], file: str, folder: str, *, sleep: bool) -> Call | None:
    """A call of the first tool that fits, out of those that the CLI offers."""
    line = "sleep 297" if sleep else f"echo {LINE} >> {file}"
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
    writers = {
        "Write": {"file_path": f"{folder}/{file}", "content": f"{LINE}\n"},
        "write_file": {"file_path": f"{folder}/{file}" if folder else file, "content": f"{LINE}\n"},
    }
    every = shells if sleep else writers | shells
    return next((Call(name, every[name]) for name in every if name in tools), None)


def folder_of(text: str) -> str:
    """The directory that a CLI says it works in."""
    found = re.search(r"working directory:? *`?(/[^\s`\\\"<]+)", text, re.IGNORECASE)
    return found[1] if found else ""
