"""Text of others in a prompt: between fences that nothing in it can close, and with everything in it to be seen."""

from __future__ import annotations

import re
from typing import Final
from unicodedata import category

BREAK = "\n"
_MOST_CODE = 200

INVISIBLE: Final = frozenset(
    [
        0x034F,
        0x115F,
        0x1160,
        0x17B4,
        0x17B5,
        0x2800,
        0x3164,
        0xFFA0,
        *range(0x180B, 0x1810),
        *range(0xFE00, 0xFE0E),
    ]
) | frozenset(range(0xE0100, 0xE01F0))
"""Letters and marks by category, yet nothing to be seen."""


def visible(text: str) -> str:
    r"""`text` with what a terminal obeys, or nobody sees, written as escapes such as ``\u202e``; lines stay lines."""
    if text.isascii() and text.isprintable():
        return text
    plain = text.replace("\r\n", "\n")
    return "".join(one if one in "\n\t" or _is_seen(one) else _escape(one) for one in plain)


def _is_seen(character: str) -> bool:
    if ord(character) in INVISIBLE:
        return False
    return character.isprintable() or category(character) == "Zs"


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def on_one_line(text: str) -> str:
    """`text` as one line in which everything is to be seen."""
    return " ".join(visible(text).split("\n"))


def fenced(text: str) -> str:
    """A text between fences that are longer than any run of backticks in it."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}text\n{visible(text).removesuffix(BREAK)}\n{fence}"


def code(text: str) -> str:
    """A text between backticks; in a fence of its own if it is not one short line without any."""
    if not text.strip() or not text.isprintable() or len(text) > _MOST_CODE or "`" in text:
        return f"\n\n{fenced(text)}"
    return f"`{text}`"


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
