"""A PLAN.md of six TODOs, run to its end: one agent lies, two do not fit, one is mended and one is not."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from cli import Place, kill, opened, until
from repositories import git
from todo_plan import FOLDER, NAME, WORDS, plan, prepare, starts, subjects, text_of, todo

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.machine import Status
from daplug_supervisor.formats.todos import checklist, substeps
from daplug_supervisor.workspace.git import run_branch

place = pytest.fixture(opened)
RUN = f"{NAME}-1"
TEXT = plan(
    todo(1, "Config", "the config is there: test -f config.json", outputs=("config_path",)),
    todo(2, "API", "it answers: grep -q right api.txt",
         inputs=("config=`${todo-1.outputs.config_path}`",), outputs=("api",)),
    todo(3, "Liar", "it is there: test -f honest.txt"),
    todo(4, "Header", "a header: grep -q header app.txt"),
    todo(5, "Footer", "a footer: grep -q footer app.txt"),
    todo(6, "All", "all of it: grep -q header app.txt && grep -q footer app.txt", kind="verification",
         inputs=("api=`${todo-2.outputs.api}`",)),
    needs={1: "-", 2: "`todo-1.config_path`", 3: "-", 4: "-", 5: "-", 6: "`todo-2.api`, `todo-4`, `todo-5`"},
    commits={
        1: ("feat: config", "config.json"),
        2: ("feat: api", "api.txt"),
        3: ("feat: honest", "honest.txt"),
        4: ("feat: header", "app.txt"),
        5: ("feat: footer", "app.txt"),
    },
)  # fmt: skip
LIES: dict[str, Any] = {
    "result": {
        "acceptance_criteria": [{"id": "it is there", "command": "test -f honest.txt", "status": "PASS"}]
    }
}
STORY: dict[str, list[dict[str, Any]]] = {
    "todo-1": [
        {
            "write": {"config.json": "{}\n"},
            "result": {"outputs": {"config_path": "config.json"}, "learnings": ["uses JSON"]},
        }
    ],
    "todo-2": [
        {"write": {"api.txt": "wrong\n"}, "result": {"outputs": {"api": "api.txt"}}},
        {"write": {"api.txt": "right\n"}, "result": {"outputs": {"api": "api.txt"}}},
    ],
    "todo-3": [LIES, LIES, LIES, {"write": {"honest.txt": "now\n"}}],
    "todo-4": [{"write": {"app.txt": "header\n"}}],
    "todo-5": [{"hold": "go", "write": {"app.txt": "footer\n"}}, {"write": {"app.txt": "header\nfooter\n"}}],
    "todo-6": [{"result": {"issues": ["nobody tests the footer"]}}],
}

TOGETHER = {
    **STORY,
    "todo-3": STORY["todo-3"][3:],
    "todo-4": STORY["todo-5"][1:],  # in one checkout, in whatever order
    "todo-5": STORY["todo-5"][1:],
}


def test_six_todos_to_the_end(place: Place) -> None:
    prepare(place, TEXT, STORY)
    words = ("run", NAME, "--worktree", *WORDS)
    command = place.start(*words)
    until(lambda: place.events(ev.Landed, task="todo-4"), "the header has landed")
    (place.home / "story" / "go").touch()
    assert command.wait(40) == 3, "the liar was found out, and a person is asked"
    run = place.folded(RUN)
    assert run.tasks["todo-3"].status is Status.FAILED
    (finding,) = [one for one in run.tasks["todo-3"].findings if one.criterion >= 0]
    assert (finding.claimed, finding.status) == ("PASS", "FAIL")
    assert run.tasks["todo-3"].last_fix, "an attempt, a round that changed nothing, and the last fix"
    assert starts(place).count("todo-3") == 3
    assert "### [ ] TODO 3" in text_of(place)
    halts = text_of(place, "context/issues.md")
    assert halts.count("TODO 3: Liar Failed") == 1
    assert "**Category**: code_error" in halts
    ran = place.run("task", "retry", "todo-3")
    assert ran.code == 0, ran.err
    ran = place.run(*words)
    assert ran.code == 0, ran.err
    check_the_end(place)


def check_the_end(place: Place) -> None:
    run = place.folded(RUN)
    assert {task.status for task in run.tasks.values()} == {Status.DONE}
    counted = Counter(starts(place))
    assert counted == {"todo-1": 1, "todo-2": 2, "todo-3": 4, "todo-4": 1, "todo-5": 2, "todo-6": 1}
    text = text_of(place)
    assert (text.count("### [x] TODO"), text.count("- [x]")) == (6, 6)
    assert text.replace("[x]", "[ ]") == TEXT
    assert json.loads(text_of(place, "context/outputs.json")) == {
        "todo-1": {"config_path": "config.json"},
        "todo-2": {"api": "api.txt"},
    }
    branch = run_branch.name(RUN)
    landed = subjects(place, branch)
    assert sorted(landed) == ["feat: api", "feat: config", "feat: footer", "feat: header", "feat: honest"]
    assert git(place.target, "show", f"{branch}:app.txt") == "header\nfooter"
    conflicts = [one for one in place.events(ev.RetryScheduled) if one.result.outcome.kind == "conflict"]
    assert [one.task for one in conflicts] == ["todo-5"]
    assert subjects(place, "main") == [f"chore({NAME}): miscellaneous changes"]
    assert git(place.target, "status", "--porcelain") == ""
    report = next((place.state / "runs" / RUN / "report").glob("*/stdout.log")).read_text()
    for words in ("PLAN.md", "uses JSON", "nobody tests the footer", "app.txt"):
        assert words in report


def test_the_run_obeys_the_order_of_its_sub_steps(place: Place) -> None:
    """Must hold for every event: nothing is done before what blocks it in the table that `check` prints."""
    prepare(place, TEXT, TOGETHER)
    steps = steps_of(place)
    ran = place.run("run", NAME, *WORDS)
    assert ran.code == 0, ran.err
    assert substeps.broken(steps, [entry.event for entry in place.entries()]) == ()
    done = substeps.done(steps, [entry.event for entry in place.entries()])
    assert len(done) == len(steps)


def steps_of(place: Place) -> tuple[substeps.SubStep, ...]:
    path = place.target / FOLDER / "PLAN.md"
    finalize = checklist.finalize_of(path)
    return substeps.substeps(checklist.read(path, place.target, finalize=finalize, provider="codex").plan)


def test_a_prompt_tells_what_to_do_and_what_was_handed_on(place: Place) -> None:
    prepare(place, TEXT, TOGETHER)
    assert place.run("run", NAME, *WORDS).code == 0
    prompts = [(place.state / "runs" / RUN / "todo-2" / number / "prompt.md").read_text() for number in "12"]
    at = [prompts[0].index(f"## {name}") for name in (
        "TASK", "EXPECTED OUTCOME", "REQUIRED TOOLS", "MUST DO", "MUST NOT DO", "CONTEXT",
    )]  # fmt: skip
    assert at == sorted(at)
    assert "config.json" in prompts[0]
    assert "${" not in prompts[0]
    assert "uses JSON" in prompts[0], "what was learnt is handed on"
    assert "exit code 1 instead of 0" in prompts[1], "the failed items go back"


def test_a_result_that_is_missing_is_a_failure(place: Place) -> None:
    silent = {"todo-1": [{"write": {"config.json": "{}\n"}, "result": None}]}
    prepare(place, TEXT, {**STORY, **silent})
    command = place.start("run", NAME, *WORDS, "--only", "todo-1")
    (again,) = until(lambda: place.events(ev.RetryScheduled), "the attempt is not believed")
    assert again.result.outcome.kind == "no_result"
    assert "it handed in no result" in again.result.outcome.detail
    kill(command)
