"""Elements of a page: whatever is not made here is text, and text is made harmless before it gets in."""

from __future__ import annotations

import html
from collections.abc import Iterable

from daplug_supervisor.views.text import clean

_VOID = frozenset({"meta", "br", "hr"})


class Safe(str):
    """Markup of our own making."""

    __slots__ = ()


def escaped(text: object) -> Safe:
    """Text for a page: control, format and invisible characters are made visible, marks of HTML are escaped."""
    return text if isinstance(text, Safe) else Safe(html.escape(clean(str(text))))


def joined(parts: Iterable[object], between: str = "") -> Safe:
    """Parts beside each other; what is not markup is escaped."""
    return Safe(between.join(map(escaped, parts)))


def el(name: str, /, *children: object, **attributes: object) -> Safe:
    """An element. In attribute names ``_`` stands for ``-``, and one at the end is dropped; None is left out.

    A number that is not whole keeps one digit.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(_plain(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Safe(f"<{name}{given}>" + ("" if name in _VOID else f"{joined(children)}</{name}>"))


def _plain(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    return value
