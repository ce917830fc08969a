"""The exit record as it is kept and sent: one line of JSON in a room of fixed size."""

from __future__ import annotations

from typing import Any

from .protocol import RECORD_SIZE

_LONGEST_TEXT = 360
"""Characters of a text in a record: with two of them it has to fit into `RECORD_SIZE`."""


def written(record: dict[str, Any]) -> bytes:
    """A record as it is kept and sent."""
    return as_json(record).ljust(RECORD_SIZE - 1) + b"\n"


def as_json(record: dict[str, Any]) -> bytes:
    """JSON of a flat record; the json module is imported only for the rare text that needs escaping."""
    parts = []
    for key, value in record.items():
        if value is None:
            text = "null"
        elif isinstance(value, str):
            text = _text(value)
        else:
            text = repr(value)
        parts.append(f'"{key}":{text}')
    return ("{" + ",".join(parts) + "}").encode()


def _text(value: str) -> str:
    """A text as JSON, cut so that the record never outgrows its room; bytes that are no text become ``?``."""
    value = value.encode("utf-8", "replace").decode()
    if value.isascii() and value.isprintable() and '"' not in value and "\\" not in value:
        return f'"{value[:_LONGEST_TEXT]}"'
    import json  # noqa: PLC0415

    while len(text := json.dumps(value)) > _LONGEST_TEXT:
        value = value[: len(value) * _LONGEST_TEXT // len(text)]
    return text
