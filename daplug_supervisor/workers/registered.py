"""What daplug's registry of models says of a model: which CLI runs it, and whose it is."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import msgspec
from msgspec import Struct

from daplug_supervisor.core.plan import Assignment

WITHIN = Path("scripts", "models.json")
"""In a checkout of daplug, and in the installed plugin."""

MOST_BYTES = 4 << 20
_UP = 3  # from skills/prompt-executor/scripts
_ALIASES = {"cc": "claude", "claudecode": "claude", "antigravity": "agy"}


class _Model(Struct, frozen=True):
    name: str
    model_id: str = ""
    default_cli: str = ""


class _Registry(Struct, frozen=True):
    models: list[_Model]


class Registered:
    """The registry beside an executor.py, read when it is first asked for. One that is not there knows nothing."""

    def __init__(self, executor: str) -> None:
        self._executor = executor

    def account(self, chosen: Assignment) -> str:
        """``cli:provider``, which is what shares a login and its limits; '' if that is not known."""
        model = self._models.get(chosen.model)
        if model is None:
            return ""
        cli = _ALIASES.get(chosen.cli or "", chosen.cli) or model.default_cli
        provider, colon, _ = model.model_id.partition(":")
        return f"{cli}:{provider}" if cli not in {"", "subagent"} and provider and colon else ""

    @cached_property
    def _models(self) -> dict[str, _Model]:
        parents = Path(self._executor).parents
        if not self._executor or len(parents) <= _UP:
            return {}
        try:
            with (parents[_UP] / WITHIN).open("rb") as file:
                found = msgspec.json.decode(file.read(MOST_BYTES), type=_Registry)
        except (OSError, ValueError, RecursionError):  # not there, or in a shape of the future
            return {}
        return {model.name: model for model in found.models}
