"""The context folder of a PLAN.md: what its TODOs hand on, have learnt, found and decided.

Files are replaced as a whole while the folder is locked, so that two TODOs that end at once both are kept, and a crash
leaves either the old file or the new one. Whatever is done here may be done again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from daplug_supervisor.core.claims import Claim
from daplug_supervisor.core.instructions.passing import Wisdom
from daplug_supervisor.formats.todos.context_words import Halt, as_json, merged, newest, with_halt, with_items
from daplug_supervisor.formats.todos.folder import Folder, FolderError, MissingError, locked, read_file

OUTPUTS: Final = "outputs.json"
LEARNINGS: Final = "learnings.md"
ISSUES: Final = "issues.md"
DECISIONS: Final = "decisions.md"
FIRST: Final = {OUTPUTS: "{}\n", LEARNINGS: "", ISSUES: "", DECISIONS: ""}
"""The files of the folder, and what they hold at first."""

MOST_BYTES: Final = 8 << 20
"""Of one of them."""


def start(folder: Path) -> None:
    """Make the folder and those of its files that are missing; what is there stays.

    Raises:
        FolderError: one of them cannot be used.
    """
    with locked(folder, make=True) as files:
        _start(files)


def _start(files: Folder) -> None:
    for name, text in FIRST.items():
        if files.read(name, MOST_BYTES) is None:
            files.write(name, text.encode())


def save(folder: Path, todo: str, claim: Claim) -> str:
    """Keep what a verified TODO (by its task's id, ``todo-1``) says of itself; what that is, in one line.

    Raises:
        FolderError: a file cannot be used. An outputs.json that is no JSON is put aside, and the next try does.
    """
    number = todo.removeprefix("todo-")
    with locked(folder, make=True) as files:
        _start(files)
        known = _known(files)
        if claim.outputs and known.get(todo) != claim.outputs:
            files.write(OUTPUTS, _encoded(folder, merged(known, todo, claim.outputs)))
        _add(files, LEARNINGS, number, claim.learnings)
        _add(files, ISSUES, number, claim.issues, "- [ ] ")
        _add(files, DECISIONS, number, claim.decisions)
    counts = {
        "outputs": claim.outputs,
        "learnings": claim.learnings,
        "issues": claim.issues,
        "decisions": claim.decisions,
    }
    return ", ".join(f"{len(said)} {name}" for name, said in counts.items() if said) or "nothing to keep"


def _encoded(folder: Path, document: dict[str, Any]) -> bytes:
    data = as_json(document).encode("utf-8", "backslashreplace")
    if len(data) > MOST_BYTES:
        message = f"would be larger than {MOST_BYTES >> 20} MiB"
        raise FolderError(folder / OUTPUTS, message, "hand on the names of files instead of what is in them")
    return data


def _add(files: Folder, name: str, number: str, items: tuple[str, ...], begin: str = "- ") -> None:
    """Add the items of a TODO to a file."""
    text = _text(files.read(name, MOST_BYTES))
    _put(files, name, text, with_items(text, number, items, begin))


def _put(files: Folder, name: str, old: str, new: str) -> bool:
    """Write a file, if it is another one; bytes that are not UTF-8 stay as they were."""
    if new != old:
        files.write(name, new.encode("utf-8", "surrogateescape"))
    return new != old


def _text(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", "surrogateescape")


def _known(files: Folder) -> dict[str, Any]:
    """What outputs.json says.

    Raises:
        FolderError: it says nothing that can be read, and has another name now.
    """
    data = files.read(OUTPUTS, MOST_BYTES) or b"{}"
    try:
        return _decoded(files.path / OUTPUTS, data)
    except FolderError as error:
        kept = files.aside(OUTPUTS)
        remedy = f"it is called {kept} now; put what is right of it into a new {OUTPUTS}, then go on"
        raise FolderError(error.place, error.message, remedy) from None


def _decoded(place: Path, data: bytes) -> dict[str, Any]:
    remedy = "mend it, or put {} into it"
    try:
        found = json.loads(data.decode("utf-8-sig"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        reason = "too deep" if isinstance(error, RecursionError) else str(error)
        raise FolderError(place, f"is not JSON: {reason[:200]}", remedy) from None
    if not isinstance(found, dict):
        raise FolderError(place, "is no JSON object", remedy)
    return found


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number")


def halt_entry(folder: Path, halt: Halt) -> bool:
    """Add the entry of a halt to issues.md; whether it was not there yet.

    Raises:
        FolderError: a file cannot be used.
    """
    with locked(folder, make=True) as files:
        _start(files)
        text = _text(files.read(ISSUES, MOST_BYTES))
        return _put(files, ISSUES, text, with_halt(text, halt))


def wisdom(folder: Path) -> Wisdom:
    """The newest part of what earlier TODOs wrote down; nothing of a file that is not there.

    Raises:
        FolderError: a file cannot be used.
    """
    _no_link(folder)
    if not folder.is_dir():
        return Wisdom()
    return Wisdom(*(newest(_said(folder / name)) for name in (LEARNINGS, ISSUES, DECISIONS)))


def _said(path: Path) -> str:
    try:
        return read_file(path, MOST_BYTES).decode("utf-8", "replace")
    except MissingError:
        return ""


def outputs(folder: Path) -> dict[str, dict[str, Any]]:
    """What outputs.json says, by task; empty if there is none.

    Raises:
        FolderError: it cannot be used.
    """
    place = folder / OUTPUTS
    _no_link(folder)
    try:
        found = _decoded(place, read_file(place, MOST_BYTES))
    except MissingError:
        return {}
    wrong = [name for name, said in found.items() if not isinstance(said, dict)]
    if wrong:
        raise FolderError(place, f"{wrong[0][:80]!r} is no object of names and values", "mend it")
    return found


def _no_link(folder: Path) -> None:
    if folder.is_symlink():
        raise FolderError(folder, "is a link, which is not followed", "put what it leads to in its place")


__all__ = ["FIRST", "Halt", "Wisdom", "halt_entry", "outputs", "save", "start", "wisdom"]
