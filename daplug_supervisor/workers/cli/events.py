"""Reads the JSON lines that CLIs print, and takes values out of objects that may have any shape."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from contextlib import suppress

from msgspec.structs import replace

from daplug_supervisor.core.results import Usage
from daplug_supervisor.workers.cli.kinds import Event, Fault

LONGEST_FAULT = 16 << 10
"""Characters of an error that are searched."""

MOST_FAULTS = 20
_LARGEST = 2**53


def events(stdout: bytes) -> Iterator[Event]:
    """The JSON objects among the lines, in order; whatever else there is is passed over."""
    for line in stdout.splitlines():
        if not line.lstrip().startswith(b"{"):
            continue
        with suppress(ValueError, RecursionError):
            yield json.loads(line)  # what begins with a brace is an object, or no JSON


def other_lines(stdout: bytes) -> list[str]:
    """The lines that are no JSON objects: what a CLI says before, after, or instead of its events."""
    return [line for line in lines(stdout) if not line.lstrip().startswith("{")]


def lines(output: bytes) -> list[str]:
    """Its lines that are not blank. Only what ends a line for a CLI does: an agent's text may hold other separators."""
    return [line.decode("utf-8", "replace") for line in output.splitlines() if line.strip()]


def inner(event: Event, *path: str) -> Event:
    """The object at a path of keys; empty if there is none."""
    found: object = event
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def text(event: Event, key: str) -> str:
    """The text under a key, '' if there is none."""
    value = event.get(key)
    return value if isinstance(value, str) else ""


def count(event: Event, key: str) -> int | None:
    """The number of tokens under a key, None if there is none that could be one."""
    value = event.get(key)
    return value if type(value) is int and 0 <= value <= _LARGEST else None


def money(event: Event, key: str) -> float | None:
    """The amount under a key, None if there is none that could be one."""
    value = event.get(key)
    if type(value) not in {int, float}:
        return None
    assert isinstance(value, int | float)  # noqa: S101 (for the type checker)
    return float(value) if 0 <= value <= _LARGEST and math.isfinite(value) else None


def fault(said: str, found: object = None) -> Fault:
    """An error in words, and as the object that it came in."""
    whole = "" if found is None else json.dumps(found, ensure_ascii=False)
    return Fault(said or whole[:300] or "an error without words", f"{said}\n{whole}"[:LONGEST_FAULT])


def total(parts: Iterable[int | None]) -> int | None:
    """The sum of what is known; None if nothing is."""
    known = [part for part in parts if part is not None]
    return sum(known) if known else None


def usage(found: Usage) -> Usage | None:
    """None for a usage that says nothing, or only zeros: a CLI that was answered has sent something."""
    if not found.tokens and not found.cost:
        return None
    # A CLI that does not know a model's price says 0.
    return found if found.cost else replace(found, cost=None)


def added(one: Usage, other: Usage) -> Usage:
    """Two usages together, as far as they are known."""
    costs = [each.cost for each in (one, other) if each.cost is not None]
    return Usage(
        input=total((one.input, other.input)),
        cached=total((one.cached, other.cached)),
        output=total((one.output, other.output)),
        reasoning=total((one.reasoning, other.reasoning)),
        cost=sum(costs) if costs else None,
    )
