"""Every way to hold it wrong: one clear error, a documented exit code, nothing lost, no process left."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cli import HOLD, MARKING, PROGRAM, STANDIN, Place, Ran, kill, opened, plan_of, sh, until

from daplug_supervisor import Loop, Plan, Provider, Retry, Task
from daplug_supervisor.core import events as ev

place = pytest.fixture(opened)

GOOD = plan_of({"alpha": sh(MARKING), "beta": sh(MARKING, "alpha")})
NOBODY = 65534


def check_clear(place: Place, ran: Ran, code: int, *words: str) -> None:
    """One error, without a traceback, that says these words; and no process left."""
    assert ran.code == code, ran
    assert ran.err.startswith("daplug-supervise: "), ran.err
    assert "Traceback" not in ran.err + ran.out
    for word in words:
        assert word in ran.err, ran.err
    place.nothing_left()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, ["plan.yaml", "there is no such file"]),
        ("", ["plan.yaml:1:1", "empty"]),
        ("tasks: {}", ["no tasks"]),
        ("[1, 2]", ["plan.yaml:1:1", "mapping"]),
        ("tasks: [a]", ["tasks: expected a mapping"]),
        ("tasks:\n  a: {command: ls}", ["plan.yaml:2:16", "tasks.a.command"]),
        ("tasks:\n  a: {command: [ls], timeout: soon}", ["tasks.a.timeout"]),
        ("tasks:\n  a: {command: [ls], priority: [1]}", ["tasks.a.priority"]),
        ("tasks:\n  a: {comand: [ls]}", ["did you mean", "command"]),
        ("tasks:\n  a: {command: [ls], needs: [b]}", ["tasks.a.needs", "b"]),
        ("tasks:\n  a: {command: [ls], needs: [b]}\n  b: {command: [ls], needs: [a]}", ["a", "b"]),
        ("tasks:\n  a: {command: [ls]}\n  a: {command: [ls]}", ["a"]),
        ("tasks: {a: {command: [ls]", ["plan.yaml:"]),
        ("name: ../../etc\ntasks: {a: {command: [ls]}}", ["name"]),
        ('tasks: {a: {command: ["a\\0b"]}}', ["tasks.a.command"]),
        ("x: &a [1]\ntasks: {a: {command: *a}}", ["plan.yaml:1"]),
    ],
)
def test_plans(place: Place, text: str | None, words: list[str]) -> None:
    if text is not None:
        place.write(text, "plan.yaml")
    check_clear(place, place.run("plan.yaml"), 2, *words)
    check_clear(place, place.run("check", "plan.yaml"), 2)
    assert not place.state.exists()


def test_a_directory_and_a_binary_file_are_no_plans(place: Place) -> None:
    (place.target / "dir.yaml").mkdir()
    check_clear(place, place.run("dir.yaml"), 2, "directory")
    (place.target / "plan.yaml").write_bytes(b"\xff\xfe\x00\x01")
    check_clear(place, place.run("plan.yaml"), 2, "not UTF-8")


BOUND = [] if os.geteuid() else ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
"""Before a command: permissions bind it, even as root."""

needs_setpriv = pytest.mark.skipif(
    bool(BOUND) and not shutil.which("setpriv"), reason="as root it needs setpriv"
)


def bound(place: Place, *words: str) -> Ran:
    how = {"cwd": place.target, "env": place.environ, "capture_output": True, "text": True}
    made = subprocess.run([*BOUND, PROGRAM, *words], check=False, **how)  # type: ignore[call-overload]
    return Ran(made.returncode, made.stdout, made.stderr)


@needs_setpriv
def test_an_unreadable_plan(place: Place) -> None:
    (place.target / place.write(GOOD)).chmod(0)
    check_clear(place, bound(place, "plan.json"), 2, "plan.json", "cannot be read: Permission denied")


@needs_setpriv
def test_a_state_directory_that_cannot_be_written(place: Place) -> None:
    place.write(GOOD)
    place.target.chmod(0o555)
    check_clear(place, bound(place, "plan.json"), 2, ".daplug", "ermission", "--state-dir")


def test_a_state_directory_that_cannot_be_one(place: Place) -> None:
    place.write(GOOD)
    (place.target / "file").touch()
    check_clear(place, place.run("plan.json", "--state-dir", "file"), 2, "file")
    check_clear(place, place.run("plan.json", "--state-dir", "file/in"), 2, "file/in", "--state-dir")
    check_clear(place, place.run("status", "--state-dir", "nowhere"), 2, "nowhere", "no journal")


def test_a_state_directory_of_somebody_else(place: Place) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to make one")
    assert place.run(place.write(GOOD)).code == 0
    place.state.chmod(0o777)
    os.chown(place.state, NOBODY, NOBODY)
    check_clear(place, place.run("plan.json"), 2, "belongs to another user")


def alter(place: Place, statement: str) -> None:
    db = sqlite3.connect(place.state / "journal.db")
    db.execute(statement)
    db.commit()
    db.close()


def be_newer(place: Place) -> None:
    alter(place, "PRAGMA user_version=99")
    (place.state / "journal.tail").unlink()


def half_done(place: Place) -> None:
    """An unfinished run: alpha is done, beta was at work when the supervisor was killed."""
    tasks = {"alpha": sh(MARKING), "beta": sh(MARKING + HOLD, "alpha"), "gamma": sh("true", "beta")}
    process = place.start(place.write(plan_of(tasks)))
    place.started("beta")
    kill(process)
    place.go()


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for start in range(4096, len(data), 4096):
        data[start : start + 200] = b"\xa5" * 200
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            be_newer,
            ["newer version", "schema 99"],
        ),
        (
            lambda place: alter(place, 'UPDATE event SET data=\'{"kind": "new_kind"}\' WHERE seq=2'),
            ["event 2"],
        ),
        (lambda place: alter(place, "UPDATE event SET data='garbage' WHERE seq=3"), ["event 3"]),
        (lambda place: alter(place, "DELETE FROM event WHERE kind='attempt_started'"), ["missing"]),
        (lambda place: damage(place.state / "journal.db"), ["journal.db"]),
        (
            lambda place: (place.state / "journal.db").write_bytes(b"not a database, not at all" * 99),
            ["journal.db"],
        ),
    ],
)
def test_a_journal_that_cannot_be_trusted_starts_nothing(
    place: Place, spoil: Callable[[Place], object], words: list[str]
) -> None:
    half_done(place)
    before = place.lines()
    with sqlite3.connect(place.state / "journal.db") as db:
        db.execute("PRAGMA journal_mode=DELETE")
    db.close()
    spoil(place)
    kept = (place.state / "journal.db").read_bytes()
    for command in (["plan.json"], ["resume"], ["status"], ["halt"], ["task", "why", "alpha"]):
        ran = place.run(*command)
        assert ran.code == 5, (command, ran)
        assert "Traceback" not in ran.err
    for word in words:
        assert word in place.run("plan.json").err
    assert place.run("doctor").code == 5
    assert place.lines() == before
    if "newer" in words[0]:
        assert (place.state / "journal.db").read_bytes() == kept
    place.nothing_left()


GONE = "the working directory is gone: go to one that exists"


def test_the_working_directory_is_gone(place: Place) -> None:
    gone = place.target / "gone"
    gone.mkdir()
    script = f"rmdir '{gone}'; exec '{PROGRAM}' \"$@\""
    for words in (
        ["status"],
        ["run", "plan.json"],
        ["doctor"],
        ["check-halt"],
        ["run-prompt", "1", "-m", "codex"],
    ):
        gone.mkdir(exist_ok=True)
        made = subprocess.run(
            ["sh", "-c", script, "sh", *words],
            cwd=gone, env=place.environ, capture_output=True, text=True, check=False,
        )  # fmt: skip
        check_clear(
            place, Ran(made.returncode, made.stdout, made.stderr), 2, *([] if "run" in words else [GONE])
        )


def test_the_target_is_gone_when_a_run_goes_on(place: Place) -> None:
    half_done(place)
    until(lambda: not place.processes(), "beta's end", 10)
    elsewhere = place.home / "state"
    shutil.move(place.state, elsewhere)
    shutil.rmtree(place.target)
    ran = place.run("resume", "--state-dir", str(elsewhere), cwd=place.home)
    assert (ran.code, f"working directory {place.target}" in ran.err) == (1, True), ran
    place.state = elsewhere
    assert place.statuses() == {"alpha": "done", "beta": "done", "gamma": "failed"}
    place.nothing_left()


def test_ids_that_nothing_has(place: Place) -> None:
    assert place.run(place.write(GOOD)).code == 0
    check_clear(place, place.run("status", "p-7"), 2, "'p-7'", "p-1")
    check_clear(place, place.run("resume", "p-7"), 2, "'p-7'")
    for verb in ("show", "why", "logs", "retry", "skip", "cancel"):
        check_clear(place, place.run("task", verb, "alhpa"), 2, "'alhpa'", "did you mean alpha?")
    check_clear(place, place.run("task", "show", "alpha", "--run", "p-7"), 2, "'p-7'")
    check_clear(place, place.run("run", "plan.json", "--only", "gamma"), 2, "gamma")
    check_clear(place, place.run("statsu"), 2, "statsu")


def prompt(modes: str, **more: object) -> Plan:
    retry = Retry(attempts=1)
    task = Task(instructions=f"STUB: {modes}", provider="codex", retry=retry, loop=Loop(1), **more)  # type: ignore[arg-type]
    return plan_of({"a": task}, {"codex": Provider()})


def test_an_executor_that_is_not_there(place: Place) -> None:
    place.write(prompt("ok"))
    check_clear(place, place.run("plan.json", "--executor", "nowhere"), 2, "--executor", "'nowhere'")
    check_clear(place, place.run("plan.json"), 2, "executor.py was not found", "DAPLUG_EXECUTOR")
    assert place.events(ev.RunSubmitted) == []


@pytest.mark.parametrize(
    ("mode", "kind", "code"),
    [
        ("garbage", "no_result", 1),
        ("nothing", "no_result", 1),
        ("die", "crashed", 1),
        ("big 100000000", "completed", 0),
    ],
)
def test_an_executor_that_answers_badly(place: Place, mode: str, kind: str, code: int) -> None:
    ran = place.run(place.write(prompt(mode)), "--executor", str(STANDIN))
    assert ran.code == code, ran
    assert place.task("a").past[-1].result.outcome.kind == kind
    stdout = place.state / "runs" / "p-1" / "a" / "1" / "stdout.log"
    assert stdout.stat().st_size < 66 << 20
    place.nothing_left()


def test_a_program_that_is_not_there_and_a_directory_that_is_gone(place: Place) -> None:
    tasks = {"no": Task(command=("nosuchprogram",), provider="p"), "gone": sh("true", cwd="gone")}
    ran = place.run(place.write(plan_of(tasks)))
    assert (ran.code, place.statuses()) == (1, {"no": "failed", "gone": "failed"})
    assert "nosuchprogram: not found on PATH" in ran.out
    assert "working directory" in ran.out
    place.nothing_left()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_standard_streams_that_are_closed(place: Place, closed: str) -> None:
    place.write(
        plan_of({"alpha": sh(MARKING + "test -e /dev/fd/0 && test -e /dev/fd/1 && test -e /dev/fd/2")})
    )
    line = f'exec "$0" run plan.json {closed}'
    process = subprocess.run(
        ["sh", "-c", line, PROGRAM],
        check=False,
        cwd=place.target,
        env=place.environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (process.returncode, "Traceback" in process.stderr) == (0, False), process
    assert place.statuses() == {"alpha": "done"}
    place.nothing_left()
