"""Ticking the boxes of a PLAN.md: only those that are meant, and not another byte."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from todo_making import EXAMPLE, project

from daplug_supervisor.formats.todos import ticks
from daplug_supervisor.formats.todos.folder import FolderError
from daplug_supervisor.formats.todos.sections import parse

ALL = ("File exists: ./config/app.json", "It names the service", "Reads well")


def changed(before: str, after: str) -> list[str]:
    """The lines that are others, as they are now."""
    pairs = zip(before.split("\n"), after.split("\n"), strict=True)
    return [new for old, new in pairs if old != new]


def test_a_todo_is_ticked_and_of_its_criteria_those_that_passed() -> None:
    found = ticks.tick(EXAMPLE, "1", ["It names the service"])
    assert changed(EXAMPLE, found) == [
        "### [x] TODO 1: Config setup",
        "- [x] It names the service: `grep -q service config/app.json`",
    ]


def test_steps_are_never_ticked_nor_the_same_words_of_another_todo() -> None:
    found = ticks.tick(EXAMPLE, "2", [*ALL, "Write the file", "File exists", "Read"])
    assert changed(EXAMPLE, found) == ["### [x] TODO 2: API", "- [x] File exists: `./config/app.json`"]
    assert found.index("- [x] File exists") > found.index("TODO 2")


def test_nothing_in_a_code_block_is_ticked() -> None:
    text = (
        "```\n### [ ] TODO 1: not this one\n```\n### [ ] TODO 1: t\n**Acceptance Criteria**:\n"
        "~~~\n- [ ] `a`\n~~~\n- [ ] `a`\n"
    )
    assert changed(text, ticks.tick(text, "1", ["a"])) == ["### [x] TODO 1: t", "- [x] `a`"]
    assert ticks.tick(text, "1", ["a"]).index("[x]") > text.index("### [ ] TODO 1: t")


def test_odd_texts_keep_every_byte() -> None:
    data = (
        b"\xef\xbb\xbf### [ ] TODO 1: \xe9\t \r\n**Acceptance Criteria**:\r\n\t- [ ]\t`a \xff` passes  \r\n"
        b"*  [ ] `b`\r\n\r\n\x0c\x85### [ ]  TODO 2: u\r\n   ### [ ] TODO 3:\tv"
    )
    text = ticks.decode(data)
    name = "a \ufffd passes"
    found = ticks.encode(ticks.tick(ticks.tick(text, "1", [name, "b"]), "3", ()))
    assert found == data.replace(b"[ ] TODO 1", b"[x] TODO 1").replace(b"[ ]\t`a", b"[x]\t`a").replace(
        b"[ ] `b`", b"[x] `b`"
    ).replace(b"[ ] TODO 3", b"[x] TODO 3")


def test_a_todo_that_is_not_there_changes_nothing() -> None:
    assert ticks.tick(EXAMPLE, "4", ALL) == EXAMPLE
    assert ticks.tick("", "1", ALL) == ""


def test_the_state_of_all_boxes() -> None:
    found = ticks.tick(ticks.tick(EXAMPLE, "3", ()), ticks.number_of("todo-1"), ())
    assert ticks.state_of(found) == {"1": True, "2": False, "3": True}
    assert ticks.state_of("") == {}


PIECES = [
    "### [ ] TODO 1: a", "### [x] TODO 2: b", "### [ ] TODO 3: c", "**Acceptance Criteria**:", "**Steps**:",
    "- [ ] `a` passes", "- [x] words: `b`", "  - [ ] `a`", "```", "~~~", "<!-- x", "-->", "*Static:*", "- [ ]",
    "| 1 | todo-1 |", "## Dependency Graph", "## Commit Strategy", "|--|--|", "| TODO | Requires |", "\ufeff",
    "**Inputs**: x: `y`", "- `out`: z", "\udcff", "\u2028", "`${todo-1.outputs.x}`",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=12), max_size=25).flatmap(
    lambda lines: st.sampled_from(["\n", "\r\n"]).map(lambda end: end.join(lines))
)
NAMES = st.lists(st.sampled_from(["a passes", "a", "words", "b", "a (2)"]), max_size=4)


@given(TEXTS, st.sampled_from("123"), NAMES)
def test_only_boxes_are_ticked_and_twice_is_once(text: str, number: str, passed: list[str]) -> None:
    found = ticks.tick(text, number, passed)
    assert len(found) == len(text)
    differ = [at for at, (old, new) in enumerate(zip(text, found, strict=True)) if old != new]
    assert all((text[at - 1 : at + 2], found[at]) == ("[ ]", "x") for at in differ)
    assert ticks.tick(found, number, passed) == found
    before, after = ticks.state_of(text), ticks.state_of(found)
    assert after == {name: ticked or name == number for name, ticked in before.items()}
    allowed = {
        box
        for todo in parse(text).todos
        if todo.number == number
        for box in (todo.box, *(i.box for i in todo.criteria))
    }
    assert set(differ) <= allowed


@given(st.binary(max_size=200))
def test_bytes_come_back_as_they_were(data: bytes) -> None:
    assert ticks.encode(ticks.decode(data)) == data
    assert len(ticks.encode(ticks.tick(ticks.decode(data), "1", ["a"]))) == len(data)


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = project(tmp_path)
    path.chmod(0o640)
    before = path.stat().st_ino
    assert ticks.tick_file(path, "1", ALL)
    assert path.read_text() == ticks.tick(EXAMPLE, "1", ALL)
    assert (path.stat().st_mode & 0o777, path.stat().st_ino != before) == (0o640, True)
    assert not ticks.tick_file(path, "1", ALL)
    assert list(path.parent.iterdir()) == [path]


def test_a_file_without_the_todo_is_told(tmp_path: Path) -> None:
    path = project(tmp_path)
    with pytest.raises(FolderError, match="has no TODO 9"):
        ticks.tick_file(path, "9", ())
    path.unlink()
    with pytest.raises(FolderError, match="has no TODO 1"):
        ticks.tick_file(path, "1", ())
    path.symlink_to("/etc/passwd")
    with pytest.raises(FolderError, match="is a link, which is not followed"):
        ticks.tick_file(path, "1", ())
