"""Text of plans, agents and providers never reaches a terminal as anything but text."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from cli import HOLD, MARKING, STANDIN, Place, finish, opened, plan_of, sh

from daplug_supervisor import Loop, Provider, Retry, Task

place = pytest.fixture(opened)

EVIL = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202eabc\u2066\u200b\r\x00\b\u2028end"
SAFE = EVIL.replace("\x00", "")  # no argument can hold a NUL
ALLOWED = {"\n"}


def check_harmless(text: str, where: str) -> None:
    found = {
        character
        for character in text
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in ALLOWED
    }
    assert not found, (where, found, text[:2000])


def evil_plan() -> object:
    line = 'cat evil; cat evil >&2; echo; echo "$EVIL"; '
    env = {"EVIL": SAFE}
    tasks = {
        "good": sh(line, title=SAFE, env=env, owner=SAFE, labels=(SAFE,)),
        "bad": sh(f"{line} exit 3", title=SAFE, env=env, retry=Retry(attempts=1)),
        "lost": Task(command=(f"no{SAFE}such",), provider="p", title=SAFE, cwd=None),
        "gone": sh("true", cwd=f"gone{SAFE.replace('/', '')}"),
        "after": sh(f"{MARKING} {HOLD}", "good", title=SAFE),
    }
    return plan_of(tasks)


VERBS = [
    ["status"],
    ["report"],
    ["report", "--metrics-only"],
    ["events"],
    ["halt-status"],
    ["task", "list"],
    ["task", "list", "--ready"],
    *(
        ["task", verb, name]
        for verb in ("show", "why", "logs")
        for name in ("good", "bad", "lost", "gone", "after")
    ),
    ["task", "logs", "bad", "--stderr"],
    ["check", "plan.json"],
    ["doctor"],
    ["task", "show", SAFE],
    ["status", SAFE],
    ["run", SAFE],
    ["run", "plan.json", "--only", SAFE],
    [SAFE],
]


def test_no_verb_lets_it_through(place: Place) -> None:
    (place.target / "evil").write_text(EVIL + "\n")
    process = place.start(place.write(evil_plan()))  # type: ignore[arg-type]
    place.started("after")
    assert place.run("halt", SAFE).code == 0
    place.go()
    ran = finish(process)
    assert ran.code == 3
    check_harmless(ran.out, "report")
    check_harmless(ran.err, "progress")
    for words in VERBS:
        ran = place.run(*words)
        check_harmless(ran.out, f"{words} out")
        check_harmless(ran.err, f"{words} err")
        assert "Traceback" not in ran.err
    assert "\\x1b[2J" in place.run("task", "logs", "good").out
    assert place.run("task", "logs", "good", "--raw").out.startswith("\x1b[2J")
    assert json.loads(place.run("task", "show", "good", "--json").out)["title"] == SAFE
    for name in ("report.txt", "report.html"):
        for path in (place.state / "runs").rglob(name):
            check_harmless(path.read_text(), str(path))


def test_nor_does_what_an_executor_says(place: Place) -> None:
    tasks = {
        name: Task(
            instructions=f"STUB: {mode}", provider="codex", title=SAFE, retry=Retry(attempts=1), loop=Loop(1)
        )
        for name, mode in (("noise", "garbage"), ("err", f"error {SAFE[:30]}"), ("why", "retry \x1b[31mred"))
    }
    plan = plan_of(tasks, {"codex": Provider(parallel=3)})
    ran = place.run(place.write(plan), "--executor", str(STANDIN))
    assert ran.code == 1
    check_harmless(ran.out + ran.err, "run")
    for words in (["status"], ["events"], ["report"], ["task", "show", "why"]):
        check_harmless(place.run(*words).out, str(words))


def test_nor_does_a_plan_that_is_refused(place: Place, tmp_path: Path) -> None:
    for text in (
        f'tasks:\n  a: {{command: [ls], "{chr(92)}e[2J": 1}}',
        'tasks:\n  "\\e]0;x\\a": {command: [ls]}',
    ):
        ran = place.run(place.write(text, "plan.yaml"))
        assert ran.code == 2
        check_harmless(ran.out + ran.err, text)


def test_files_are_for_their_owner_alone(place: Place) -> None:
    assert place.run(place.write(plan_of({"a": sh("echo secret")}))).code == 0
    for path in (place.state, *place.state.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0 or path.name == ".gitignore", path
