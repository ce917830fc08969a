"""``task complete`` and ``task fail``: how what runs in an attempt hands in its result, without writing JSON itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import get_args

import click

from daplug_supervisor.core.claims import ErrorCategory
from daplug_supervisor.errors import NotPossibleError, UsageError

_VARIABLE = "DAPLUG_RESULT"


@click.command()
@click.argument("name", metavar="[TASK]", required=False)
@click.option("--output", "outputs", multiple=True, metavar="NAME=VALUE", help="Hand this on to later tasks.")
@click.option("--created", multiple=True, metavar="FILE", help="A file that was made.")
@click.option("--modified", multiple=True, metavar="FILE", help="A file that was changed.")
@click.option("--deleted", multiple=True, metavar="FILE", help="A file that was removed.")
@click.option("--learning", "learnings", multiple=True, metavar="TEXT", help="What the next one should know.")
@click.option("--issue", "issues", multiple=True, metavar="TEXT", help="What is not solved.")
@click.option("--decision", "decisions", multiple=True, metavar="TEXT", help="What was decided, and why.")
@click.option("--note", default="", metavar="TEXT", help="Anything else.")
def complete(
    *, name: str | None, outputs: tuple[str, ...], created: tuple[str, ...], modified: tuple[str, ...],
    deleted: tuple[str, ...], note: str, **said: tuple[str, ...],
) -> int:  # fmt: skip
    """Hand in that the task is done. Only within an attempt: whether it is done is looked at after that."""
    files = {"created": created, "modified": modified, "deleted": deleted}
    handed_on = dict(map(_pair, outputs))
    _hand_in(name, {"status": "success", "outputs": handed_on, "files": files, "notes": note, **said})
    return 0


@click.command()
@click.argument("words", metavar="[TASK] MESSAGE", nargs=-1, required=True)
@click.option(
    "--category", type=click.Choice(get_args(ErrorCategory)), default="runtime", help="What has failed."
)
@click.option(
    "--retryable/--not-retryable", default=True, help="Whether another try may help.  [default: it may]"
)
def fail(*, words: tuple[str, ...], category: str, retryable: bool) -> int:
    """Hand in that the task has failed, and why. Only within an attempt."""
    *names, message = words
    if len(names) > 1:
        raise UsageError("give the message as one word: put it in quotes")
    error = {"category": category, "message": message, "retryable": retryable}
    _hand_in(names[0] if names else None, {"status": "failed", "error": error})
    return 0


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise UsageError(f"--output {text}: write NAME=VALUE")
    return name, value


def _hand_in(name: str | None, said: dict[str, object]) -> None:
    """Write the result of the attempt that this runs in.

    Raises:
        NotPossibleError: it runs in none, or in one of another task.
        UsageError: what is said cannot be a result.
    """
    import json  # noqa: PLC0415 (slow to import)

    from daplug_supervisor.core.claims import ClaimError, read  # noqa: PLC0415
    from daplug_supervisor.workspace.files import write_atomically  # noqa: PLC0415

    path, task = os.environ.get(_VARIABLE, ""), os.environ.get("DAPLUG_TASK", "")
    if not path:
        raise NotPossibleError(_outside(name, task))
    if name is not None and name != task:
        raise NotPossibleError(f"this runs in an attempt at task {task}, and hands in nothing for {name}")
    # Words of a command line may be no text at all.
    data = (
        json.dumps(said, indent=1, ensure_ascii=False)
        .encode("utf-8", "backslashreplace")
        .replace(b"\\udc", b"\\\\udc")
    )
    try:
        read(data)
        write_atomically(Path(path), data + b"\n")
    except ClaimError as error:
        raise UsageError(f"that cannot be a result: {error}") from None
    except OSError as error:
        raise NotPossibleError(f"{path}: {error.strerror}") from error


def _outside(name: str | None, task: str) -> str:
    """What to type instead."""
    if task:
        return f"task {task} hands in no result: say `result: true` for it in the plan"
    from daplug_supervisor.views.text import command  # noqa: PLC0415

    which = name or "TASK"
    return (
        f"this is for what runs in an attempt: there is no {_VARIABLE} here\n"
        f"to go on without the task: {command('task', 'skip', which)}\n"
        f"to have it tried again:    {command('task', 'retry', which)}\n"
        f"to stop it for good:       {command('task', 'cancel', which)}"
    )
