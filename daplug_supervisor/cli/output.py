"""What is printed: data on standard output, everything else on standard error; nothing hostile reaches a terminal."""

from __future__ import annotations

import os
import sys
from functools import cache

import click
import msgspec

from daplug_supervisor.core.secrets import Mask
from daplug_supervisor.views.text import clean, harmless_json

NARROW = 80
WIDE = 160


def width() -> int:
    """Columns to use: the terminal's, between 80 and 160; 100 where there is no terminal."""
    if not sys.stdout.isatty():
        return 100
    import shutil  # noqa: PLC0415 (slow to import; only terminals need it)

    return max(NARROW, min(WIDE, shutil.get_terminal_size().columns))


@cache
def mask() -> Mask:
    """For what agents printed: knows the secrets of our own environment."""
    return Mask.of(os.environ)


def json_text(data: object) -> str:
    """One JSON document, indented."""
    return harmless_json(msgspec.json.format(_encoded(data), indent=2).decode())


def print_json(data: object) -> None:
    """Print one JSON document, indented."""
    click.echo(json_text(data))


def print_json_line(data: object) -> None:
    """One JSON document on one line."""
    click.echo(harmless_json(_encoded(data).decode()))


def _encoded(data: object) -> bytes:
    """JSON. A path that is not UTF-8 has its odd bytes written as escapes."""
    try:
        return msgspec.json.encode(data)
    except UnicodeEncodeError:
        import json  # noqa: PLC0415 (slow to import)

        text = json.dumps(msgspec.to_builtins(data), ensure_ascii=False)
        return text.encode("utf-8", "backslashreplace").replace(b"\\udc", b"\\\\udc")


def print_data(data: object, text: str, *, as_json: bool) -> None:
    """Data as JSON, or as the text that was made of it."""
    if as_json:
        print_json(data)
    else:
        click.echo(text)


def print_harmless(text: str) -> None:
    """Lines that may quote anything, on standard error."""
    for line in mask()(text).splitlines():
        click.echo(clean(line), err=True)


def print_error(
    code: str, message: str, exit_code: int, *, hint: str = "", problems: object = (), as_json: bool = False
) -> None:
    """An error: as text on standard error; with ``--json`` also as an object on standard output."""
    message = mask()(message)
    if as_json:
        print_json(
            {"error": {"code": code, "message": message, "exit_code": exit_code, "problems": problems}}
        )
    lines = [clean(line) for line in message.splitlines()] or [""]
    click.echo(f"daplug-supervise: {lines[0]}", err=True)
    for line in lines[1:]:
        click.echo(f"  {line}", err=True)
    if hint:
        click.echo(f"  {hint}", err=True)
