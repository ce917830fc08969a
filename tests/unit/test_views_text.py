"""Text for a terminal: nothing that is printed can do anything but be read."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daplug_supervisor.views.text import (
    at_clock,
    clean,
    clock,
    columns,
    command,
    duration,
    facts,
    harmless_json,
    listing,
    number,
    speak_of,
    stamp,
    table,
    when,
    wrap,
)

NOW = 1795224123.0
HARMFUL = {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Grüße, 世界", "Grüße, 世界"),
        ("a\tb", "a b"),
        ("one\ntwo\rthree", "one\\ntwo\\rthree"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("\x9b2J\x7f\x00", "\\x9b2J\\x7f\\x00"),
        ("abc\u202edcba\u2066x\u2069", "abc\\u202edcba\\u2066x\\u2069"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("a\u2028b\u2029c\x85d", "a\\u2028b\\u2029c\\x85d"),
        ("lone\ud800", "lone\\ud800"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("hidden\U000e0100\u3164", "hidden\\U000e0100\\u3164"),
        ("e\u0301", "e\u0301"),
        ("z" + "\u0301" * 5, "z" + "\u0301" * 4 + "\\u0301"),
    ],
)
def test_clean_makes_hostile_text_visible(text: str, shown: str) -> None:
    assert clean(text) == shown
    assert clean(clean(text)) == shown


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdef", 5, "abcd…"),
        ("abcdef", 1, "…"),
        ("abcdef", 0, ""),
        ("世界世界", 8, "世界世界"),
        ("世界世界", 7, "世界世…"),
        ("世界世界", 6, "世界…"),
        ("ab\x1b", 5, "ab…"),
        ("ab\x1b", 6, "ab\\x1b"),
        ("e\u0301e\u0301", 2, "e\u0301e\u0301"),
        ("e\u0301e\u0301e", 2, "e\u0301…"),
    ],
)
def test_clean_cuts_at_columns_and_never_inside_an_escape(text: str, width: int, shown: str) -> None:
    assert clean(text, width) == shown


@given(st.text(st.characters()), st.none() | st.integers(0, 30))
def test_clean_never_lets_control_or_bidi_through(text: str, width: int | None) -> None:
    shown = clean(text, width)
    assert not [c for c in shown if unicodedata.category(c) in HARMFUL]
    assert not [
        c for c in shown if unicodedata.bidirectional(c) in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI"}
    ]
    assert width is None or columns(shown) <= width


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "0.0s"),
        (0.04, "0.0s"),
        (3.21, "3.2s"),
        (9.94, "9.9s"),
        (9.96, "9s"),
        (24.9, "24s"),
        (59.99, "59s"),
        (250, "4m 10s"),
        (3600 + 5 * 60, "1h 05m"),
        (86400 * 2 + 3 * 3600, "2d 03h"),
    ],
)
def test_duration(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_times_are_utc_and_say_so() -> None:
    assert clock(NOW) == "2026-11-21 01:22:03Z"
    assert stamp(NOW + 0.25) == "2026-11-21T01:22:03.250Z"
    assert at_clock(NOW, NOW + 60) == "01:22:03Z"
    assert at_clock(NOW, NOW + 86400) == "2026-11-21 01:22:03Z"
    assert when(NOW + 24, NOW) == "in 24s, at 01:22:27Z"
    assert when(NOW - 300, NOW) == "5m 00s ago, at 01:17:03Z"


def test_a_time_that_no_calendar_knows_is_still_shown() -> None:
    assert clock(1e20) == stamp(1e20) == "@1e+20"
    assert clock(-1) == "@-1"


def test_words() -> None:
    assert number(1, "task") == "1 task"
    assert number(2, "task") == "2 tasks"
    assert listing([]) == ""
    assert listing(["a"]) == "a"
    assert listing(["a", "b"]) == "a and b"
    assert listing(["a", "b", "c"]) == "a, b and c"
    assert listing(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
    assert command("task", "retry", "a b") == "daplug-supervise task retry 'a b'"


def test_wrap_breaks_between_words_and_keeps_long_ones() -> None:
    assert wrap("one two three", 9, "  ") == ["  one two", "  three"]
    assert wrap("a incomprehensibilities b", 10) == ["a", "incomprehensibilities", "b"]
    assert wrap("", 10) == []


def test_facts_leave_out_what_has_no_value() -> None:
    assert facts({"needs": "a, b and many more", "owner": "", "worker": "cli"}, 20, "  ") == [
        "  needs   a, b and",
        "          many more",
        "  worker  cli",
    ]
    assert facts({}, 20) == []


def test_table_cuts_the_widest_column_and_never_the_first() -> None:
    rows = [("a-very-long-task-id", "x" * 40, "short"), ("b", "界" * 4, "\x1b")]
    assert table(rows, ("task", "title", "end"), 50).splitlines() == [
        "task                 title                   end",
        "a-very-long-task-id  xxxxxxxxxxxxxxxxxxxxx…  short",
        "b                    界界界界                \\x1b",
    ]
    narrow = table(rows, ("task", "title", "end"), 10).splitlines()
    assert narrow[1] == "a-very-long-task-id  xxxxx…  short"
    assert table([("abcdefgh",)], ("t",), 4) == "t\nabcdefgh"
    assert table([], ("t", "u"), 40, indent="  ") == "  t  u"


@given(
    st.text(st.sampled_from("ab\u0301\u0300\u20dd\ufffd\u202e\x00\t\n界é\U0001f600\U000e0100")) | st.text()
)
def test_long_texts_are_cleaned_in_another_way_with_the_same_result(text: str) -> None:
    assert clean(text) == clean(text, 12 * len(text) + 1)


@given(st.text())
def test_json_says_the_same_without_anything_that_a_terminal_obeys(text: str) -> None:
    document = json.dumps([text, "\u202e\x9b\x7f\u200b\U000e0041 \u00e9 \U0001f642"], ensure_ascii=False)
    shown = harmless_json(document)
    assert json.loads(shown) == json.loads(document)
    assert not {unicodedata.category(one) for one in shown} & HARMFUL
    assert "\u00e9 \U0001f642" in shown


def test_a_command_names_the_run_where_it_would_mean_another_one() -> None:
    def lines() -> list[str]:
        words = (
            "task retry a",
            "provider resume p",
            "report",
            "resume",
            "task retry",
            "task logs a --run r0",
        )
        return [command(*line.split()).removeprefix("daplug-supervise ") for line in words]

    plainly = lines()
    speak_of("r1")
    try:
        assert lines() == [
            "task retry a --run r1", "provider resume p --run r1", "report r1", *plainly[3:],
        ]  # fmt: skip
    finally:
        speak_of("")
    assert lines() == plainly
