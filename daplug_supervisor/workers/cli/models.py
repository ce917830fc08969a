"""Which CLI a model is run by, and what the CLI calls it: the plain cases of daplug's shorthands, without daplug.

A shorthand that is the name of a CLI stands for that CLI's own default model.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from daplug_supervisor.core.plan import Assignment
from daplug_supervisor.workers.cli.claude import CLAUDE
from daplug_supervisor.workers.cli.codex import CODEX
from daplug_supervisor.workers.cli.gemini import GEMINI
from daplug_supervisor.workers.cli.kinds import Cli
from daplug_supervisor.workers.cli.opencode import OPENCODE

CLIS: Final[dict[str, Cli]] = {cli.name: cli for cli in (CODEX, OPENCODE, GEMINI, CLAUDE)}


class Model(NamedTuple):
    """A shorthand: the CLI, the model as the CLI calls it ('' for its default), the effort that goes with it."""

    cli: str
    id: str = ""
    effort: str = ""


def _efforts(name: str, model: str) -> dict[str, Model]:
    """A shorthand of codex, and its two with more effort."""
    tried = {"": "", "-high": "high", "-xhigh": "xhigh"}
    return {f"{name}{end}": Model("codex", model, effort) for end, effort in tried.items()}


SHORTHANDS: Final[dict[str, Model]] = {
    **_efforts("codex", ""),
    **_efforts("gpt52", "gpt-5.2"),
    **_efforts("gpt54", "gpt-5.4"),
    **_efforts("gpt55", "gpt-5.5"),
    "codex-spark": Model("codex", "gpt-5.3-codex-spark"),
    "sol": Model("codex", "gpt-5.6-sol"),
    "terra": Model("codex", "gpt-5.6-terra"),
    "luna": Model("codex", "gpt-5.6-luna"),
    "opencode": Model("opencode"),
    "glm5": Model("opencode", "zai/glm-5.2"),
    "glm52": Model("opencode", "zai/glm-5.2"),
    "kimi": Model("opencode", "opencode/kimi-k2.5"),
    "gemini": Model("gemini"),
    "gemini25pro": Model("gemini", "gemini-2.5-pro"),
    "gemini25flash": Model("gemini", "gemini-2.5-flash"),
    "gemini25lite": Model("gemini", "gemini-2.5-flash-lite"),
    "gemini3flash": Model("gemini", "gemini-3-flash-preview"),
    "gemini3pro": Model("gemini", "gemini-3-pro-preview"),
    "gemini31pro": Model("gemini", "gemini-3.1-pro-preview"),
    "claude": Model("claude"),
    "cc-sonnet": Model("claude", "sonnet"),
    "cc-opus": Model("claude", "opus"),
    **{name: Model("claude", name) for name in ("fable", "haiku", "opus", "sonnet")},
}
"""Names that say which CLI and which model; all else is told by how it begins, or by `cli`."""

_BEGINNINGS = (
    (re.compile(r"(gpt-|codex-|o\d)"), "codex"),
    (re.compile(r"gemini-"), "gemini"),
    (re.compile(r"claude-"), "claude"),
    (re.compile(r"[^/]+/"), "opencode"),
)
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@\[\]+-]{0,199}")


class Choice(NamedTuple):
    """Which CLI runs an assignment, with which model and effort; or the `problem` that stops it."""

    cli: str = ""
    model: str = ""
    effort: str = ""
    problem: str = ""


def choose(chosen: Assignment) -> Choice:
    """What an assignment comes to: its `cli` counts, else its model, else the provider's name."""
    name = chosen.cli or _cli_of(chosen.model) or _cli_of(chosen.provider)
    if not name:
        return Choice(problem=f"which CLI runs the model {chosen.model!r} is not known; add `cli: {_ANY}`")
    if name not in CLIS:
        return Choice(problem=f"the CLI {name!r} is not known; `cli` is one of {', '.join(CLIS)}")
    known = SHORTHANDS.get(chosen.model)
    if known is not None and known.cli != name:
        return Choice(
            problem=f"the model {chosen.model!r} is one of {known.cli}, and cannot be run by {name}"
        )
    model = chosen.model if known is None else known.id
    effort = chosen.variant or (known.effort if known else "")
    found = Choice(name, model, "" if effort == "none" else effort)
    return found._replace(problem=_problem(found))


def _problem(found: Choice) -> str:
    cli = CLIS[found.cli]
    if found.model and not _MODEL.fullmatch(found.model):
        return f"{found.model!r} cannot be the name of a model"
    if found.cli == "opencode" and found.model and "/" not in found.model:
        return f"opencode names models as provider/model, and {found.model!r} is none; `opencode models` lists them"
    if found.effort and found.effort not in cli.efforts:
        return f"{found.cli} takes no variant {found.effort!r}; remove `variant`"
    return ""


def _cli_of(name: str) -> str:
    known = SHORTHANDS.get(name)
    if known is not None:
        return known.cli
    return next((cli for beginning, cli in _BEGINNINGS if beginning.match(name)), "")


_ANY = "|".join(CLIS)
