"""Foreign plan formats to Plan: YAML, JSON, daplug prompts."""

from __future__ import annotations

import os
from pathlib import Path

from daplug_supervisor.core.plan import Plan
from daplug_supervisor.formats.planyaml import load


def load_plan(path: Path | str) -> Plan:
    """The plan in a YAML or JSON file, with all defaults written into its tasks.

    Raises:
        PlanError: it cannot be read or used; `PlanError.problems` lists everything that was found.
    """
    return load(Path(path), processors=os.cpu_count() or 1)
