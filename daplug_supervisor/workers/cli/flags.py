"""The flags that a CLI is started with: ours, and those of a provider's option `args`, which take the place of ours."""

from __future__ import annotations

from collections.abc import Mapping

from daplug_supervisor.errors import UsageError
from daplug_supervisor.workers.cli.kinds import Cli

MOST_ARGS = 100
LONGEST_ARG = 8 << 10

_NEVER = frozenset(
    {"-", "--", "-h", "--help", "-V", "--version", "--output-format", "-o", "--format", "--print", "-p"}
)
"""What would change where the prompt comes from, or how the output is to be read."""


def extra(options: Mapping[str, object], cli: Cli) -> list[str]:
    """The option `args` of a provider.

    Raises:
        UsageError: it is no list of flags, or one of them would break what we rely on.
    """
    unknown = sorted(map(str, options.keys() - {"args"}))
    if unknown:
        raise UsageError(f"options: {unknown[0]!r} is not known to the worker cli, which takes args")
    args = options.get("args", [])
    if not isinstance(args, list | tuple) or len(args) > MOST_ARGS:
        raise UsageError(f"options.args: a list of at most {MOST_ARGS} texts is expected")
    checked: list[str] = []
    for arg in args:
        if not isinstance(arg, str) or not arg or "\0" in arg or len(arg) > LONGEST_ARG:
            raise UsageError(f"options.args: each is a text of 1 to {LONGEST_ARG} characters")
        checked.append(arg)
    if checked and not checked[0].startswith("-"):
        raise UsageError(f"options.args: begins with a flag, not with {checked[0]!r}")
    refused = (_NEVER - {"-p"} if cli.name == "codex" else _NEVER) | cli.refused
    for arg in checked:
        if name_of(arg) in refused:
            raise UsageError(f"options.args: {name_of(arg)} is not for users of the worker cli")
    return checked


def joined(ours: list[str], theirs: list[str], cli: Cli) -> list[str]:
    """Ours without those that theirs replace, and theirs."""
    given = {cli.aliases.get(name_of(arg), name_of(arg)) for arg in theirs if arg.startswith("-")}
    # --config is given once for each setting.
    return [flag for flag in ours if name_of(flag) not in given - {"--config", "--add-dir"}] + theirs


def name_of(arg: str) -> str:
    """The flag without its value."""
    return arg.partition("=")[0]
