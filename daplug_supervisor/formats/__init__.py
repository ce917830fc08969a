"""Foreign plan formats to Plan: YAML, JSON, daplug's prompts, sprints and agent-team plans, PLAN.md."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from daplug_supervisor.core.plan import Plan
from daplug_supervisor.formats.plans.planyaml import load

if TYPE_CHECKING:
    from daplug_supervisor.formats.imported import Imported


def load_plan(path: Path | str) -> Plan:
    """The plan in a YAML or JSON file, with all defaults written into its tasks.

    daplug's ``.sprint-state.json`` and plans of its at_runner are known by their keys; their prompts are looked for in
    the working directory. A PLAN.md is known by its headings (``### [ ] TODO 1: title``).

    Raises:
        PlanError: it cannot be read or used; `PlanError.problems` lists everything that was found.
    """
    found = load_foreign(path)
    return load(Path(path), processors=os.cpu_count() or 1) if found is None else found.plan


def load_foreign(path: Path | str) -> Imported | None:
    """The plan in a file of daplug's, or in a PLAN.md, with what else it says; None if it is no such file.

    Raises:
        PlanError: it is one, and cannot be used.
    """
    from daplug_supervisor.formats import foreign  # noqa: PLC0415 (few plans are)

    return foreign.read(Path(path), Path())
