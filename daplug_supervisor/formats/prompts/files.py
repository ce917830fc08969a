"""daplug prompts: files ``prompts/[folder/]NNN-kebab-name.md`` below a repository.

The selection syntax is daplug's: a number (``5``, ``005``), ``folder/005``, a fragment of the name, ranges
(``002-005``, ``folder/002-005``), lists (``1,3``) and paths of ``.md`` files. ``completed/`` is searched only
when it is named; files that begin with ``_`` are no prompts.
"""

from __future__ import annotations

import os
import re
from itertools import chain
from typing import TYPE_CHECKING, NoReturn

from msgspec import Struct

from daplug_supervisor.core.instructions.template import references
from daplug_supervisor.errors import UsageError
from daplug_supervisor.formats.findings import escaped, shown
from daplug_supervisor.formats.plans.leaves import UNSENDABLE
from daplug_supervisor.formats.references import of_prompts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from daplug_supervisor.core.plan import Plan

MAX_BYTES = 2**20
MAX_RANGE = 1000
COMPLETED = "completed"

_NAME = re.compile(r"([0-9]{3,})-(.+)\.md", re.DOTALL)
_RANGE = re.compile(r"([0-9]{1,6})-([0-9]{1,6})")
_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(\S.*)$", re.MULTILINE)
_MAX_TITLE = 200
_MAX_LISTED = 20


class Prompt(Struct, frozen=True):
    """A prompt file.

    `number` is text such as "001" ('' if the file name has none), `folder` is the one below ``prompts`` (''
    for none), `name` the slug, `path` absolute, `title` the first heading, or the slug if there is none.
    """

    number: str
    folder: str
    name: str
    path: Path
    title: str


class SelectionError(UsageError):
    """No prompt is meant by `selector`, or several are. `candidates` are the names that would be clear."""

    def __init__(self, message: str, selector: str, candidates: Sequence[str]) -> None:
        super().__init__(message)
        self.selector, self.candidates = selector, tuple(candidates)


def select(selectors: Sequence[str], root: Path) -> list[Prompt]:
    """The prompts that the selectors name, in that order, each once.

    Raises:
        UsageError: a selector is unknown or ambiguous (the message lists candidates), or a file unreadable.
    """
    if not selectors:
        raise UsageError("name at least one prompt: a number, a range such as 002-005, a name or a path")
    paths: dict[Path, Path] = {}
    for path in chain.from_iterable(_expanded(selector, root) for selector in selectors):
        paths.setdefault(path.resolve(), path)
    return [_prompt(path, root) for path in paths.values()]


def resolve(prompt: str, root: Path) -> Path:
    """The absolute path of the one prompt file that a task's ``prompt`` names.

    Raises:
        UsageError: there is none, or there are several.
    """
    path = _path(prompt, root) or _one(prompt.strip(), root)
    if UNSENDABLE.search(str(path)):
        raise UsageError(f"the name of {shown(str(path), 300)} is not UTF-8")
    return path


def problems(plan: Plan, root: Path) -> list[str]:
    """What is wrong with the prompts that a plan names, one text a task; empty if all can be read, and filled."""
    found, referring = [], []
    for name, task in plan.tasks.items():
        if task.prompt is not None:
            try:
                named = references(read(resolve(task.prompt, root)))
            except UsageError as error:
                found.append(f"task {name}: {error}")
            else:
                if named:
                    referring.append((name, named))
    return [*found, *of_prompts(plan, referring)] if referring else found


def read(path: Path) -> str:
    """The text of a prompt file.

    Raises:
        UsageError: it is larger than 1 MiB, not UTF-8, or cannot be read.
    """
    name = shown(str(path), 300)
    try:
        if not path.is_file():
            raise UsageError(f"{name} is not a file")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{name} cannot be read: {escaped(reason)}") from None
    if len(data) > MAX_BYTES:
        raise UsageError(f"{name} is larger than {MAX_BYTES // 2**20} MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{name} is not UTF-8") from None


def in_range(selector: str) -> list[str]:
    """The selectors that a range stands for; empty if it is none.

    Raises:
        UsageError: it is too long.
    """
    folder, slash, last = selector.rpartition("/")
    bounds = _RANGE.fullmatch(last)
    if bounds is None:
        return []
    first, final = sorted((int(bounds[1]), int(bounds[2])))
    if final - first >= MAX_RANGE:
        raise UsageError(f"{shown(selector)}: a range of more than {MAX_RANGE} prompts")
    return [f"{folder}{slash}{number:03}" for number in range(first, final + 1)]


def is_path(selector: str, root: Path) -> bool:
    """Whether a selector is the path of a Markdown file, absolute or from `root`, and not to be split."""
    return _path(selector, root) is not None


def _expanded(selector: str, root: Path) -> Iterator[Path]:
    if is_path(selector, root):  # before it is split: a path may contain commas
        yield resolve(selector, root)
        return
    parts = [part.strip() for part in selector.split(",") if part.strip()]
    if not parts:
        _unknown(selector, root)
    for part in parts:
        for one in in_range(part) or [part]:
            yield resolve(one, root)


def _path(selector: str, root: Path) -> Path | None:
    """The file that a selector names as a path, absolute or from `root`."""
    path = root / selector
    # Not Path.is_file, which raises for names that are too long.
    return path.absolute() if path.suffix == ".md" and os.path.isfile(path) else None  # noqa: PTH113


def _one(selector: str, root: Path) -> Path:
    """The one prompt that a number or name stands for, ``folder/`` before it or not."""
    folder, _, last = selector.rpartition("/")
    files = _files(root, folder.strip("/"))
    if last.isascii() and last.isdigit():
        found = [path for path in files if path.name.startswith(f"{last.zfill(3)}-")]
    else:
        word = last.lower()
        found = [path for path in files if word and word in path.name.lower()]
        exact = [
            path for path in found if word in {path.name.lower(), path.stem.lower(), _slug(path)[1].lower()}
        ]
        found = exact if len(exact) == 1 else found
    if not found:
        _unknown(selector, root)
    if len(found) > 1:
        message = f"prompt {shown(selector)} is ambiguous: {_listed(found, root)}"
        raise SelectionError(message, selector, _names(found, root))
    return found[0]


def _files(root: Path, folder: str) -> list[Path]:
    """The prompts below ``prompts/<folder>``, sorted; completed ones only if `folder` says so."""
    steps = [step for step in folder.split("/") if step not in {"", "."}]
    home = root.absolute() / "prompts"
    if ".." in steps:
        raise UsageError(f"prompt folder {shown(folder)} is outside prompts")
    wanted = home.joinpath(*steps)
    if not os.path.isdir(wanted):  # noqa: PTH112 - Path.is_dir raises for names that are too long
        where = shown(f"prompts/{folder}" if folder else "prompts")
        raise UsageError(f"there is no folder {where} in {shown(str(root), 300)}")
    hidden = None if steps[:1] == [COMPLETED] else home / COMPLETED
    return sorted(
        path
        for path in wanted.rglob("*.md")
        if not path.name.startswith("_") and hidden not in path.parents and path.is_file()
    )


def _unknown(selector: str, root: Path) -> NoReturn:
    files = _files(root, "")
    known = f"there are: {_listed(files, root)}" if files else "there are no prompts"
    raise SelectionError(f"there is no prompt {shown(selector)}; {known}", selector, _names(files, root))


def _names(files: list[Path], root: Path) -> list[str]:
    home = root.absolute() / "prompts"
    return [str(path.relative_to(home).with_suffix("")) for path in files]


def _listed(files: list[Path], root: Path) -> str:
    names = [escaped(name, 120) for name in _names(files[:_MAX_LISTED], root)]
    more = f" and {len(files) - _MAX_LISTED} more" if len(files) > _MAX_LISTED else ""
    return ", ".join(names) + more


def _slug(path: Path) -> tuple[str, str]:
    """The number and the name of a prompt file; no number if it is named in another way."""
    match = _NAME.fullmatch(path.name)
    return (match[1], match[2]) if match else ("", path.stem)


def _prompt(path: Path, root: Path) -> Prompt:
    number, name = _slug(path)
    home = root.absolute() / "prompts"
    folder = path.parent.relative_to(home).as_posix() if home in path.parents else ""
    heading = _HEADING.search(read(path))
    title = heading[1].rstrip().rstrip("#").rstrip()[:_MAX_TITLE] if heading else ""
    return Prompt(
        number=number,
        folder="" if folder == "." else folder,
        name=name,
        path=path,
        title=title or name,
    )
