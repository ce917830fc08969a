"""Whatever a plan file contains, reading it ends in a plan or in problems that can be shown."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from daplug_supervisor.core import graph
from daplug_supervisor.core.plan import Plan
from daplug_supervisor.errors import PlanError
from daplug_supervisor.formats.plans import planyaml

SHORT = settings(max_examples=60, deadline=None)

WORDS = [
    "tasks",
    "a",
    "b",
    "needs",
    "command",
    "prompt",
    "timeout",
    "1h",
    "yes",
    "012",
    "<<",
    "&x",
    "*x",
    "!!int",
]
MARKS = [
    ": ",
    "\n",
    "\n  ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    ", ",
    '"',
    "'",
    "|\n",
    ">",
    "#",
    "? ",
    "%",
    "\t",
    "---\n",
    "\\",
]
soup = st.lists(st.sampled_from(WORDS + MARKS), max_size=30).map("".join)

ids = st.sampled_from(["a", "b", "c", "d-1"])
names = st.sampled_from(
    ["command", "prompt", "needs", "blocked_by", "timeout", "retry", "env", "sandbox", "titel"]
)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["1h", "5", "x", "a", "claude", "local", "codex", "", "\0", "\u202e", "\x1b"]),
    st.lists(ids, max_size=3),
    st.just({"attempts": 2, "backoff": "1m"}),
)
tasks = st.dictionaries(names, leaves, max_size=4) | st.builds(
    lambda needs: {"command": ["x"], "needs": needs}, st.lists(ids, max_size=2)
)
documents = st.fixed_dictionaries(
    {"tasks": st.dictionaries(ids, tasks, min_size=1, max_size=4)},
    optional={
        "defaults": st.just({"provider": "codex", "timeout": "2m", "env": {"A": "b"}}) | leaves,
        "providers": st.just({"local": {"parallel": 2}, "mine": {"fallback": ["codex"]}}) | leaves,
        "version": st.sampled_from([1, 2, "1", True]),
    },
)


def outcome(text: Any, file: Any) -> Any:
    try:
        plan = planyaml.loads(text, file=file, default_name="x", processors=2)
    except PlanError as error:
        problems = error.problems
    else:
        return complete(plan)
    assert problems
    assert all(str(problem).isprintable() for problem in problems)
    return [(one.field, one.message) for one in problems]


def complete(plan: Any) -> Any:
    assert msgspec.convert(msgspec.to_builtins(plan), Plan) == plan
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan
    needs = {name: task.needs for name, task in plan.tasks.items()}
    assert len(graph.ordered(needs)) == len(plan.tasks)
    assert {task.provider for task in plan.tasks.values()} <= plan.providers.keys()
    return plan


@SHORT
@given(st.binary(max_size=60) | soup.map(str.encode))
@example(b"tasks: {a: {command: [x]}}")
@example(b"? ? a\n: b\n? [c]: d\n")
@example(b"- &a [*a]\n- !!float nan\n- ! x\n")
@pytest.mark.parametrize("file", ["x.yaml", "x.json"])
def test_any_text(file: Any, text: Any) -> None:
    outcome(text, file)


@SHORT
@given(documents)
def test_json_is_yaml(document: Any) -> None:
    text = json.dumps(document)
    as_json = outcome(text.encode(), "x.json")
    # The comment keeps it from being read as JSON.
    assert outcome(f"#\n{text}".encode(), "x.yaml") == as_json


@SHORT
@given(st.lists(st.sampled_from('[]{},:"ab1 \n'), max_size=25).map("".join))
def test_any_brackets(text: Any) -> None:
    outcome(text.encode(), "x.json")
    outcome(text.encode(), "x.yaml")
