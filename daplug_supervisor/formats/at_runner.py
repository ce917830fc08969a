"""What daplug's ``at_runner.py`` prints: ``plan ... --json``, and the list of phases of ``parse``.

Its phases are barriers, as they were written. Only where it found the order itself, from what prompts say of each
other, its graph is taken in their place.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from msgspec import Struct, field
from msgspec.structs import replace

from daplug_supervisor.formats.findings import escaped, shown
from daplug_supervisor.formats.imported import AS_DAPLUG, Imported, Reading
from daplug_supervisor.formats.prompts.batch import RUN_TIMEOUT, Batch, Item

Reference = int | str


class _Phase(Struct, frozen=True):
    prompts: list[Reference]
    strategy: Literal["parallel", "sequential"] = "parallel"


class _Flags(Struct, frozen=True):
    worktree: bool = False


class _Missing(Struct, frozen=True):
    query: str


class _Validation(Struct, frozen=True):
    missing: list[_Missing] = field(default_factory=list)


class _Found(Struct, frozen=True):
    dependency_graph: dict[str, list[str]] = field(default_factory=dict)
    cycle_detected: bool = False
    cycle_prompts: list[Reference] = field(default_factory=list)


class _Plan(Struct, frozen=True):
    phases: list[_Phase]
    model: str | None = None
    flags: _Flags = _Flags()


class _Document(Struct, frozen=True):
    plan: _Plan
    validation: _Validation = field(default_factory=_Validation)
    auto_deps: _Found | None = None


def is_one(document: Any) -> bool:
    """Whether a document is one of these, by its keys."""
    if isinstance(document, list):
        return bool(document) and all(
            isinstance(one, dict) and {"phase", "prompts"} <= set(one) for one in document
        )
    if not isinstance(document, dict) or "tasks" in document:
        return False
    plan = document.get("plan", document)
    return isinstance(plan, dict) and is_one(plan.get("phases"))


def read(document: Any, reading: Reading) -> Imported:
    """The plan that was printed.

    Raises:
        PlanError: something in it is wrong.
    """
    if isinstance(document, list):
        document = {"phases": document}
    found = reading.convert(document if "plan" in document else {**document, "plan": document}, _Document)
    for index, lack in enumerate(found.validation.missing):
        message = f"at_runner.py did not find prompt {shown(lack.query)}"
        reading.wrong(("validation", "missing", index), message, "write the prompt, or plan without it")
    if found.auto_deps is not None and found.auto_deps.cycle_detected:
        names = ", ".join(escaped(str(one)) for one in found.auto_deps.cycle_prompts)
        reading.notes.append(f"the prompts wait for each other ({names}), so they run one after another")
    items, known = _in_phases(found.plan, reading)
    graph = found.auto_deps.dependency_graph if found.auto_deps else {}
    if any(graph.values()) and found.auto_deps is not None and not found.auto_deps.cycle_detected:
        items = _by_graph(items, graph, known)
    who = reading.who(found.plan.model, ("plan", "model"))
    batch = Batch(
        who=(who,),
        task=replace(AS_DAPLUG, worktree=found.plan.flags.worktree),
        timeout=RUN_TIMEOUT,
        name="at-run",
    )
    return reading.finish(items, batch, batch.parallel)


def _in_phases(plan: _Plan, reading: Reading) -> tuple[list[Item], dict[str, Path]]:
    """The prompts, each with all of the phase before as its needs; and the paths by reference."""
    items: list[Item] = []
    known: dict[str, Path] = {}
    before: tuple[Path, ...] = ()
    for index, phase in enumerate(plan.phases):
        if not phase.prompts:
            reading.wrong(("phases", index, "prompts"), "the phase is empty", "take it out")
        here: list[Path] = []
        for place, reference in enumerate(phase.prompts):
            word = f"{reference:03}" if isinstance(reference, int) else reference
            prompt = reading.prompt((word,), ("phases", index, "prompts", place))
            if prompt is None or prompt.path in known.values():
                continue
            known[_key(word)] = prompt.path
            items.append(Item(prompt, before))
            here.append(prompt.path)
            if phase.strategy == "sequential":
                before = (prompt.path,)
        before = tuple(here) if here and phase.strategy == "parallel" else before
    return items, known


def _by_graph(items: list[Item], graph: dict[str, list[str]], known: dict[str, Path]) -> list[Item]:
    """The prompts with the needs that the graph says; it may name others, which are left out."""
    needs = {
        known[_key(name)]: tuple(known[_key(other)] for other in others if _key(other) in known)
        for name, others in graph.items()
        if _key(name) in known
    }
    return [Item(item.prompt, needs.get(item.prompt.path, ())) for item in items]


def _key(reference: str) -> str:
    """A reference without the zeros that daplug writes in some places only."""
    folder, slash, last = reference.rpartition("/")
    return f"{folder}{slash}{last.lstrip('0') or '0' if last.isdigit() else last}"
