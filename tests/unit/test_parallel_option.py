"""``--parallel`` as people write it."""

from __future__ import annotations

import pytest

from daplug_supervisor.cli.prompts.slots import rewritten


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("001 --parallel 4", "001 --parallel=4"),
        ("001 --parallel=4", "001 --parallel=4"),
        ("001 -p 4", "001 --parallel=4"),
        ("001 -p4", "001 -p4"),
        ("001 002 --parallel", "001 002 --parallel=3"),
        ("--parallel 002 003", "--parallel=3 002 003"),
        ("--parallel 4 002", "--parallel=4 002"),
        ("-p 002 003", "--parallel=3 002 003"),
        ("-p 12 002", "--parallel=12 002"),
        ("--parallel api/005", "--parallel=3 api/005"),
        ("--parallel 1-4", "--parallel=3 1-4"),
        ("--parallel 1,3", "--parallel=3 1,3"),
        ("--parallel fix-it", "--parallel=3 fix-it"),
        ("--parallel --model codex 002", "--parallel=3 --model codex 002"),
        ("--model codex --parallel 2 --worktree 002", "--model codex --parallel=2 --worktree 002"),
        ("--parallel 0 002", "--parallel=0 002"),
        ("--parallel 00 002", "--parallel=3 00 002"),
        ("--parallel 123 124", "--parallel=3 123 124"),
        ("--parallel 128 001-200", "--parallel=128 001-200"),
        ("--parallel -- 4 -p", "--parallel=3 -- 4 -p"),
        ("001 -> 002 ->003", "001 \x00-> 002 \x00->003"),
        ("1 --loop --loop-foreground -p 2", "1 --loop --parallel=2"),
        ("", ""),
    ],
)
def test_a_plain_number_is_how_many_and_all_else_is_a_prompt(typed: str, read: str) -> None:
    words = [word.replace("\x00", " ") for word in read.split()]
    assert rewritten(typed.split(), lambda number: number == "123") == words
