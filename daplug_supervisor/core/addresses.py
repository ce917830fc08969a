"""Addresses that must not be written down, for whoever has them may speak in our name."""

from __future__ import annotations

import re
from collections.abc import Iterator

from daplug_supervisor.core.secrets import is_suspect, tokens

_LONG = 16
_CHANGES = 3
_CHANGE = re.compile(r"[A-Za-z](?=[-_]?[0-9])|[0-9](?=[-_]?[A-Za-z])")
"""Letters and digits in turn: as random names have them, and words seldom."""


def holds_secret(address: str) -> bool:
    """Whether a web address surely holds a login, or a token: in its path, or in what it asks for."""
    place, _, query = address.partition("://")[2].partition("?")
    host, _, path = place.partition("/")
    if "@" in host or any(tokens(address)):
        return True
    return any(map(_is_random, path.split("/"))) or any(_named(query))


def _named(query: str) -> Iterator[bool]:
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        yield bool(value) and (is_suspect(name) or _is_random(value))


def _is_random(part: str) -> bool:
    return len(part) >= _LONG and len(_CHANGE.findall(part)) >= _CHANGES
