"""The table of promises is complete."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from promises import rows

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("row", rows())
def test_every_promise_has_a_test_or_says_where_it_is_documented(row: str) -> None:
    marked = re.compile(rf'mark\.promise\([^)]*"{row}"')
    shown = [path for path in (ROOT / "tests").rglob("test_*.py") if marked.search(path.read_text())]
    assert shown or "documented" in rows()[row]


def test_every_test_that_the_page_names_exists() -> None:
    named = {test for name in ("sweep.json", "soak.json") for test in _tests(ROOT / "docs" / name)}
    missing = [
        test for test in named if f"def {test.partition('::')[2]}(" not in _text(test.partition("::")[0])
    ]
    assert named
    assert not missing


def _tests(path: Path) -> list[str]:
    return [test for row in json.loads(path.read_text())["rows"].values() for test in row["tests"]]


def _text(file: str) -> str:
    path = ROOT / file
    return path.read_text() if path.is_file() else ""
