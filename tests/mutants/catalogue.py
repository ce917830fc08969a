"""The catalogue: every ``*.toml`` beside this file is a list of deliberate bugs in one area."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct, convert

ROOT = Path(__file__).parents[2]
COPIED = (
    "daplug_supervisor",
    "tests",
    "docs",
    "examples",
    "pyproject.toml",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
)


class Mutant(Struct, frozen=True, forbid_unknown_fields=True):
    """A bug: in `file`, which has `old` exactly once, `new` stands instead. One of `tests` must fail then."""

    name: str
    why: str
    file: str
    old: str
    new: str
    tests: list[str]


def mutants() -> list[Mutant]:
    """All of them."""
    found: list[Mutant] = []
    for path in sorted(Path(__file__).parent.glob("*.toml")):
        data: dict[str, Any] = tomllib.loads(path.read_text())
        found += convert(data["mutant"], list[Mutant])
    return found


def faults() -> Iterator[str]:
    """What is wrong with the catalogue itself: a bug that can no longer be planted, or that nothing looks for."""
    names = [mutant.name for mutant in mutants()]
    yield from (f"{name}: named twice" for name in set(names) if names.count(name) > 1)
    for mutant in mutants():
        count = (ROOT / mutant.file).read_text().count(mutant.old)
        if count != 1:
            yield f"{mutant.name}: {mutant.file} has its text {count} times"
        for test in mutant.tests:
            file, _, name = test.partition("::")
            text = (ROOT / file).read_text() if (ROOT / file).is_file() else ""
            if not text or (name and f"def {name.partition('[')[0]}(" not in text):
                yield f"{mutant.name}: there is no test {test}"


def copy(folder: Path) -> None:
    """Make a tree in `folder` that bugs can be planted in."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "_build"))
        else:
            shutil.copy(source, folder / name)


def plant(mutant: Mutant, folder: Path) -> None:
    """Put a bug into a copy."""
    path = folder / mutant.file
    path.write_text(path.read_text().replace(mutant.old, mutant.new))
