"""What the files of a context folder hold: pure merges of texts. Each may be done twice, and is then done once.

What agents say is put on one line an item, so that it can be neither a heading nor a block of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from msgspec import Struct

from daplug_supervisor.formats.findings import escaped

MOST_ITEM: Final = 2000
"""Characters of one item."""

MOST_ITEMS: Final = 200
"""Items that one TODO may add to a file."""

MOST_WISDOM: Final = 12_000
"""Characters of each file that a later task is told: the newest."""

_BLOCK = re.compile(r"#|>|<|\||`{3}|~{3}|[-*+_=](?=\s|$|[-*_=])|\[[ xX]?\]")
_BOX = re.compile(r"^([ \t]*- )\[[xX]\] ", re.MULTILINE)
_UNPRINTABLE = re.compile("[^\x20-\x7e\n]")
_LAST_TIME = 253_402_300_799.0
_FIELDS_OF_A_HALT = 5000


class Halt(Struct, frozen=True):
    """Why a TODO needs a person; `at` is when (UTC, seconds), `todo` its name."""

    at: float
    todo: str
    category: str
    error: str
    retries: int
    analysis: str
    suggestion: str


def line(text: str, most: int = MOST_ITEM) -> str:
    """A text as one line of Markdown that begins no block."""
    words = escaped(" ".join(text[: 4 * most].split()), most)
    return f"\\{words}" if _BLOCK.match(words) else words


def with_items(text: str, number: str, items: Iterable[str], begin: str = "- ") -> str:
    """`text` with a block ``## number`` of these items at its end; as it is if there are none, or it is there already.

    A box that a person has ticked since counts as the one that was written.
    """
    given = [item for item in items if item.strip()]
    rows = [f"{begin}{line(item)}" for item in given[:MOST_ITEMS]]
    if len(given) > MOST_ITEMS:
        rows.append(f"{begin}({len(given) - MOST_ITEMS} more)")
    return text if not rows else _with_block(text, [f"## {number}", *rows])


def with_halt(text: str, halt: Halt) -> str:
    """`text` with the entry of a halt at its end; as it is if it is there already."""
    moment = datetime.fromtimestamp(min(max(halt.at, 0.0), _LAST_TIME), UTC)
    fields = {
        "Category": halt.category,
        "Error": halt.error,
        "Retry Count": str(halt.retries),
        "Analysis": halt.analysis,
        "Suggestion": halt.suggestion,
    }
    rows = [
        f"**{name}**: {escaped(' '.join(said.split()), _FIELDS_OF_A_HALT)}" for name, said in fields.items()
    ]
    title = escaped(" ".join(halt.todo.split()), MOST_ITEM)
    return _with_block(text, [f"## [{moment:%Y-%m-%d %H:%M}] {title} Failed", "", *rows])


def _with_block(text: str, block: list[str]) -> str:
    """`text` with lines at its end, a blank line before them; as it is if they are there, with nothing after them."""
    written = _BOX.sub(r"\1[ ] ", text.replace("\r\n", "\n"))
    wanted = "\n".join(block)
    if f"\n{wanted}\n\n" in f"\n{written}\n\n" or f"\n{wanted}\n## " in f"\n{written}":
        return text
    end = "\r\n" if "\r\n" in text else "\n"
    gap = "" if not text.strip() else end if text.endswith("\n") else end + end
    return f"{text}{gap}{end.join(block)}{end}"


def merged(known: Mapping[str, Any], todo: str, outputs: Mapping[str, Any]) -> dict[str, Any]:
    """What outputs.json says with the outputs of one more TODO; those that it had before are replaced."""
    return {**known, todo: dict(outputs)}


def as_json(document: Mapping[str, Any]) -> str:
    """outputs.json: as people like to read it, without a character that a terminal might obey."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    return (
        _UNPRINTABLE.sub(
            lambda found: found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1], text
        )
        + "\n"
    )


def newest(text: str, most: int = MOST_WISDOM) -> str:
    """The end of what a file holds, from the beginning of a line, without control characters."""
    lines = [escaped(one.rstrip(), MOST_ITEM) for one in text[-4 * most :].splitlines()]
    kept: list[str] = []
    for one in reversed(lines):
        most -= len(one) + 1
        if most < 0:
            kept.append("(older ones are left out)")
            break
        kept.append(one)
    return "\n".join(reversed(kept)).strip()
