"""The options of ``run-prompt``: those of daplug's run-prompt, and ours."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from math import inf
from typing import Any

import click
import msgspec

from daplug_supervisor.cli.prompts.slots import BARE, slots
from daplug_supervisor.core.plan import Budget, parse_duration

NO_LIMIT = "none"
_MARKER = re.compile(r"[A-Za-z0-9._-]{1,80}")
_AMOUNTS = {"k": 1_000, "m": 1_000_000}

Decorated = Callable[..., Any]


def seconds(_context: click.Context, _option: click.Parameter, text: str | None) -> float | None:
    """A duration; ``none`` is no limit."""
    if text is None or text == NO_LIMIT:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}: write 90s, 45m, 1h30m, or none") from None


def limit(context: click.Context, option: click.Parameter, text: str | None) -> float | None:
    """A duration; infinite for ``none``, and None if nothing was said."""
    return inf if text == NO_LIMIT else seconds(context, option, text)


def budget(_context: click.Context, _option: click.Parameter, text: str | None) -> Budget | None:
    """``tokens=2M,cost=5,attempts=40``."""
    if text is None:
        return None
    values: dict[str, float] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, _, amount = part.partition("=")
        try:
            number = float(amount.rstrip("kKmM")) * _AMOUNTS.get(amount[-1:].lower(), 1)
            values[name] = number if name == "cost" else int(number)
        except (ValueError, OverflowError):
            raise click.BadParameter(f"{part!a}: write tokens=2M, cost=5 or attempts=40") from None
    try:
        return msgspec.convert(values, Budget)
    except msgspec.ValidationError as error:
        raise click.BadParameter(f"{error}: write tokens=2M,cost=5,attempts=40") from None


def marker(_context: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    """What an agent prints when it is done."""
    if text is not None and not _MARKER.fullmatch(text):
        raise click.BadParameter(f"{text!a}: up to 80 letters, digits, '.', '_', '-'")
    return text


def words(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[str, ...] | None:
    """A command line, split as a shell would, and run without one."""
    try:
        found = tuple(shlex.split(text or ""))
    except ValueError as error:
        raise click.BadParameter(f"{error} in {text!a}") from None
    return found or None


_EFFORT = click.Choice(["none", "low", "medium", "high", "xhigh"])
_CLI = click.Choice(
    ["codex", "opencode", "claude", "claudecode", "cc", "agy", "antigravity", "gemini"], case_sensitive=False
)

_WHO = [
    click.option("--model", "-m", metavar="MODEL", help="daplug's shorthand of the model.  [default: codex]"),
    click.option(
        "--moa",
        metavar="A,B[:CLI],...",
        help="Give each prompt to each of these models, in worktrees of their own.",
    ),
    click.option("--cli", type=_CLI, help="The command-line tool that runs the model."),
    click.option("--variant", type=_EFFORT, help="Effort, where the model has that."),
    click.option(
        "--fallback",
        multiple=True,
        metavar="MODEL[:CLI]",
        help="Takes over while the model before it is limited or stopped; may be given several times.",
    ),
    click.option("--no-hints", is_flag=True, help="Whatever prompts say in model_hint and cli_hint."),
    click.option(
        "--worker",
        type=click.Choice(["executor", "cli"]),
        default="executor",
        show_default=True,
        help="daplug's executor.py, or the models' CLIs without daplug.",
    ),
]
_ORDER = [
    click.option(
        "--parallel",
        "-p",
        type=str,
        callback=slots,
        default=BARE,
        show_default=True,
        metavar="[N]",
        help="How many at once, all together; 002 after it is a prompt.",
    ),
    click.option(
        "--auto-deps", is_flag=True, help="Let prompts wait for those that they say they depend on."
    ),
]
_PLACE = [
    click.option("--worktree", "-w", is_flag=True, help="Each prompt in a git worktree of its own."),
    click.option("--base-branch", "-b", "base", metavar="REF", help="What worktrees branch from."),
    click.option(
        "--on-conflict",
        type=click.Choice(["error", "reuse", "increment", "remove"]),
        default="error",
        show_default=True,
        help="If a worktree of that name is there already.",
    ),
    click.option("--cwd", "-c", metavar="DIR", help="Where prompts work, below the working directory."),
    click.option(
        "--setup", metavar="COMMAND", callback=words, help="Gets the directory ready before an agent starts."
    ),
    click.option(
        "--setup-timeout",
        default="15m",
        show_default=True,
        callback=seconds,
        metavar="TIME",
        help="For --setup.",
    ),
    click.option("--sandbox", is_flag=True, help="daplug's sandbox around the agent."),
    click.option("--no-sandbox", is_flag=True, help="None, whatever else is said."),
    click.option(
        "--sandbox-profile", type=click.Choice(["strict", "balanced", "dev"]), help="Implies --sandbox."
    ),
    click.option("--sandbox-type", type=click.Choice(["bubblewrap"]), help="Implies --sandbox."),
    click.option("--sandbox-workspace", metavar="DIR", help="Implies --sandbox."),
    click.option("--sandbox-net", type=click.Choice(["on", "off"]), help="Implies --sandbox."),
    click.option(
        "--dangerously-bypass-permissions",
        is_flag=True,
        help="Claude may write anywhere, without a sandbox too.",
    ),
]
_LOOP = [
    click.option("--loop", "-l", is_flag=True, help="The verification loop; there always is one."),
    click.option("--max-iterations", type=click.IntRange(1, 10_000), default=3, show_default=True),
    click.option(
        "--completion-marker",
        metavar="TEXT",
        callback=marker,
        help="Instead of a random one for each attempt.",
    ),
    click.option(
        "--require-diff", is_flag=True, help="Without a change to files nothing counts as complete."
    ),
]
_LIMITS = [
    click.option(
        "--timeout",
        default="45m",
        show_default=True,
        callback=seconds,
        metavar="TIME",
        help="For one attempt: 90s, 45m, 1h30m, none.",
    ),
    click.option(
        "--idle-timeout", callback=seconds, metavar="TIME", help="For an attempt that shows no sign of work."
    ),
    click.option(
        "--run-timeout",
        callback=limit,
        metavar="TIME",
        help="For all together, as long as something is at work; then nothing more is started.  "
        "[default: 3h for groups, else none]",
    ),
    click.option(
        "--attempts",
        type=click.IntRange(1, 100),
        default=3,
        show_default=True,
        help="Tries for each prompt.",
    ),
    click.option(
        "--budget",
        callback=budget,
        metavar="LIMITS",
        help="For all together: tokens=2M,cost=5,attempts=40. Reaching one halts the run.",
    ),
    click.option(
        "--pass-env",
        multiple=True,
        metavar="NAME",
        help="Hand this variable on (or NAME_*); may be given several times.",
    ),
]
_RUNNING = [
    click.option("--fresh", is_flag=True, help="Begin a new run, whatever the last one left undone."),
    click.option(
        "--dry-run",
        "--info-only",
        "-i",
        "dry_run",
        is_flag=True,
        help="Show what would be done; start nothing.",
    ),
    click.option("--run", "-r", is_flag=True, help="Accepted, as daplug has it: prompts are run."),
    click.option("--tmux", "-t", is_flag=True, help="Accepted: the run outlives the terminal in any case."),
]


def prompt_options(function: Decorated) -> Decorated:
    """All of them."""
    for option in reversed([*_WHO, *_ORDER, *_PLACE, *_LOOP, *_LIMITS, *_RUNNING]):
        function = option(function)
    return function
