"""Getting an attempt's bundle ready: its directory, its prompt and inputs, and the file that says what it got."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from daplug_supervisor.core.bundle import Bundle
from daplug_supervisor.workspace.files import BUNDLE, PROMPT, make_private, open_output, write_atomically

INPUTS = "inputs.json"
"""In the attempt's directory: what it was given, by name."""

REMARKS = "remarks.json"
"""In the attempt's directory: what people said of attempts before it, the oldest first."""

OUTBOX = "outbox"
"""In the attempt's directory: where its outbox is."""

VERIFICATION = "verification.json"
"""In the attempt's directory: what was found in the latest look at its work."""

_LONGEST_PATH = 8 << 10


def write(bundle: Bundle, prompt: str) -> None:
    """Write the prompt, the inputs and the bundle's file into the attempt's directory.

    Raises:
        OSError: they could not be written.
    """
    import hashlib  # noqa: PLC0415 (slow to import; plans of commands do without it)

    write_inputs(bundle)
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


def write_inputs(bundle: Bundle) -> None:
    """Write what the attempt is given, and where its outbox is, into its directory; nothing if there is none of it.

    Raises:
        OSError: it could not be written.
    """
    directory = Path(bundle.directory)
    if bundle.inputs or bundle.outbox or bundle.remarks:
        make_private(directory)
    if bundle.inputs:
        data = msgspec.json.encode(bundle.inputs)
        write_atomically(directory / INPUTS, msgspec.json.format(data, indent=2) + b"\n")
    if bundle.remarks:
        data = msgspec.json.encode(bundle.remarks)
        write_atomically(directory / REMARKS, msgspec.json.format(data, indent=2) + b"\n")
    if bundle.outbox:
        write_atomically(directory / OUTBOX, os.fsencode(bundle.outbox))


def outbox_of(directory: str) -> str:
    """Where the outbox of an attempt is, as its directory says; '' if it was given none."""
    try:
        with open_output(Path(directory) / OUTBOX) as file:
            return os.fsdecode(file.read(_LONGEST_PATH))
    except OSError:
        return ""
