"""What ``task create``, ``update``, ``split``, ``remove`` and the decisions share: a command is made, and asked for.

Words of a command line are checked here as those of the inbox are, so that a refusal names the option.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from daplug_supervisor.cli import options
from daplug_supervisor.errors import UsageError

if TYPE_CHECKING:
    from daplug_supervisor.core.commands import Command, Verb
    from daplug_supervisor.workspace.files import StateDirectory

LARGEST = 48 << 10
"""Bytes of a text: with all else about it, a command has to fit into the inbox."""

_ID = "letters, digits, '.', '_' and '-', beginning with a letter or a digit, at most 64 of them"
_PLACE = re.compile(r"(?P<field>[a-z_]+)(\[[^]]*\])*`?$")
_OPTIONS = {
    "id": "the name", "run": "--run", "task": "TASK", "text": "TEXT", "needs": "--blocked-by", "parent": "--parent",
    "add_needs": "--blocked-by", "remove_needs": "--not-blocked-by", "provider": "--provider", "model": "--model",
    "priority": "--priority", "timeout": "--timeout", "accept": "--accept", "files": "--file", "outputs": "--output",
}  # fmt: skip
"""What a field of a command is called on the command line."""


def answer_id(function: options.Decorated) -> options.Decorated:
    """``--id``."""
    return click.option(
        "--id", "command_id", metavar="ID",
        help="Of this command: the same one again does nothing more, and gets the same answer.",
    )(function)  # fmt: skip


def dry(function: options.Decorated) -> options.Decorated:
    """``--dry-run``."""
    return click.option("--dry-run", is_flag=True, help="Show what would be affected; store nothing.")(
        function
    )


def seconds(_context: click.Context, _option: click.Parameter, text: str | None) -> float | str | None:
    """A time, in seconds; ``none`` stays as it is."""
    return text if text is None or text == "none" else options.seconds(text)


def ids(words: Iterable[str]) -> list[str]:
    """The ids in words that may each hold several, with commas between them."""
    return [name.strip() for word in words for name in word.split(",") if name.strip()]


def text_of(word: str) -> str:
    """What is said; ``-`` is what standard input says.

    Raises:
        UsageError: it is too long, or no text.
    """
    text = _from_input() if word == "-" else word.encode("utf-8", "backslashreplace").decode()
    if len(text.encode()) > LARGEST:
        raise UsageError(
            f"the text is longer than {LARGEST >> 10} KiB: put it into a file, and have the text name that file"
        )
    if "\0" in text:
        raise UsageError("the text holds a NUL character: that is no text")
    return text


def _from_input() -> str:
    try:
        return sys.stdin.buffer.read(LARGEST + 1).decode("utf-8-sig").rstrip("\n")
    except UnicodeDecodeError as error:
        if error.start > LARGEST - 4:  # cut off in the middle of a character
            return "x" * (LARGEST + 1)
        raise UsageError(f"standard input is not UTF-8 (byte {error.start})") from None
    except (OSError, AttributeError) as error:
        raise UsageError(f"standard input cannot be read: {error}") from None


def command_of(verb: Verb, given: dict[str, Any], command_id: str | None) -> Command:
    """The command of what was given.

    Raises:
        UsageError: it cannot be one; the message names the option.
    """
    import secrets  # noqa: PLC0415 (slow to import, as is what follows: not for --help)

    import msgspec  # noqa: PLC0415

    from daplug_supervisor.core.commands import Command  # noqa: PLC0415
    from daplug_supervisor.core.plan import Id  # noqa: PLC0415

    if command_id is not None:
        try:
            msgspec.convert(command_id, Id)
        except msgspec.ValidationError:
            raise UsageError(f"--id: it has to be of {_ID}") from None
    values = _texts({"id": command_id or secrets.token_hex(8), "verb": verb, **given})
    try:
        return msgspec.convert(values, Command)
    except msgspec.ValidationError as error:
        raise UsageError(_told(str(error))) from None


def _texts(value: Any) -> Any:
    """Plain data in which all words are text: those of a command line may be no text at all."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {key: _texts(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_texts(one) for one in value]
    return value


def _told(message: str) -> str:
    """What was wrong with a value, and of which option it was."""
    what, _, where = message.partition(" - at `")
    place = _PLACE.search(where)
    field = place["field"] if place else ""
    if "matching regex" in what:
        what = f"it has to be of {_ID}"
    if "length >= 1" in what:
        what = "it is empty"
    return f"{_OPTIONS.get(field, field)}: {what}"


def ask(
    state_dir: Path | None, verb: Verb, given: dict[str, Any], command_id: str | None, *, dry_run: bool = False,
    as_json: bool,
) -> int:  # fmt: skip
    """Have a command carried out, or show what it would affect.

    Raises:
        NotPossibleError: it is refused; nothing was changed.
    """
    command = command_of(verb, given, command_id)
    directory = options.directory(state_dir)
    if dry_run:
        return _show(directory, command, as_json=as_json)
    from daplug_supervisor.cli.sending import tell_command  # noqa: PLC0415 (slow to import)

    return tell_command(directory, command, as_json=as_json)


def _show(directory: StateDirectory, command: Command, *, as_json: bool) -> int:
    from daplug_supervisor.cli.output import print_data, width  # noqa: PLC0415 (slow to import)
    from daplug_supervisor.cli.sending import meant  # noqa: PLC0415
    from daplug_supervisor.supervisor.commands.offline import preview  # noqa: PLC0415
    from daplug_supervisor.views.affected import affected_text  # noqa: PLC0415

    found = preview(directory, meant(directory, command))
    print_data(found, affected_text(found, width()), as_json=as_json)
    return 0
