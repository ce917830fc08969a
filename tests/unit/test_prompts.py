"""daplug prompts: selection, reading, and the plans made of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from daplug_supervisor.core.plan import Plan, Provider, Task
from daplug_supervisor.errors import UsageError
from daplug_supervisor.formats.prompts import files as prompts
from daplug_supervisor.formats.prompts.batch import Batch, Item, make_plan
from daplug_supervisor.formats.prompts.files import Prompt, read, resolve, select
from daplug_supervisor.formats.prompts.models import Who

FILES = [
    "001-first.md",
    "002-second-thing.md",
    "003-third.md",
    "005-fix.md",
    "006-fix-more.md",
    "providers/010-codex.md",
    "providers/011-gemini.md",
    "providers/deep/020-deep.md",
    "dup/003-again.md",
    "completed/050-done.md",
    "_draft.md",
    "notes.md",
    "008-readme.txt",
    "007-a,b.md",
]


@pytest.fixture
def root(tmp_path: Path) -> Any:
    for name in FILES:
        path = tmp_path / "prompts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"\n# About {name} ##\n\nDo it.\n")
    (tmp_path / "prompts" / "099-folder.md").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("selectors", "expected"),
    [
        (["1"], ["001-first"]),
        (["005"], ["005-fix"]),
        (["providers/10"], ["providers/010-codex"]),
        (["10", "20"], ["providers/010-codex", "providers/deep/020-deep"]),
        (["SECOND"], ["002-second-thing"]),
        (["providers/gem"], ["providers/011-gemini"]),
        (["fix"], ["005-fix"]),
        (["006-fix-more.md"], ["006-fix-more"]),
        (["001-002"], ["001-first", "002-second-thing"]),
        (["2-1"], ["001-first", "002-second-thing"]),
        (["providers/010-011"], ["providers/010-codex", "providers/011-gemini"]),
        (["1, 2,", "providers/11"], ["001-first", "002-second-thing", "providers/011-gemini"]),
        (["1", "001", "first", "001-002", "./prompts/001-first.md"], ["001-first", "002-second-thing"]),
        (["completed/50"], ["completed/050-done"]),
        (["completed/done"], ["completed/050-done"]),
        (["/dup/3"], ["dup/003-again"]),
        (["prompts/003-third.md"], ["003-third"]),
        (["prompts/007-a,b.md"], ["007-a,b"]),
        (["notes"], ["notes"]),
    ],
)
def test_selection(root: Any, selectors: Any, expected: Any) -> None:
    found = select(selectors, root)
    assert [str(one.path.relative_to(root / "prompts").with_suffix("")) for one in found] == expected
    assert all(one.path.is_absolute() for one in found)


def test_what_a_prompt_says(root: Any) -> None:
    path = root / "prompts" / "providers" / "deep" / "020-deep.md"
    assert select(["20"], root) == [
        Prompt("020", "providers/deep", "deep", path, "About providers/deep/020-deep.md")
    ]
    (root / "prompts" / "notes.md").write_text("no heading\n#hash\n# \n")
    assert select(["notes"], root) == [Prompt("", "", "notes", root / "prompts" / "notes.md", "notes")]
    outside = root / "other.md"
    outside.write_text("## Other\n")
    assert select([str(outside)], root) == [Prompt("", "", "other", outside, "Other")]
    outside.write_text("# ##\n")
    assert select(["other.md"], root)[0].title == "other"


def test_paths_are_absolute_for_a_relative_root(root: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    (found,) = select(["providers/10"], Path())
    assert (found.path, found.folder) == (root / "prompts" / "providers" / "010-codex.md", "providers")


@pytest.mark.parametrize(
    ("selectors", "parts"),
    [
        ([], ["at least one prompt"]),
        ([""], ["no prompt ''", "001-first, 002-second-thing"]),
        ([" , "], ["no prompt ' , '"]),
        (["4"], ["no prompt '4'", "there are: 001-first"]),
        (["3"], ["'3' is ambiguous: 003-third, dup/003-again"]),
        (["1", "001-005"], ["ambiguous"]),
        (["005-008"], ["no prompt '008'"]),
        (["fi"], ["ambiguous: 001-first, 005-fix, 006-fix-more"]),
        (["done"], ["no prompt 'done'"]),
        (["50"], ["no prompt '50'"]),
        (["_draft"], ["no prompt"]),
        (["99"], ["no prompt"]),
        (["nowhere/1"], ["no folder 'prompts/nowhere'"]),
        (["../x/1"], ["outside prompts"]),
        (["0-999999"], ["range of more than 1000"]),
        (["prompts/100-none.md"], ["no folder 'prompts/prompts'"]),
        (["\x1b[1m"], [r"no prompt '\x1b[1m'"]),
        (["x" * 5000 + ".md"], ["no prompt 'xxx"]),
        (["x" * 5000 + "/1"], ["no folder 'prompts/xxx"]),
        (["a\0/1"], [r"no folder 'prompts/a\x00'"]),
        (["a\0.md"], [r"no prompt 'a\x00.md'"]),
        (["providers/"], ["no prompt 'providers/'"]),
    ],
)
def test_selection_fails_as_a_whole(root: Any, selectors: Any, parts: Any) -> None:
    with pytest.raises(UsageError) as caught:
        select(selectors, root)
    assert str(caught.value).isprintable()
    for part in parts:
        assert part in str(caught.value)


def test_without_prompts(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder 'prompts'"):
        select(["1"], tmp_path)
    (tmp_path / "prompts").mkdir()
    with pytest.raises(UsageError, match="there are no prompts"):
        select(["1"], tmp_path)


def test_long_lists_of_candidates_are_cut(root: Any) -> None:
    for number in range(100, 130):
        (root / "prompts" / f"{number}-more.md").write_text("x")
    with pytest.raises(UsageError, match="and 11 more"):
        select(["more"], root)


def test_hostile_names(root: Any) -> None:
    (root / "prompts" / "031-a\nb\x1b[31m\u202e.md").write_text("x")
    (root / "prompts" / "032-a\nb.md").write_text("x")
    with pytest.raises(UsageError) as caught:
        select(["A\n"], root)
    assert str(caught.value).isprintable()
    assert r"031-a\nb\x1b[31m\u202e" in str(caught.value)
    plan = make_plan([Item(one) for one in select(["31", "32"], root)], Batch(who=(Who("codex"),)))
    assert list(plan.tasks) == ["031-a-b-31m", "032-a-b"]


def test_names_that_are_not_utf8(root: Any) -> None:
    name = os.fsdecode(b"033-\xff.md")
    try:
        (root / "prompts" / name).write_text("x")
    except OSError:  # pragma: no cover
        pytest.skip("this file system takes UTF-8 names only")
    with pytest.raises(UsageError, match=r"'.*033-\\udcff.md' is not UTF-8"):
        select(["33"], root)


@pytest.mark.parametrize("prompt", ["2", "002", "prompts/002-second-thing.md", "second", " 2 "])
def test_resolve(root: Any, prompt: Any) -> None:
    assert resolve(prompt, root) == root / "prompts" / "002-second-thing.md"
    assert resolve(str(root / "prompts" / "002-second-thing.md"), Path("/")).name == "002-second-thing.md"
    with pytest.raises(UsageError, match="no prompt '4'"):
        resolve("4", root)


def test_read(root: Any) -> None:
    path = root / "prompts" / "001-first.md"
    path.write_bytes(b"\xef\xbb\xbfHello")
    assert read(path) == "Hello"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff", "is not UTF-8"),
        (b"x" * (prompts.MAX_BYTES + 1), "is larger than 1 MiB"),
        (None, "is not a file"),
    ],
)
def test_what_cannot_be_read(root: Any, content: Any, message: Any) -> None:
    path = root / "prompts" / "044-bad.md"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=f"044-bad.md' {message}"):
        read(path)


def test_what_the_system_cannot_open(root: Any) -> None:
    with pytest.raises(UsageError, match="cannot be read: File name too long"):
        read(root / ("x" * 300))


def test_a_heading_is_found_in_linear_time(root: Any) -> None:
    path = root / "prompts" / "001-first.md"
    path.write_text(("# " + " " * 300_000 + "\n") * 3 + "#" * 90_000 + "\n# " + "x #" * 1000)
    assert len(select(["1"], root)[0].title) == 200


def test_what_would_be_clear(root: Any) -> None:
    for selector, candidates in (("3", ("003-third", "dup/003-again")), ("4x", None)):
        with pytest.raises(prompts.SelectionError) as error:
            select([selector], root)
        assert error.value.selector == selector
        assert candidates is None or error.value.candidates == candidates
    assert prompts.in_range("providers/1-2") == ["providers/001", "providers/002"]
    assert prompts.in_range("x") == []


def test_what_is_wrong_with_the_prompts_of_a_plan(tmp_path: Path) -> None:
    (tmp_path / "good.md").write_text("Do it.")
    tasks = {
        "a": Task(prompt="good.md", provider="p"),
        "b": Task(prompt="missing.md", provider="p"),
        "c": Task(command=("true",), provider="p"),
    }
    [problem] = prompts.problems(Plan("p", tasks, {"p": Provider()}), tmp_path)
    assert problem.startswith("task b: ")
