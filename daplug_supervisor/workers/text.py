"""What agents print, made fit for a journal and a terminal: one short line without control characters."""

from __future__ import annotations

import re
import signal

from daplug_supervisor.core.results import Exit
from daplug_supervisor.core.secrets import Mask

LIMIT = 300
"""Characters in the detail of an outcome."""

_TAIL = 64 << 10

_COLOURS = re.compile(r"\x1b\[[0-9;]{0,30}m")
"""They only colour what they stand between; to be shown as escapes they are too many."""


def one_line(text: str, limit: int = LIMIT) -> str:
    """`text` as one printable line of at most `limit` characters.

    White space is folded; every other character that a terminal might act on is written as an escape, so that
    nobody can hide or forge text with cursor moves or a change of writing direction. Colours are left out.
    """
    # Cut first: a text of many megabytes is not worth escaping whole.
    plain = _COLOURS.sub("", text.lstrip()[: 8 * limit])
    folded = " ".join(plain.split())
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in folded)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def last_line(output: bytes) -> str:
    """The last line of `output` that is not blank, as `one_line` writes it, or ''."""
    text = output[-_TAIL:].decode("utf-8", "replace")
    if "PRIVATE KEY-----" in text:  # several lines, of which one alone does not look like it
        text = Mask()(text)
    lines = text.splitlines()
    return next((one_line(line) for line in reversed(lines) if line.strip()), "")


def how(found: Exit) -> str:
    """How a process ended, in words; if the system says so, that it was the memory."""
    if found.lack == "memory":
        return f"killed: out of memory ({found.max_rss / (1 << 20):.0f} MiB were in use)"
    return "no exit code" if found.code is None else ending(found.code)


def ending(code: int) -> str:
    """An exit code in words: ``exit code 3``, ``killed by SIGKILL``."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
