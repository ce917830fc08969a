"""Criteria that are not run: what the program that runs them would have printed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from daplug_supervisor.core.results import Exit
from daplug_supervisor.ports import Launch
from daplug_supervisor.processes import criteria
from daplug_supervisor.testing.script import Script

Shown = Literal["", "code", "environment", "unknown", "late", "unsaid"]
"""How a criterion ends: it holds (''), it speaks against something, it takes too long, nothing is known of its end."""

_LINES: dict[Shown, dict[str, Any]] = {
    "": {"code": 0},
    "code": {"code": 1},
    "environment": {"code": 127},
    "unknown": {"code": -9},
    "late": {"code": -15, "late": True},
}


def criteria_of(launch: Launch) -> int:
    """How many criteria this runs; 0 if it is something else: an attempt, or a hook."""
    if launch.argv[-2:-1] != (criteria.__file__,):
        return 0
    return len(json.loads(Path(launch.argv[-1]).read_bytes())["criteria"])


def shows(launch: Launch, ends: Sequence[Shown] = (), seconds: float = 1.0) -> Script:
    """What a launch that runs criteria does: they end so, one after another; those that are not said hold."""
    lines = []
    for number in range(criteria_of(launch)):
        end = ends[number] if number < len(ends) else ""
        if end != "unsaid":
            lines.append(json.dumps({"criterion": number, "seconds": 0.1, "printed": True, **_LINES[end]}))
    printed = "\n".join([*lines, ""]).encode()
    return Script(seconds, Exit(0), stdout=printed or b"\n")  # never nothing: an older file would stay
