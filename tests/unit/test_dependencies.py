"""What prompts say they depend on, and the order that follows."""

from __future__ import annotations

from pathlib import Path

import pytest

from daplug_supervisor.errors import UsageError
from daplug_supervisor.formats.prompts.dependencies import Linked, link
from daplug_supervisor.formats.prompts.files import Prompt
from daplug_supervisor.formats.prompts.hints import front_matter, said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Depends on: 001, 002", "001 002"),
        ("depends on: 1, 2", "1 2"),
        ("- **Depends on:** 001 and api/005", "001 api/005"),
        ("> *Blocked by*: task 3", "3"),
        ("depends_on: [001, 'api-first']", "001 api-first"),
        ("depends-on: 001-003", "001 002 003"),
        ("Requires: Python 3.11, 2 GB, 100 MB", ""),
        ("dependencies: 007-more", "007"),
        ("Needs: prompt 4", "4"),
        ("This depends on 001.", "001"),
        ("It depends on\nprompts 1, 2 and 3.", "1 2 3"),
        ("requires prompt 002, and prompt 7", "002 7"),
        ("needs 010-schema & 011", "010 011"),
        ("blocked by #012", "012"),
        ("run after 003 is complete", "003"),
        ("after prompt 3", "3"),
        ("Once 004 is done, go on", "004"),
        ("once 004 said so", ""),
        ("after 10 minutes", ""),
        ("after 100 ms, after 300s, after 250 iterations", ""),
        ("needs 256MB", ""),
        ("requires 3.12 and 1.002", ""),
        ("after 001/", ""),
        ("the year 2024, item 003", ""),
        ("## Dependencies\n- 001-first\n- api/007\n### More\n008\n## Other\n009", "001 api/007 008"),
        ("# Requires\n002\n# Else\n003", "002"),
        ("<requires>\n002\n</requires>\n003", "002"),
        ("<dependencies>002</dependencies> 005", "002"),
        ("```\nDepends on: 001\n```\n~~~\nafter 002\n~~~\nafter 003", "003"),
        ("```\n~~~\nDepends on: 001\n```\nafter 002", "002"),
        ("---\ndepends_on:\n  - 001\n  - api/2\n---\nx", "001 api/2"),
        ("---\nrequires: 001 # first\n---\nafter 002", "001 002"),
        ("nothing", ""),
    ],
)
def test_what_a_prompt_depends_on(text: str, expected: str) -> None:
    assert " ".join(said(text).depends) == expected


def test_front_matter() -> None:
    text = '---\nmodel_hint: gemini # the best\nrole: [a, "b"]\nempty:\n- c\n- \nodd line\n---\nbody\n'
    assert front_matter(text) == (
        {"model_hint": ["gemini"], "role": ["a", "b"], "empty": ["c"]},
        "body",
    )
    assert said(text).hint("cli_hint", "model_hint") == "gemini"
    assert said(text).hint("cli_hint") == ""
    for other in ("", "x\n---\na: b\n---\n", "---\na: b\n", "---\n- c\n---\n"):
        assert front_matter(other)[0] == {}


def test_files_that_are_made_and_mentioned() -> None:
    found = said(
        "See `src/a.py` and @docs/b.md.\n<output>\nWrite `./out/c.json` and `two words/x`\n</output>\n`plain`\n"
    )
    assert found.makes == {"out/c.json"}
    assert found.mentions == {"src/a.py", "docs/b.md", "out/c.json"}
    assert said("## Output\n`x.py`\n## Then\n`y.py`").makes == {"x.py"}


def test_hostile_prompts_take_no_long_time() -> None:
    for text in (
        "a" * 2**20, "depends on " * 90_000, "depends on 001, " * 60_000, "<output>" * 100_000, "a/" * 500_000,
        "1" * 2**20, "`" * 2**20, "# requires\n" * 50_000, "@a" * 400_000, "---\n" * 200_000, "001-" * 200_000,
    ):  # fmt: skip
        assert len(said(text).depends) <= 200


# --- the order --------------------------------------------------------------------------------------------------

ROOT = Path("/r/prompts")


def prompt(name: str) -> Prompt:
    folder, _, stem = name.rpartition("/")
    number, _, slug = stem.partition("-")
    return Prompt(number if number.isdigit() else "", folder, slug or stem, ROOT / f"{name}.md", stem)


def linked(phases: list[dict[str, str]]) -> Linked:
    """The order of prompts that are given with their texts."""
    groups = [[prompt(name) for name in phase] for phase in phases]
    texts = {prompt(name).path: said(text) for phase in phases for name, text in phase.items()}
    return link(groups, texts)


def needs(found: Linked) -> dict[str, list[str]]:
    return {path.stem: [one.stem for one in others] for path, others in found.needs.items() if others}


def test_prompts_wait_for_those_that_they_name() -> None:
    found = linked(
        [
            {
                "001-a": "",
                "002-b": "Depends on: 1, c",
                "api/003-c": "after 001, after 010",
                "notes": "needs prompt 2; depends on api/003",
            }
        ]
    )
    assert needs(found) == {
        "002-b": ["001-a", "003-c"],
        "003-c": ["001-a"],
        "notes": ["003-c", "002-b"],
    } or needs(found) == {"002-b": ["001-a", "003-c"], "003-c": ["001-a"], "notes": ["002-b", "003-c"]}
    assert found.notes == ("003-c: '010' is not among the chosen prompts, and not waited for",)


def test_a_number_in_two_folders_is_the_one_of_the_same_folder() -> None:
    found = linked([{"a/001-x": "", "b/001-x": "", "a/002-y": "after 001", "003-z": "after 001 and b/001"}])
    assert [path.parent.name for path in found.needs[ROOT / "a/002-y.md"]] == ["a"]
    assert found.needs[ROOT / "003-z.md"] == (ROOT / "b/001-x.md",)
    assert found.notes == ("003-z: '001' may be several prompts; name its folder to have it waited for",)


def test_files_make_an_order_but_no_cycle_among_those_who_write_the_same() -> None:
    writes = "<output>\n`docs/plan.md`\n</output>"
    found = linked([{"001-a": writes, "002-b": writes, "003-c": "read @docs/plan.md"}])
    assert needs(found) == {"003-c": ["001-a", "002-b"]}


def test_groups_are_never_broken() -> None:
    found = linked([{"001-a": "after 002", "003-c": "after 001"}, {"002-b": "after 001 and 003"}])
    assert needs(found) == {"003-c": ["001-a"]}
    assert found.notes == (
        "001-a says that it depends on 002-b, which your groups put after it: the groups count",
    )


def test_cycles_are_refused_and_shown() -> None:
    with pytest.raises(UsageError, match=r"wait for each other: 00[12]-. -> 00[12]-. -> 00[12]-.; take one"):
        linked([{"001-a": "after 002, after 001", "002-b": "after 001"}])
    ring = {f"{number:03}-x": f"after {(number + 1) % 30:03}" for number in range(30)}
    with pytest.raises(UsageError, match=r"-> \.\.\. -> "):
        linked([ring])
