"""A .tasker of eight tasks, run to its end: one agent lies, two do not fit, one is mended and one is not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from cli import Place, opened, until
from repositories import git, snapshots
from tasker_story import ATTEMPTS, EIGHT, RUN, STORY, WORDS, prepare, read, words
from todo_plan import starts, subjects

from daplug_supervisor.core import events as ev
from daplug_supervisor.workspace import run_branch

place = pytest.fixture(opened)


def until_nothing_goes_on(place: Place, *more: str) -> Path:
    """Run the session until a person is asked."""
    home = prepare(place)
    command = place.start(*WORDS, *more)
    until(lambda: place.events(ev.Landed, task="T004"), "the header has landed")
    (place.home / "story" / "go").touch()
    out, err = command.communicate(timeout=40)
    assert command.returncode == 1, (out, err)
    print(words(home))
    return home


def test_eight_tasks_in_worktrees(place: Place) -> None:
    until_nothing_goes_on(place, "--worktree")


def test_eight_tasks_in_a_shared_checkout(place: Place) -> None:
    until_nothing_goes_on(place)
