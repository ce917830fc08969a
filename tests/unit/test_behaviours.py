"""`docs/behaviours.md` names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "behaviours.md"


def test_every_test_that_is_named_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?`", PAGE.read_text())
    assert named, "the table names no test"
    missing = [
        (file, test)
        for file, test in named
        if not (ROOT / file).is_file() or (test and f"def {test}(" not in (ROOT / file).read_text())
    ]
    assert not missing


def test_every_row_names_a_test() -> None:
    rows = re.findall(r"^\| ([A-E]\d+) \|.*$", PAGE.read_text(), re.MULTILINE)
    assert len(rows) == len(set(rows))
    lines = [line for line in PAGE.read_text().splitlines() if re.match(r"\| [A-E]\d+ \|", line)]
    assert all("`tests/" in line for line in lines)
