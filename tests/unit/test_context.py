"""The context folder of a PLAN.md: merges that may be done twice, texts that are hostile, files that are not ours."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import threading
from pathlib import Path
from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daplug_supervisor.core.claims import Claim
from daplug_supervisor.core.instructions.passing import Wisdom
from daplug_supervisor.formats.todos import context, folder
from daplug_supervisor.formats.todos.context import Halt
from daplug_supervisor.formats.todos.context_words import as_json, line, newest, with_halt, with_items
from daplug_supervisor.formats.todos.folder import FolderError, locked

CLAIM = Claim(
    outputs={"config_path": "./config/app.json"},
    learnings=("Uses ESM",),
    issues=("Types are incomplete", "No tests"),
    decisions=("Kept the pattern",),
)
HALT = Halt(1795224123.0, "TODO 2: API", "env_error", "no key", 3, "Nobody\nhas one", "Set it")


def held(place: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(place.iterdir())}


FIRST = {"decisions.md": "", "issues.md": "", "learnings.md": "", "outputs.json": "{}\n"}


def test_the_first_run_makes_the_files_and_a_later_one_keeps_them(tmp_path: Path) -> None:
    place = tmp_path / ".dev/specs/x/context"
    context.start(place)
    assert held(place) == FIRST
    (place / "learnings.md").write_text("mine")
    (place / "issues.md").unlink()
    context.start(place)
    assert held(place) == {**FIRST, "learnings.md": "mine"}


def test_what_a_todo_says_is_kept_once(tmp_path: Path) -> None:
    place = tmp_path / "context"
    assert context.save(place, "todo-1", CLAIM) == "1 outputs, 1 learnings, 2 issues, 1 decisions"
    once = held(place)
    assert once == {
        "decisions.md": "## 1\n- Kept the pattern\n",
        "issues.md": "## 1\n- [ ] Types are incomplete\n- [ ] No tests\n",
        "learnings.md": "## 1\n- Uses ESM\n",
        "outputs.json": '{\n  "todo-1": {\n    "config_path": "./config/app.json"\n  }\n}\n',
    }
    context.save(place, "todo-1", CLAIM)
    assert held(place) == once
    assert context.save(place, "todo-2", Claim(issues=("  ",))) == "1 issues"
    assert context.save(place, "todo-2", Claim()) == "nothing to keep"
    assert held(place) == once
    context.save(place, "todo-2", Claim(outputs={"b": [1]}, learnings=("More",)))
    assert context.outputs(place) == {"todo-1": CLAIM.outputs, "todo-2": {"b": [1]}}
    assert (place / "learnings.md").read_text() == "## 1\n- Uses ESM\n\n## 2\n- More\n"


def test_a_person_may_edit_what_is_there() -> None:
    text = with_items("", "1", ["a", "b"], "- [ ] ")
    ticked = text.replace("- [ ] a", "- [x] a").replace("\n", "\r\n")
    assert with_items(ticked, "1", ["a", "b"], "- [ ] ") == ticked
    assert with_items("## 1\n- a\n## 2\n- b", "1", ["a"]) == "## 1\n- a\n## 2\n- b"
    assert with_items("## 1\n- a\n- more\n", "1", ["a"]) == "## 1\n- a\n- more\n\n## 1\n- a\n"
    assert with_items("words", "1", ["a"]) == "words\n\n## 1\n- a\n"
    assert with_items("words\r\n", "1", ["a", "b"]) == "words\r\n\r\n## 1\r\n- a\r\n- b\r\n"


def test_two_that_save_at_once_are_both_kept(tmp_path: Path) -> None:
    place = tmp_path / "context"
    begin = threading.Barrier(8)

    def one(number: int) -> None:
        begin.wait()
        for step in range(5):
            name = f"todo-{number}{step}"
            context.save(place, name, Claim(outputs={"n": number}, learnings=(f"of {name}",)))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = {f"todo-{number}{step}" for number in range(8) for step in range(5)}
    assert set(context.outputs(place)) == names
    text = (place / "learnings.md").read_text()
    assert all(text.count(f"of {name}\n") == 1 for name in names)
    assert sorted(held(place)) == sorted(FIRST)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("# A heading", "\\# A heading"),
        ("## 2\n- [x] done", "\\## 2 - [x] done"),
        ("```\ncode", "\\``` code"),
        ("- a list", "\\- a list"),
        ("<!-- gone", "\\<!-- gone"),
        ("[x] done", "\\[x] done"),
        ("---", "\\---"),
        ("`config` is read", "`config` is read"),
        ("*really*", "*really*"),
        ("a\x1b[31m\u202eb\0", "a\\x1b[31m\\u202eb\\x00"),
        ("x" * 3000, "x" * 2000 + "…"),
    ],
)
def test_one_line_an_item_that_begins_no_block(text: str, kept: str) -> None:
    assert line(text) == kept
    assert with_items("", "1", [text]) == f"## 1\n- {kept}\n"


@given(st.text(max_size=300), st.lists(st.text(max_size=40), max_size=4))
def test_items_add_no_headings_and_twice_is_once(text: str, items: list[str]) -> None:
    found = with_items(text, "1", items)
    assert found.startswith(text)
    assert with_items(found, "1", items) == found
    added = found[len(text) :].replace("\r\n", "\n").split("\n")
    assert sum(one.startswith("#") for one in added) <= 1
    assert all(one.isprintable() for one in added)


def test_there_is_a_bound_to_the_items_of_one_todo() -> None:
    found = with_items("", "1", [f"item {number}" for number in range(1000)])
    assert found.count("\n") == 202
    assert found.endswith("- item 199\n- (800 more)\n")


def test_the_entry_of_a_halt(tmp_path: Path) -> None:
    place = tmp_path / "context"
    entry = (
        "## [2026-11-21 01:22] TODO 2: API Failed\n\n**Category**: env_error\n**Error**: no key\n"
        "**Retry Count**: 3\n**Analysis**: Nobody has one\n**Suggestion**: Set it\n"
    )
    assert context.halt_entry(place, HALT)
    assert (place / "issues.md").read_text() == entry
    assert not context.halt_entry(place, HALT)
    assert with_halt("before\n", HALT) == f"before\n\n{entry}"
    assert with_halt("", Halt(1e20, "a\n# b", "x", "\x1b", 0, "", "")).startswith(
        "## [9999-12-31 23:59] a # b Failed\n"
    )


def test_the_newest_is_told(tmp_path: Path) -> None:
    place = tmp_path / "context"
    assert context.wisdom(place) == Wisdom()
    context.save(place, "todo-1", CLAIM)
    (place / "decisions.md").unlink()
    assert context.wisdom(place) == Wisdom(
        "## 1\n- Uses ESM", "## 1\n- [ ] Types are incomplete\n- [ ] No tests", ""
    )
    assert (
        newest("old\n" * 100 + "new\x1b\n", 25) == "(older ones are left out)\nold\nold\nold\nold\nnew\\x1b"
    )
    (place / "learnings.md").write_bytes(b"\xff" * 100_000)
    assert len(context.wisdom(place).learnings) < 13_000


def test_json_that_no_terminal_obeys() -> None:
    document = {"todo-1": {"a": "\u202e\x9bé\U000e0001\n"}}
    text = as_json(document)
    assert json.loads(text) == document
    assert all(character.isprintable() or character == "\n" for character in text)
    assert "é" in text


def test_outputs_that_are_no_json_are_put_aside_and_told(tmp_path: Path) -> None:
    place = tmp_path / "context"
    context.start(place)
    (place / "outputs.json.bad-1").write_text("older")
    (place / "outputs.json").write_text("{half")
    with pytest.raises(
        FolderError, match=r"is not JSON: .* .it is called outputs.json.bad-2 now; put what is right"
    ):
        context.save(place, "todo-1", CLAIM)
    assert (place / "outputs.json.bad-2").read_text() == "{half"
    context.save(place, "todo-1", CLAIM)
    assert context.outputs(place) == {"todo-1": CLAIM.outputs}
    (place / "outputs.json").write_bytes(b"\xef\xbb\xbf{}")
    assert context.outputs(place) == {}


def test_outputs_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "MOST_BYTES", 100)
    with pytest.raises(FolderError, match=r"outputs.json: would be larger than"):
        context.save(tmp_path / "context", "todo-1", Claim(outputs={"a": "x" * 200}))
    (tmp_path / "context/outputs.json").write_text("{" + " " * 200 + "}")
    with pytest.raises(FolderError, match="is larger than"):
        context.outputs(tmp_path / "context")


def test_links_are_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = tmp_path / "context"
    link.symlink_to(elsewhere)
    for use in (
        lambda: context.start(link),
        lambda: context.save(link, "todo-1", CLAIM),
        lambda: context.outputs(link),
        lambda: context.wisdom(link),
        lambda: context.halt_entry(link, HALT),
    ):
        with pytest.raises(FolderError, match="is a link, which is not followed"):
            use()
    assert list(elsewhere.iterdir()) == []
    link.unlink()
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(FolderError, match="is a link"):
        context.start(link)
    precious = elsewhere / "precious"
    precious.write_text("{}")
    link.unlink()
    context.start(link)
    for name in FIRST:
        (link / name).unlink()
        (link / name).symlink_to(precious)
        with pytest.raises(FolderError, match=f"{name}: is a link"):
            context.save(link, "todo-1", CLAIM)
        (link / name).unlink()
        context.start(link)
    assert precious.read_text() == "{}"


def test_what_is_no_file_and_no_folder_is_told(tmp_path: Path) -> None:
    place = tmp_path / "context"
    context.start(place)
    (place / "issues.md").unlink()
    os.mkfifo(place / "issues.md")
    with pytest.raises(FolderError, match=r"issues.md: is no ordinary file"):
        context.save(place, "todo-1", CLAIM)
    with locked(place) as files, pytest.raises(FolderError, match="is no ordinary file"):
        files.write("issues.md", b"")
    with pytest.raises(FolderError, match="cannot be used: Not a directory"):
        context.start(place / "outputs.json" / "context")
    with pytest.raises(FolderError, match="cannot be used"):
        context.start(Path("\0"))
    with locked(place) as files, pytest.raises(FolderError, match="cannot be used"):
        files.aside("missing")


def test_a_disk_that_is_full_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "context"
    context.save(place, "todo-1", CLAIM)
    before = held(place)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FolderError, match="cannot be used: No space left on device"):
        context.save(place, "todo-2", CLAIM)
    assert held(place) == before


def test_a_crash_in_the_middle_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    place = tmp_path / "context"
    context.start(place)
    (place / ".outputs.json.new").write_text("half")
    context.save(place, "todo-1", CLAIM)
    assert sorted(held(place)) == sorted(FIRST)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_text("x")

    class Broken:
        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            os.close(self.descriptor)

        def read(self, _: int) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        def __init__(self, descriptor: int, _: str) -> None:
            self.descriptor = descriptor

    monkeypatch.setattr(os, "fdopen", Broken)
    with pytest.raises(FolderError, match="Input/output error"):
        folder.read_file(path, 10)


def test_a_lock_that_is_held_for_too_long_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "_PATIENCE", 0.02)
    with locked(tmp_path), pytest.raises(FolderError, match="another process has it locked"):
        context.start(tmp_path)

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(FolderError, match="cannot be used: No locks available"):
        context.start(tmp_path)


def test_a_file_that_cannot_be_read_begins_with_nothing() -> None:
    assert folder.begin_of(Path("/proc/self/mem"), 10) is None
