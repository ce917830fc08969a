"""``${task.outputs.field}``: what an earlier task hands on, named in a text that is given to a later one.

A text is filled in one pass: what a value holds is never looked at again. ``$${task.outputs.field}`` stands for the
text ``${task.outputs.field}`` itself; whatever does not look like a reference is left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from daplug_supervisor.errors import UsageError

FORM: Final = "${task.outputs.name}"
AS_TEXT: Final = "to have it as text, write $$ instead of its $"

MOST_VALUE: Final = 20_000
"""Characters of one value; what is more is cut off, and said to be."""

MOST_TEXT: Final = 4 << 20
"""Characters of a text with everything in it; one that would be longer is refused."""

_ID = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_NAME = r"[A-Za-z_][A-Za-z0-9_-]{0,63}"
_REFERENCE = re.compile(
    rf"(?P<literal>\$?)(?P<written>\$\{{[ \t]*(?:(?P<task>{_ID})\.outputs\.(?P<name>{_NAME})[ \t]*\}}"
    rf"|(?P<other>{_ID}?)\.outputs\b[^}}\n]{{0,100}}\}}?))"
)
"""A reference, or what was surely meant to be one."""

_MOST_SHOWN = 120


class Reference(Struct, frozen=True):
    """A place in a text that stands for an output of a task. `field` is '' if it is not written as it should be."""

    task: str
    field: str
    written: str

    @property
    def sound(self) -> bool:
        """Whether it is written as it should be."""
        return bool(self.field)


Values = Mapping[str, Mapping[str, Any]]
"""What tasks hand on: by task, then by name."""


def references(text: str) -> tuple[Reference, ...]:
    """What a text refers to, each once, in the order in which it is there."""
    if "${" not in text:
        return ()
    found = (match for match in _REFERENCE.finditer(text) if not match["literal"])
    return tuple(dict.fromkeys(map(_reference, found)))


def _reference(match: re.Match[str]) -> Reference:
    return Reference(match["task"] or match["other"], match["name"] or "", match["written"][:_MOST_SHOWN])


def fill(text: str, values: Values, put: Callable[[Reference, str], str] | None = None) -> str:
    """`text` with what it refers to in its place; `put` says what to write for a value, which is the value itself.

    Raises:
        UsageError: something that it refers to is not there, is not written as it should be, or is too long.
    """
    if "${" not in text:
        return text
    parts, size, at = list[str](), 0, 0
    for match in _REFERENCE.finditer(text):
        if match["literal"]:
            new = match["written"]
        else:
            reference = _reference(match)
            value = valued(reference, values)
            new = put(reference, value) if put else value
        parts += (text[at : match.start()], new)
        size, at = size + len(new), match.end()
        if size > MOST_TEXT:
            raise UsageError(
                f"with all that it refers to, the text would have more than {MOST_TEXT:,} characters"
            )
    return "".join((*parts, text[at:]))


def valued(reference: Reference, values: Values) -> str:
    """What a reference stands for.

    Raises:
        UsageError: nothing, or it is not written as it should be.
    """
    if not reference.sound:
        raise UsageError(f"{reference.written!r} is not written as {FORM}; {AS_TEXT}")
    handed_on = values.get(reference.task)
    if handed_on is None:
        raise UsageError(f"{reference.written}: task {reference.task} has handed on nothing")
    if reference.field not in handed_on:
        others = ", ".join(sorted(filter(_plain, handed_on))[:10])
        told = f"only {others}" if others else "nothing"
        raise UsageError(
            f"{reference.written}: task {reference.task} has not handed on {reference.field} ({told})"
        )
    return as_text(handed_on[reference.field])


def as_text(value: Any) -> str:
    """A value as it stands in a text: what is no text is compact JSON, what is too long is cut."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    text = text.encode("utf-8", "backslashreplace").decode()  # half a surrogate pair can be kept nowhere
    if len(text) <= MOST_VALUE:
        return text
    return f"{text[:MOST_VALUE]}\n[cut: the first {MOST_VALUE:,} of {len(text):,} characters]"


def _plain(name: str) -> bool:
    return re.fullmatch(_NAME, name) is not None
