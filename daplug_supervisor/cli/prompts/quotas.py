"""Asking cclimits what is left of subscriptions, if daplug's settings want that and it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from daplug_supervisor.core.environment import handed_on
from daplug_supervisor.formats.prompts import quota

PROGRAM = "cclimits"
_PATIENCE = 20.0
_SETTINGS = "CLAUDE.md"


def percents(target: Path, environ: Mapping[str, str]) -> dict[str, float]:
    """The percentage used of each subscription; empty where nothing is known, or nobody wants to know.

    Never fetches the program, as npx would.
    """
    places = [target / _SETTINGS, Path(environ.get("HOME") or os.devnull) / ".claude" / _SETTINGS]
    if not quota.wanted(_text(place) for place in places):
        return {}
    program = shutil.which(PROGRAM, path=environ.get("PATH", os.defpath))
    if program is None:
        return {}
    try:
        done = subprocess.run(
            [program, "--json"], capture_output=True, stdin=subprocess.DEVNULL, timeout=_PATIENCE, check=False,
            env=dict(handed_on(environ)), cwd=target,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return quota.used(done.stdout)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except (OSError, ValueError):
        return ""
