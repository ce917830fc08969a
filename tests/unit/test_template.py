"""`${task.outputs.field}` in a text: what is one, and what stands in its place."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daplug_supervisor.core.instructions import template
from daplug_supervisor.core.instructions.template import as_text, fill, references
from daplug_supervisor.errors import UsageError

VALUES: dict[str, dict[str, Any]] = {
    "a": {"b": "x", "n": {"k": [1, None]}, "-odd": 1},
    "a.b": {"c": "y"},
    "none": {},
}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("${a.outputs.b}", ("a", "b")),
        ("<${ a.b.outputs.c }>", ("a.b", "c")),
        ("${todo-1.outputs.config_path}}", ("todo-1", "config_path")),
        ("${a.outputs.b.outputs.c}", ("a.outputs.b", "c")),
        ("${a.outputs}", ("a", "")),
        ("${a.outputs.b", ("a", "")),
        ("${a.outputs.b.c}", ("a", "")),
        ("${a.outputs.1}", ("a", "")),
        ("${a.outputs .b}", ("a", "")),
    ],
)
def test_what_refers_to_an_output(text: str, found: tuple[str, str]) -> None:
    [one] = references(text)
    assert (one.task, one.field, one.sound) == (*found, bool(found[1]))
    assert one.written in text


@pytest.mark.parametrize(
    "text",
    ["", "$a.outputs.b", "${HOME}", "${a.output.b}", "${a.outputsx.b}", "${{ steps.a.outputs.b }}", "$${a.outputs.b}",
     "${.outputs.b}", "${é.outputs.b}", "${a:-b.outputs.c}", "{a.outputs.b}"],
)  # fmt: skip
def test_what_does_not(text: str) -> None:
    assert references(text) == ()
    assert fill(text, {}) == text.replace("$${a.", "${a.")


def test_each_is_named_once_and_in_order() -> None:
    found = references("${b.outputs.x} ${a.outputs.x} ${b.outputs.x}")
    assert [one.task for one in found] == ["b", "a"]


def test_a_text_is_filled_in_one_pass() -> None:
    values = {"a": {"b": "${a.outputs.c} $${a.outputs.b}", "c": "no"}}
    assert (
        fill("1 ${a.outputs.b} 2 $${a.outputs.b} 3", values)
        == "1 ${a.outputs.c} $${a.outputs.b} 2 ${a.outputs.b} 3"
    )


def test_what_is_no_text_is_compact_json() -> None:
    assert fill("${a.outputs.n} ${a.b.outputs.c}", VALUES) == '{"k":[1,null]} y'
    assert as_text(True) == "true"
    assert as_text("\udcff") == "\\udcff"


def test_a_long_value_is_cut_and_says_so() -> None:
    cut = as_text("é" * 50_000)
    assert cut.startswith("é" * template.MOST_VALUE + "\n[cut: the first 20,000 of 50,000")
    assert as_text("é" * 20_000) == "é" * 20_000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("${z.outputs.b}", "task z has handed on nothing"),
        ("${a.outputs.z}", r"task a has not handed on z \(only b, n\)"),
        ("${none.outputs.z}", r"has not handed on z \(nothing\)"),
        ("${a.outputs}", r"not written as \$\{task.outputs.name\}; to have it as text, write \$\$"),
    ],
)
def test_what_is_missing_is_an_error_and_never_text(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        fill(f"before {text} after", VALUES)


def test_a_text_cannot_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template, "MOST_TEXT", 1000)
    with pytest.raises(UsageError, match="more than 1,000 characters"):
        fill("${a.outputs.b}" * 11, {"a": {"b": "x" * 100}})


def test_a_caller_may_say_what_to_write() -> None:
    said = fill("${a.outputs.b}!", VALUES, lambda one, value: f"{one.task}/{one.field}={value}")
    assert said == "a/b=x!"


def test_it_is_quick_with_whatever_looks_like_one() -> None:
    began = time.process_time()
    for text in ("${" + "a" * 64, "${" + "a.outputs" * 7, "$", "${a.outputs.", "$${", "${a.outputs.b}"):
        references(text * 20_000)
    assert time.process_time() - began < 5


ODD = st.text(st.sampled_from("${}ab.outps_1- \n") | st.characters(), max_size=60)
PLAIN = st.text(st.characters(exclude_characters="$"))


@given(st.lists(st.tuples(PLAIN, st.sampled_from(["b", "n", "$"]))), ODD)
def test_each_reference_is_replaced_and_nothing_else_changes(
    parts: list[tuple[str, str]], value: str
) -> None:
    written = {"b": "${a.outputs.b}", "n": "${ a.outputs.n }", "$": "$${a.outputs.b}"}
    instead = {"b": value, "n": value * 2, "$": "${a.outputs.b}"}
    text = "".join(plain + written[which] for plain, which in parts)
    expected = "".join(plain + instead[which] for plain, which in parts)
    assert fill(text, {"a": {"b": value, "n": value * 2}}) == expected


@given(ODD)
def test_whatever_a_text_is_it_is_filled_or_refused(text: str) -> None:
    found = references(text)
    try:
        said = fill(text, {one.task: {one.field: "x"} for one in found})
    except UsageError:
        assert found
    else:
        assert all(one.sound for one in found)
        assert found or said == text or "$${" in text


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_every_value_has_a_text(value: object) -> None:
    text = as_text(value)
    assert isinstance(text, str)
    if not isinstance(value, str):
        assert json.loads(text) == value or value is None
    assert fill("${a.outputs.b}", {"a": {"b": value}}) == text
