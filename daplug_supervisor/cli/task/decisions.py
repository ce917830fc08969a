"""``task retry|skip|cancel|approve|reject|answer``: what a person decides about one task."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from daplug_supervisor.cli import options
from daplug_supervisor.cli.task.asking import answer_id, ask, dry, text_of

if TYPE_CHECKING:
    from daplug_supervisor.cli.options import Decorated
    from daplug_supervisor.core.commands import Verb

_FORCE = click.option("--force", is_flag=True, help="Even if another try cannot help.")
_REASON = click.option("--reason", "words", default="", help="Why, for the journal.")


def _decision(verb: Verb, text: str, *own: Decorated) -> click.Command:
    """A command that tells the run something about one task; what is its own comes first in its help."""

    @options.chosen_run
    @answer_id
    @options.as_json
    @options.state_dir
    def decide(
        name: str, *, words: str, run: str | None, command_id: str | None, as_json: bool, state_dir: Path | None,
        force: bool = False, dry_run: bool = False,
    ) -> int:  # fmt: skip
        given = {"task": name, "run": run or "", "reason": text_of(words), "force": force}
        return ask(state_dir, verb, given, command_id, dry_run=dry_run, as_json=as_json)

    decided: Decorated = decide
    for option in reversed(own):
        decided = option(decided)
    return click.command(verb, help=text)(click.argument("name", metavar="TASK")(decided))


def _remark(*, required: bool, what: str) -> Decorated:
    more: dict[str, Any] = {"required": True} if required else {"default": ""}
    told = f"{what} ('-': what standard input says)"
    return click.option("--remark", "--reason", "words", metavar="TEXT", help=told, **more)


COMMANDS = (
    _decision("retry", "Try an ended task again, with its tries counted anew.", _REASON, _FORCE, dry),
    _decision("skip", "Go on without a task: what needs it may start.", _REASON, dry),
    _decision("cancel", "Stop a task for good: what needs it stays blocked.", _REASON, dry),
    _decision(
        "approve",
        "Accept work that waits for review: it lands.",
        _remark(required=False, what="For the journal."),
    ),
    _decision(
        "reject",
        "Have work that waits for review done again, by an agent that is told why.",
        _remark(required=True, what="What is to be different: the next attempt is told."),
    ),
    _decision(
        "answer",
        "Answer what the agent of a stuck task asked: it is tried again, and told TEXT.",
        click.argument("words", metavar="TEXT"),
    ),
)
