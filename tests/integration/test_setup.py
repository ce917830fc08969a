"""A task's `setup`: before its agent, in the attempt's own tree, once for each worktree."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli import MARKING, Place, ended, kill, opened, plan_of, sh, until
from repositories import commit, git

from daplug_supervisor import Plan, Report, Retry, Supervisor
from daplug_supervisor.core import events as ev
from daplug_supervisor.core.bundle import Bundle
from daplug_supervisor.core.plan import Assignment, Task
from daplug_supervisor.core.results import Exit, Outcome, OutcomeKind
from daplug_supervisor.processes import setup
from daplug_supervisor.supervisor.attempts import setups

place = pytest.fixture(opened)

ONCE: dict[str, Any] = {"retry": Retry(attempts=1)}
NOTED = ("sh", "-c", "echo ready >> setups; echo said by setup")


async def ran(place: Place, plan: Plan) -> Report:
    async with Supervisor(place.state) as supervisor:
        return await ended(await supervisor.submit(plan))


def of_setup(place: Place, task: str = "a", number: int = 1) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (place.state / "runs" / "p-1" / task / str(number) / "setup.json").read_text()
    )
    return found


async def test_it_runs_before_the_agent_once_for_all_attempts(place: Place) -> None:
    line = "cat setups >> seen; [ $(wc -l < seen) -gt 1 ]"
    report = await ran(place, plan_of({"a": sh(line, setup=NOTED)}))
    assert report.counts["done"] == 1
    assert place.lines("seen") == ["ready", "ready"]
    assert place.lines("setups") == ["ready"]
    assert of_setup(place)["ok"] is True
    first = place.state / "runs" / "p-1" / "a" / "1"
    assert (first / "setup.log").read_text() == "said by setup\n"
    assert (first / "stdout.log").read_text() == ""
    assert not (place.state / "runs" / "p-1" / "a" / "2" / "setup.json").exists()


async def test_the_agent_is_as_without_it(place: Place) -> None:
    # What the kernel says of it, not what Python made of it: a shell changes nothing.
    line = (
        "grep -E 'Sig(Blk|Ign|Cgt)' /proc/self/status; ls /proc/self/fd; env | grep -v DAPLUG | sort; cat;"
        '[ "$(cut -d" " -f5 /proc/$$/stat)" = $$ ]; echo $?; printf "<%s>" "$@"'
    )
    words = ("sh", "-c", line, "sh", "--", "ü", "")
    tasks = {
        "a": Task(command=words, provider="p", **ONCE),
        "b": Task(command=words, provider="p", setup=("true",), **ONCE),
    }
    report = await ran(place, plan_of(tasks))
    assert report.counts["done"] == 2, report.failures
    said = [(place.state / "runs" / "p-1" / name / "1" / "stdout.log").read_text() for name in "ab"]
    assert said[0] == said[1]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("sh", "-c", "echo one; echo no network >&2; exit 3"), "setup failed: exit code 3: no network"),
        (("sh", "-c", "kill -9 $$"), "setup failed: killed by SIGKILL"),
        (("no-such-program",), "setup failed: cannot be started: no-such-program: not found on PATH"),
    ],
)
async def test_a_setup_that_fails_uses_a_try_and_says_why(
    place: Place, words: tuple[str, ...], told: str
) -> None:
    report = await ran(place, plan_of({"a": sh(MARKING, setup=words, retry=Retry(attempts=2, backoff=0.01))}))
    assert [(row.kind, row.detail, row.attempts) for row in report.failures] == [("failed", told, 2)]
    assert not place.lines()
    assert of_setup(place, number=2)["ok"] is False


async def test_a_setup_that_takes_too_long_is_ended_with_all_it_started(place: Place) -> None:
    words = ("sh", "-c", "sleep 600 & setsid sleep 601 & trap '' TERM; echo still busy; wait; sleep 600")
    report = await ran(place, plan_of({"a": sh(MARKING, setup=words, setup_timeout=0.3, **ONCE)}))
    detail = "setup failed: not finished after 0.3 s: still busy"
    assert [(row.kind, row.detail) for row in report.failures] == [("failed", detail)]
    assert not place.lines()
    place.nothing_left()


async def test_an_agent_that_cannot_be_started_is_not_a_failed_setup(place: Place) -> None:
    task = Task(command=("no-such-agent",), provider="p", setup=("true",))
    report = await ran(place, plan_of({"a": task}))
    assert [row.kind for row in report.failures] == ["plan_error"]
    assert report.failures[0].detail == "no-such-agent: not found on PATH"


async def test_an_agent_may_have_the_exit_code_of_a_failed_setup(place: Place) -> None:
    task = sh(f"exit {setup.FAILED}", setup=("true",), **ONCE)
    report = await ran(place, plan_of({"a": task}))
    assert [(row.kind, row.detail) for row in report.failures] == [("failed", f"exit code {setup.FAILED}")]


async def test_a_worktree_made_anew_is_set_up_again(place: Place) -> None:
    git(place.target, "init", "-q")
    commit(place.target, "sub/file", "x\n")
    words = ("sh", "-c", "pwd >> ../../../setups")
    line = 'echo t >> "$HOME/n"; case $(wc -l < "$HOME/n") in 3) true;; 2) rm -rf ../../p-1-a; false;; *) false;; esac'
    task = sh(line, worktree=True, cwd="sub", setup=words, retry=Retry(attempts=3, backoff=0.01))
    report = await ran(place, plan_of({"a": task}))
    assert report.counts["done"] == 1, report.failures
    folder = str(place.target / ".worktrees" / "p-1-a" / "sub")
    assert place.lines("setups") == [folder, folder]


def test_a_setup_outlives_its_supervisor_and_is_taken_back(place: Place) -> None:
    words = ("sh", "-c", "echo in setup >> starts; until [ -e go ]; do sleep 0.02; done")
    name = place.write(plan_of({"a": sh(MARKING, setup=words)}))
    process = place.start(name)
    until(lambda: place.lines() == ["in setup"], "the set-up at work")
    kill(process)
    again = place.start(name)
    until(lambda: len(place.events(ev.SupervisorStarted)) == 2, "the second supervisor")
    place.go()
    out, err = again.communicate(timeout=20)
    assert again.returncode == 0, (out, err)
    assert len(place.lines()) == 2
    assert [event.number for event in place.events(ev.AttemptStarted)] == [1]


def test_a_setup_can_be_stopped(place: Place) -> None:
    words = ("sh", "-c", "trap 'echo told >> starts; exit 1' TERM; echo in setup >> starts; sleep 600 & wait")
    process = place.start(place.write(plan_of({"a": sh(MARKING, setup=words, grace=10.0)})))
    until(lambda: place.lines() == ["in setup"], "the set-up at work")
    assert place.run("task", "cancel", "a").code == 0
    process.communicate(timeout=20)
    assert place.lines() == ["in setup", "told"]
    assert place.statuses() == {"a": "cancelled"}
    place.nothing_left()


def bundle(directory: Path) -> Bundle:
    who = Assignment("p", "command", "p", None, None)
    spec = Task(command=("true",), setup=("make",), setup_timeout=60.0)
    return Bundle("p-1", "a", 1, "t", str(directory), "/target", "/target", spec, who)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "[" * 100_000, '{"ok": 1}', '{"ok": false}', '{"ok": false, "why": 3}', "\xff"],
)
def test_a_result_that_an_agent_made_up_is_not_believed(tmp_path: Path, text: str) -> None:
    (tmp_path / "setup.json").write_bytes(text.encode("latin-1"))
    assert setups.ended(bundle(tmp_path), Exit(setup.FAILED)) == Exit(setup.FAILED)


def test_what_a_setup_says_is_made_harmless(tmp_path: Path) -> None:
    (tmp_path / "setup.json").write_text('{"ok": false, "why": "exit", "code": "x"}')
    (tmp_path / "setup.log").write_bytes(b"\x1b[2J\xff no\n\n")
    found = setups.ended(bundle(tmp_path), Exit(setup.FAILED))
    assert found == Outcome(OutcomeKind.FAILED, "setup failed: no exit code: \\x1b[2J� no")


def test_a_long_log_keeps_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "_LARGEST_LOG", 1000)
    monkeypatch.setattr(setup, "_KEPT_LOG", 100)
    with (tmp_path / "log").open("ab+") as file:
        file.write(b"x" * 5000 + b"the end\n")
        file.flush()
        assert setup._bound(file.fileno())
        file.write(b"more\n")
        file.flush()
        assert not setup._bound(file.fileno()) or file.tell() < 200
    text = (tmp_path / "log").read_text()
    assert text.startswith("[... left out ...]\nxxx")
    assert text.endswith("the end\nmore\n")


def test_a_stop_that_comes_late_ends_it_all_the_same(tmp_path: Path) -> None:
    words = [
        str(tmp_path),
        "",
        "k",
        str(tmp_path),
        "60",
        "1",
        "3",
        "sh",
        "-c",
        "kill -TERM $PPID; exit 0",
        "sleep",
        "600",
    ]
    with subprocess.Popen([sys.executable, "-I", "-S", setup.__file__, *words]) as one:
        try:
            assert one.wait(20) in (setup.FAILED, -signal.SIGTERM)
        finally:
            one.kill()


@pytest.mark.parametrize(
    ("words", "ended"),
    [
        (["true"], ("", 0)),
        (["sh", "-c", "exit 3"], ("exit", 3)),
        (["sleep", "0.5"], ("timeout", None)),
        (["no such"], ("cannot be started: no such: not found on PATH", None)),
        (["/dev/null"], ("cannot be started: /dev/null: Permission denied", None)),
        (["tr\0ue"], ("cannot be started: tr\0ue: embedded null byte", None)),
    ],
)
def test_each_end_of_a_setup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], ended: tuple[str, int | None]
) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr("os.killpg", lambda *group: told.append(group))
    try:
        times = (0.05 if "sleep" in words else 20.0, 20.0)
        found = setup._run(words, str(tmp_path), str(tmp_path / "log"), times, [])
    finally:
        signal.set_wakeup_fd(-1)
    assert found == ended
    assert bool(told) == (ended[0] == "timeout")
    setup._write(str(tmp_path / "marker"), "key")
    setup._write(str(tmp_path / "nowhere" / "marker"), "key")
    assert (tmp_path / "marker").read_text() == "key"
    assert (tmp_path / "marker").stat().st_mode & 0o777 == 0o600
