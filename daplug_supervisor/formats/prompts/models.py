"""Who runs a prompt: ``model``, or ``model:cli``, in daplug's words; and what daplug's registry knows of models."""

from __future__ import annotations

import re
from typing import Literal

import msgspec
from msgspec import Struct, field

from daplug_supervisor.errors import UsageError
from daplug_supervisor.formats.findings import Nearest, choice, shown
from daplug_supervisor.formats.prompts.hints import Said

Variant = Literal["none", "low", "medium", "high", "xhigh"]

CLIS = {
    "codex": "codex",
    "opencode": "opencode",
    "claude": "claude",
    "claudecode": "claude",
    "cc": "claude",
    "agy": "agy",
    "antigravity": "agy",
    "gemini": "gemini",
}
"""What may be written for a command-line tool, and daplug's own name of it."""

DEFAULT_MODEL = "codex"
"""daplug's own default, claude, is a subagent of a Claude session, which does not exist here."""

MOST_BYTES = 4 << 20
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,79}")
_CODEX = frozenset({"high", "xhigh"})


class Who(Struct, frozen=True):
    """A model, and the command-line tool and effort if they are not the model's own."""

    model: str
    cli: str | None = None
    variant: Variant | None = None

    @property
    def label(self) -> str:
        """``model`` or ``model-cli``: what tells two of them apart."""
        return f"{self.model}-{self.cli}" if self.cli else self.model


class _Routing(Struct, frozen=True):
    cli_overrides: list[str] = field(default_factory=list)


class _Model(Struct, frozen=True):
    name: str
    model_id: str = ""
    default_cli: str = ""
    routing: _Routing = _Routing()


class Registry(Struct, frozen=True):
    """daplug's ``models.json``. Without one every model may be known, and every variant may do."""

    models: tuple[_Model, ...] = ()

    def names(self) -> list[str]:
        """The shorthands."""
        return [model.name for model in self.models]

    def problem(self, who: Who) -> str:
        """Why daplug would refuse a model, or ''."""
        known = {model.name: model for model in self.models}
        if not known:
            return ""
        found = known.get(who.model)
        if found is None:
            names = self.names()
            return f"unknown model {shown(who.model)}: {choice(who.model, names, Nearest(names))}"
        able = found.routing.cli_overrides
        if who.cli and who.cli not in able:
            return f"{who.model} does not run in {who.cli}, only in {', '.join(able) or found.default_cli}"
        return ""

    def takes(self, who: Who, variant: str) -> bool:
        """Whether a model has this effort, in the tool that runs it."""
        found = next((model for model in self.models if model.name == who.model), None)
        if found is None:
            return not self.models
        cli = who.cli or found.default_cli
        if cli == "codex":
            return variant in _CODEX and found.model_id.startswith("openai:") and who.model != "codex-spark"
        return cli == "opencode"


def read_registry(data: bytes) -> Registry:
    """What daplug's registry says; an empty one if it is in a shape of the future."""
    try:
        return msgspec.json.decode(data[:MOST_BYTES], type=Registry)
    except (ValueError, RecursionError):
        return Registry()


def parse(text: str) -> Who:
    """``model`` or ``model:cli``.

    Raises:
        UsageError: it is neither.
    """
    model, colon, cli = (part.strip() for part in text.strip().partition(":"))
    if not _MODEL.fullmatch(model):
        raise UsageError(f"{shown(text)} is not a model: write one such as codex, or codex:opencode")
    if colon and cli.lower() not in CLIS:
        raise UsageError(
            f"{shown(text)}: there is no such CLI; known: {', '.join(dict.fromkeys(CLIS.values()))}"
        )
    return Who(model, CLIS[cli.lower()] if colon else None)


def mixture(text: str, registry: Registry, variant: Variant | None = None) -> tuple[Who, ...]:
    """The models of ``--moa a,b[,model:cli]``, each once; those that do not have the `variant` do without.

    Raises:
        UsageError: fewer than two, unknown ones, or model claude without a CLI.
    """
    found: dict[str, Who] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        who = parse(part)
        if who == Who("claude"):
            raise UsageError(
                "--moa: claude runs only inside a Claude session; take cc-sonnet, cc-opus or claude:claude"
            )
        problem = registry.problem(who)
        if problem:
            raise UsageError(f"--moa: {problem}")
        found[who.label] = fitted(who, registry, variant)
    if len(found) < 2:  # noqa: PLR2004
        raise UsageError("--moa needs at least two different models: --moa codex,gemini")
    return tuple(found.values())


def fitted(who: Who, registry: Registry, variant: Variant | None) -> Who:
    """A model with this effort, if it has that."""
    able = variant is not None and registry.takes(who, variant)
    return Who(who.model, who.cli, variant) if able else who


def hinted(said: Said, who: Who, registry: Registry) -> tuple[Who | None, str]:
    """Who runs a prompt whose front matter has `model_hint` or `cli_hint`, in place of `who`; and a note about it."""
    model, cli = said.hint("model_hint"), said.hint("cli_hint")
    if not model and not cli:
        return None, ""
    if cli and cli.lower() not in CLIS:
        return None, f"its cli_hint {shown(cli)} is no CLI, and not followed"
    try:
        wished = parse(model or who.model)
    except UsageError:
        return None, f"its model_hint {shown(model)} is no model, and not followed"
    tool = CLIS[cli.lower()] if cli else wished.cli or ("claude" if wished.model == "claude" else None)
    found = fitted(Who(wished.model, tool), registry, who.variant)
    problem = registry.problem(found)
    if problem:
        return None, f"its hint is not followed: {problem}"
    return found, f"runs with {found.label}, as its front matter says"
