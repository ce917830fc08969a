"""No text of a plan, an agent or a file name reaches a terminal as anything but text, whichever command prints it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from cli import HOLD, MARKING, STANDIN, Place, finish, opened, plan_of, sh
from hostile import BIDI, BREAKS, EVIL, SEQUENCES, UNSEEN, harmful
from promises import Proof
from test_live import OURS, Terminal
from walking import calls, said

from daplug_supervisor import Loop, Provider, Retry, Supervisor, Task
from daplug_supervisor.supervisor.commands.inbox import take
from daplug_supervisor.views.text import clean, harmless_json

place = pytest.fixture(opened)

NAME = ("\x1b[2J\x9b31m\u202e\u2066\u200b\u2028\x7f\x85e").replace("/", "")
"""What a file name can hold of it."""


def check(text: str, where: object) -> None:
    found = harmful(text)
    assert not found, (where, sorted(map(ascii, found)), text[:1000])


def hostile_run(place: Place) -> dict[str, Task]:
    """A plan that says hostile things wherever it can, with agents that do the same."""
    (place.target / "evil").write_bytes(EVIL.encode() + b"\xff\xfe\x00\xed\xa0\x80\n")
    (place.target / "prompts").mkdir()
    (place.target / "prompts" / f"001-{NAME}.md").write_text(
        f"# {EVIL}\nSTUB: retry {EVIL.splitlines()[0]}\n"
    )
    say = 'cat evil; cat evil >&2; printf "%s" "$EVIL"; '
    once: dict[str, Any] = {"retry": Retry(attempts=1), "title": EVIL, "owner": EVIL, "labels": (EVIL, EVIL)}
    agent: dict[str, Any] = {**once, "provider": "codex", "loop": Loop(1)}
    return {
        "good": sh(say, env={"EVIL": EVIL}, **once),
        "bad": sh(f"{say} exit 3", env={"EVIL": EVIL}, **once),
        "lost": Task(command=(f"no{NAME}such", EVIL), provider="p", **once),
        "untitled": Task(command=("false", EVIL), provider="p", retry=Retry(1)),
        "gone": sh("true", cwd=f"gone{NAME}", **once),
        "tree": sh("true", worktree=True, base=EVIL, **once),
        "noise": Task(instructions=f"STUB: garbage\n{EVIL}", **agent),
        "error": Task(instructions=f"STUB: error {EVIL.splitlines()[0]}", **agent),
        "prompt": Task(prompt=f"prompts/001-{NAME}.md", **agent),
        "odd": Task(instructions="STUB: ok", **{**agent, "provider": "odd"}),
        "skipped": sh("true", "bad", **once),
        "after": sh(f"{MARKING} cat evil; {HOLD} cat evil", "good", **once),
    }


POOLS = {
    "p": Provider(worker="command", parallel=4),
    "codex": Provider(parallel=2),
    "odd": Provider(model=EVIL, cli=EVIL),
}


@pytest.mark.promise("P26")
def test_no_command_lets_anything_through(place: Place, proof: Proof) -> None:
    tasks = hostile_run(place)
    process = place.start(place.write(plan_of(tasks, POOLS)), "--executor", str(STANDIN))
    place.started("after")
    check(said(place, "task", "skip", "skipped", "--reason", EVIL), "skip")
    check(said(place, "halt", EVIL), "halt")
    place.go()
    ran = finish(process)
    assert ran.code == 3, ran.err
    check(ran.out, "report")
    check(ran.err, "progress")
    inputs = 0
    for words in calls(list(tasks)):
        text = said(place, *words)
        check(text, words)
        assert "Traceback (most" not in text, words
        inputs += 1
    proof.count("fuzz inputs", inputs)
    assert inputs > 100
    for path in place.state.rglob("*"):
        if path.name in ("report.json", "report.txt", "report.html", "supervisor.log"):
            check(path.read_text(), path)
    shown = json.loads(said(place, "task", "show", "good", "--json"))
    assert (shown["title"], shown["owner"]) == (EVIL, EVIL), "as JSON it is all there"
    place.nothing_left()


@pytest.mark.promise("P26")
def test_nor_does_any_on_a_terminal(place: Place, proof: Proof) -> None:
    """The live picture while it runs, and each command afterwards, on a pseudo-terminal."""
    tasks = hostile_run(place)
    terminal = Terminal(place, 100, place.write(plan_of(tasks, POOLS)), "--executor", str(STANDIN))
    terminal.until(lambda text: "after" in text and place.lines())
    terminal.until(lambda text: "\\x00" in text)
    place.go()
    terminal.finish()
    check("\n".join(terminal.lines), "the picture")
    every = [words for words in calls(["bad", "prompt"]) if "--json" not in words]
    for words in every[:: proof.pick(8, 1)]:
        terminal = Terminal(place, 80, *words)
        terminal.finish()
        check(OURS.sub("", terminal.text).replace("\r\n", "\n"), words)
        proof.count("fuzz inputs")


@pytest.mark.promise("P26")
def test_nor_what_is_refused(place: Place, proof: Proof) -> None:
    """Names of files, options, tasks and runs; plans with mistakes; words that are no text at all."""
    for text in (EVIL, NAME, *SEQUENCES, BIDI, UNSEEN, BREAKS, "\udcff\udc9b2J", "a" * 5000):
        plan = place.target / "wrong.yaml"
        quoted = json.dumps(text.encode("utf-8", "replace").decode())
        plan.write_text(
            f'tasks:\n  a: {{command: [x], {quoted}: 1, needs: [{quoted}], env: {{"A=": {quoted}}}}}\n'
        )
        for words in (
            ["check", "wrong.yaml"], ["check", "wrong.yaml", "--json"], ["check", text], ["run", text], [text],
            ["status", text], ["status", f"--{text}"], ["report", text, "--json"], ["task", "show", text],
            ["task", "why", "a", "--run", text], ["task", text], ["halt", text, "--state-dir", text], ["resume", text],
            ["run-prompt", text, "-m", text], ["run", "wrong.yaml", "--only", text], ["doctor", "--executor", text],
            ["events", "--state-dir", text], ["run-prompt", "1", "-m", "x", "--timeout", text],
            ["doctor", "--state-dir", text], ["doctor", "--state-dir", text, "--json"],
        ):  # fmt: skip
            found = said(place, *words)
            check(found, words)
            assert "Traceback" not in found, (words, found)
            proof.count("fuzz inputs")


@pytest.mark.promise("P26")
async def test_nor_does_the_log(place: Place) -> None:
    """What the supervisor logs of an inbox file and of a worker that fails."""
    from daplug_supervisor.cli.driving.logs import log_to

    class Failing:
        output_wanted = 0

        def problems(self, assignments: object) -> list[str]:
            return []

        def command(self, bundle: object) -> object:
            raise ValueError(EVIL)

    workers: dict[str, Any] = {"command": Failing()}
    async with Supervisor(place.state, workers=workers, inbox=False) as supervisor:
        log_to(supervisor.directory.log)
        (supervisor.directory.inbox / f"{NAME}.json").write_text(f'{{"id": "{EVIL}"}}')
        await take(supervisor)
        handle = await supervisor.submit(plan_of({"a": sh("true", retry=Retry(1))}))
        await handle.wait()
    text = supervisor.directory.log.read_text()
    assert len([json.loads(line) for line in text.splitlines()]) >= 2
    check(text, "supervisor.log")


def test_directories_of_any_name(place: Place) -> None:
    """A path that is not UTF-8 cannot be journalled: it is refused, and nothing breaks."""
    plan = place.write(plan_of({"a": sh("true")}))
    for name in (NAME, "bytes-\udcff"):
        folder = Path(os.fsdecode(os.fsencode(str(place.target)))) / name
        folder.mkdir()
        for words in (
            ["run", str(place.target / plan)],
            ["status"],
            ["doctor"],
            ["task", "logs", "a", "--json"],
        ):
            ran = place.run(*words, cwd=folder)
            check(ran.out + ran.err, words)
            assert "Traceback" not in ran.err, ran.err
    ran = place.run("run", str(place.target / plan), cwd=place.target / "bytes-\udcff")
    assert (ran.code, "cannot be kept" in ran.err) == (2, True), ran


@pytest.mark.promise("P26")
def test_every_character_there_is(proof: Proof) -> None:
    for code in range(0, 0x110000, proof.pick(101, 1)):
        character = chr(code)
        assert not harmful(clean(f"a{character}b")), hex(code)
        if code != 0x7F and not 0xD800 <= code < 0xE000:
            document = json.dumps(f"a{character}b", ensure_ascii=False)
            shown = harmless_json(document)
            assert not harmful(shown), hex(code)
            assert json.loads(shown) == f"a{character}b"
    proof.count("fuzz inputs", 0x110000 // proof.pick(101, 1))
