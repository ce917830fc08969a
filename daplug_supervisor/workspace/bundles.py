"""Getting an attempt's bundle ready: its directory, its prompt, and the file that says what it got."""

from __future__ import annotations

from pathlib import Path

import msgspec

from daplug_supervisor.core.bundle import Bundle
from daplug_supervisor.workspace.files import BUNDLE, PROMPT, make_private, write_atomically


def write(bundle: Bundle, prompt: str) -> None:
    """Write the prompt and the bundle's file into the attempt's directory.

    Raises:
        OSError: they could not be written.
    """
    import hashlib  # noqa: PLC0415 (slow to import; plans of commands do without it)

    directory = Path(bundle.directory)
    make_private(directory)
    text = prompt.encode()
    write_atomically(directory / PROMPT, text)
    record = {
        "version": 1,
        "name": bundle.name,
        "bundle": bundle,
        "checksums": {PROMPT: f"sha256:{hashlib.sha256(text).hexdigest()}"},
    }
    write_atomically(directory / BUNDLE, msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")
