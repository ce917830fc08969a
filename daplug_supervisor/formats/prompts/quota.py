"""What is left of subscriptions, as far as daplug's settings ask for that to be looked at.

With ``ai_usage_awareness: enabled`` in the ``<daplug_config>`` of CLAUDE.md, daplug asks the tool cclimits. Its
document is taken for what it says in percent; another shape says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from daplug_supervisor.formats.prompts.models import Registry, Who

NEAR = 90.0
GONE = 100.0
_MAX_DEPTH = 8
_MAX_TEXT = 1 << 20
_USED = frozenset({"used", "used_percent", "percentage", "utilization", "used_percentage", "percent_used"})
_SETTING = re.compile(r"^\s{0,9}ai_usage_awareness\s{0,9}:\s{0,9}(\w+)", re.MULTILINE)
_TOOLS = {
    "openai": "codex",
    "google": "gemini",
    "anthropic": "claude",
    "zai": "zai",
    "synthetic": "synthetic",
}
_BEGINNINGS = (
    ("codex", ("codex", "gpt", "sol", "terra", "luna")),
    ("gemini", ("gemini",)),
    ("claude", ("cc-", "claude", "fable")),
    ("zai", ("glm5", "zai", "opencode")),
    ("synthetic", ("syn",)),
)


def wanted(files: Iterable[str]) -> bool:
    """Whether quotas are to be looked at, as the first CLAUDE.md says that has a word on it."""
    for text in files:
        block = text[:_MAX_TEXT].partition("<daplug_config>")[2].partition("</daplug_config>")[0]
        found = _SETTING.search(block)
        if found:
            return found[1].lower() in {"enabled", "true", "yes", "on"}
    return False


def used(document: bytes) -> dict[str, float]:
    """Of each tool that cclimits names the percentage used, of its fullest window."""
    try:
        said = msgspec.json.decode(document[:_MAX_TEXT])
    except (ValueError, RecursionError):
        return {}
    tools = said.get("tools", said) if isinstance(said, dict) else {}
    if not isinstance(tools, dict):
        return {}
    found = {
        name.lower(): max(_percentages(about, _MAX_DEPTH), default=-1.0) for name, about in tools.items()
    }
    return {name: percent for name, percent in found.items() if percent >= 0}


def _percentages(value: Any, depth: int) -> Iterable[float]:
    if not isinstance(value, dict) or not depth:
        return
    for key, inner in value.items():
        number = _number(inner) if key.lower() in _USED else None
        if number is not None:
            yield number
        yield from _percentages(inner, depth - 1)


def _number(value: Any) -> float | None:
    try:
        number = float(value.strip().rstrip("%") if isinstance(value, str) else value)
    except (TypeError, ValueError):
        return None
    return number if 0 <= number <= 1000 else None  # noqa: PLR2004 (neither a count of tokens nor nan)


def tool(who: Who, registry: Registry) -> str:
    """What cclimits calls the subscription that a model uses, '' if that is not known."""
    found = next((model for model in registry.models if model.name == who.model), None)
    if found is not None:
        return _TOOLS.get(found.model_id.partition(":")[0], "")
    return next((name for name, begins in _BEGINNINGS if who.model.startswith(begins)), "")


def ordered(
    chain: Iterable[Who], percents: Mapping[str, float], registry: Registry
) -> tuple[tuple[Who, ...], list[str]]:
    """A model and its fallbacks, those with nothing left after the others; and what to say about it."""
    chain = tuple(chain)
    of = {who: percents.get(tool(who, registry), -1.0) for who in chain}
    notes = [
        f"quota: {who.label} has used {percent:.0f} %"
        + (", and comes last" if percent >= GONE and len(chain) > 1 else "")
        for who, percent in of.items()
        if percent >= NEAR
    ]
    return tuple(sorted(chain, key=lambda who: of[who] >= GONE)), notes
