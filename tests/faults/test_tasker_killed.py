"""A .tasker killed anywhere on the way: nothing is done twice, nothing is missing, and its own files say so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from cli import Place, opened
from forked import Forge, Life, forge
from promises import Proof
from repositories import git
from tasker_story import EIGHT, RUN, SHARED, WORDS, prepare, read, words
from todo_plan import starts, subjects

place = pytest.fixture(opened)
THREE = (EIGHT[0], EIGHT[1], EIGHT[3])
STORY = {
    "T001": SHARED["T001"],
    "T002": SHARED["T002"][1:],
    "T004": [{"write": {"app.txt": "header\n"}}],
}
TITLES = {one["id"]: f"{one['id']}: {one['name']}" for one in THREE}


@pytest.fixture
def forked() -> Iterator[Forge]:
    with forge() as made:
        yield made


def afresh(place: Place) -> None:
    """Begin with nothing done."""
    place.emptied()
    prepare(place, STORY, THREE)


def check(place: Place, branch: str) -> None:
    """All is done, and each thing once; journal, repository and session agree."""
    home = place.target / ".tasker"
    assert place.statuses(RUN) == dict.fromkeys(TITLES, "done")
    assert words(home) == dict.fromkeys(TITLES, "complete")
    assert Counter(starts(place)) == dict.fromkeys(TITLES, 1), "paid work was done twice, or never"
    landed = subjects(place, branch)
    assert sorted(landed) == sorted(TITLES.values())
    assert landed.index(TITLES["T001"]) < landed.index(TITLES["T002"])
    state = read(home, "state.json")
    for one in THREE:
        name = one["id"]
        sha = git(place.target, "log", "--format=%H", f"--grep=^{TITLES[name]}$", branch)
        result = read(home, f"bundles/{name}-result.json")
        assert (result["status"], result["git"]["commit_sha"]) == ("success", sha)
        assert (state["tasks"][name]["attempts"], state["tasks"][name]["commit_sha"]) == (1, sha)
        assert git(place.target, "show", "--format=", "--name-only", sha) == one["files"][0]["path"]
    told = Counter((event["type"], event["task_id"]) for event in state["events"])
    assert told == {(kind, name): 1 for kind in ("task_started", "task_completed") for name in TITLES}
    log = (home / "logs" / "activity.log").read_text().splitlines()
    assert len(log) == len(set(log)) == 2 * len(THREE)
    assert (home / "reports" / "evaluation-report.json").exists()


@pytest.mark.promise("P33")
@pytest.mark.parametrize("more", [(), ("--worktree",)], ids=["shared", "worktrees"])
def test_a_session_killed_anywhere(place: Place, forked: Forge, proof: Proof, more: tuple[str, ...]) -> None:
    """Before and after every call that another process or the disk could notice, in whichever thread."""
    command = (*WORDS, *more)
    branch = f"daplug/run/{RUN}" if more else "main"
    number, survived = 0, 0
    while not survived:
        number += proof.pick(601, 97)
        afresh(place)
        [ended] = forked.run(place, Life(command, kill_at=number))
        survived += ended.code == 0
        if ended.code != 0:
            assert ended.code == -9, ended
            proof.count("kills")
            proof.count("crash points")
            for _ in range(2):  # the second finds nothing to do
                [ended] = forked.run(place, Life(command))
                assert ended.code == 0, ended
        check(place, branch)
    assert number > 300
