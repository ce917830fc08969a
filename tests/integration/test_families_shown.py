"""What the command shows of tasks that were divided, and of work that waits for a review: C1, C15, C22, C23."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli import Place, plan_of, sh
from repositories import commit, git

from daplug_supervisor.core.plan import Retry

ONCE = Retry(attempts=1)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    git(made.target, "init", "-q", "-b", "main")
    commit(made.target, "f", "one\n")
    yield made
    made.close()


def test_a_divided_task_is_shown_with_its_parts_until_a_person_has_got_on_with_them(place: Place) -> None:
    tasks = {"oauth": sh("exit 3", retry=ONCE), "docs": sh("true", "oauth")}
    assert place.run("run", "--quiet", place.write(plan_of(tasks))).code == 1
    parts = ("db=true", "api=exit 4", "ui=true")
    split = place.run("task", "split", "oauth", *parts, "--chain", "--command", "--provider", "p")
    assert split.code == 0, split.err
    lines = place.run("task", "list").out.splitlines()
    assert [line[:7].rstrip() for line in lines[1:]] == ["oauth", "  db", "  api", "  ui", "docs"]
    assert "delegated (0/3)" in lines[1]
    flat = place.run("task", "list", "--flat").out.splitlines()
    assert flat[0].split()[:3] == ["task", "parent", "state"]
    assert [line.split()[0] for line in flat[1:]] == ["oauth", "docs", "db", "api", "ui"]
    rows = {row["task"]: row for row in place.run("task", "list", "--json").json()}
    assert (rows["api"]["parent"], rows["api"]["blocked_by"]) == ("oauth", ["db"])
    assert rows["oauth"]["progress"] == {"done": 0, "total": 3}
    shown = place.run("task", "show", "oauth", "--json").json()
    assert (shown["children"], shown["parent"], shown["blocked_by"]) == (["db", "api", "ui"], None, [])
    assert place.run("resume", "--quiet").code == 1
    said = place.run("task", "why", "oauth").out
    assert said.startswith("oauth: Delegated (1/3) ")
    assert "daplug-supervise task retry api\n" in said
    status = place.run("status", "--json").json()
    assert [(row["task"], row["wants"]) for row in status["attention"]] == [
        ("oauth", "parts"),
        ("api", "repair"),
    ]
    assert "task retry api`; then `daplug-supervise resume`." in status["sentence"]
    assert (status["stage"], status["stages"]) == (1, 2)
    page = place.run("report", "--html").out
    assert "delegated (1/3)" in page
    assert place.run("task", "skip", "api").code == 0
    assert place.run("resume", "--quiet").code == 0
    assert "oauth (sh -c exit 3): done, parts (3/3)" in place.run("report").out


def test_work_that_waits_for_a_review_is_shown_where_it_is(place: Place) -> None:
    tasks = {"a": sh("echo two >> f; echo new > g", worktree=True, review="human")}
    assert place.run("run", "--quiet", place.write(plan_of(tasks))).code == 1
    home, base = place.target / ".worktrees" / "p-1-a", git(place.target, "rev-parse", "HEAD")
    diff = f"git -C {home} diff {base}"
    assert diff in place.run("task", "why", "a").out
    assert "branch daplug/p-1-a" in " ".join(place.run("task", "show", "a").out.split())
    assert diff in place.run("status").out
    [row] = place.run("report", "--json").json()["waiting"]
    assert (row["wants"], row["next"][1]) == ("review", diff)
    assert "+two" in git(home, "diff", base)
    assert place.run("task", "approve", "a").code == 0
    assert place.run("resume", "--quiet").code == 0
    assert " a approved" in place.run("report").out
