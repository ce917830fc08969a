"""Whatever a PLAN.md holds: a plan that the journal can keep, or problems with file and line; and soon."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_ticks import TEXTS
from todo_making import EXAMPLE, read

from daplug_supervisor.core.plan import Plan
from daplug_supervisor.errors import PlanError, Problem
from daplug_supervisor.formats.todos.sections import parse
from daplug_supervisor.formats.todos.substeps import substeps


def outcome(folder: Path, data: bytes) -> tuple[Plan | None, list[Problem]]:
    """The plan, or what is wrong with it."""
    try:
        return read(folder, data).plan, []
    except PlanError as error:
        return None, error.problems


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXTS | st.binary(max_size=300))
def test_a_plan_or_problems(tmp_path: Path, text: str | bytes) -> None:
    """And nothing else: no other error, and no plan that could not be written down."""
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    found, problems = outcome(tmp_path, data)
    assert all(one.file and one.message.isprintable() for one in problems)
    assert all(one.line or not one.column for one in problems)
    if found is None:
        assert problems
    else:
        assert msgspec.json.decode(msgspec.json.encode(found), type=Plan) == found
        assert len(substeps(found)) >= len(found.tasks)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(EXAMPLE)), st.integers(0, 40), st.text(max_size=5))
def test_an_example_that_was_spoilt(tmp_path: Path, at: int, count: int, put: str) -> None:
    found, problems = outcome(
        tmp_path, (EXAMPLE[:at] + put + EXAMPLE[at + count :]).encode("utf-8", "surrogatepass")
    )
    assert (found is None) == bool(problems)


MUCH = 100_000


@pytest.mark.parametrize(
    "text",
    [
        "`" * MUCH,
        "`a`` " * (MUCH // 5),
        "- [ ] `" + "` `" * (MUCH // 3),
        "- [ ] `a` exit" + " " * MUCH,
        ("- [ ] `a` exit" + " " * 3900 + "x\n") * 250,
        ("- `a`" + " " * 3900 + "x\n") * 250,
        "**a" + " " * MUCH,
        ("**a" + " " * 9000 + "x\n") * 100,
        ">" * MUCH,
        "  " * MUCH,
        "#" * MUCH,
        "\n" * MUCH,
        "- " * (MUCH // 2),
        "${" * (MUCH // 2),
        "${todo-1.outputs.x}" * (MUCH // 20),
        "[" * MUCH,
        "### [ ] TODO" + " " * MUCH,
        "".join(" " * depth + "- [ ] x\n" for depth in range(1400)),
        "### [ ] TODO 1: x\n" * (MUCH // 18),
        "\n".join("```" if number % 2 else "~~~" for number in range(MUCH // 4)),
    ],
    ids=range(20),
)
@pytest.mark.parametrize(
    "where",
    [
        "{}",
        "### [ ] TODO 1: t\n**Inputs**:\n**Acceptance Criteria**:\n{}",
        "## Dependency Graph\n| TODO | Requires |\n|--|--|\n| 1 | {}",
    ],
)
def test_it_takes_time_in_proportion(text: str, where: str) -> None:
    """What takes the square of its size would take hours."""
    began = time.process_time()
    parse(where.replace("{}", text))
    assert time.process_time() - began < 5
