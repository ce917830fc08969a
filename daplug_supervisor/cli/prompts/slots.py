"""``--parallel``, as it may be written: bare, ``--parallel 4``, ``-p 4``, ``--parallel=4``, before prompts too.

A plain number is how many at once; ``002`` and ``1-4`` are prompts. So is a number of three or more digits for which
there is a prompt: daplug's numbers have as many.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import click

from daplug_supervisor.cli import options
from daplug_supervisor.errors import UsageError

BARE = 3
MOST = 10_000
NAMES = ("--parallel", "-p")

_PLACED = "the supervisor makes worktrees and names attempts itself: say --worktree"
ELSEWHERE = {
    "--prompt-file": "give the file's path as a selector",
    "--prompt-number": _PLACED,
    "--execution-timestamp": _PLACED,
    "--worktree-path": _PLACED,
    "--branch-name": _PLACED,
    "--original-repo-root": "go to that directory first",
    "--loop-status": "see 'daplug-supervise status' and 'daplug-supervise task show'",
}
"""Options that executor.py has, and what is said here in their place."""

_NEEDLESS = "--loop-foreground"
_PLAIN = re.compile(r"0|[1-9][0-9]{0,5}")
_DIGITS_OF_PROMPTS = 3


def slots(_context: click.Context, _option: click.Parameter, value: Any) -> int:
    """How many at once, as a plain number."""
    text = str(value)
    if not _PLAIN.fullmatch(text):
        raise click.BadParameter(
            f"{text!a} is not a plain number; --parallel 4 is how many at once, 004 is a prompt"
        )
    if not 1 <= int(text) <= MOST:
        raise click.BadParameter(f"{text} is not from 1 to {MOST}")
    return int(text)


class PromptCommand(click.Command):
    """A command with such an option, whose arguments may be arrows."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Make the arguments such as click can read, and refuse what only executor.py has a use for."""
        for word in args[: args.index("--") if "--" in args else None]:
            name = word.partition("=")[0]
            if name in ELSEWHERE:
                raise click.UsageError(f"{name} is not for here: {ELSEWHERE[name]}", ctx)
        return super().parse_args(ctx, rewritten(args, _is_prompt))


def rewritten(words: Iterable[str], is_prompt: Callable[[str], bool]) -> list[str]:
    """The words with ``--parallel`` and its number in one, and with arrows that do not look like options.

    Args:
        words: as they were typed.
        is_prompt: whether there is a prompt of this number.
    """
    found: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "--":
            return [*found, word, *left]
        if word in NAMES:
            plain = bool(left) and _PLAIN.fullmatch(left[0]) is not None
            prompt = plain and len(left[0]) >= _DIGITS_OF_PROMPTS and is_prompt(left[0])
            word = f"--parallel={left.pop(0) if plain and not prompt else BARE}"
        elif word == _NEEDLESS:
            continue
        elif word.startswith("->"):
            word = f" {word}"
        found.append(word)
    return found


def _is_prompt(number: str) -> bool:
    from daplug_supervisor.formats.prompts import files as prompts  # noqa: PLC0415 (only for numbers that may be meant otherwise)

    try:
        prompts.resolve(number, options.here())
    except prompts.SelectionError as error:
        return "ambiguous" in str(error)
    except UsageError:
        return False
    return True
