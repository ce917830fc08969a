"""daplug's ``.sprint-state.json``.

Its `dependencies` are taken, not its `phases`: those are levels, and would let slow prompts hold back others that do
not need them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from msgspec import Struct, field
from msgspec.structs import replace

from daplug_supervisor.core.plan import Loop
from daplug_supervisor.formats.findings import escaped, fit_id, shown
from daplug_supervisor.formats.imported import AS_DAPLUG, Imported, Reading
from daplug_supervisor.formats.prompts.batch import RUN_TIMEOUT, Batch, Item

KEYS = frozenset({"sprint_id", "dependencies", "prompts"})
_QUOTABLE = "VERIFICATION_COMPLETE"
"""daplug's default marker. Ours, which is random, is better: what an agent quotes proves nothing then."""

_OVER = frozenset({"completed", "skipped"})


class _Options(Struct, frozen=True):
    models: str | list[str] = ""
    max_parallel: int = 5
    worktree: bool = False
    loop: bool = False
    max_iterations: int = 3
    completion_marker: str = _QUOTABLE
    base_branch: str | None = None


class _Prompt(Struct, frozen=True):
    id: str
    status: Literal["pending", "in_progress", "completed", "failed", "skipped"] = "pending"
    path: str | None = None
    model: str | None = None


class _State(Struct, frozen=True):
    sprint_id: str
    dependencies: dict[str, list[str]]
    prompts: list[_Prompt]
    schema_version: int = 1
    paused_at: str | None = None
    options: _Options = field(default_factory=_Options)


def read(document: Any, reading: Reading) -> Imported:
    """The plan of a sprint: what of it is not done yet.

    Raises:
        PlanError: something in it is wrong.
    """
    state = reading.convert(document, _State)
    if state.schema_version != 1:
        reading.wrong(
            ("schema_version",), f"version {state.schema_version} is not known", "upgrade the supervisor"
        )
    if state.paused_at:
        remedy = "resume it with 'sprint.py resume', or set paused_at to null, then run it"
        reading.wrong(("paused_at",), f"the sprint is paused since {escaped(state.paused_at)}", remedy)
    paths: dict[str, Path] = {}
    over = {one.id for one in state.prompts if one.status in _OVER}
    items: dict[str, Item] = {}
    for index, one in enumerate(state.prompts):
        if one.id in over:
            continue
        if one.id in items:
            reading.wrong(("prompts", index, "id"), f"{shown(one.id)} is there twice", "keep one")
        if one.status == "in_progress":
            reading.notes.append(
                f"{escaped(one.id)} is in progress in the sprint: see that it does not run twice"
            )
        words = (one.path, one.id) if one.path else (one.id,)
        prompt = reading.prompt(words, ("prompts", index, "path"))
        if prompt is not None:
            paths[one.id] = prompt.path
            items[one.id] = Item(prompt, (), reading.who(_model(one, state), ("prompts", index, "model")))
    known = {one.id for one in state.prompts}
    waiting = _needs(state, known, over, reading)
    ready = [
        replace(item, needs=tuple(paths[other] for other in waiting.get(name, ()) if other in paths))
        for name, item in items.items()
    ]
    if over:
        reading.notes.append(f"{len(over)} of {len(known)} prompts are completed or skipped, and left out")
    return reading.finish(ready, _batch(state, ready), max(1, state.options.max_parallel))


def _model(prompt: _Prompt, state: _State) -> str | None:
    models = state.options.models
    first = models.split(",")[0] if isinstance(models, str) else next(iter(models), "")
    return prompt.model or first.strip() or None


def _needs(state: _State, known: set[str], over: set[str], reading: Reading) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, needs in state.dependencies.items():
        if name not in known:
            continue  # it was taken out of the sprint, which leaves its entry here
        for index, other in enumerate(needs):
            if other not in known:
                remedy = (
                    "take it out of the file; sprint.py takes 'after 10 minutes' for prompt 010 now and then"
                )
                message = f"{escaped(name)} depends on {shown(other)}, which is no prompt of the sprint"
                reading.wrong(("dependencies", name, index), message, remedy)
        found[name] = [other for other in needs if other in known and other not in over]
    return found


def _batch(state: _State, items: list[Item]) -> Batch:
    chosen = state.options
    marker = None if chosen.completion_marker == _QUOTABLE else chosen.completion_marker
    iterations = min(max(1, chosen.max_iterations), 10_000) if chosen.loop else 1
    task = replace(
        AS_DAPLUG, worktree=chosen.worktree, base=chosen.base_branch or None, loop=Loop(iterations, marker)
    )
    return Batch(
        who=tuple(dict.fromkeys(item.who for item in items if item.who))[:1],
        parallel=max(1, chosen.max_parallel),
        task=task,
        timeout=RUN_TIMEOUT,
        name=fit_id(state.sprint_id, "sprint"),
    )
