"""The table of promises is complete."""

from __future__ import annotations

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
