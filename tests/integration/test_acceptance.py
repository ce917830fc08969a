"""Done means proven: criteria run by us, in real processes, with everything that may happen to them."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli import HOLD, MARKING, Place, plan_of, press, sh, until
from repositories import commit, git

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.plan import Criterion, Hooks, Retry
from daplug_supervisor.core.results import Finding

ONCE = Retry(attempts=1)
COUNTING = "echo x >> looked; "


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()


def criterion(run: str | tuple[str, ...], **more: Any) -> Criterion:
    return Criterion(run=run, **more)


def findings(place: Place, task: str = "a") -> tuple[Finding, ...]:
    return place.folded().tasks[task].findings


def verification(place: Place, task: str = "a", number: int = 1) -> Any:
    return json.loads((place.state / "runs" / "p-1" / task / str(number) / "verification.json").read_bytes())


def test_a_task_is_done_when_all_its_criteria_hold(place: Place) -> None:
    accept = (
        criterion("test -f made.txt", name="it is there"),
        criterion(("cat", "made.txt"), expect_output="hello", category="runtime"),
        criterion("exit 3", expect_exit=3, category="static"),
    )
    task = sh("echo hello > made.txt", accept=accept)
    assert place.run("run", place.write(plan_of({"a": task}))).code == 0
    found = findings(place)
    assert [one.status for one in found] == ["PASS", "PASS", "PASS"]
    assert [one.category for one in found] == ["functional", "runtime", "static"]
    kept = verification(place)
    assert (kept["status"], kept["passed"], kept["failed"], kept["failed_items"]) == ("VERIFIED", 3, 0, [])
    assert kept["tails"][1] == "hello\n"
    assert len(kept["checksum"]) == 64


def test_what_an_attempt_says_proves_nothing(place: Place) -> None:
    task = sh(
        MARKING + "echo all tests pass", accept=(criterion("echo 'AssertionError: no' && false"),), retry=ONCE
    )
    after = sh("true", "a")
    assert place.run("run", place.write(plan_of({"a": task, "b": after}))).code == 1
    run = place.folded()
    assert (run.tasks["a"].status, run.tasks["b"].status) == (Status.FAILED, Status.PENDING)
    assert run.tasks["a"].findings[0].detail == "exit code 1 instead of 0: AssertionError: no"
    kept = verification(place)
    assert kept["status"] == "FAILED"
    assert kept["failed_items"] == [
        "echo 'AssertionError: no' && false:functional:echo 'AssertionError: no' && false"
    ]


def test_a_criterion_has_only_so_long_and_leaves_nothing_behind(place: Place) -> None:
    deaf = "trap '' TERM; sleep 1000 & echo $! > left; sleep 1000"
    accept = (criterion(deaf, timeout=0.3), criterion("sleep 1000 & echo $! > other; true"))
    task = sh("true", accept=accept, retry=ONCE)
    assert place.run("run", place.write(plan_of({"a": task}))).code == 1
    found = findings(place)
    assert (found[0].detail, found[0].blame) == ("not finished after 0.3 s", "unknown")
    assert found[1].holds
    for name in ("left", "other"):
        pid = int((place.target / name).read_text())
        until(lambda pid=pid: not Path(f"/proc/{pid}").exists(), f"{pid} is gone")  # type: ignore[misc]


def test_what_cannot_be_run_is_not_the_works_fault(place: Place) -> None:
    accept = (criterion(("no-such-program", "x")), criterion("no-such-program-either"))
    task = sh("true", accept=accept, retry=ONCE)
    assert place.run("run", place.write(plan_of({"a": task}))).code == 1
    assert [one.blame for one in findings(place)] == ["environment", "environment"]
    assert "no-such-program: No such file or directory" in findings(place)[0].detail


def test_the_end_of_what_it_prints_is_kept_and_the_text_found_anywhere(place: Place) -> None:
    flood = "echo needle; yes | head -c 3000000; echo the end"
    accept = (criterion(flood, expect_output="needle"), criterion(flood, expect_output="hay"))
    assert place.run("run", place.write(plan_of({"a": sh("true", accept=accept, retry=ONCE)}))).code == 1
    found = findings(place)
    assert found[0].holds
    assert found[1].detail == "it did not print 'hay': the end"
    folder = place.state / "runs" / "p-1" / "a" / "1" / "accept-1"
    assert (folder / "0.log").stat().st_size == 64 << 10


def test_they_run_where_the_work_is_with_its_environment(place: Place) -> None:
    place.environ |= {"SECRET_OF_THE_SHELL": "x", "OPENAI_API_KEY": "sk-x", "ANTHROPIC_LOG": "y"}
    (place.target / "sub").mkdir()
    accept = (
        criterion('test "$(basename "$PWD")" = sub'),
        criterion('test "$MINE" = yes && test "$DAPLUG_TASK" = a'),
        criterion('test -z "$SECRET_OF_THE_SHELL$OPENAI_API_KEY"'),
        criterion('test "$ANTHROPIC_LOG" = y', name="named in the plan"),
    )
    task = sh("true", accept=accept, cwd="sub", env={"MINE": "yes"}, retry=ONCE)
    ran = place.run("run", place.write(plan_of({"a": task}, pass_env=("ANTHROPIC_LOG",))))
    assert ran.code == 0, ran.out


@pytest.mark.parametrize("who", ["supervisor", "shim"])
def test_killed_while_it_is_looked_at(place: Place, who: str) -> None:
    """A restart takes the look back that lives on; one that died is taken again. The attempt is not."""
    accept = (criterion(COUNTING + HOLD), criterion("true"))
    task = sh(MARKING, accept=accept)
    plan = place.write(plan_of({"a": task}))
    command = place.start("run", plan)
    until(lambda: _lines(place, "looked"), "a criterion runs")
    (started,) = place.events(ev.VerificationStarted)
    os.kill(command.pid if who == "supervisor" else started.pid, signal.SIGKILL)
    if who == "supervisor":
        command.wait()
        (place.target / "go").touch()
        assert place.run("run", plan).code == 0
    else:
        (place.target / "go").touch()
        assert command.wait(30) == 0
    assert len(_lines(place, "starts")) == 1
    assert len(_lines(place, "looked")) == (1 if who == "supervisor" else 2)
    assert len(place.events(ev.VerificationStarted)) == (1 if who == "supervisor" else 2)
    assert place.folded().tasks["a"].status is Status.DONE


def _lines(place: Place, name: str) -> list[str]:
    path = place.target / name
    return path.read_text().splitlines() if path.exists() else []


def test_stopped_while_it_is_looked_at_and_gone_on_with(place: Place) -> None:
    accept = (criterion(COUNTING + HOLD),)
    plan = place.write(plan_of({"a": sh(MARKING, accept=accept)}))
    command = place.start("run", plan)
    until(lambda: _lines(place, "looked"), "a criterion runs")
    press(command, signal.SIGINT)
    until(lambda: place.events(ev.HaltRequested), "the halt is recorded")
    press(command, signal.SIGINT)
    assert command.wait(30) != 0
    assert place.folded().tasks["a"].status is Status.VERIFYING
    (place.target / "go").touch()
    assert place.run("run", plan).code == 0
    assert len(_lines(place, "starts")) == 1, "paid work is not done again"
    assert len(_lines(place, "looked")) == 2


def test_cancelled_while_it_is_looked_at(place: Place) -> None:
    plan = place.write(plan_of({"a": sh("true", accept=(criterion(COUNTING + HOLD),))}))
    command = place.start("run", plan)
    until(lambda: _lines(place, "looked"), "a criterion runs")
    assert place.run("task", "cancel", "a").code == 0
    assert command.wait(30) == 1
    assert place.folded().tasks["a"].status is Status.CANCELLED


def test_changing_what_the_criteria_look_at_is_flagged(place: Place) -> None:
    git(place.target, "init", "-q", "-b", "main")
    commit(place.target, "tests/test_a.sh", "false\n")
    accept = (criterion("sh tests/test_a.sh"), criterion("test -f new.txt"))
    task = sh(
        "echo true > tests/test_a.sh; touch new.txt other.txt",
        accept=accept,
        worktree=True,
        files=("new.txt",),
    )
    ran = place.run("run", place.write(plan_of({"a": task})))
    assert ran.code == 0, ran.err
    assert place.folded().tasks["a"].flags == (
        "it changed what its own criteria look at: tests/test_a.sh",
        "it changed files that the plan does not give it: other.txt and tests/test_a.sh",
    )


def test_hooks_are_told_how_it_went(place: Place) -> None:
    post_task = ("sh", "-c", 'echo "$DAPLUG_TASK $DAPLUG_STATUS" >> hook.log')
    post_run = (
        "sh",
        "-c",
        'echo "$DAPLUG_STATUS $DAPLUG_DONE $DAPLUG_FAILED" >> hook.log; echo no >&2; exit 3',
    )
    tasks = {"a": sh("true"), "b": sh("false", "a", retry=ONCE)}
    plan = plan_of(tasks, hooks=Hooks(post_task=post_task, post_run=post_run))
    assert place.run("run", place.write(plan)).code == 1
    assert _lines(place, "hook.log") == ["a done", "b failed", "finished 1 1"]
    said = {(event.hook, event.of): event.detail for event in place.events(ev.HookRan)}
    assert said == {("post_task", "a"): "", ("post_task", "b"): "", ("post_run", ""): "exit code 3: no"}


def test_a_hook_has_only_so_long(place: Place) -> None:
    hooks = Hooks(post_task=("sleep", "1000"), post_run=("no-such-hook",), timeout=0.2)
    assert place.run("run", place.write(plan_of({"a": sh("true")}, hooks=hooks))).code == 0
    first, last = place.events(ev.HookRan)
    assert first.detail == "not finished after 0.2 s"
    assert "no-such-hook" in last.detail


def test_a_criterion_needs_a_command(place: Place) -> None:
    (place.target / "plan.yaml").write_text(
        "tasks:\n  a:\n    command: [x]\n    accept:\n      - name: nothing\n"
    )
    ran = place.run("run", "plan.yaml")
    assert ran.code == 2
    assert "plan.yaml:5" in ran.err
    assert "has no run" in ran.err
