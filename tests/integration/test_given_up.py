"""Work that is not proven: it is not committed, nothing of it is handed on, and its files are put back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cli import Place, opened, plan_of, sh
from repositories import commit, git
from todo_plan import FOLDER, NAME, WORDS, plan, prepare, starts, subjects, text_of, todo

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.plan import Commit, Criterion, Retry

place = pytest.fixture(opened)
ONCE = Retry(attempts=1)
RUN = f"{NAME}-1"


@pytest.fixture
def checkout(place: Place) -> Place:
    git(place.target, "init", "-q", "-b", "main")
    git(place.target, "config", "user.name", "A Person")
    git(place.target, "config", "user.email", "person@example.org")
    commit(place.target, "kept", "as it was\r\n")
    return place


def test_files_of_a_failed_task_are_put_back_and_not_committed(checkout: Place) -> None:
    work = "until [ -e theirs ]; do sleep 0.02; done; echo changed > kept; echo new > made"
    task = sh(
        work,
        files=("kept", "made"),
        commit=Commit(),
        rollback=True,
        retry=ONCE,
        accept=(Criterion(run="test -f never"),),
    )
    before = git(checkout.target, "hash-object", "kept")
    beside = sh("until [ -e .daplug/runs/p-1/a/1/stdout.log ]; do sleep 0.02; done; echo other > theirs")
    ran = checkout.run(checkout.write(plan_of({"a": task, "b": beside})))
    assert ran.code == 1, ran
    assert git(checkout.target, "hash-object", "kept") == before
    assert not (checkout.target / "made").exists()
    assert (checkout.target / "theirs").read_text() == "other\n", "what another task made stays"
    assert git(checkout.target, "rev-list", "--count", "HEAD") == "1"
    saved = git(checkout.target, "for-each-ref", "--format=%(refname)", "refs/daplug/snapshots/").split()
    assert [git(checkout.target, "show", f"{ref}:made") for ref in saved] == ["new"]


def test_a_commit_that_cannot_be_sent_on_is_told_and_waits_for_a_person(checkout: Place) -> None:
    task = sh("echo x > made", title="it", files=("made",), commit=Commit(push=True))
    ran = checkout.run(checkout.write(plan_of({"a": task, "b": sh("true", "a")})))
    assert ran.code == 1, ran
    assert checkout.statuses() == {"a": "stuck", "b": "pending"}, "what needs it waits for the commit"
    assert git(checkout.target, "log", "-1", "--format=%s") == "a: it"
    report = checkout.run("report").out
    assert "upstream" in report
    bare = checkout.home / "origin.git"
    git(checkout.home, "init", "-q", "--bare", str(bare))
    git(checkout.target, "remote", "add", "origin", str(bare))
    git(checkout.target, "config", "branch.main.remote", "origin")
    git(checkout.target, "config", "branch.main.merge", "refs/heads/main")
    assert checkout.run("task", "retry", "a").code == 0
    assert checkout.run("resume").code == 0
    assert git(bare, "log", "--format=%s", "main").splitlines()[0] == "a: it"
    assert git(checkout.target, "rev-list", "--count", "HEAD") == "2", "one commit, however often"


TEXT = plan(
    todo(1, "Config", "it is there: test -f config.json", outputs=("config_path",)),
    todo(2, "Deploy", "it deploys: no-such-deployer", kind="verification"),
    todo(3, "Docs", "they are there: test -f docs.txt"),
    needs={1: "-", 2: "`todo-1`", 3: "`todo-1`"},
    commits={1: ("feat: config", "config.json")},
)
STORY: dict[str, list[dict[str, Any]]] = {
    "todo-1": [{"write": {"config.json": "{}\n"}, "result": {"outputs": {"config_path": "config.json"}}}],
    "todo-2": [{"result": {"learnings": ["it is all deployed"], "outputs": {"url": "x"}}}],
}


def test_what_the_surroundings_lack_halts_the_run_and_nothing_of_it_is_kept(place: Place) -> None:
    """A program that is not there is nothing that an agent could mend: no fix, no context, no box, and a record."""
    prepare(place, TEXT, STORY)
    ran = place.run("run", NAME, "--parallel=1", *WORDS)
    assert ran.code == 3, ran
    run = place.folded(RUN)
    assert (run.tasks["todo-2"].status, run.tasks["todo-3"].status) == (Status.STUCK, Status.PENDING)
    assert starts(place) == ["todo-1", "todo-2"], (
        "what only looks is tried once; nothing was started after it"
    )
    issues = text_of(place, "context/issues.md")
    assert "TODO 2: Deploy Failed\n\n**Category**: env_error\n" in issues
    assert "deployed" not in text_of(place, "context/learnings.md")
    assert json.loads(text_of(place, "context/outputs.json")) == {"todo-1": {"config_path": "config.json"}}
    assert text_of(place).count("[x] TODO") == 1
    assert [event.step for event in place.events(ev.StepDone, task="todo-2")] == []


def test_we_write_nothing_but_plan_and_context(place: Place) -> None:
    """All else in the repository was written by agents, each of which was told of one TODO."""
    first = TEXT[: TEXT.index("### [ ] TODO 2")]
    docs = TEXT[TEXT.index("### [ ] TODO 3") :].replace("| 2 | `todo-1` | - | work |\n", "")
    prepare(
        place,
        first + docs.replace("`todo-2`", "`todo-1`"),
        {**STORY, "todo-3": [{"write": {"docs.txt": "x\n"}}]},
    )
    ran = place.run("run", NAME, *WORDS)
    assert ran.code == 0, ran
    assert subjects(place, "main") == ["feat: config", f"chore({NAME}): miscellaneous changes"]
    changed = git(place.target, "diff", "--name-only", "HEAD~2", "HEAD").splitlines()
    context = [
        f"{FOLDER}/context/{name}" for name in ("decisions.md", "issues.md", "learnings.md", "outputs.json")
    ]
    assert sorted(changed) == sorted([*context, f"{FOLDER}/PLAN.md", "config.json", "docs.txt"])
    assert git(place.target, "status", "--porcelain") == ""
    for task, own, other in (("todo-1", "Config", "Docs"), ("todo-3", "Docs", "Config")):
        prompt = (place.state / "runs" / RUN / task / "1" / "prompt.md").read_text()
        assert own in prompt
        assert f": {other}" not in prompt
