"""``task create|update|split|remove``: changing a plan while it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from daplug_supervisor.cli import options
from daplug_supervisor.cli.task.asking import answer_id, ask, dry, ids, seconds, text_of
from daplug_supervisor.errors import NotPossibleError, UsageError

if TYPE_CHECKING:
    from daplug_supervisor.cli.options import Decorated

_NONE = "none"
_PRIORITY = click.IntRange(-1000, 1000)

INSTEAD = {
    "pending": "'task retry TASK' has it tried again",
    "ready": "it is when all that it needs is done; 'task skip' of what it waits for goes on without that",
    "running": "it is started when its turn comes; 'task update TASK --priority 100' brings that forward",
    "verifying": "its work is looked at when its attempt has ended",
    "reviewing": "'review: human' in its plan has a person look at its work",
    "landing": "'task approve TASK' lets reviewed work land",
    "done": "work counts as done when it was proven; 'task skip TASK' goes on without it "
    "(and within an attempt 'task complete' hands in its result)",
    "failed": "'task cancel TASK' gives it up (and within an attempt 'task fail' says why it failed)",
    "stuck": "an agent that has a question writes it to $DAPLUG_OUTBOX/needs-input.md",
    "cancelled": "'task cancel TASK' stops it for good",
    "skipped": "'task skip TASK' goes on without it",
}
"""What to use in the place of ``task update --status``, by the status that somebody wants."""

_SAME = {
    "complete": "done", "completed": "done", "finished": "done", "reviewed": "landing", "working": "running",
    "in_progress": "running", "in-progress": "running", "blocked": "pending", "open": "pending", "todo": "pending",
    "canceled": "cancelled", "review": "reviewing",
}  # fmt: skip
"""What other tools call these."""


def _new(function: Decorated) -> Decorated:
    """The options of what new tasks are given."""
    for option in (
        click.option("--model", help="Another model than the provider's."),
        click.option(
            "--provider", help="Who runs it.  [default: as its parent, else what the plan's defaults say]"
        ),
        click.option(
            "--command", is_flag=True, help="TEXT is a line for the shell, not what an agent is told."
        ),
    ):
        function = option(function)
    return function


@click.command()
@click.argument("name")
@click.argument("text")
@click.option(
    "--blocked-by",
    "--needs",
    "needs",
    multiple=True,
    metavar="TASK",
    help="It waits for this one. Repeatable.",
)
@click.option(
    "--parent", metavar="TASK", help="It is a part of this one.  [default, in an attempt: its task]"
)
@_new
@click.option("--priority", type=_PRIORITY, help="Larger goes first among tasks that are ready.")
@click.option("--title", help="For people.")
@click.option("--timeout", metavar="TIME", callback=seconds, help="For one attempt: 90s, 45m, 1h30m.")
@click.option("--accept", multiple=True, metavar="LINE", help="A shell line that must succeed. Repeatable.")
@click.option("--file", "files", multiple=True, metavar="PATH", help="It may change this one. Repeatable.")
@click.option("--output", "outputs", multiple=True, metavar="NAME", help="It hands this on. Repeatable.")
@options.chosen_run
@answer_id
@dry
@options.as_json
@options.state_dir
def create(
    name: str, text: str, *, needs: tuple[str, ...], command: bool, timeout: float | str | None,
    accept: tuple[str, ...], files: tuple[str, ...], outputs: tuple[str, ...], run: str | None,
    command_id: str | None, dry_run: bool, as_json: bool, state_dir: Path | None, **more: Any,
) -> int:  # fmt: skip
    """Add the task NAME to a run; TEXT is what its agent is told ('-': what standard input says).

    What is not said it takes over from its parent, or else from the plan's defaults. In an attempt it becomes a part
    of the attempt's own task.
    """
    new = {
        "id": name,
        "text": text_of(text),
        "command": command,
        "needs": ids(needs),
        "timeout": None if timeout == _NONE else timeout,
        "accept": [{"run": line} for line in accept],
        "files": [*files],
        "outputs": [*outputs],
        **{key: value for key, value in more.items() if value is not None},
    }
    given = {"run": run or "", "new": [new]}
    return ask(state_dir, "create", given, command_id, dry_run=dry_run, as_json=as_json)


@click.command()
@click.argument("name", metavar="[TASK]", required=False)
@click.option("--status", metavar="delegated", help="It waits for its parts, and needs no slot meanwhile.")
@click.option(
    "--blocked-by", multiple=True, metavar="TASK", help="It waits for this one as well. Repeatable."
)
@click.option(
    "--not-blocked-by", multiple=True, metavar="TASK", help="It no longer waits for it. Repeatable."
)
@click.option("--needs", multiple=True, metavar="TASK,...", help="It waits for exactly these ('': for none).")
@click.option("--priority", type=_PRIORITY, help="Larger goes first among tasks that are ready.")
@click.option("--provider", help="Who runs it from now on.")
@click.option("--model", help="Another model than the provider's ('none': the provider's).")
@click.option("--timeout", metavar="TIME", callback=seconds, help="For one attempt: 90s, 45m, 'none'.")
@click.option("--title", help="For people.")
@click.option("--text", help="What its agent is told, or what the shell runs ('-': standard input).")
@options.chosen_run
@answer_id
@dry
@options.as_json
@options.state_dir
def update(
    name: str | None, *, status: str | None, blocked_by: tuple[str, ...], not_blocked_by: tuple[str, ...],
    needs: tuple[str, ...], text: str | None, run: str | None, command_id: str | None, dry_run: bool, as_json: bool,
    state_dir: Path | None, **more: str | float | None,
) -> int:  # fmt: skip
    """Change a task that is not at work, or have it wait for its parts.

    What it has done already stays. In an attempt, '--status delegated' is about the attempt's own task.
    """
    lists = {"needs": needs, "add_needs": blocked_by, "remove_needs": not_blocked_by}
    edit: dict[str, Any] = {key: ids(words) for key, words in lists.items() if words}
    for key, value in more.items():
        if value is not None:
            edit[key] = None if value == _NONE and key in ("model", "timeout") else value
    if text is not None:
        edit["text"] = text_of(text)
    if status is not None:
        _only_delegated(status, edit)
        whole = {"task": name or "", "run": run or ""}
        return ask(state_dir, "delegate", whole, command_id, dry_run=dry_run, as_json=as_json)
    if name is None:
        raise UsageError("say which task is to be changed: 'task update TASK ...'")
    if not edit:
        raise UsageError("say what is to be different: 'task update --help' shows what can be")
    given: dict[str, Any] = {"task": name, "run": run or "", "edit": edit}
    return ask(state_dir, "update", given, command_id, dry_run=dry_run, as_json=as_json)


def _only_delegated(status: str, edit: dict[str, Any]) -> None:
    """Refuse what nobody sets by hand, and say what to type instead."""
    if status != "delegated":
        instead = INSTEAD.get(_SAME.get(status.lower(), status.lower()))
        if instead is None:
            raise UsageError(f"--status: there is no status {status!r}; it can be set to delegated only")
        raise NotPossibleError(f"a task is not set to {status} by hand: {instead}")
    if edit:
        raise UsageError("--status delegated goes alone: change the rest with a second 'task update'")


@click.command()
@click.argument("name", metavar="TASK")
@click.argument("parts", metavar="PART=TEXT...", nargs=-1, required=True)
@click.option("--chain", is_flag=True, help="One after the other, in the order given.")
@_new
@options.chosen_run
@answer_id
@dry
@options.as_json
@options.state_dir
def split(
    name: str, parts: tuple[str, ...], *, chain: bool, command: bool, run: str | None, command_id: str | None,
    dry_run: bool, as_json: bool, state_dir: Path | None, **more: str | None,
) -> int:  # fmt: skip
    """Give the work of TASK to new tasks, its parts: what waits for TASK waits for all of them.

    Once they are done TASK is looked at, as if it had done their work itself.
    """
    own = {key: value for key, value in more.items() if value is not None}
    new: list[dict[str, Any]] = []
    for part in parts:
        part_name, equals, text = part.partition("=")
        if not (equals and part_name and text.strip()):
            raise UsageError(f"{part!r}: write PART=TEXT, for example api='Write the API'")
        needs = [new[-1]["id"]] if chain and new else []
        new.append({"id": part_name, "text": text_of(text), "command": command, "needs": needs, **own})
    given = {"task": name, "run": run or "", "new": new}
    return ask(state_dir, "split", given, command_id, dry_run=dry_run, as_json=as_json)


@click.command()
@click.argument("name", metavar="TASK")
@click.option("--rewire", is_flag=True, help="What needs it needs instead what it needs.")
@click.option("--reason", default="", help="Why, for the journal.")
@options.chosen_run
@answer_id
@dry
@options.as_json
@options.state_dir
def remove(
    name: str, *, rewire: bool, reason: str, run: str | None, command_id: str | None, dry_run: bool, as_json: bool,
    state_dir: Path | None,
) -> int:  # fmt: skip
    """Take a task out of a run. Its parts, if it has any, go on without it."""
    given = {"task": name, "run": run or "", "force": rewire, "reason": text_of(reason)}
    return ask(state_dir, "remove", given, command_id, dry_run=dry_run, as_json=as_json)


COMMANDS = (create, update, split, remove)
