"""Killed between any two of worker, verification, context, box, commit and merge: nothing twice, nothing missing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pytest
from cli import Place, opened
from forked import Forge, Life, forge
from promises import Proof
from repositories import git
from todo_plan import FOLDER, NAME, WORDS, plan, prepare, starts, subjects, text_of, todo

from daplug_supervisor.core import events as ev

place = pytest.fixture(opened)
TEXT = plan(
    todo(1, "Config", "it is there: test -f config.json", outputs=("config_path",)),
    todo(
        2,
        "API",
        "it answers: grep -q config.json api.txt",
        inputs=("config_path=`${todo-1.outputs.config_path}`",),
    ),
    todo(3, "Notes", "they are there: test -f notes.txt"),
    needs={1: "-", 2: "`todo-1.config_path`", 3: "-"},
    commits={
        1: ("feat: config", "config.json"),
        2: ("feat: api", "api.txt"),
        3: ("docs: notes", "notes.txt"),
    },
)
STORY = {
    "todo-1": [
        {
            "write": {"config.json": "{}\n"},
            "result": {"outputs": {"config_path": "config.json"}, "learnings": ["one"], "issues": ["two"]},
        }
    ],
    "todo-2": [{"write": {"api.txt": "reads config.json\n"}, "result": {"decisions": ["three"]}}],
    "todo-3": [{"write": {"notes.txt": "notes\n"}, "result": {"learnings": ["four"]}}],
}
COMMITS = ["feat: config", "feat: api", "docs: notes"]


@pytest.fixture
def forked() -> Iterator[Forge]:
    with forge() as made:
        yield made


def afresh(place: Place) -> None:
    """Begin with nothing done."""
    place.emptied()
    prepare(place, TEXT, STORY)


def over(place: Place) -> bool:
    return bool(place.events(ev.RunFinished))


def check(place: Place, branch: str) -> None:
    """All is done, and each thing once."""
    assert set(place.statuses(f"{NAME}-1").values()) == {"done"}
    assert Counter(starts(place)) == dict.fromkeys(STORY, 1), "paid work was done twice, or never"
    landed = [line for line in subjects(place, branch) if not line.startswith("chore(")]
    assert sorted(landed) == sorted(COMMITS)
    assert landed.index("feat: config") < landed.index("feat: api")
    text = text_of(place)
    assert text.count("### [x] TODO") == 3
    assert text.replace("[x]", "[ ]") == TEXT, "only boxes have changed"
    assert text.count("- [x]") == 3, "criteria are ticked, steps are not"
    assert json.loads(text_of(place, "context/outputs.json")) == {"todo-1": {"config_path": "config.json"}}
    learnt = text_of(place, "context/learnings.md")
    assert (learnt.count("- one"), learnt.count("- four")) == (1, 1)
    assert text_of(place, "context/issues.md").count("- [ ] two") == 1
    assert text_of(place, "context/decisions.md").count("- three") == 1
    for name, words in (("api.txt", "reads config.json"), ("notes.txt", "notes"), ("config.json", "{}")):
        assert git(place.target, "show", f"{branch}:{name}") == words


@pytest.mark.promise("P33")
@pytest.mark.parametrize("words", [(), ("--worktree",)], ids=["shared", "worktrees"])
def test_killed_anywhere_on_the_way_home(
    place: Place, forked: Forge, proof: Proof, words: tuple[str, ...]
) -> None:
    """Before and after every call that another process or the disk could notice, in whichever thread."""
    command = ("run", NAME, *WORDS, *words)
    branch = f"daplug/run/{NAME}-1" if words else "main"
    number, survived = 0, 0
    while not survived:
        number += proof.pick(449, 5)
        afresh(place)
        [ended] = forked.run(place, Life(command, kill_at=number))
        survived += ended.code == 0
        if ended.code != 0:
            assert ended.code == -9, ended
            proof.count("kills")
            proof.count("crash points")
            while not over(place):
                [ended] = forked.run(place, Life(command))
                assert ended.code == 0, ended
        check(place, branch)
    assert number > 300
    assert (place.target / FOLDER).is_dir()
