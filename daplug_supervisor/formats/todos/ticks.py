"""Ticking the boxes of a PLAN.md: text in, text out, and not another character changes.

A text is what `decode` makes of a file's bytes, of whatever encoding: `encode` gives the same bytes back.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

from daplug_supervisor.formats.todos.folder import FolderError, locked
from daplug_supervisor.formats.todos.sections import Todo, parse

MOST_BYTES: Final = 4 << 20


def decode(data: bytes) -> str:
    """The text of a PLAN.md; bytes that are not UTF-8 are kept as halves of surrogate pairs."""
    return data.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """The bytes of such a text."""
    return text.encode("utf-8", "surrogateescape")


def number_of(task: str) -> str:
    """The number of the TODO that a task (``todo-1``) is."""
    return task.removeprefix("todo-")


def tick(text: str, number: str, passed: Collection[str]) -> str:
    """`text` with TODO `number` ticked, and of its criteria those whose names (`Criterion.name`) are `passed`.

    Steps are never ticked, nor is anything of another TODO or within a code block. As it is if there is no such TODO.
    """
    todo = _todo(text, number)
    if todo is None:
        return text
    boxes = [item.box for item in todo.criteria if not item.ticked and item.box >= 0 and item.name in passed]
    if not todo.ticked:
        boxes.append(todo.box)
    parts, at = [], 0
    for box in sorted(boxes):
        parts += [text[at:box], "x"]
        at = box + 1
    return "".join([*parts, text[at:]])


def _todo(text: str, number: str) -> Todo | None:
    return next((one for one in parse(text).todos if one.number.lower() == number.lower()), None)


def state_of(text: str) -> dict[str, bool]:
    """Which TODOs there are, by number, and whether they are ticked; of two with the same number, the first."""
    return {todo.number: todo.ticked for todo in reversed(parse(text).todos)}


def tick_file(path: Path, number: str, passed: Collection[str]) -> bool:
    """`tick` a file, which is replaced as a whole; whether anything changed.

    Raises:
        FolderError: it cannot be used, or has no such TODO.
    """
    with locked(path.parent) as files:
        data = files.read(path.name, MOST_BYTES)
        text = decode(data or b"")
        if data is None or _todo(text, number) is None:
            raise FolderError(path, f"has no TODO {number}", "put it back, or skip the task")
        ticked = encode(tick(text, number, passed))
        if ticked != data:
            files.write(path.name, ticked)
        return ticked != data
