"""Results, outputs and inputs through the whole supervisor, with real processes."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from cli import HOLD, MARKING, PROGRAM, SOON, STANDIN, Place, ended, finish, kill, opened, plan_of, sh, until
from payloads import headings, outside_fences
from repositories import commit, git
from test_provider_clis import clis, plays
from walking import said

from daplug_supervisor import Supervisor
from daplug_supervisor.core import events as ev
from daplug_supervisor.core.plan import Criterion, Loop, Provider, Retry, Task
from daplug_supervisor.core.results import Outcome, OutcomeKind

place = pytest.fixture(opened)
__all__ = ["clis"]

ONCE = Retry(attempts=1)
SHOW = 'cat "$DAPLUG_INPUTS" > "seen-$DAPLUG_TASK"; env -0 > "env-$DAPLUG_TASK"'


def says(said: object) -> str:
    """A shell line that hands in a result."""
    return f"cat > \"$DAPLUG_RESULT\" <<'EOF'\n{json.dumps(said)}\nEOF\n"


def outcome(place: Place, task: str = "a") -> Outcome:
    last = place.task(task).last
    assert last is not None
    return last.outcome


def handed_in(place: Place) -> dict[str, Any]:
    """The result that is kept beside what the worker says."""
    found = (outcome(place).claim or {})["result"]
    assert isinstance(found, dict)
    return found


def environment(place: Place, task: str) -> dict[str, str]:
    """What an attempt had in its environment."""
    data = (place.target / f"env-{task}").read_bytes().decode()
    return dict(line.split("=", 1) for line in data.split("\0") if "=" in line)


def prompt(place: Place, task: str, number: int = 1) -> str:
    return (place.state / "runs" / "p-1" / task / str(number) / "prompt.md").read_text()


# --- outputs and inputs


def test_a_command_gets_what_earlier_ones_hand_on(place: Place) -> None:
    handed_on = {"path": "src/a b.py; touch canary", "n": {"k": [1]}, "text": "two\nlines"}
    inputs = {
        "the-path": "${a.outputs.path}",
        "all": "<${a.outputs.n}> ${a.outputs.text}",
        "own": "$${a.outputs.n}",
    }
    tasks = {
        "a": sh(says({"outputs": handed_on}), outputs=("path", "n", "text")),
        "b": sh("true", "a"),
        "c": sh(SHOW, "b", inputs=inputs),
    }
    ran = place.run(place.write(plan_of(tasks)))
    assert ran.code == 0, ran
    wanted = {"the-path": handed_on["path"], "all": '<{"k":[1]}> two\nlines', "own": "${a.outputs.n}"}
    assert json.loads((place.target / "seen-c").read_text()) == wanted
    saw = environment(place, "c")
    assert {name: saw[f"DAPLUG_INPUT_{name}"] for name in ("THE_PATH", "ALL", "OWN")} == {
        "THE_PATH": wanted["the-path"], "ALL": wanted["all"], "OWN": wanted["own"],
    }  # fmt: skip
    assert not (place.target / "canary").exists()
    assert place.task("a").last is not None
    assert not (place.state / "outbox").exists(), "nothing is left of it"


def test_what_no_variable_can_hold_is_in_the_file(place: Place) -> None:
    values = {"big": "x" * 19_999, "nul": "a\0b", "small": "s"}
    many = {f"i{n}": "${a.outputs.big}" * 6 for n in range(6)}
    inputs = {name: f"${{a.outputs.{name}}}" for name in values} | {"huge": "${a.outputs.big}" * 10} | many
    tasks = {"a": sh(says({"outputs": values}), outputs=tuple(values)), "b": sh(SHOW, "a", inputs=inputs)}
    ran = place.run(place.write(plan_of(tasks)))
    assert ran.code == 0, ran
    found = json.loads((place.target / "seen-b").read_text())
    assert (found["nul"], len(found["huge"]), found["i5"]) == ("a\0b", 199_990, values["big"] * 6)
    saw = environment(place, "b")
    assert {"DAPLUG_INPUT_NUL", "DAPLUG_INPUT_HUGE"} & saw.keys() == set()
    assert (saw["DAPLUG_INPUT_SMALL"], saw["DAPLUG_INPUT_I0"]) == ("s", values["big"] * 6)
    assert "DAPLUG_INPUT_I5" not in saw, "there must be room for the rest"


def test_what_is_missing_is_told_and_nothing_is_started(place: Place) -> None:
    """A task that was skipped hands on nothing, although it was to."""
    after = sh(MARKING, "a", inputs={"i": "${a.outputs.x}"})
    plan = place.write(plan_of({"a": sh("false", retry=ONCE, outputs=("x",)), "b": after}))
    assert place.run(plan).code == 1
    assert place.run("task", "skip", "a").code == 0
    assert place.run(plan).code == 1
    assert place.lines() == []
    assert outcome(place, "b").kind is OutcomeKind.PLAN_ERROR
    assert outcome(place, "b").detail == "${a.outputs.x}: task a has handed on nothing"


async def test_what_was_saved_before_is_handed_on_too(place: Place) -> None:
    tasks = {"b": sh(SHOW, inputs={"i": "${todo-1.outputs.path}"})}
    async with Supervisor(place.state) as supervisor:
        plan = plan_of(tasks, saved_outputs={"todo-1": {"path": "p"}})
        handle = await supervisor.submit(plan, target=place.target)
        await ended(handle)
    assert json.loads((place.target / "seen-b").read_text()) == {"i": "p"}


# --- results


HANDED_IN: list[tuple[str, OutcomeKind, str]] = [
    ("true", OutcomeKind.NO_RESULT, "it handed in no result; write it to the file that $DAPLUG_RESULT names"),
    ("echo '{' > $DAPLUG_RESULT", OutcomeKind.NO_RESULT, "its result is refused: it is not JSON"),
    ("echo '{}' > $DAPLUG_RESULT", OutcomeKind.NO_RESULT, "its result has no outputs.x; write"),
    ("ln -s /etc/passwd $DAPLUG_RESULT", OutcomeKind.NO_RESULT, "its result cannot be read"),
    ("mkfifo $DAPLUG_RESULT", OutcomeKind.NO_RESULT, "its result cannot be read: not an ordinary file"),
    ("head -c 300000 /dev/zero > $DAPLUG_RESULT", OutcomeKind.NO_RESULT, "larger than 262,144 bytes"),
    ("rm -r $DAPLUG_OUTBOX; ln -s /etc $DAPLUG_OUTBOX", OutcomeKind.NO_RESULT, "it handed in no result"),
    ("chmod 0 $DAPLUG_OUTBOX", OutcomeKind.NO_RESULT, "result"),
    (says({"status": "failed", "error": {"message": "no\nway"}}), OutcomeKind.FAILED, "(runtime): no way"),
    (says({"error": {"category": "test", "message": "no", "retryable": False}}), OutcomeKind.BLOCKED, "(test): no"),
    (says({"status": "failed", "notes": "why"}) + "exit 3", OutcomeKind.FAILED, "that it failed (runtime): why"),
    (says({"outputs": {"x": 1}}) + "exit 3", OutcomeKind.FAILED, "exit code 3"),
    (says({"outputs": {"x": 1}}) + "kill -9 $$", OutcomeKind.CRASHED, "SIGKILL"),
    (says({"outputs": {"x": 1}}), OutcomeKind.COMPLETED, ""),
]  # fmt: skip


def test_what_is_handed_in_decides(place: Place) -> None:
    tasks = {}
    for number, (line, _, _) in enumerate(HANDED_IN):
        (place.target / f"d{number}").mkdir()
        tasks[f"a{number}"] = sh(line, outputs=("x",), retry=ONCE, cwd=f"d{number}")
    ran = place.run(place.write(plan_of(tasks)))
    assert ran.code == 1, ran
    for number, (line, kind, words) in enumerate(HANDED_IN):
        found = outcome(place, f"a{number}")
        assert (found.kind, words in found.detail) == (kind, True), (line, found)
        kept = place.state / "runs" / "p-1" / f"a{number}" / "1" / "result.json"
        assert kept.exists() is (">" in line), line
        assert list((place.target / f"d{number}").iterdir()) == [], line
    assert Path("/etc/passwd").exists()


def test_secrets_in_a_result_are_not_journalled(place: Place) -> None:
    token = "ghp_" + "a1B2c3D4e5" * 4
    said = {"outputs": {"x": token, "y": "fine"}, "learnings": [f"the token is {token}"]}
    (place.target / "said.json").write_text(json.dumps(said))
    tasks = {"a": sh("cp said.json $DAPLUG_RESULT", outputs=("x", "y"))}
    assert place.run(place.write(plan_of(tasks))).code == 0
    assert handed_in(place)["outputs"] == {"x": "***", "y": "fine"}
    assert token.encode() not in b"".join(path.read_bytes() for path in place.state.glob("journal.db*"))


@pytest.mark.parametrize("after", [False, True])
def test_an_attempt_that_was_taken_back_hands_in_its_result(place: Place, after: bool) -> None:
    """The supervisor is killed while it works, or has just ended."""
    line = MARKING + HOLD + says({"outputs": {"x": "y"}}) + "touch ended"
    plan = place.write(
        plan_of({"a": sh(line, outputs=("x",)), "b": sh(SHOW, "a", inputs={"i": "${a.outputs.x}"})})
    )
    first = place.start(plan)
    place.started("a")
    kill(first)
    if after:
        place.go()
        until((place.target / "ended").exists, "the attempt has ended")
    second = place.start(plan)
    place.go()
    ran = finish(second)
    assert ran.code == 0, ran
    assert len(place.lines()) == 1
    assert json.loads((place.target / "seen-b").read_text()) == {"i": "y"}
    assert not (place.state / "outbox").exists()


def test_what_a_crash_leaves_is_removed_by_the_next_attempt(place: Place) -> None:
    plan = place.write(plan_of({"a": sh(MARKING + HOLD + says({}), result=True)}))
    first = place.start(plan)
    place.started("a")
    [left] = [path for path in (place.state / "outbox").iterdir() if path.is_dir()]
    kill(first)
    (place.state / "runs" / "p-1" / "a" / "1" / "process.json").unlink()  # and the machine forgot it
    for pid in place.processes():
        os.kill(pid, signal.SIGKILL)
    until(lambda: not place.processes(), "all are gone")
    left.mkdir(exist_ok=True)
    place.go()
    ran = place.run(plan)
    assert ran.code == 0, ran
    assert not left.exists()
    assert not (place.state / "outbox").exists()


def test_a_result_out_of_a_worktree(place: Place) -> None:
    """And of a repository that has a link where the outbox would be: the result is written elsewhere."""
    git(place.target, "init", "-q", "-b", "main")
    commit(place.target, "file", "x")
    line = 'echo "$DAPLUG_OUTBOX" >> "$PLACES"; git status --porcelain >> "$PLACES"; echo y > made; ' + says(
        {"outputs": {"x": "y"}}
    )
    env = {"PLACES": str(place.target / "places")}
    tree: dict[str, Any] = {"worktree": True, "outputs": ("x",), "env": env, "land": False}
    plan = plan_of({"a": sh(line, **tree)})
    ran = place.run(place.write(plan))
    assert ran.code == 0, ran
    (where,) = place.lines("places")
    assert where == f"{place.target}/.worktrees/p-1-a/.daplug/outbox/{place.task('a').attempt.token}"  # type: ignore[union-attr]
    assert not (place.target / ".worktrees" / "p-1-a" / ".daplug").exists()
    (place.target / "planted").mkdir()
    (place.target / "planted" / ".daplug").symlink_to("/etc")
    git(place.target, "add", "-f", "planted")
    git(place.target, "commit", "-qm", "plant")
    other = plan_of({"a": sh(line, **{**tree, "cwd": "planted"})}, name="q")
    assert place.run(place.write(other)).code == 0
    attempt = place.task("a", "q-1").attempt
    assert attempt is not None
    assert place.lines("places")[-1] == f"{place.state}/runs/q-1/a/1/.daplug/outbox/{attempt.token}"


def test_it_is_no_change_that_require_diff_looks_for(place: Place, clis: Path) -> None:
    git(place.target, "init", "-q", "-b", "main")
    commit(place.target, "file", "x")
    plays(clis, "claude", "tool")
    program = clis / "claude"
    program.write_text(
        program.read_text().replace("exit ", 'echo "{}" > "$DAPLUG_RESULT"; rm -r seen; exit ')
    )
    agent = Task(
        instructions="x", provider="claude", result=True, require_diff=True, retry=ONCE, loop=Loop(1)
    )
    ran = place.run(place.write(plan_of({"a": agent}, {"claude": Provider(worker="cli", model="claude")})))
    assert ran.code == 1, ran
    assert outcome(place).kind is OutcomeKind.UNVERIFIED


# --- agents


def test_an_agent_is_told_and_hands_in_with_the_executor(place: Place) -> None:
    (place.target / "said.json").write_text(
        json.dumps(
            {"outputs": {"path": "src/a.py", "text": "## X\n```\nevil"}, "learnings": ["Uses ESM\n# X"]}
        )
    )
    how: dict[str, Any] = {"provider": "codex", "retry": SOON, "loop": Loop(1)}
    text = "Edit ${a.outputs.path} as ${a.outputs.text}.\nSTUB: ok\n"
    tasks = {
        "a": Task(instructions="STUB: result said.json\n", outputs=("path", "text"), **how),
        "b": Task(instructions=text, needs=("a",), inputs={"i": "${a.outputs.text}"}, **how),
        "c": Task(instructions="STUB: ok\n", **how),
    }  # fmt: skip
    ran = place.run(place.write(plan_of(tasks, {"codex": Provider(parallel=1)})), "--executor", str(STANDIN))
    assert ran.code == 0, ran
    assert headings(prompt(place, "a")) == ["## Limits", "## Result"]
    second = prompt(place, "b")
    assert headings(second) == ["## Inputs", "## Limits", "## What earlier tasks found"]
    assert second.startswith("Edit src/a.py as `a.outputs.text` (its value is below).\n")
    assert not [line for line in outside_fences(second) if "evil" in line or line == "## X"]
    record = json.loads((place.state / "runs" / "p-1" / "b" / "1" / "bundle.json").read_text())
    assert record["bundle"]["inputs"] == {"i": "## X\n```\nevil"}


def test_a_prompt_file_too(place: Place) -> None:
    (place.target / "said.json").write_text('{"outputs": {"path": "src/a.py"}}')
    (place.target / "next.md").write_text("Edit ${a.outputs.path}, and leave $${a.outputs.path}.\nSTUB: ok\n")
    (place.target / "plain.md").write_text("STUB: ok\n$${x} ${HOME}")
    how: dict[str, Any] = {"provider": "codex", "loop": Loop(1)}
    tasks = {
        "a": Task(instructions="STUB: result said.json\n", outputs=("path",), **how),
        "b": Task(prompt="next.md", needs=("a",), **how),
        "c": Task(prompt="plain.md", **how),
    }
    ran = place.run(place.write(plan_of(tasks, {"codex": Provider()})), "--executor", str(STANDIN))
    assert ran.code == 0, ran
    assert prompt(place, "b") == "Edit src/a.py, and leave ${a.outputs.path}.\nSTUB: ok\n"
    assert prompt(place, "c") == "STUB: ok\n$${x} ${HOME}"
    (place.target / "next.md").write_text("Edit ${a.outputs.no}")
    ran = place.run("check", "plan.json")
    assert ran.code == 2
    assert "a hands on no no" in ran.err


def test_an_agent_hands_in_with_its_own_cli(place: Place, clis: Path) -> None:
    plays(clis, "claude", "tool")
    program = clis / "claude"
    program.write_text(
        program.read_text().replace("exit ", 'echo \'{"outputs": {"x": "y"}}\' > "$DAPLUG_RESULT"; exit ')
    )
    agent = Task(instructions="x", provider="claude", outputs=("x",), retry=ONCE, loop=Loop(1))
    ran = place.run(place.write(plan_of({"a": agent}, {"claude": Provider(worker="cli", model="claude")})))
    assert ran.code == 0, ran
    assert handed_in(place)["outputs"] == {"x": "y"}
    assert len(outcome(place).claim or {}) > 1, "beside what the CLI tells"
    assert "result.json" in (place.target / "seen" / "a").read_text()


def test_what_was_found_goes_back_with_the_work(place: Place) -> None:
    (place.target / "check.sh").write_text(
        "echo '```'; echo '## Obey'; printf '\\033[2J'; echo AssertionError; test -e fixed\n"
    )
    how: dict[str, Any] = {"provider": "codex", "loop": Loop(1), "retry": SOON}
    text = "STUB-ATTEMPTS: write broken|write fixed\nSTUB-COUNTER: counter\n"
    task = Task(instructions=text, accept=(Criterion("sh check.sh", name="tests"),), **how)
    ran = place.run(place.write(plan_of({"a": task}, {"codex": Provider()})), "--executor", str(STANDIN))
    assert ran.code == 0, ran
    first, second = prompt(place, "a"), prompt(place, "a", 2)
    assert second.startswith(first.rstrip("\n"))
    assert headings(second) == ["## What has to hold", "## Limits", "## Earlier attempt"]
    assert "1 of 1 did not hold" in second
    assert "tests (functional): exit code 1" in second
    assert "````text" in second
    assert "\x1b" not in second


# --- from within an attempt


def test_from_within_an_attempt_words_are_enough(place: Place) -> None:
    line = (
        f'"{PROGRAM}" task complete b 2>> refused; '
        f'"{PROGRAM}" task complete a --output path=src/a.py --output "n=1=2" --created made --note "well done" '
        "--learning 'uses ESM' --issue left --decision so; touch made"
    )
    assert place.run(place.write(plan_of({"a": sh(line, outputs=("path", "n"))}))).code == 0
    claim = handed_in(place)
    assert (claim["outputs"], claim["notes"]) == ({"path": "src/a.py", "n": "1=2"}, "well done")
    assert (claim["files"], claim["learnings"], claim["issues"], claim["decisions"]) == (
        {"created": ["made"]}, ["uses ESM"], ["left"], ["so"],
    )  # fmt: skip
    assert "this runs in an attempt at task a" in place.lines("refused")[0]


def test_nor_are_more_needed_to_fail(place: Place) -> None:
    line = f'"{PROGRAM}" task fail "no such tool" --category dependency --not-retryable'
    assert place.run(place.write(plan_of({"a": sh(line, result=True)}))).code == 1
    assert (outcome(place).kind, outcome(place).detail) == (
        OutcomeKind.BLOCKED,
        "its result says that it failed (dependency): no such tool",
    )
    assert place.statuses() == {"a": "stuck"}


def test_a_supervisor_within_an_attempt_hands_none_of_it_on(place: Place) -> None:
    inner = place.write(plan_of({"x": sh("env -0 > env-x")}), "inner.json")
    line = f'"{PROGRAM}" run {inner} --state-dir inner >&2; ' + says({})
    tasks = {"a": sh(line, result=True, inputs={"i": "v"}, retry=ONCE)}
    assert place.run(place.write(plan_of(tasks, name="outer"))).code == 0
    saw = environment(place, "x")
    assert saw["DAPLUG_TASK"] == "x"
    assert not [name for name in saw if name.startswith(("DAPLUG_RESULT", "DAPLUG_OUTBOX", "DAPLUG_INPUT"))]


ELSEWHERE: list[tuple[list[str], dict[str, str], str]] = [
    (["complete", "a b"], {}, "to have it tried again:    daplug-supervise task retry 'a b'"),
    (["fail", "a", "why"], {}, "daplug-supervise task skip a"),
    (["fail", "why"], {}, "daplug-supervise task cancel TASK"),
    (["complete"], {"DAPLUG_TASK": "a"}, "task a hands in no result: say `result: true`"),
    (["fail", "a", "b", "c"], {"DAPLUG_RESULT": "/x"}, "give the message as one word"),
    (["complete", "--output", "x"], {"DAPLUG_RESULT": "/x"}, "write NAME=VALUE"),
    (
        ["complete", "--note", "x" * 30_000],
        {"DAPLUG_RESULT": "/x", "DAPLUG_TASK": "a"},
        "cannot be a result",
    ),
    (["complete"], {"DAPLUG_RESULT": "/no/such/result.json"}, "/no/such/result.json: No such file"),
]


def test_elsewhere_it_says_what_to_type(place: Place) -> None:
    before = place.environ
    for words, environ, told in ELSEWHERE:
        place.environ = before | environ
        assert told in said(place, "task", *words), words


def test_a_name_that_is_no_text_is_kept_as_escapes(place: Place) -> None:
    path = place.target / "result.json"
    ran = place.run(
        "task", "complete", "--created", "a\udcff", env=place.environ | {"DAPLUG_RESULT": str(path)}
    )
    assert ran.code == 0, ran
    assert json.loads(path.read_text())["files"]["created"] == ["a\\udcff"]
    assert place.events(ev.RunSubmitted) == []
