"""``run-prompt`` through the installed command: what daplug's users type, and what its commands read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli import STANDIN, Place, finish, opened, until

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.plan import Budget, Loop, Plan, Provider, Retry

place = pytest.fixture(opened)

FAIL = "STUB: fail 1\n"
CLI = """\
#!{python}
import sys
from pathlib import Path
prompt = sys.stdin.read()
Path("made-by-" + str(len(prompt))).write_text("x")
print("Next steps:\\n1) deploy it\\n\\n<verification>MADE</verification>")
"""


def prompts(place: Place, *names: str, text: str = "STUB: ok\n") -> None:
    for name in names:
        path = place.target / "prompts" / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {path.stem}\n{text}")


def repository(place: Place) -> None:
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "first"]):
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *who, *words], cwd=place.target, check=True, env=place.environ)


def typed(place: Place, *words: str) -> Any:
    return place.run("run-prompt", *words, "--executor", str(STANDIN))


def submitted(place: Place) -> Plan:
    plan = place.events(ev.RunSubmitted)[-1].plan
    assert isinstance(plan, Plan)
    return plan


def begun(place: Place) -> list[str]:
    return [event.task for event in place.events(ev.AttemptStarted)]


def test_groups_wait_for_each_other(place: Place) -> None:
    prompts(place, "001-a", "002-b", "003-c", "api/005-d")
    ran = typed(place, "001,002", "->", "api/005->003", "--parallel", "--json", "-m", "codex")
    assert ran.code == 0, ran
    order = begun(place)
    assert (set(order[:2]), order[2:]) == ({"001-a", "002-b"}, ["api-005-d", "003-c"])
    assert [one["execution"]["status"] for one in ran.json()["prompts"]] == ["completed"] * 4
    wrong = typed(place, "001,002 -> 9", "-m", "codex")
    assert (wrong.code, "column 12: there is no prompt '9'" in wrong.err, "try: " in wrong.err) == (
        2,
        True,
        True,
    )


def test_all_together_are_no_more_than_asked_for(place: Place) -> None:
    prompts(place, *(f"00{number}-x" for number in range(1, 7)), text="STUB: sleep 0.1\n")
    prompts(place, "007-y", "008-y", text="---\nmodel_hint: gemini\n---\nSTUB: sleep 0.1\n")
    (place.target / "prompts" / "007-y.md").write_text("---\nmodel_hint: gemini\n---\nSTUB: sleep 0.1\n")
    ran = typed(place, "--parallel", "2", "001-008", "--model", "codex", "-q")
    assert ran.code == 0, ran
    assert "note: 007-y: runs with gemini, as its front matter says" in ran.err
    assert place.most_at_once() == {"codex": 2, "gemini": 1, "*": 2}
    assert submitted(place).providers["gemini"].parallel == 2


def test_what_is_asked_for_is_in_the_plan(place: Place) -> None:
    prompts(place, "001-a")
    (place.target / "sub").mkdir()
    ran = typed(
        place, "1", "-m", "codex", "--fallback", "gemini", "--fallback", "glm5:opencode", "--cli", "cc",
        "-w", "-b", "main", "--on-conflict", "increment", "--setup", "sh -c 'echo hi'", "--setup-timeout", "2m",
        "--cwd", "sub", "--sandbox-profile", "strict", "--sandbox-net", "off", "--loop", "--max-iterations", "7",
        "--completion-marker", "M", "--require-diff", "--timeout", "9m", "--idle-timeout", "3m", "--run-timeout",
        "none", "--attempts", "2", "--budget", "tokens=2M,cost=5.5,attempts=9", "--pass-env", "A_*", "--run",
        "--dangerously-bypass-permissions", "--tmux",
    )  # fmt: skip
    assert "note: --tmux" in ran.err
    plan = submitted(place)
    task = plan.tasks["001-a"]
    options = {"sandbox_net": "off", "dangerously_bypass_permissions": True}
    assert plan.providers == {
        "codex-claude": Provider(
            "codex", cli="claude", fallback=("gemini", "glm5-opencode"), options=options
        ),
        "gemini": Provider("gemini", options=options),
        "glm5-opencode": Provider("glm5", cli="opencode", options=options),
    }
    assert (plan.timeout, plan.budget, plan.pass_env) == (None, Budget(2_000_000, 5.5, 9), ("A_*",))
    assert (task.worktree, task.base, task.on_conflict, task.cwd) == (True, "main", "increment", "sub")
    assert (task.setup, task.setup_timeout) == (("sh", "-c", "echo hi"), 120.0)
    assert (task.sandbox, task.loop, task.require_diff) == ("strict", Loop(7, "M"), True)
    assert (task.timeout, task.idle_timeout, task.retry) == (540.0, 180.0, Retry(2))


def test_defaults(place: Place) -> None:
    prompts(place, "001-a")
    assert typed(place, "1").code == 0
    plan = submitted(place)
    assert (plan.providers, plan.timeout) == ({"codex": Provider("codex", parallel=3)}, None)
    assert (plan.tasks["001-a"].timeout, plan.tasks["001-a"].worktree) == (2700.0, False)
    assert place.events(ev.RunStarted)[0].parallel == 3


def test_groups_have_three_hours_unless_told_otherwise(place: Place) -> None:
    prompts(place, "001-a", "002-b")
    timeouts = []
    for words in (["1->2"], ["1->2", "--run-timeout", "none"], ["1", "--run-timeout", "90s"]):
        assert typed(place, *words, "--fresh").code == 0
        timeouts.append(submitted(place).timeout)
    assert timeouts == [10800.0, None, 90.0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("1 --moa codex", "--moa needs at least two different models"),
        ("1 --moa codex,claude", "claude runs only inside a Claude session"),
        ("1 --moa codex,gemini --model x --cli codex", "so --model and --cli cannot be beside it"),
        ("1 --parallel=002", "'002' is not a plain number"),
        ("1 --parallel 0", "0 is not from 1 to"),
        ("--parallel 4", "SELECTORS"),
        ("1 --prompt-file x", "give the file's path as a selector"),
        ("1 --loop-status", "see 'daplug-supervise status'"),
        ("1 --worktree-path x", "say --worktree"),
        ("1 --cwd /", "not below"),
        ("1 --budget tokens=much", "write tokens=2M"),
        ("1 --budget cost=-1", "write tokens=2M,cost=5"),
        ("1 --budget beers=4", "write tokens=2M,cost=5"),
        ("1 --timeout soon", "write 90s"),
        ("1 --completion-marker a/b", "up to 80 letters"),
        ('1 --setup "\'"', "No closing quotation"),
        ("1 -m codex:opencode --cli claude", "name one CLI"),
        ("1 -m -x", "is not a model"),
        ("1 --worker cli --sandbox-net off", "only daplug's executor.py has that"),
        ("1 -> 1", "phase 2 is empty"),
    ],
)
def test_what_cannot_be_is_refused(place: Place, words: str, message: str) -> None:
    prompts(place, "001-a")
    ran = typed(place, *words.replace('"\'"', "'").split())
    assert (ran.code, ran.out, message in ran.err) == (2, "", True), ran
    assert not place.state.exists()


def test_each_model_of_a_mixture_works_on_a_branch_of_its_own(place: Place) -> None:
    prompts(place, "001-a")
    repository(place)
    ran = typed(place, "1", "--moa", "codex,codex:opencode", "--json")
    assert ran.code == 0, ran
    (row,) = ran.json()["prompts"]
    runs = row["moa"]["runs"]
    assert [(one["label"], one["status"]) for one in runs] == [
        ("codex", "completed"),
        ("codex-opencode", "completed"),
    ]
    assert len({one["branch_name"] for one in runs} - {""}) == 2
    assert all((Path(one["worktree_path"]) / ".git").is_file() for one in runs)


def test_prompts_wait_for_what_they_say_they_depend_on(place: Place) -> None:
    prompts(place, "001-a", text="Depends on: 002, 099\nSTUB: ok\n")
    prompts(place, "002-b")
    ran = typed(place, "1-2", "--auto-deps", "-q")
    assert (ran.code, begun(place)) == (0, ["002-b", "001-a"])
    assert "note: 001-a: '099' is not among the chosen prompts" in ran.err
    assert typed(place, "1-2", "--fresh", "-q").code == 0
    assert submitted(place).tasks["001-a"].needs == ()
    prompts(place, "002-b", text="after 001\nSTUB: ok\n")
    ran = typed(place, "1-2", "--auto-deps")
    assert (ran.code, "wait for each other: " in ran.err) == (2, True)


def test_a_dry_run_starts_nothing(place: Place) -> None:
    prompts(place, "001-a", "002-b")
    for option in ("--dry-run", "--info-only"):
        ran = typed(place, "1 -> 2", option, "--json")
        assert (ran.code, ran.json()["stages"]) == (0, [["001-a"], ["002-b"]])
    assert not place.state.exists()


def test_quotas_are_looked_at_if_daplugs_settings_want_it(place: Place) -> None:
    prompts(place, "001-a")
    tool = place.home / "bin" / "cclimits"
    tool.parent.mkdir()
    tool.write_text(
        '#!/bin/sh\necho \'{"codex": {"primary_window": {"used": "100%"}}, "gemini": {"used": 3}}\'\n'
    )
    tool.chmod(0o755)
    place.environ["PATH"] = f"{tool.parent}:{place.environ['PATH']}"
    words = ("1", "-m", "codex", "--fallback", "gemini", "--dry-run", "--json")
    assert typed(place, *words).json()["assignments"][0]["provider"] == "codex"
    (place.target / "CLAUDE.md").write_text(
        "<daplug_config>\nai_usage_awareness: enabled\n</daplug_config>\n"
    )
    ran = typed(place, *words)
    assert ran.json()["assignments"][0]["provider"] == "gemini"
    assert "note: quota: codex has used 100 %, and comes last" in ran.err
    tool.write_text("#!/bin/sh\nexit 1\n")
    assert typed(place, *words).json()["assignments"][0]["provider"] == "codex"
    tool.unlink()
    assert typed(place, *words).json()["assignments"][0]["provider"] == "codex"


def test_the_document_tells_of_what_did_not_do(place: Place) -> None:
    prompts(place, "001-a")
    prompts(place, "002-b", text=FAIL)
    ran = typed(place, "1 -> 2", "--json", "--attempts", "1", "--max-iterations", "1")
    assert ran.code == 1
    document = ran.json()
    first, second = (one["execution"] for one in document["prompts"])
    assert (first["status"], second["status"]) == ("completed", "max_iterations_reached")
    assert (second["final_status"], second["outcome"], second["attempts"]) == (
        "max_iterations_reached",
        "crashed",
        1,
    )
    assert (document["run"], document["state"], document["repo"]) == ("run-prompt-1", "finished", "target")
    assert json.loads(Path(document["report"]).read_text())["run"] == "run-prompt-1"
    assert Path(second["state_file"]).is_file()
    assert Path(second["log"]).read_text() == "boom\n"


def test_a_sprint_is_run_as_a_plan(place: Place) -> None:
    prompts(place, "001-a", "002-b", "003-c")
    state = {
        "sprint_id": "s", "dependencies": {"002": ["003"], "003": ["001"]}, "options": {"max_parallel": 1},
        "prompts": [
            {"id": "001", "status": "completed"}, {"id": "002", "model": "codex"}, {"id": "003", "model": "glm5"},
        ],
    }  # fmt: skip
    (place.target / ".sprint-state.json").write_text(json.dumps(state))
    ran = place.run("run", ".sprint-state.json", "--executor", str(STANDIN))
    assert (ran.code, begun(place), place.events(ev.RunStarted)[0].parallel) == (0, ["003-c", "002-b"], 1), (
        ran
    )
    assert "note: 1 of 3 prompts are completed" in ran.err
    assert place.run("check", ".sprint-state.json").code == 0


def test_killed_it_goes_on_with_the_same_command_or_with_resume(place: Place) -> None:
    prompts(place, "001-a", "002-b", text="STUB: sleep 0.5\n")
    words = ("run-prompt", "1 -> 2", "--parallel", "5", "--executor", str(STANDIN))
    process = place.start(*words)
    until(lambda: place.events(ev.AttemptSpawned), "an attempt at work")
    process.kill()
    finish(process)
    process = place.start(*words)
    until(lambda: "002-b" in begun(place), "the second at work")
    process.kill()
    finish(process)
    assert place.run("resume", "--executor", str(STANDIN)).code == 0
    assert begun(place) == ["001-a", "002-b"]
    assert {event.parallel for event in place.events(ev.RunStarted)} == {5}


@pytest.fixture
def real(place: Place) -> Place:
    """A place with the executor that DAPLUG_EXECUTOR names, and a codex that does what it is told."""
    named = os.environ.get("DAPLUG_EXECUTOR", "")
    if not named or not Path(named).exists():
        pytest.skip("DAPLUG_EXECUTOR names no executor.py of daplug")
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    tool = place.home / "bin" / "codex"
    tool.parent.mkdir()
    tool.write_text(CLI.format(python=sys.executable))
    tool.chmod(0o755)
    place.environ |= {"PATH": f"{tool.parent}:{place.environ['PATH']}", "DAPLUG_EXECUTOR": named}
    return place


def test_daplugs_own_executor_and_document(real: Place) -> None:
    prompts(real, "001-a", "002-b", "003-c", text="Do it.\n")
    repository(real)
    words = ("--model", "codex", "--worktree", "--completion-marker", "MADE")
    ran = real.run("run-prompt", "001-003", *words, "--parallel", "2", "--json")
    assert ran.code == 0, ran
    ours = ran.json()
    executor = real.environ["DAPLUG_EXECUTOR"]
    inside = Path(executor) / "skills" / "prompt-executor" / "scripts" / "executor.py"
    program = str(inside if inside.is_file() else executor)
    made = subprocess.run(
        [sys.executable, program, "001", *words, "--run", "--loop", "--loop-foreground"],
        cwd=real.target, env=real.environ, capture_output=True, check=True,
    )  # fmt: skip
    theirs = json.loads(made.stdout)
    assert {"repo", "model", "loop_mode", "prompts"} <= set(ours) & set(theirs)
    row, other = ours["prompts"][0], theirs["prompts"][0]
    same = {"file", "path", "name", "number", "folder", "status", "title"}
    assert {key: row[key] for key in same} == {key: other[key] for key in same}
    assert {"log", "execution", "worktree"} <= set(row) & set(other)
    assert set(row["worktree"]) <= set(other["worktree"])
    ends = set(other["execution"]) & set(row["execution"])
    assert {"status", "final_status", "state_file", "loop_log", "iterations", "max_iterations"} <= ends
    assert row["execution"]["suggested_next_steps"] == ["deploy it"]
    assert "agents suggest" in real.run("report").out
    branches = subprocess.run(
        ["git", "branch"], cwd=real.target, capture_output=True, text=True, check=True
    ).stdout
    assert branches.count("daplug/run-prompt-1-00") == 3
    assert real.most_at_once()["*"] == 2


def test_the_documented_change_fits_daplug(real: Place) -> None:
    executor = Path(real.environ["DAPLUG_EXECUTOR"])
    command = (executor if executor.is_dir() else executor.parents[3]) / "commands" / "run-prompt.md"
    if not command.is_file():
        pytest.skip("the executor is not in a checkout of daplug")
    text = (Path(__file__).parents[2] / "docs" / "integrations" / "daplug.md").read_text()
    change = text.partition("```diff\n")[2].rpartition("\n```\n\n## What the session gets")[0]
    (real.target / "commands").mkdir()
    copy = real.target / "commands" / "run-prompt.md"
    copy.write_text(command.read_text())
    done = subprocess.run(["git", "apply", "-"], input=f"{change}\n".encode(), cwd=real.target, check=False)
    assert (done.returncode, "daplug-supervise run-prompt {PROMPTS}" in copy.read_text()) == (0, True)
