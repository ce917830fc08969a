"""Whatever is read from outside, it ends in a value or in an error of ours: never in a fault, never in a hang."""

from __future__ import annotations

import contextlib
import json
import os
import random
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cli import Place, opened, plan_of, sh
from core_making import Story, chain, task
from hostile import PIECES, harmful
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from promises import Proof
from walking import CODES, leaves, said

from daplug_supervisor import Bundle, Evidence, Exit, Settings
from daplug_supervisor.cli.main import cli
from daplug_supervisor.core.commands import Command, events_of
from daplug_supervisor.core.plan import Assignment, Plan
from daplug_supervisor.core.results import Outcome, OutcomeKind
from daplug_supervisor.core.secrets import Lines, Mask
from daplug_supervisor.errors import NotPossibleError, PlanError, UsageError
from daplug_supervisor.formats.plans import planyaml
from daplug_supervisor.processes import ends
from daplug_supervisor.supervisor.commands import inbox
from daplug_supervisor.workers import executor_output, locate

place = pytest.fixture(opened)

CALM = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def fuzz(proof: Proof, examples: int, made: st.SearchStrategy[Any], check: Callable[[Any], object]) -> None:
    """Check so many examples, or a few of them in the short form."""

    @settings(
        max_examples=max(5, examples // proof.pick(60, 1)),
        deadline=None,
        database=None,
        suppress_health_check=CALM,
    )
    @given(made)
    def run(data: Any) -> None:
        check(data)
        proof.count("fuzz inputs")

    run()


GOOD = (
    b"version: 1\nname: x\nproviders: {codex: {parallel: 2, fallback: [opencode], env: {A: b}}}\n"
    b"defaults: {timeout: 45m}\n"
    b"pass_env: [A_*]\ntasks:\n  a: {command: [ls, -l], needs: [], retry: {attempts: 2, backoff: 1s}}\n"
    b'  b:\n    instructions: |\n      text\n    provider: codex\n    needs: [a]\n    title: "quoted \\u00e9"\n'
)
BITS = [
    *(piece.encode() for piece in PIECES),
    *(
        b"\0",
        b"\xff",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"\xc2\x85",
        b"\xe2\x80\xa8",
        b'"\\ud800"',
        b"\t",
        b"\r",
    ),
    *(
        b"&a ",
        b"*a",
        b"<<: ",
        b"!!python/object ",
        b"? ",
        b"- ",
        b"%YAML 1.1\n",
        b"---\n",
        b"...\n",
        b"|",
        b">",
    ),
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b": ",
        b"'",
        b'"',
        b"1e999",
        b"0x7f",
        b".nan",
        b"null",
        b"NaN",
        b"-Infinity",
        b"9" * 30,
    ),
    *(b"tasks", b"command", b"needs"),
]


def mutated(good: bytes) -> st.SearchStrategy[bytes]:
    """Something that was right once, with a few places spoilt."""
    spoil = st.tuples(
        st.integers(0, len(good)), st.integers(0, 12), st.sampled_from(BITS) | st.binary(max_size=3)
    )

    def apply(spoils: list[tuple[int, int, bytes]]) -> bytes:
        data = good
        for at, gone, new in spoils:
            data = data[:at] + new + data[at + gone :]
        return data

    return st.lists(spoil, min_size=1, max_size=5).map(apply)


def check_plan(data: bytes) -> None:
    for name in ("x.yaml", "x.json"):
        try:
            found = planyaml.loads(data, file=name, default_name="x", processors=2)
        except PlanError as error:
            problems = [str(problem) for problem in error.problems]
        else:
            problems = ["none"]
            assert msgspec.json.decode(msgspec.json.encode(found), type=Plan) == found
        assert problems
        assert all(problem.isprintable() for problem in problems)


@pytest.mark.promise("P24")
def test_plans(proof: Proof) -> None:
    as_json = json.dumps(
        {"tasks": {"a": {"command": ["x"], "timeout": "1m", "env": {"A": "b"}}, "b": {"prompt": "1"}}}
    )
    fuzz(proof, 2_500, mutated(GOOD), check_plan)
    fuzz(proof, 2_500, mutated(as_json.encode()), check_plan)
    fuzz(proof, 1_000, st.lists(st.sampled_from(BITS), max_size=20).map(b"".join), check_plan)
    fuzz(proof, 1_000, st.binary(max_size=80), check_plan)


BUNDLE = Bundle(
    "p-1",
    "a",
    1,
    "t",
    "/d",
    "/t",
    "/t",
    task(),
    Assignment("codex", "executor", "codex", None, None),
    "/d/prompt.md",
)
DOCUMENT = {
    "model": "codex",
    "selected_cli": "codex",
    "prompts": [
        {
            "file": "x",
            "content": "text",
            "worktree": {"conflict": False, "existing_worktree": "/x"},
            "execution": {
                "status": "completed",
                "final_status": "completed",
                "failure_reason": "why",
                "iterations": [{"iteration": 1, "exit_code": 0, "log_file": "/l", "retry_reason": None}],
                "suggested_next_steps": [{"text": "x"}],
                "original_checkout_warnings": [{"modified": ["a"]}],
                "state_file": "/s",
                "loop_log": "/l",
            },
        }
    ],
}
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(PIECES) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def replaced(data: Any, chance: random.Random, new: Any) -> Any:
    """The document with some of its values replaced."""
    if chance.random() < 0.15:
        return new
    if isinstance(data, dict):
        return {key: replaced(value, chance, new) for key, value in data.items() if chance.random() > 0.03}
    if isinstance(data, list):
        return [replaced(value, chance, new) for value in data]
    return data


def check_outcome(data: tuple[bytes, bytes, int]) -> None:
    stdout, stderr, code = data
    outcome = executor_output.read(Evidence(BUNDLE, Exit(code), stdout, stderr))
    assert msgspec.json.decode(msgspec.json.encode(outcome), type=Outcome) == outcome
    assert outcome.detail.isprintable()
    assert len(outcome.detail) <= 300
    if outcome.kind is OutcomeKind.COMPLETED:
        assert code == 0


@pytest.mark.promise("P24")
def test_what_executors_print(proof: Proof) -> None:
    good = ("noise {\n" + json.dumps(DOCUMENT, indent=2) + "\n").encode()
    codes = st.sampled_from([0, 0, 1, 2, 139, -9])
    fuzz(proof, 3_000, st.tuples(mutated(good), st.binary(max_size=40), codes), check_outcome)
    other = st.builds(
        lambda seed, new: json.dumps(replaced(DOCUMENT, random.Random(seed), new), indent=2).encode(),
        st.integers(0, 10_000),
        values,
    )
    fuzz(proof, 3_000, st.tuples(other, st.sampled_from(BITS), codes), check_outcome)
    fuzz(
        proof,
        50,
        st.tuples(st.just(b'{"prompts":' + b"[" * 100_000), st.binary(max_size=40), codes),
        check_outcome,
    )


@pytest.mark.promise("P24")
def test_exit_records(proof: Proof, tmp_path: Path) -> None:
    good = b'{"state":"exited","mark":"t","code":0,"stopped":"","seconds":1.5,"cpu":0.1,"max_rss":4096}'
    record = tmp_path / "process.json"

    def check(data: bytes) -> None:
        record.write_bytes(data)
        found = ends.read_record(str(tmp_path))
        assert isinstance(found, Exit | dict)
        if isinstance(found, Exit):
            assert msgspec.json.decode(msgspec.json.encode(found), type=Exit) == found

    fuzz(proof, 2_000, mutated(good), check)
    fuzz(proof, 500, st.binary(max_size=80), check)
    check(b'{"mark":"\x80"}')
    check(b"[" * 1000)
    record.unlink()
    os.mkfifo(record)
    assert ends.read_record(str(tmp_path)) == {}


@pytest.mark.promise("P24")
def test_inbox_files(proof: Proof, tmp_path: Path) -> None:
    """Read from a file, and carried out on runs in many states."""
    good = b'{"id":"x","verb":"retry","run":"r1","task":"a","reason":"why","force":false}'
    path = tmp_path / "x.json"
    stories = [Story(chain("a", "b")) for _ in range(5)]
    stories[0].attempt("a", OutcomeKind.FAILED)
    stories[1].attempt("a", OutcomeKind.PLAN_ERROR)
    stories[2].attempt("a", OutcomeKind.BLOCKED)
    stories[3].finish("a")
    stories[4].start("a")

    def carried_out(command: Command) -> None:
        msgspec.json.encode(command)
        for story in stories:
            with contextlib.suppress(NotPossibleError):
                for event in events_of(story.run, command, story.now):
                    msgspec.json.encode(event)

    def check(data: bytes) -> None:
        path.write_bytes(data)
        try:
            command = inbox._read(path)
        except (OSError, ValueError, RecursionError):
            return  # what `take` answers with a refusal
        carried_out(command)

    fuzz(proof, 3_000, mutated(good), check)
    words = st.sampled_from(["a", "b", "r1", "", *PIECES])
    verbs = st.sampled_from(["halt", "resume", "retry", "skip", "cancel"])
    fuzz(proof, 2_000, st.builds(Command, words, verbs, words, words, words, st.booleans()), carried_out)


def vocabulary() -> list[str]:
    """All commands and options, except what waits for ever, and hostile words."""
    found = {word for name, _ in leaves(cli) for word in name.split()}
    for _, command in leaves(cli):
        found.update(
            option for parameter in command.params for option in parameter.opts if option.startswith("-")
        )
    found -= {"--follow", "-f", "--state-dir"}
    pieces = [piece for piece in PIECES if "\n" not in piece]
    return (
        sorted(
            found | {"p-1", "a", "b", "none.json", "wrong.yaml", "1", "-1", "1-3", "1h", "--", "-h", "json"}
        )
        + pieces
    )


@pytest.mark.promise("P24")
def test_command_lines(place: Place, proof: Proof) -> None:
    """Any words: a documented exit code, no traceback, nothing hostile on the terminal; and nothing is started."""
    assert place.run(place.write(plan_of({"a": sh("true"), "b": sh("exit 1", "a")}))).code in CODES
    (place.target / "plan.json").unlink()
    (place.target / "wrong.yaml").write_text("tasks: {a: {comand: [x]}}")
    words = st.sampled_from(vocabulary())
    commands = st.sampled_from([name.split() for name, _ in leaves(cli)])
    lines = st.lists(words, max_size=5) | st.builds(
        lambda name, more: [*name, *more], commands, st.lists(words, max_size=4)
    )

    def check(line: list[str]) -> None:
        text = said(place, *line)
        assert "Traceback (most" not in text, (line, text)
        assert not harmful(text), (line, text)

    fuzz(proof, 1_200, lines, check)


@pytest.mark.promise("P24")
def test_settings(proof: Proof, tmp_path: Path) -> None:
    """Where executor.py is said to be, and the manifest of installed plugins."""
    manifest = tmp_path / locate.MANIFEST
    manifest.parent.mkdir(parents=True)
    good = json.dumps(
        {"version": 2, "plugins": {locate.PLUGIN: [{"installPath": "/x", "scope": "user"}]}}
    ).encode()

    def check(data: tuple[bytes, str]) -> None:
        manifest.write_bytes(data[0])
        for named in ({"DAPLUG_EXECUTOR": data[1]}, {}):
            environ = {"HOME": str(tmp_path), **named}
            with contextlib.suppress(UsageError):
                locate.find(Settings(target=str(tmp_path / "t"), environ=environ))

    paths = st.sampled_from([*PIECES, "x" * 5000, "~nobody-at-all/x", "a\0b", "\udcff"])
    fuzz(proof, 1_500, st.tuples(mutated(good), paths), check)


@pytest.mark.promise("P26", "P27")
def test_masks(proof: Proof) -> None:
    """A known secret is never left, wherever it stands and whatever is around it."""
    letters = st.text(string.printable + "é漢\x1b", min_size=8, max_size=30).filter(
        lambda text: text.strip() == text
    )

    def check(data: tuple[str, str, str]) -> None:
        secret, before, after = data
        mask = Mask([secret])
        for text in (before + secret + after, json.dumps([before + secret + after])):
            assert secret not in mask(text) or set(secret) <= {"*"}
            mask.within({"a": [text, None, 1.5]})
        for line in (before + secret + after).split("\n"):
            Lines(mask)(line)

    around = st.text(string.printable, max_size=40)
    fuzz(proof, 2_000, st.tuples(letters, around, around), check)
