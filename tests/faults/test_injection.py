"""Hostile texts travel from plan to agent as they are: nothing is ever run, expanded or taken for an option."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from cli import STANDIN, Place, opened, plan_of
from hostile import PIECES, texts
from promises import Proof

from daplug_supervisor import Bundle, Loop, PlanError, Provider, Retry, Settings, Task
from daplug_supervisor.core.plan import Assignment
from daplug_supervisor.formats.plans import planyaml
from daplug_supervisor.workers.executor import ExecutorWorker

place = pytest.fixture(opened)

AGENT = (
    "import json, os, sys; task = os.environ['DAPLUG_TASK']; "
    "json.dump([sys.argv[1:], dict(os.environ)], open(task + '.json', 'w'))"
)
IN_ONE = 100


def no_canary(place: Place) -> None:
    """Whatever was run would have left a file of this name."""
    assert not (Path("/") / "canary").exists()
    assert [path for root in (place.target, place.home) for path in root.rglob("canary")] == []


def parser() -> argparse.ArgumentParser:
    """As executor.py reads its arguments: abbreviations and all."""
    found = argparse.ArgumentParser()
    values = (
        "prompt-file prompt-number execution-timestamp model cli variant cwd max-iterations worktree-path"
    )
    for name in (
        *values.split(),
        "branch-name",
        "original-repo-root",
        "completion-marker",
        "sandbox-profile",
    ):
        found.add_argument(f"--{name}")
    for name in ("run", "loop", "loop-foreground", "require-diff", "sandbox", "info-only", "worktree"):
        found.add_argument(f"--{name}", action="store_true")
    return found


def bundle(text: str) -> Bundle:
    spec = Task(instructions=text, title=text, loop=Loop(1, "--run"), provider="p")
    who = Assignment("p", "executor", text, text, None)
    return Bundle("p-1", "a", 1, "token", "/state/1", "/target", "/target", spec, who, "/state/1/prompt.md")


@pytest.mark.promise("P25")
def test_no_text_becomes_an_option_of_the_executor(proof: Proof) -> None:
    worker = ExecutorWorker(Settings(target="/target", executor=str(STANDIN)))
    read = parser()
    for text in texts(proof.pick(500, 10_000)):
        words = worker.command(bundle(text)).argv
        found = read.parse_args(list(words[2:]))
        kept = [] if text == "--" else text  # the parser's own oddity, which makes it a model that nobody has
        assert (found.model, found.cli, found.completion_marker) == (kept, kept, "--run")
        assert (found.run, found.loop, found.loop_foreground, found.worktree) == (True, True, True, False)
        assert (found.info_only, found.sandbox, found.require_diff) == (False, False, False)
        assert (found.prompt_file, found.cwd) == ("/state/1/prompt.md", "/target")
        proof.count("fuzz inputs")


@pytest.mark.promise("P25")
def test_plans_keep_every_text_as_it_is(proof: Proof) -> None:
    for text in texts(proof.pick(300, 10_000), seed=1):
        task = {"command": ["x", text], "title": text, "env": {"A": text}, "owner": text, "labels": [text]}
        plan = {"tasks": {"a": task}, "providers": {"q": {"options": {"x": [text]}, "worker": "w"}}}
        for name in ("x.json", "x.yaml"):
            data = json.dumps(plan).encode()
            found = planyaml.loads(data, file=name, default_name="x", processors=1)
            made = found.tasks["a"]
            assert made.command == ("x", text)
            assert (made.title, made.owner, made.labels, made.env) == (text, text, (text,), {"A": text})
            assert found.providers["q"].options == {"x": [text]}
        proof.count("fuzz inputs")


@pytest.mark.promise("P25")
@pytest.mark.parametrize(
    "word",
    [
        "${build.outputs.path}",
        "cp ${ build.outputs.path } .",
        "x${a.b.outputs}",
        "${a.result.detail}",
        "${a.outputs.b",
        "${A-1_x.output}",
    ],
)
def test_what_a_task_says_cannot_be_put_into_a_command(word: str) -> None:
    plan = f"tasks:\n  a: {{command: [make]}}\n  b:\n    command:\n      - sh\n      - -c\n      - {json.dumps(word)}\n"
    with pytest.raises(PlanError) as caught:
        planyaml.loads(plan.encode(), file="x.yaml", default_name="x", processors=1)
    (problem,) = caught.value.problems
    assert (problem.line, problem.field) == (7, "tasks.b.command.2")
    assert "cannot be put into a command" in problem.message


@pytest.mark.parametrize(
    "word", ["${HOME}", "$HOME", "${a.b}", "${outputs}", "${x%.*}", "${#a}", "${a:-b.outputs.c}"]
)
def test_what_a_shell_expands_is_the_shells(word: str) -> None:
    plan = json.dumps({"tasks": {"a": {"command": ["sh", "-c", word]}}}).encode()
    assert planyaml.loads(plan, file="x.json", default_name="x", processors=1).tasks["a"].command == (
        "sh",
        "-c",
        word,
    )


@pytest.mark.promise("P25")
def test_agents_get_every_text_byte_for_byte(place: Place, proof: Proof) -> None:
    """Through the real program: arguments and environment of attempts, many texts each, as their agent saw them."""
    batches = proof.pick(2, 50)
    given: dict[str, tuple[list[str], dict[str, str]]] = {}
    tasks = {}
    for number in range(batches):
        found = list(texts(2 * IN_ONE, seed=number))
        words, env = found[:IN_ONE], {f"TEXT{n}": text for n, text in enumerate(found[IN_ONE:])}
        given[f"t{number}"] = words, env
        argv = (sys.executable, "-I", "-c", AGENT, *words)
        tasks[f"t{number}"] = Task(
            command=argv, env=env, provider="p", title=words[number % IN_ONE], owner=words[0]
        )
    assert place.run(place.write(plan_of(tasks))).code == 0
    for name, (words, env) in given.items():
        saw_words, saw_env = json.loads((place.target / f"{name}.json").read_text())
        assert saw_words == words
        assert {key: value for key, value in saw_env.items() if key.startswith("TEXT")} == env
        proof.count("fuzz inputs", 2 * IN_ONE)
    no_canary(place)
    place.nothing_left()


def on_one_line(text: str) -> bool:
    return bool(text.strip()) and "\n" not in text and "\r" not in text and len(text) < 200


@pytest.mark.promise("P25")
def test_what_agents_say_comes_back_as_text(place: Place, proof: Proof) -> None:
    """A reason for another try, out of an agent's mouth, is in the next prompt, and nowhere else."""
    chosen = [text for text in texts(proof.pick(60, 400), seed=7) if on_one_line(text)]
    chosen = [text for text in chosen if "|" not in text and "," not in text and "verification" not in text]
    chosen = chosen[: proof.pick(6, 60)]
    tasks = {}
    for number, text in enumerate(chosen):
        # A reason goes by the executor's document; the prompt holds the same text, and is kept as it is.
        prompt = f"STUB-ATTEMPTS: retry {text}|ok\nSTUB-COUNTER: counter-{number}\n"
        how: dict[str, Any] = {"provider": "codex", "retry": Retry(2, 0.01), "loop": Loop(1)}
        tasks[f"t{number}"] = Task(instructions=prompt, title=text, **how)
    ran = place.run(place.write(plan_of(tasks, {"codex": Provider(parallel=2)})), "--executor", str(STANDIN))
    assert ran.code == 0, ran
    for number, text in enumerate(chosen):
        folder = place.state / "runs" / "p-1" / f"t{number}"
        first, second = ((folder / str(n) / "prompt.md").read_text() for n in (1, 2))
        assert first == tasks[f"t{number}"].instructions
        assert second.startswith(first)
        assert "## Earlier attempt" in second
        told = second.removeprefix(first).strip().splitlines()
        assert len(told) == 3, told  # a heading, a blank line, and one line that holds all that was said
        if text.isascii() and text.isprintable():
            assert " ".join(text.split()) in told[2]
        proof.count("fuzz inputs")
    no_canary(place)
    place.nothing_left()


@pytest.mark.promise("P25")
def test_prompts_by_any_name(place: Place, proof: Proof) -> None:
    folder = place.target / "prompts"
    folder.mkdir()
    names = [
        text for text in PIECES if "/" not in text and len(text.encode()) < 200 and text not in (".", "")
    ]
    for number, name in enumerate(names[: proof.pick(5, len(names))]):
        (folder / f"{number:03}-{name}.md").write_text(f"# {name}\nSTUB: ok\n")
        proof.count("fuzz inputs")
    last = len(list(folder.iterdir())) - 1
    words: list[Any] = [
        "run-prompt",
        f"000-{last:03}",
        "-m",
        "glm5",
        "--executor",
        str(STANDIN),
        "--max-iterations",
        "1",
    ]
    ran = place.run(*words)
    assert ran.code == 0, ran
    assert set(place.statuses("run-prompt-1").values()) == {"done"}
    no_canary(place)
    place.nothing_left()
