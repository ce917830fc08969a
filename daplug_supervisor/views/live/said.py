"""The last thing that an agent said, out of the end of its output."""

from __future__ import annotations

import re

import msgspec

_TELLING = re.compile(
    r'"(?:text|message|content|command|output|summary|title|result|error|tool_name|name)"\s*:\s*"((?:[^"\\]|\\.){2,})"'
)
"""Of what CLIs print as JSON, the fields that say something to a person."""

_LONGEST = 400
_SEARCHED = 8000
_COLOURS = re.compile(r"\x1b\[[0-9;:]*[mK]")
"""All else that a terminal would obey is left for `clean` to show."""


def said(output: str) -> str:
    """The last line with something in it; of a line of JSON, the last of its words that say something."""
    for line in reversed(output.splitlines()):
        shown = readable(line)
        if shown:
            return shown
    return ""


def readable(line: str) -> str:
    """A line of output as a person would read it: without colours, and of JSON only what it says."""
    line = _COLOURS.sub("", line).strip()
    if line.startswith("{") or line.endswith("}"):  # of a long one only the end may have been read
        found = _TELLING.findall(line[-_SEARCHED:])
        if found:
            line = _unescaped(found[-1])
    return " ".join(line.split())[:_LONGEST]


def _unescaped(text: str) -> str:
    try:
        return msgspec.json.decode(f'"{text}"', type=str)
    except msgspec.DecodeError:
        return text
