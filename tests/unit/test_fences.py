"""Texts of others in a prompt or on a terminal: whatever is in them is to be seen."""

from __future__ import annotations

import pytest

from daplug_supervisor.core.fences import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, 日本語 and a\tTab\n", "plain, 日本語 and a\tTab\n"),
        ("two\r\nlines", "two\nlines"),
        ("\x1b[2J\x07", r"\x1b[2J\x07"),
        ("ab\u202ecd", r"ab\u202ecd"),
        ("a letter that nobody sees: \u3164", r"a letter that nobody sees: \u3164"),
        (
            "a mark that nobody sees: \ufe0e\ufe0d\U000e0101",
            "a mark that nobody sees: \ufe0e\\ufe0d\\U000e0101",
        ),
        ("a wide\u3000space", "a wide\u3000space"),
    ],
)
def test_what_nobody_sees_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown
